"""AllTick: quotes and bars over REST, depth and trades over its WebSocket.

Two families of addresses: stocks and their indices (codes that end in .US, .HK, .SH, .SZ) and everything else. Errors
are told by `ret` in the body, whatever the HTTP status. A subscription replaces the one before, so each connection
sends its whole set once. There are no rate headers: the plan's documented limits are kept from this side.

Known limits: US stocks are followed by trades (no bid and ask), the rest by depth. Bars of stocks cannot be paged
backwards: only the newest 500 are in reach.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from marketdata.providers import sockets
from marketdata.providers.http import Answer, JsonClient
from marketdata.providers.limits import Clock, SlidingWindows
from marketdata.providers.protocol import (
    Bar,
    Disconnected,
    Garbled,
    KeyRefused,
    NotInPlan,
    RateLimited,
    Rejected,
    Tick,
    moment,
    number,
    required,
)

BASE_REST = "https://quote.alltick.co"
BASE_WS = "wss://quote.alltick.co"
STOCK_ENDINGS = (".US", ".HK", ".SH", ".SZ")
KLINE_TYPES = {
    "1m": 1, "5m": 2, "15m": 3, "30m": 4, "1h": 5, "2h": 6, "4h": 7, "1d": 8, "1w": 9, "1M": 10,
}  # fmt: skip
NOT_FOR_STOCKS = {"2h", "4h"}
LARGEST_PAGE = 500
MINUTE_SECONDS = 60.0
RECONNECT_SECONDS = 3.0
ATTEMPTS = 3
HEARTBEAT, DEPTH, TRADES = 22000, 22002, 22004
TRADE_PUSH, DEPTH_PUSH = 22998, 22999


@dataclass(frozen=True, slots=True)
class Plan:
    """What a key may: requests to one endpoint in so many seconds, in all per minute and day, sockets, codes each."""

    requests: int
    seconds: float
    per_minute: int
    per_day: int
    sockets: int
    codes: int


PLANS = {
    "free": Plan(1, 10.0, 10, 1_000, 1, 5),
    "basic": Plan(1, 1.0, 60, 86_400, 1, 100),
    "premium": Plan(10, 1.0, 600, 864_000, 3, 200),
    "professional": Plan(20, 1.0, 1_200, 1_728_000, 10, 3_000),
}


class AllTick:
    """One token at AllTick."""

    name = "ALLTICK"

    def __init__(
        self, *, key: str, clock: Clock, base_rest: str = BASE_REST, base_ws: str = BASE_WS, plan: str = "free"
    ):
        self.counters: Counter = Counter()
        self._key = key
        self._clock = clock
        self._plan = PLANS[plan]
        self._rest = JsonClient(_host(base_rest, "api"))
        self._base_ws = _host(base_ws, "ws-api")
        everything = [(self._plan.per_minute, MINUTE_SECONDS), (self._plan.per_day, 86_400.0)]
        self._all_requests = SlidingWindows(everything, clock)
        self._endpoints: dict[str, SlidingWindows] = {}
        self._new_sockets = SlidingWindows([(1, RECONNECT_SECONDS)], clock)
        self._open_sockets = 0
        self._unknown: set[str] = set()

    def groups(self, symbols: Sequence[str]) -> list[list[str]]:
        """Stocks and others apart, each in sets of as many codes as the plan lets one socket carry."""
        known = [symbol for symbol in symbols if symbol not in self._unknown]
        families = [[s for s in known if is_stock(s)], [s for s in known if not is_stock(s)]]
        size = self._plan.codes
        return [family[first : first + size] for family in families for first in range(0, len(family), size)]

    def poll_seconds(self, symbols: Sequence[str]) -> float:
        """Up to three requests a round (two families; depth, or trades for US stocks), all day long."""
        requests = len({(is_stock(symbol), _has_depth(symbol)) for symbol in symbols}) or 1
        return requests * max(self._plan.seconds / self._plan.requests, 86_400 / self._plan.per_day)

    async def close(self) -> None:
        await self._rest.close()

    # REST

    async def quotes(self, symbols: Sequence[str]) -> list[Tick]:
        """By depth-tick, for US stocks by trade-tick."""
        ticks = []
        for stock in (True, False):
            for depth in (True, False):
                chosen = [s for s in symbols if (is_stock(s), _has_depth(s)) == (stock, depth)]
                ticks += await self._ticks([s for s in chosen if s not in self._unknown], stock=stock, depth=depth)
        return ticks

    async def _ticks(self, symbols: list[str], *, stock: bool, depth: bool) -> list[Tick]:
        """One unknown code fails a whole request: it is looked for by halving, once."""
        if not symbols:
            return []
        endpoint = "depth-tick" if depth else "trade-tick"
        try:
            data = await self._get(endpoint, {"symbol_list": [{"code": code} for code in symbols]}, stock=stock)
        except Rejected:
            if len(symbols) == 1:
                self._unknown.add(symbols[0])
                self.counters["unknown_symbols"] += 1
                return []
            middle = len(symbols) // 2
            first = await self._ticks(symbols[:middle], stock=stock, depth=depth)
            return first + await self._ticks(symbols[middle:], stock=stock, depth=depth)
        return self._readable(_rows(data, "tick_list"))

    def _readable(self, rows: list) -> list[Tick]:
        ticks = []
        for row in rows:
            try:
                ticks.append(self._tick(row))
            except Garbled:
                self.counters["garbled"] += 1
        return ticks

    def _tick(self, row) -> Tick:
        """Of a depth row or a trade row, from REST or pushed."""
        if not isinstance(row, dict) or not isinstance(row.get("code"), str):
            raise Garbled("a tick without a code")
        at, now = moment(row.get("tick_time")), self._clock.now()
        if "price" in row:
            return Tick(row["code"], None, None, required(row["price"]), at, now)
        return Tick(row["code"], _best(row.get("bids")), _best(row.get("asks")), None, at, now)

    async def history(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Bar]:
        """By kline, paged backwards from the end."""
        stock = is_stock(symbol)
        if interval not in KLINE_TYPES or (stock and interval in NOT_FOR_STOCKS):
            raise Rejected(f"AllTick has no interval {interval} for {symbol}")
        bars: dict[datetime, Bar] = {}
        until = int(end.timestamp()) if end is not None and not stock else 0
        wanted = limit if start is None else None
        while True:
            page = await self._page(symbol, KLINE_TYPES[interval], until, wanted and wanted - len(bars))
            fresh = [bar for bar in page if bar.open_time not in bars]
            bars.update((bar.open_time, bar) for bar in fresh if end is None or bar.open_time < end)
            if stock or not fresh or (wanted is not None and len(bars) >= wanted):
                break
            oldest = min(bar.open_time for bar in fresh)
            if start is not None and oldest <= start:
                break
            until = int(oldest.timestamp()) - 1
        return _chosen(bars, start, limit)

    async def _page(self, symbol: str, kline_type: int, until: int, wanted: int | None) -> list[Bar]:
        asked = {
            "code": symbol,
            "kline_type": kline_type,
            "kline_timestamp_end": until,
            "query_kline_num": min(wanted or LARGEST_PAGE, LARGEST_PAGE),
            "adjust_type": 0,
        }
        data = await self._get("kline", asked, stock=is_stock(symbol))
        return [_bar(row) for row in _rows(data, "kline_list")]

    async def _get(self, endpoint: str, data: dict, *, stock: bool) -> dict:
        """The data of a good answer; refused for being too fast, it waits and asks again, a few times."""
        path = f"/quote-{'stock-' if stock else ''}b-api/{endpoint}"
        rules = [(self._plan.requests, self._plan.seconds)]
        windows = self._endpoints.setdefault(path, SlidingWindows(rules, self._clock))
        for attempt in range(1, ATTEMPTS + 1):
            await windows.spend()
            await self._all_requests.spend()
            self.counters["requests"] += 1
            query = json.dumps({"trace": uuid4().hex, "data": data}, separators=(",", ":"))
            answer = await self._rest.get(path, {"token": self._key, "query": query})
            try:
                return self._checked(answer)
            except RateLimited as error:
                self.counters["rate_limited"] += 1
                if attempt == ATTEMPTS:
                    raise
                await self._clock.sleep(error.wait_seconds)
        raise AssertionError("the last attempt returns or raises")

    def _checked(self, answer: Answer) -> dict:
        body = answer.body if isinstance(answer.body, dict) else {}
        ret = _whole(body.get("ret"), answer.status)
        if ret != 200:
            raise failure(ret, str(body.get("msg", f"HTTP {answer.status}"))[:200])
        if not isinstance(body.get("data"), dict):
            raise Garbled("an answer without data")
        return body["data"]

    # WebSocket

    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        """Ticks of symbols of one family. NotInPlan when the plan's sockets are all taken, or its codes exceeded."""
        if self._open_sockets >= self._plan.sockets:
            raise NotInPlan(f"the plan allows {self._plan.sockets} sockets")
        self._open_sockets += 1
        try:
            await self._new_sockets.spend()
            async with aclosing(self._receive(symbols)) as ticks:
                async for tick in ticks:
                    yield tick
        finally:
            self._open_sockets -= 1

    async def _receive(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        received = sockets.messages(
            f"{self._base_ws}/quote-{'stock-' if is_stock(symbols[0]) else ''}b-ws-api?token={self._key}",
            hello=_subscriptions(symbols),
            heartbeat=lambda: _request(HEARTBEAT, {}),
            clock=self._clock,
            counters=self.counters,
        )
        async with aclosing(received):
            async for message in received:
                try:
                    tick = self._message(message)
                except Garbled:
                    self.counters["garbled"] += 1
                    continue
                if tick is not None:
                    yield tick

    def _message(self, message: dict) -> Tick | None:
        """The tick, if the message is one; a ProviderError if it is a refusal."""
        command = _whole(message.get("cmd_id"), 0)
        if command in (TRADE_PUSH, DEPTH_PUSH):
            return self._tick(message.get("data"))
        ret = _whole(message.get("ret"), 200)
        if ret != 200:
            raise failure(ret, str(message.get("msg"))[:200])
        kinds = {HEARTBEAT + 1: "heartbeats", DEPTH + 1: "subscriptions", TRADES + 1: "subscriptions"}
        self.counters[kinds.get(command, "unknown_messages")] += 1
        return None


def is_stock(code: str) -> bool:
    return code.endswith(STOCK_ENDINGS)


def _has_depth(code: str) -> bool:
    return not code.endswith(".US")


def _host(base: str, kind: str) -> str:
    """The address without a path: operators also paste one of the two base paths."""
    base = base.rstrip("/")
    return base.removesuffix(f"/quote-stock-b-{kind}").removesuffix(f"/quote-b-{kind}")


def _request(command: int, data: dict) -> str:
    return json.dumps({"cmd_id": command, "seq_id": uuid4().int % 2**31, "trace": uuid4().hex, "data": data})


def _subscriptions(symbols: Sequence[str]) -> list[str]:
    """The whole set, as depth where there is one and as trades where not."""
    depth = [{"code": code, "depth_level": 1} for code in symbols if _has_depth(code)]
    trades = [{"code": code} for code in symbols if not _has_depth(code)]
    return [
        _request(command, {"symbol_list": chosen}) for command, chosen in ((DEPTH, depth), (TRADES, trades)) if chosen
    ]


def failure(ret: int, detail: str):
    """The error that a `ret` stands for."""
    text = f"{ret}: {detail}"
    if ret in {429, 605, 606}:
        return RateLimited(text, wait_seconds=MINUTE_SECONDS)
    kinds = {400: Rejected, 401: KeyRefused, 402: Rejected, 600: Rejected, 601: Rejected, 603: NotInPlan}
    return {**kinds, 604: NotInPlan}.get(ret, Disconnected)(text)


def _whole(value, default: int) -> int:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else default


def _rows(data: dict, name: str) -> list:
    """A list of the answer's data; nothing for none."""
    rows = data.get(name) or []
    if not isinstance(rows, list):
        raise Garbled(f"{name} is no list")
    return rows


def _best(levels):
    """The price of the best level; None for an empty side."""
    if not levels:
        return None
    if not isinstance(levels, list) or not isinstance(levels[0], dict):
        raise Garbled("not depth levels")
    return number(levels[0].get("price"))


def _chosen(bars: dict[datetime, Bar], start: datetime | None, limit: int) -> list[Bar]:
    ordered = [bars[opened] for opened in sorted(bars)]
    if start is None:
        return ordered[-limit:]
    return [bar for bar in ordered if bar.open_time >= start][:limit]


def _bar(row) -> Bar:
    try:
        prices = [required(row[f"{name}_price"]) for name in ("open", "high", "low", "close")]
        opened = moment(row["timestamp"])
        return Bar(opened.astimezone(UTC), *prices, number(row.get("volume")) or required("0"))
    except (KeyError, TypeError, AttributeError) as error:
        raise Garbled(f"not a bar: {str(row)[:80]}") from error
