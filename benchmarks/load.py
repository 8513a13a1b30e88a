"""A light HTTP/1.1 load generator: one request in flight per connection, keep-alive, latency of each answer.

    measure(Load(port=8000, mix="crossing", connections=64, seconds=5, users=[…], symbols=[…]))

The load comes from processes of its own (`python -m benchmarks.load`, driven over pipes), each with an event loop
that does nothing but write requests and parse answers in C. Against a server that only echoes, one such process did
26,000 reads or 17,000 orders a second, so that the server is what is measured. Latencies run from writing the request
to its last byte.

Mixes (`MIXES`): what each connection sends, over and over. Its users come in pairs, one that buys and one that
sells, so that nobody ever trades with himself.

Known limits: loopback without TLS; closed loop, so a server that stalls is also asked less often; the clients
share the machine's cores with the server.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httptools
import uvloop

from benchmarks.load_sockets import SocketConnection
from config import children

ROOT = Path(__file__).resolve().parent.parent
BATCH_ORDERS = 20
CONNECTIONS_PER_PROCESS = 32
GRACE_SECONDS = 30
LOW, MIDDLE, HIGH = 55, 100, 145


@dataclass(frozen=True)
class Load:
    """What to send where; `users` are {"token": …} as benchmarks.population makes them, at least two."""

    port: int
    mix: str
    connections: int
    seconds: float
    users: Sequence[dict]
    symbols: Sequence[str]
    warm_up_seconds: float = 0.5
    seed: int = 1
    first: int = 0


@dataclass
class Measured:
    """Answers that came in the measured time. Latencies in seconds, ascending; statuses by code."""

    orders: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)

    @property
    def orders_per_second(self) -> float:
        return self.orders / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency that `percent` of the answers did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))] * 1000

    @property
    def failures(self) -> int:
        """Answers that were neither success nor a refusal of that very order."""
        return sum(count for status, count in self.statuses.items() if not (200 <= status < 300 or status == 422))


class Mix:
    """What one connection sends. `orders` is how many orders an answered request counts for."""

    orders = 1

    def __init__(self, users: Sequence[dict], symbols: Sequence[str], number: int, dice: random.Random):
        self.tokens = [users[(2 * number + side) % len(users)]["token"] for side in (0, 1)]
        self.symbol = symbols[number % len(symbols)]
        self.side = number % 2
        self.dice = dice

    def request(self) -> bytes:
        """The next request's bytes."""
        self.side ^= 1
        return post("/api/v1/orders/", self.tokens[self.side], self.order())

    def answered(self, status: int, body: bytes) -> None:
        """What came back."""

    def order(self) -> dict:
        raise NotImplementedError

    def terms(self, price: str) -> dict:
        side = "SELL" if self.side else "BUY"
        return {"symbol": self.symbol, "side": side, "type": "LIMIT", "price": price, "quantity": "0.01"}


class Resting(Mix):
    """Limit orders that never meet: the book only grows."""

    def order(self) -> dict:
        low, high = (105, HIGH) if self.side else (LOW, 95)
        return self.terms(f"{self.dice.randrange(low * 100, high * 100) / 100:.2f}")


class Crossing(Mix):
    """Buys and sells in turn at one price: every second order trades, the book stays small."""

    def order(self) -> dict:
        return self.terms(str(MIDDLE))


class PlaceAndCancel(Resting):
    """A resting order, then its cancellation."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.order_id = None

    def request(self) -> bytes:
        if self.order_id is None:
            return super().request()
        return encoded("DELETE", f"/api/v1/orders/{self.order_id}/", self.tokens[self.side])

    def answered(self, status: int, body: bytes) -> None:
        self.order_id = json.loads(body)["id"] if status == 201 else None


class Batch(Crossing):
    """Batches of twenty, half of which trade with the next one."""

    orders = BATCH_ORDERS

    def request(self) -> bytes:
        self.side ^= 1
        return post(
            "/api/v1/orders/batch/", self.tokens[self.side], {"orders": [self.order() for _ in range(BATCH_ORDERS)]}
        )


class Book(Mix):
    """Reading the order book."""

    def request(self) -> bytes:
        return encoded("GET", f"/api/v1/orderbook/?symbol={self.symbol}&depth=20", None)


class Socket(Resting):
    """Orders over a private socket: placed, amended, cancelled (see benchmarks.load_sockets)."""


MIXES = {
    "resting": Resting, "crossing": Crossing, "cancel": PlaceAndCancel, "batch": Batch, "book": Book, "socket": Socket,
}  # fmt: skip


def post(path: str, token: str, body: dict) -> bytes:
    """A JSON request."""
    return encoded("POST", path, token, json.dumps(body, separators=(",", ":")).encode())


def encoded(method: str, path: str, token: str | None, body: bytes = b"") -> bytes:
    """The bytes of one request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends the next, until told to stop."""

    def __init__(self, mix: Mix, result: Measured):
        self.mix, self.result = mix, result
        self.measuring = self.stopping = False
        self.is_open, self.ended = (asyncio.get_running_loop().create_future() for _ in range(2))

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.is_open.set_result(None)

    def send(self) -> None:
        """Write the next request."""
        self.parser, self.body = httptools.HttpResponseParser(self), bytearray()
        request = self.mix.request()
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if self.measuring:
            self.result.latencies.append(time.perf_counter() - self.sent_at)
            self.result.statuses[status] += 1
            if 200 <= status < 300:
                self.result.orders += self.mix.orders
        self.mix.answered(status, bytes(self.body))
        if not self.stopping:
            self.send()
        elif not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server closed the connection"))


async def _generate(load: Load) -> Measured:
    """One process's share; waits for a line on standard input when all its connections stand."""
    result, loop = Measured(), asyncio.get_running_loop()
    connections = []
    for number in range(load.first, load.first + load.connections):
        mix = MIXES[load.mix](load.users, load.symbols, number, random.Random(f"{load.seed} {number}"))
        kind = SocketConnection if load.mix == "socket" else Connection
        make = lambda mix=mix, kind=kind: kind(mix, result)  # noqa: E731
        connections.append((await loop.create_connection(make, "127.0.0.1", load.port))[1])
        await connections[-1].is_open
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for one in connections:
        one.send()
    await asyncio.sleep(load.warm_up_seconds)
    for one in connections:
        one.measuring = True
    started = time.perf_counter()
    await asyncio.sleep(load.seconds)
    result.seconds = time.perf_counter() - started
    for one in connections:
        one.measuring, one.stopping = False, True
    await asyncio.wait_for(asyncio.gather(*(one.ended for one in connections)), GRACE_SECONDS)
    return result


def measure(load: Load, processes: int | None = None) -> Measured:
    """Run the load from processes of its own and put their results together."""
    count = processes or -(-load.connections // CONNECTIONS_PER_PROCESS)
    started, first = [], 0
    try:
        for number in range(count):
            share = load.connections // count + (number < load.connections % count)
            started.append(_start(Load(**{**asdict(load), "connections": share, "first": first})))
            first += share
        for one in started:
            if one.stdout.readline().strip() != "ready":
                raise RuntimeError("a load process could not connect")
        for one in started:
            one.stdin.write("go\n")
            one.stdin.flush()
        return _together([json.loads(one.stdout.readline()) for one in started])
    finally:
        for one in started:
            one.kill()
            one.communicate()


def _start(load: Load) -> subprocess.Popen:
    process = children.spawn(
        [sys.executable, "-m", "benchmarks.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(asdict(load)) + "\n")
    process.stdin.flush()
    return process


def _together(parts: list[dict]) -> Measured:
    whole = Measured(seconds=max(part["seconds"] for part in parts))
    for part in parts:
        whole.orders += part["orders"]
        whole.latencies += part["latencies"]
        whole.statuses.update({int(status): count for status, count in part["statuses"].items()})
    whole.latencies.sort()
    return whole


def main() -> None:
    """One load process: a Load on the first line of standard input, go on the second, a Measured on standard output."""
    load = Load(**json.loads(sys.stdin.readline()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(vars(runner.run(_generate(load)))), flush=True)


if __name__ == "__main__":
    main()
