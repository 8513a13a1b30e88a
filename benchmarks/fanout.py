"""Fan-out: how long after an order is sent do all sockets have the update, and what does it cost the server.

    python -m benchmarks.fanout [--sockets 500 1000 2000] [--seconds 10] [--levels 20] [--users 0]

One server process, N order-book sockets on one market, and a trader who sends a batch of `levels` orders about ten
times a second, each batch more than a tick after the last, so that each makes one update for every socket. Measured is
the time from sending the batch to the last byte of the update in the client, for every socket and batch: network,
validation, commit, hub, rendering, writing and reading. `--users` of the sockets are private ones of that trader
instead, which hear of every order by its own message. The client is this process: it parses frames by hand, so that
its own share (a few µs a message, on the same machine) stays small; it is part of the figures all the same.
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import dataclass, field

import uvloop

from benchmarks.frames import handshake, masked, take_frames
from benchmarks.report import machine, table
from benchmarks.server import PrivateVenue

PACE_SECONDS = 0.105
CONNECT_AT_ONCE = 100
SETTLE_SECONDS = 1.0
LAST_UPDATE_SECONDS = 10.0
HEADS = ("sockets", "messages/s", "kB/s", "p50 ms", "p99 ms", "max ms", "order p50 ms", "server CPU %", "missed")


@dataclass
class Round:
    """What one run saw. Times in seconds."""

    sent_at: dict[int, float] = field(default_factory=dict)
    answered_after: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    messages: int = 0
    characters: int = 0


class SocketClient(asyncio.Protocol):
    """A WebSocket that only looks at the sequence of what it gets."""

    def __init__(self, path: str, first_message: str | None, current: list[Round]):
        self.path, self.first_message, self.current = path, first_message, current
        self.is_open = asyncio.get_running_loop().create_future()
        self._received = bytearray()
        self._is_websocket = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(handshake(self.path))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._received += data
        if not self._is_websocket:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self._received.startswith(b"HTTP/1.1 101"), bytes(self._received[:200])
            del self._received[: end + 4]
            self._is_websocket = True
            if self.first_message is not None:
                self.transport.write(masked(self.first_message))
        for opcode, payload in take_frames(self._received):
            self._take(opcode, payload, now)

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == 9:
            self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + b"\x00\x00\x00\x00" + payload)
            return
        if not self.is_open.done():
            self.is_open.set_result(None)  # the snapshot
            return
        current = self.current[0]
        current.messages += 1
        current.characters += len(payload)
        sent_at = current.sent_at.get(sequence_in(payload))
        if sent_at is not None:
            current.delays.append(now - sent_at)

    def connection_lost(self, error) -> None:
        if not self.is_open.done():
            self.is_open.set_exception(ConnectionError("the server closed a socket before its snapshot"))


def sequence_in(frame: bytes) -> int:
    """The number after the last "sequence": of a message."""
    begin = frame.find(b'"sequence":') + 11
    end = begin
    while 48 <= frame[end] <= 57:
        end += 1
    return int(frame[begin:end] or 0)


class Trader:
    """One HTTP connection that sends batches of orders."""

    def __init__(self, venue: PrivateVenue, levels: int):
        self.token, self.symbol = venue.users[0]["token"], venue.markets[0]
        self.port, self.levels, self.sequence = venue.port, levels, 0
        self.first_level = 0

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def batch(self, current: Round) -> None:
        """Change `levels` levels. The book moves by one sequence an order, and nobody else trades."""
        orders = [
            {"symbol": self.symbol, "side": "BUY", "price": f"{90 + level / 100:.2f}", "quantity": "0.5"}
            for level in range(self.first_level, self.first_level + self.levels)
        ]
        body = json.dumps({"orders": orders})
        self.sequence += self.levels
        began = current.sent_at[self.sequence] = time.perf_counter()
        self.writer.write(
            f"POST /api/v1/orders/batch/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self.reader.readexactly(size)
        assert head.startswith(b"HTTP/1.1 200") and answer.count(b'"status":201') == self.levels, answer[:500]
        current.answered_after.append(time.perf_counter() - began)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def open_sockets(venue: PrivateVenue, count: int, users: int, current: list[Round]) -> list[SocketClient]:
    """All sockets, each with its snapshot."""
    loop, clients = asyncio.get_running_loop(), []
    authenticate = json.dumps({"type": "authenticate", "token": venue.users[0]["token"]})
    for first in range(0, count, CONNECT_AT_ONCE):
        some = []
        for number in range(first, min(count, first + CONNECT_AT_ONCE)):
            path, message = (
                ("/ws/user/", authenticate) if number < users else (f"/ws/orderbook/{venue.markets[0]}/", None)
            )
            client = SocketClient(path, message, current)
            await loop.create_connection(lambda client=client: client, "127.0.0.1", venue.port)
            some.append(client)
        await asyncio.gather(*(client.is_open for client in some))
        clients += some
    return clients


async def measure(venue: PrivateVenue, trader: Trader, count: int, seconds: float, users: int) -> list:
    """One line of the table."""
    current = [Round()]
    clients = await open_sockets(venue, count, users, current)
    await asyncio.sleep(SETTLE_SECONDS)
    current[0] = seen = Round()
    began, cpu = time.perf_counter(), cpu_seconds(venue.server.pid)
    while (now := time.perf_counter()) < began + seconds:
        await trader.batch(seen)
        await asyncio.sleep(max(0.0, PACE_SECONDS - (time.perf_counter() - now)))
    elapsed, cpu = time.perf_counter() - began, cpu_seconds(venue.server.pid) - cpu
    expected = (count - users) * len(seen.sent_at)
    deadline = time.perf_counter() + LAST_UPDATE_SECONDS
    while len(seen.delays) < expected and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    for client in clients:
        client.transport.abort()
    delays, answers = sorted(seen.delays), sorted(seen.answered_after)
    times = [1000 * delays[min(len(delays) - 1, int(part * len(delays)))] for part in (0.5, 0.99, 1)]
    rates = [seen.messages / elapsed, seen.characters / elapsed / 1000]
    return [
        count,
        *rates,
        *times,
        1000 * answers[len(answers) // 2],
        100 * cpu / elapsed,
        max(0, expected - len(delays)),
    ]


async def run(options: argparse.Namespace, venue: PrivateVenue) -> list[list]:
    trader = Trader(venue, options.levels)
    await trader.connect()
    return [await measure(venue, trader, count, options.seconds, options.users) for count in options.sockets]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure order-book fan-out to many sockets.")
    parser.add_argument("--sockets", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--levels", type=int, default=20, help="orders in a batch, each on a level of its own")
    parser.add_argument("--users", type=int, default=0, help="how many of the sockets are private ones")
    options = parser.parse_args()
    with PrivateVenue(users=1) as venue, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(run(options, venue))
    print(machine())
    print(table(HEADS, rows))


if __name__ == "__main__":
    main()
