"""Hours of misbehaviour, compressed: every provider does one thing wrong after the other.

Each trouble comes between good ticks, then the way back. What was published must have been
sent as a good tick; every bad one must be counted under its reason; every trouble must end in good ticks again.
"""

import asyncio
import json
import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest

from marketdata import gate
from marketdata.followers import Follower
from marketdata.providers.alltick import AllTick
from marketdata.providers.protocol import Disconnected, KeyRefused
from marketdata.providers.twelve_data import TwelveData
from tests.patience import until
from tests.providers.clocks import START, JumpingClock, ManualClock
from tests.providers.fakes import FakeAllTick, FakeTwelveData

SYMBOLS = ("EUR/USD", "BTC/USD", "ETH/USD")
ROUNDS = 6
GARBAGE = ("", "{", "null", "[1, 2]", "42", '"text"', b"\x00\xff\xfe", '{"event": {}}', "NaN", "[" * 2000)


class Hour:
    """A provider's fake server, the follower under test, and a record of what was good."""

    def __init__(self, server, seed: int):
        self.server = server
        self.clock: ManualClock = server.clock
        self.random = random.Random(seed)
        self.good: set[tuple[str, Decimal]] = set()
        self.good_ticks = 0
        self.newest = ""
        self.expected: Counter = Counter()
        self.troubles: Counter = Counter()
        server.quote_age_seconds = 0
        self.published: list = []
        self.follower = Follower(
            name="FAKE",
            make=lambda name, clock: self.make(clock),
            clock=self.clock,
            random=self.random,
            publish=self.published.append,
        )
        self.provider = None

    def make(self, clock):
        kind = {FakeTwelveData: TwelveData, FakeAllTick: AllTick}[type(self.server)]
        self.provider = kind(key=self.server.key, clock=clock, base_rest=self.server.rest, base_ws=self.server.ws)
        return self.provider

    async def start(self) -> None:
        terms = {"spread": Decimal(0), "band": Decimal("0.1"), "tick_size": Decimal("0.0001")}
        sources = [
            gate.Source(market_id=n, symbol=symbol, provider="FAKE", provider_symbol=symbol, **terms)
            for n, symbol in enumerate(SYMBOLS)
        ]
        at = START - timedelta(seconds=1)
        last = {n: gate.Believed(*[Decimal(100)] * 3, at, at) for n in range(len(SYMBOLS))}
        await self.follower.follow(tuple(sources), last)
        await self.reconnected(0)

    # What the provider does

    async def good_tick(self, symbol: str) -> None:
        """One believable tick, told apart from all others by its price."""
        self.good_ticks += 1
        self.newest = f"{100 + self.random.random():.2f}{self.good_ticks % 100:02d}"
        self.good.add((symbol, Decimal(self.newest)))
        await self.push(symbol, self.newest)

    async def push(self, symbol: str, price: str, **changes) -> None:
        if isinstance(self.server, FakeAllTick):
            await self.server.push(symbol, bid=price, ask=changes.pop("ask", price), **changes)
        else:
            sides = {"bid": float(price), "ask": float(changes.pop("ask"))} if "ask" in changes else {}
            await self.server.push(symbol, price=price, **sides, **changes)

    async def good_round(self) -> None:
        for symbol in SYMBOLS:
            await self.good_tick(symbol)
        await self.handled()

    async def bad_ticks(self) -> None:
        symbol, now = self.random.choice(SYMBOLS), self.clock.now()
        await self.push(symbol, "0")
        await self.push(symbol, "-100.5")
        await self.push(symbol, "NaN")
        await self.push(symbol, "115")
        await self.push(symbol, "0.0001")
        await self.push(symbol, "1e30")
        await self.push(symbol, "100.7", ask="100.2")
        await self.push(symbol, "100.1", at=now - timedelta(minutes=5))
        await self.push(symbol, "100.1", at=now + timedelta(minutes=5))
        reasons = ("not_positive", "not_positive", "nan", "out_of_band", "out_of_band", "out_of_range", "crossed")
        self.expected.update((*reasons, "backwards", "from_the_future"))
        await self.handled()

    async def duplicates_and_out_of_order(self) -> None:
        symbol = self.random.choice(SYMBOLS)
        await self.clock.advance(2)
        await self.good_tick(symbol)
        for _ in range(3):
            await self.push(symbol, self.newest)
        await self.push(symbol, "100.5", at=self.clock.now() - timedelta(seconds=2))
        self.expected.update({"duplicate": 3, "backwards": 1})
        await self.handled()

    async def garbage(self) -> None:
        for content in GARBAGE:
            await self.server.send(content)
        await self.server.send({"cmd_id": 22999, "event": "price", "symbol": 5, "data": {"code": []}})
        await self.server.send({"cmd_id": 22999, "event": "price", "symbol": SYMBOLS[0], "data": {"code": SYMBOLS[0]}})
        await self.server.send({"cmd_id": 77777, "event": "weather"})
        await self.handled()

    async def only_garbage(self) -> None:
        before = self.server.connections
        for _ in range(60):
            if self.server.open_sockets:
                await self.server.send("{")
        await until(lambda: not self.server.open_sockets, "giving a useless connection up")
        await self.reconnected(before)

    async def end_of_connection(self) -> None:
        before = self.server.connections
        await self.server.close(self.random.choice([1000, 1001, 1008, 1011]))
        await self.reconnected(before)

    async def break_within_a_frame(self) -> None:
        before = self.server.connections
        await self.server.break_off_within_a_frame()
        await self.reconnected(before)

    async def no_heartbeats(self) -> None:
        before, silences = self.server.connections, self.provider.counters["silences"]
        self.server.answers_heartbeats = False
        # An answer still on its way starts the thirty seconds anew, so time has to go on.
        await self.passing(lambda: self.provider.counters["silences"] > silences, "noticing the silence")
        self.server.answers_heartbeats = True
        await self.reconnected(before)

    async def lost_subscription(self) -> None:
        """Heartbeats go on, ticks don't."""
        before = self.server.connections
        await self.passing(lambda: self.server.connections > before, "doubting the subscription", seconds=5)
        await self.reconnected(before)

    async def refused_handshakes(self) -> None:
        before = self.server.connections
        self.server.refusals.extend([500, 429, 502])
        await self.server.close()
        await self.reconnected(before)

    async def refused_subscription(self) -> None:
        """What comes instead of a stream is polled prices, until it is time to ask for the stream again."""
        before, ticks = self.server.connections, self.follower.counters["ticks"]
        self.server.next_status, self.server.next_ret = "error", 603
        self.server.prices = {symbol: self.polled(symbol) for symbol in SYMBOLS}
        await self.server.close()
        await self.passing(lambda: self.follower.counters["ticks"] > ticks, "polling")
        await self.passing(lambda: self.server.connections >= before + 2, "asking for the stream again", seconds=60)
        await self.reconnected(before + 1)

    def polled(self, symbol: str):
        self.good.add((symbol, Decimal("100.25")))
        return ("100.25", "100.25") if isinstance(self.server, FakeAllTick) else "100.25"

    async def error_within_the_stream(self) -> None:
        before = self.server.connections
        if isinstance(self.server, FakeAllTick):
            await self.server.send({"cmd_id": 22001, "ret": 606, "msg": "too many requests", "data": {}})
        else:
            await self.server.send({"event": "subscribe-status", "status": "warning", "success": None, "fails": [{}]})
        await self.server.close(1008)
        await self.reconnected(before)

    # Waiting for the other side

    async def handled(self) -> None:
        """Everything that was sent has been read."""
        await until(lambda: self.provider.counters["messages"] >= self.server.sent, "messages to be read")

    async def passing(self, condition, what: str, seconds: float = 2) -> None:
        """Let time pass until it is so, slowly enough for the sockets in between."""
        for _ in range(3000):
            if condition():
                return
            await self.clock.advance(seconds)
            await asyncio.sleep(0.002)
        raise AssertionError(f"never happened: {what}")

    async def reconnected(self, before: int) -> None:
        """There is a new connection, and the whole set is subscribed on it."""
        self.server.received.clear()
        await self.passing(lambda: self.server.connections > before and self.server.open_sockets, "a new connection")
        await self.passing(lambda: self.subscribed() == set(SYMBOLS), "the whole set", seconds=0.1)
        # What a broken connection swallowed will never be counted as read.
        self.server.sent = self.provider.counters["messages"]
        await self.good_round()
        await until(lambda: self.follower.status()["state"] == "live", "being live again")

    def subscribed(self) -> set[str]:
        if isinstance(self.server, FakeAllTick):
            return set(self.server.subscribed.get(22002, []))
        return set(self.server.subscribed)


TROUBLES = (
    Hour.bad_ticks,
    Hour.garbage,
    Hour.duplicates_and_out_of_order,
    Hour.only_garbage,
    Hour.end_of_connection,
    Hour.break_within_a_frame,
    Hour.no_heartbeats,
    Hour.lost_subscription,
    Hour.refused_handshakes,
    Hour.refused_subscription,
    Hour.error_within_the_stream,
)
#: Troubles that end the connection.
BREAKING = TROUBLES[3:]


@pytest.mark.parametrize("kind", [FakeTwelveData, FakeAllTick])
async def test_an_hour_of_misbehaviour(kind):
    async with kind(ManualClock(), {}) as server:
        hour = Hour(server, seed=7)
        await hour.start()
        try:
            await live_through(hour)
            status = hour.follower.status()
        finally:
            await hour.follower.stop()
    told = {(SYMBOLS[market_id], found.mid) for market_id, _, found, _ in hour.published}
    assert told <= hour.good
    assert "failures" not in status["failures"], "an exception that nobody foresaw"
    assert {reason: count for reason, count in status["dropped"].items() if reason != "unconfirmed"} == hour.expected
    broken = sum(hour.troubles[trouble.__name__] for trouble in BREAKING)
    assert status["recoveries"] >= broken >= 30
    assert status["provider"]["garbled"] >= hour.troubles["garbage"] * len(GARBAGE)
    assert status["provider"]["silences"] >= hour.troubles["no_heartbeats"]
    assert len(hour.published) >= hour.good_ticks - hour.troubles["break_within_a_frame"]
    print(json.dumps({"sent_good": hour.good_ticks, "published": len(hour.published), **status}, default=str))


class Refusing:
    """A provider whose streams fail one after the other; the last one stays silent."""

    counters = Counter()

    def __init__(self, errors):
        self.errors = list(errors)

    def groups(self, symbols):
        return [list(symbols)]

    async def stream(self, symbols):
        if not self.errors:
            await asyncio.Event().wait()
        raise self.errors.pop(0)
        yield

    async def close(self):
        """Nothing to give back."""


async def test_each_kind_of_failure_is_said_once_in_a_row(caplog):
    """A wrong key behind broken connections too: nobody but the log tells why the prices are stale."""
    broken, refused = Disconnected("no line"), KeyRefused("wrong key")
    provider = Refusing([broken, broken, refused, refused])
    clock, terms = JumpingClock(), {"spread": Decimal(0), "band": Decimal("0.1"), "tick_size": Decimal("0.01")}
    follower = Follower(
        name="FAKE", make=lambda name, clock: provider, clock=clock, random=random.Random(1), publish=print
    )
    source = gate.Source(market_id=1, symbol="A", provider="FAKE", provider_symbol="A", **terms)
    await follower.follow((source,), {})
    await until(lambda: not provider.errors, "all failures")
    await follower.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "FAKE: no line; trying again",
        "FAKE: wrong key; trying again",
    ]


async def live_through(hour: Hour) -> None:
    """Every trouble several times, in a random order."""
    troubles = list(TROUBLES) * ROUNDS
    hour.random.shuffle(troubles)
    for trouble in troubles:
        await hour.clock.advance(5)
        await hour.good_round()
        await trouble(hour)
        hour.troubles[trouble.__name__] += 1
        await hour.clock.advance(5)
        await hour.good_round()
    assert hour.clock.now() - START >= timedelta(hours=1)
