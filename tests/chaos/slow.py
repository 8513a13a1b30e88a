"""Two thousand sockets of which fifty never read, while the book moves: the fifty are closed, and nobody else notices.

    python -m tests.chaos.slow [--sockets 2000] [--laggards 50] [--seconds 20] [--levels 20] [--seed 1]

All sockets follow one deep book. The laggards ask for it again and again and read nothing, so that what the server has
to say soon fills every buffer between them. Then: the server's memory grows by less than 50 MB from when all were
open, each laggard is closed within 10 seconds from when its connection was full (until then nobody can know it from a
slow one), the others have each update within 250 ms in 99 of 100 cases, and at the end all of them stand at the
book's sequence. The seed chooses which sockets lag.
"""

import argparse
import asyncio
import random
import socket
import sys
import time
from dataclasses import dataclass, field

import uvloop

from benchmarks.fanout import PACE_SECONDS, Round, SocketClient, Trader, sequence_in
from benchmarks.frames import handshake, masked
from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.chaos.gauges import memory_of, servers

MEMORY_MEGABYTES = 50.0
CLOSED_WITHIN_SECONDS = 10.0
P99_SECONDS = 0.25
#: Orders a side before anybody connects: a snapshot of them is some 40 kB.
DEEP_LEVELS = 1_000
BATCH = 100
CONNECT_AT_ONCE = 100
WATCH_SECONDS = 0.2
GIVE_UP_SECONDS = 60.0
TCP_ESTABLISHED = 1
TEXT = 1
HEADS = ("sockets", "p50 ms", "p99 ms", "max ms", "behind", "laggards closed", "after s", "memory MB", "growth MB")


class Reader(SocketClient):
    """Reads everything, and remembers how far it is."""

    sequence = 0
    is_lost = False

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        super()._take(opcode, payload, now)
        if opcode == TEXT:
            self.sequence = max(self.sequence, sequence_in(payload))

    def connection_lost(self, error) -> None:
        super().connection_lost(error)
        self.is_lost = True


class Laggard:
    """A connection that asks and never reads; what it sees of itself is what its kernel tells."""

    def __init__(self, port: int, path: str):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.send(handshake(path))
        self.port = self.socket.getsockname()[1]
        self.queued, self.full_at = 0, time.perf_counter()
        self.closed_at: float | None = None

    def ask(self) -> None:
        """Once more, please."""
        try:
            self.socket.send(masked('{"type": "resync"}'))
        except OSError:
            pass  # full, or closed: `look` tells

    def look(self, queued: int) -> None:
        """Notice that more is queued for it in the server's kernel, or that the server has let go."""
        if self.closed_at is not None:
            return
        if queued > self.queued:
            self.queued, self.full_at = queued, time.perf_counter()
        if self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED:
            self.closed_at = time.perf_counter()


def queued_bytes(port: int) -> dict[int, int]:
    """What waits in the kernel on the connections of a listening port, by the port of the other side."""
    found, ending = {}, f":{port:04X}"
    with open("/proc/net/tcp") as table_of_sockets:
        for line in table_of_sockets:
            words = line.split(None, 5)
            if words[1].endswith(ending):
                found[int(words[2][-4:], 16)] = int(words[4][:8], 16)
    return found


@dataclass
class Result:
    """The line of the table, and what is wrong."""

    row: list
    problems: list[str] = field(default_factory=list)


async def run(venue: PrivateVenue, *, sockets: int, laggards: int, seconds: float, levels: int, seed: int) -> Result:
    """Open, trade, watch, judge."""
    path, current = f"/ws/orderbook/{venue.markets[0]}/", [Round()]
    trader = Trader(venue, levels)
    await trader.connect()
    await _deepen(trader, current[0])
    lagging = set(random.Random(seed).sample(range(sockets), laggards))
    readers, stuck = await _open(venue, path, sockets, lagging, current)
    before = memory_of(servers(venue))
    current[0] = seen = Round()
    watch = asyncio.create_task(_watch(venue, stuck))
    await _trade(trader, seen, time.perf_counter() + seconds)
    await _until_level(readers, trader.sequence)
    peak = max(await watch, memory_of(servers(venue)))
    result = _judged(venue, seen, readers, stuck, before, peak, trader.sequence)
    for each in (*readers, *stuck):
        each.transport.abort() if isinstance(each, Reader) else each.socket.close()
    return result


async def _deepen(trader: Trader, current: Round) -> None:
    levels, trader.levels = trader.levels, BATCH
    for first in range(0, DEEP_LEVELS, BATCH):
        trader.first_level = first
        await trader.batch(current)
    trader.first_level, trader.levels = 0, levels


async def _open(venue: PrivateVenue, path: str, count: int, lagging: set[int], current: list[Round]):
    """All sockets in the order of their numbers; those that read have their snapshot."""
    loop, readers, stuck = asyncio.get_running_loop(), [], []
    for first in range(0, count, CONNECT_AT_ONCE):
        some = []
        for number in range(first, min(count, first + CONNECT_AT_ONCE)):
            if number in lagging:
                stuck.append(Laggard(venue.port, path))
            else:
                _, client = await loop.create_connection(lambda: Reader(path, None, current), "127.0.0.1", venue.port)
                some.append(client)
        await asyncio.gather(*(client.is_open for client in some))
        readers += some
    return readers, stuck


async def _trade(trader: Trader, seen: Round, until: float) -> None:
    while (now := time.perf_counter()) < until:
        await trader.batch(seen)
        await asyncio.sleep(max(0.0, PACE_SECONDS - (time.perf_counter() - now)))


async def _watch(venue: PrivateVenue, stuck: list[Laggard]) -> float:
    """Ask for them until they are closed; the most memory that the server had meanwhile."""
    peak, deadline, processes = 0.0, time.perf_counter() + GIVE_UP_SECONDS, servers(venue)
    while any(each.closed_at is None for each in stuck) and time.perf_counter() < deadline:
        queued = queued_bytes(venue.port)
        for each in stuck:
            each.ask()
            each.look(queued.get(each.port, 0))
        peak = max(peak, memory_of(processes))
        await asyncio.sleep(WATCH_SECONDS)
    return peak


async def _until_level(readers: list[Reader], sequence: int) -> None:
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while any(reader.sequence < sequence for reader in readers) and time.perf_counter() < deadline:
        await asyncio.sleep(WATCH_SECONDS)


def _judged(venue, seen, readers, stuck, before, peak, sequence) -> Result:
    delays = sorted(seen.delays) or [float("inf")]
    p50, p99, worst = (delays[min(len(delays) - 1, int(part * len(delays)))] for part in (0.5, 0.99, 1))
    behind = sum(reader.is_lost or reader.sequence != sequence for reader in readers)
    closed = [each.closed_at - each.full_at for each in stuck if each.closed_at is not None]
    times = [1000 * p50, 1000 * p99, 1000 * worst]
    slowest = max(closed, default=0.0)
    row = [len(readers) + len(stuck), *times, behind, len(closed), slowest, peak, peak - before]
    result = Result(row)
    if behind:
        result.problems.append(f"{behind} readers were closed or do not stand at {sequence}")
    if len(closed) < len(stuck) or slowest > CLOSED_WITHIN_SECONDS:
        result.problems.append(f"{len(closed)} of {len(stuck)} laggards were closed, within {slowest:.1f} s")
    if p99 > P99_SECONDS:
        result.problems.append(f"p99 of those that read: {1000 * p99:.0f} ms")
    if peak - before > MEMORY_MEGABYTES:
        result.problems.append(f"memory grew by {peak - before:.0f} MB")
    return result


def main() -> int:
    """The command; 1 when something was found."""
    parser = argparse.ArgumentParser(description="Many sockets, some of which never read.")
    parser.add_argument("--sockets", type=int, default=2_000)
    parser.add_argument("--laggards", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--levels", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args())
    with PrivateVenue(users=1) as venue, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(venue, **options))
    print(table(HEADS, [result.row]))
    print("\n".join(result.problems))
    verdict = "clean" if not result.problems else f"{len(result.problems)} PROBLEMS"
    sockets, _, p99, _, _, closed, after, _, growth = result.row
    print(
        f"{sockets} sockets, seed {options['seed']}: {verdict}; p99 {p99:.0f} ms, {closed} laggards closed within"
        f" {after:.1f} s, memory +{growth:.0f} MB"
    )
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
