"""Clients that place, amend and cancel at random over HTTP, and never take an answer for granted.

Each has an own connection and own orders. When no answer comes, or 503, it finds out what became of its request the way
the contract says: a placement is repeated under the same client_order_id, an amendment or a cancellation is looked up.
Everything that the contract does not allow is written down in `Crowd.faults`.
"""

import asyncio
import random
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.record import OrderRecord

MIDDLE_TICKS = 10_000
SPREAD_TICKS = 40
OPEN_ORDERS = 12
ANSWER_SECONDS = 40
GIVE_UP_SECONDS = 120
PAUSE_SECONDS = 0.1


class Unanswered(Exception):
    """No answer, or one that leaves open what happened."""


@dataclass
class Crowd:
    """All clients, and what they saw together."""

    url: str
    users: list[dict]
    symbols: list[str]
    clients: int
    seed: int
    statuses: Counter = field(default_factory=Counter)
    codes: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    records: list[OrderRecord] = field(default_factory=list)
    last_acknowledged_at: float = 0.0
    #: The longest time without an acknowledgement since `resume`.
    silence_seconds: float = 0.0
    #: Set while clients may send; cleared, they finish what they began and wait.
    trading: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def open(self):
        """The clients run until the block ends."""
        self.resume()
        tasks = [asyncio.create_task(Trader(self, number).run()) for number in range(self.clients)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(ended, asyncio.CancelledError):
                    self.faults.append(f"a client ended with {ended!r}")

    async def pause(self) -> None:
        """Until nobody has a request under way or an outcome open."""
        self.trading.clear()
        while self.busy:
            self.idle.clear()
            await self.idle.wait()

    def resume(self) -> None:
        self.silence_seconds, self.last_acknowledged_at = 0.0, time.monotonic()
        self.trading.set()

    def hear(self) -> None:
        """Somebody has got an acknowledgement."""
        now = time.monotonic()
        self.silence_seconds = max(self.silence_seconds, now - self.last_acknowledged_at)
        self.last_acknowledged_at = now

    @property
    def acknowledged(self) -> int:
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)


class Trader:
    """One client."""

    def __init__(self, crowd: Crowd, number: int):
        self.crowd, self.number = crowd, number
        self.dice = random.Random(f"{crowd.seed} {number}")
        self.user = crowd.users[number % len(crowd.users)]
        self.headers = {"Authorization": f"Bearer {self.user['token']}"}
        self.mine: list[OrderRecord] = []
        self.sent = 0
        self.session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        try:
            while True:
                await self.crowd.trading.wait()
                self.crowd.busy += 1
                try:
                    await self._act()
                finally:
                    self.crowd.busy -= 1
                    self.crowd.idle.set()
        finally:
            await self._hang_up()

    async def _act(self) -> None:
        """One decision, and if need be the finding out afterwards."""
        self.mine = [record for record in self.mine if record.may_be_open]
        roll = self.dice.random()
        if self.mine and (roll < 0.2 or len(self.mine) > OPEN_ORDERS):
            await self._cancel(self.dice.choice(self.mine))
        elif self.mine and roll < 0.4:
            await self._amend(self.dice.choice(self.mine))
        elif roll < 0.45:
            await self._look()
        else:
            await self._place()

    # The three commands

    async def _place(self) -> None:
        self.sent += 1
        body = self._body(f"{self.crowd.seed}-{self.number}-{self.sent}")
        record = OrderRecord(self.user["account"], body["client_order_id"], body, unknown=["place"])
        self.crowd.records.append(record)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                status, answer = await self._send("POST", "orders/", body)
                break
            except Unanswered:
                # Repeating is safe: the same client_order_id is the same order.
                await self._wait(deadline, f"placing {body['client_order_id']}")
        if status in (200, 201):
            record.acknowledge(answer)
            self.mine.append(record)
        else:
            record.refused, record.unknown = answer.get("code"), []

    async def _amend(self, record: OrderRecord) -> None:
        side = 1 if record.body["side"] == "BUY" else -1
        price, quantity = self._price(side), self._quantity()
        record.unknown.append(("amend", price, quantity))
        terms = {"price": price, "quantity": quantity}
        await self._change(record, "PATCH", f"orders/{record.told['id']}/", terms)

    async def _cancel(self, record: OrderRecord) -> None:
        record.unknown.append("cancel")
        await self._change(record, "DELETE", f"orders/{record.told['id']}/", None)

    async def _change(self, record: OrderRecord, method: str, path: str, body: dict | None) -> None:
        try:
            status, answer = await self._send(method, path, body)
        except Unanswered:
            return await self._look_up(record)
        if status == 200:
            record.acknowledge(answer)
        elif answer.get("code") == "order_not_open":
            await self._look_up(record)  # somebody has filled it
        else:
            record.unknown.pop()
        return None

    async def _look_up(self, record: OrderRecord) -> None:
        """What has become of an order, from the venue."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                status, answer = await self._send("GET", f"orders/{record.told['id']}/", None)
            except Unanswered:
                await self._wait(deadline, f"looking up {record.told['id']}")
                continue
            if status == 200:
                record.acknowledge(answer)
            else:
                self._fault(f"order {record.told['id']} was acknowledged, and is answered with {status} {answer}")
            return

    async def _look(self) -> None:
        """Read what everybody may see, on another connection; the book must be in order."""
        await self._hang_up()
        try:
            status, book = await self._send("GET", f"orderbook/?symbol={self.dice.choice(self.crowd.symbols)}", None)
        except Unanswered:
            return
        if status != 200:
            self._fault(f"the order book is answered with {status} {book}")
        elif book["bids"] and book["asks"] and float(book["bids"][0][0]) >= float(book["asks"][0][0]):
            self._fault(f"crossed book {book['bids'][0]} {book['asks'][0]} at {book['sequence']}")

    # Requests

    async def _send(self, method: str, path: str, body: dict | None) -> tuple[int, dict]:
        """Status and body; Unanswered when what happened is open."""
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            )
        try:
            url = f"{self.crowd.url}/api/v1/{path}"
            async with self.session.request(method, url, json=body, headers=self.headers) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.crowd.statuses[0] += 1
            self.crowd.codes[type(error).__name__] += 1
            await self._hang_up()
            raise Unanswered from error
        return self._judged(method, path, response.status, answer)

    def _judged(self, method: str, path: str, status: int, answer: dict) -> tuple[int, dict]:
        self.crowd.statuses[status] += 1
        if status < 300:
            self.crowd.hear()
            return status, answer
        self.crowd.codes[answer.get("code", "no code")] += 1
        if status == 503:
            raise Unanswered
        if status not in (404, 409, 422):
            self._fault(f"{method} {path} is answered with {status} {answer}")
        return status, answer

    async def _hang_up(self) -> None:
        if self.session is not None:
            await self.session.close()
            self.session = None

    async def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer for {GIVE_UP_SECONDS} s when {what}")
        await asyncio.sleep(PAUSE_SECONDS)

    def _fault(self, text: str) -> None:
        self.crowd.faults.append(text)

    # Terms

    def _body(self, client_order_id: str) -> dict:
        side = self.dice.choice((1, -1))
        force = self.dice.choice(("GTC", "GTC", "GTC", "IOC"))
        return {
            "symbol": self.dice.choice(self.crowd.symbols),
            "side": "BUY" if side > 0 else "SELL",
            "type": "LIMIT",
            "price": self._price(side),
            "quantity": self._quantity(),
            "time_in_force": force,
            "client_order_id": client_order_id,
        }

    def _price(self, side: int) -> str:
        ticks = MIDDLE_TICKS + self.dice.randint(-SPREAD_TICKS, SPREAD_TICKS) - side * SPREAD_TICKS // 2
        return f"{ticks // 100}.{ticks % 100:02d}"

    def _quantity(self) -> str:
        return f"0.{self.dice.randint(1, 99):03d}"
