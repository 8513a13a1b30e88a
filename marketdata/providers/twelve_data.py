"""Twelve Data: quotes and history over REST, prices over its WebSocket (paid plans; without one the feed polls).

Errors come as `{"code", "message", "status": "error"}`, also with HTTP status 200, so the body decides. Credits come
back with each full minute and each UTC day; there is no Retry-After.

Known limits: US stocks carry no bid and ask here, only the last price; history of one minute begins in 2020.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from marketdata.providers import sockets, spans
from marketdata.providers.http import Answer, JsonClient
from marketdata.providers.limits import Clock, MinuteCredits
from marketdata.providers.protocol import (
    Bar,
    Disconnected,
    Garbled,
    KeyRefused,
    NoData,
    NotInPlan,
    RateLimited,
    Rejected,
    Tick,
    moment,
    number,
    required,
)

BASE_REST = "https://api.twelvedata.com"
BASE_WS = "wss://ws.twelvedata.com"
INTERVALS = {
    "1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "2h": "2h", "4h": "4h", "8h": "8h",
    "1d": "1day", "1w": "1week", "1M": "1month",
}  # fmt: skip
LARGEST_BATCH = 120
LARGEST_PAGE = 5000
STREAM_SYMBOLS = 500
ATTEMPTS = 3
HEARTBEAT = '{"action":"heartbeat"}'


class TwelveData:
    """One key at Twelve Data. The key travels in a header, except to the WebSocket, which knows no other way."""

    name = "TWELVE_DATA"

    def __init__(
        self,
        *,
        key: str,
        clock: Clock,
        base_rest: str = BASE_REST,
        base_ws: str = BASE_WS,
        per_minute: int = 8,
        per_day: int = 800,
    ):
        self.counters: Counter = Counter()
        self._key = key
        self._clock = clock
        self._base_ws = base_ws.rstrip("/")
        self._rest = JsonClient(base_rest, headers={"Authorization": f"apikey {key}"})
        self._credits = MinuteCredits(per_minute=per_minute, per_day=per_day, clock=clock)
        self._unknown: set[str] = set()

    def groups(self, symbols: Sequence[str]) -> list[list[str]]:
        known = [symbol for symbol in symbols if symbol not in self._unknown]
        return [known[first : first + STREAM_SYMBOLS] for first in range(0, len(known), STREAM_SYMBOLS)]

    def poll_seconds(self, symbols: Sequence[str]) -> float:
        """A credit a symbol, so that the day's credits last the day."""
        return max(1.0, len(symbols) * max(60 / self._credits.per_minute, 86_400 / self._credits.per_day))

    async def close(self) -> None:
        await self._rest.close()

    # REST

    async def quotes(self, symbols: Sequence[str]) -> list[Tick]:
        """By /quote. The time is the last minute's if told, else now while the market is open, else the day's."""
        ticks, size = [], min(LARGEST_BATCH, self._credits.per_minute)
        known = [symbol for symbol in symbols if symbol not in self._unknown]
        for first in range(0, len(known), size):
            batch = known[first : first + size]
            for symbol, body in (await self._batch(batch)).items():
                try:
                    ticks.append(self._quote(symbol, body))
                except Garbled:
                    self.counters["garbled"] += 1
        return ticks

    async def _batch(self, symbols: Sequence[str]) -> dict[str, dict]:
        """The answer of each symbol that has one."""
        try:
            body = await self._get("/quote", {"symbol": ",".join(symbols)}, credits=len(symbols))
        except Rejected:
            if len(symbols) != 1:
                raise
            self._forget(symbols[0])
            return {}
        bodies = {symbols[0]: body} if len(symbols) == 1 else body
        found = {}
        for symbol in symbols:
            part = bodies.get(symbol)
            if not isinstance(part, dict):
                self.counters["garbled"] += 1
            elif _is_error(part):
                self._note_error(symbol, part)
            else:
                found[symbol] = part
        return found

    def _note_error(self, symbol: str, body: dict) -> None:
        """One symbol of a batch failed: the others must not suffer."""
        if _code(body, 500) in {400, 404}:
            self._forget(symbol)
        else:
            self.counters["failed_symbols"] += 1

    def _forget(self, symbol: str) -> None:
        self._unknown.add(symbol)
        self.counters["unknown_symbols"] += 1

    def _quote(self, symbol: str, body: dict) -> Tick:
        now = self._clock.now()
        told = body.get("last_quote_at")
        if told:
            at = moment(told)
        elif body.get("is_market_open") in (True, None):
            at = now
        else:
            at = moment(body.get("timestamp"))
        return Tick(symbol, number(body.get("bid")), number(body.get("ask")), required(body.get("close")), at, now)

    async def history(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Bar]:
        """By /time_series, all in UTC. Rejected for an interval or a symbol that it does not know."""
        if interval not in INTERVALS:
            raise Rejected(f"Twelve Data has no interval {interval}; it has {', '.join(INTERVALS)}")
        if start is None:
            return await self._newest(symbol, interval, end, limit)
        bars: dict[datetime, Bar] = {}
        end = end or self._clock.now()
        while start < end and len(bars) < limit:
            until = min(end, start + spans.length(interval) * LARGEST_PAGE)
            # With both dates and an outputsize the newest would be cut off.
            dates = {"start_date": _text(start), "end_date": _text(until), "order": "asc"}
            for bar in await self._page(symbol, interval, dates):
                bars[bar.open_time] = bar
            start = until
        return [bars[opened] for opened in sorted(bars) if opened < end][:limit]

    async def _newest(self, symbol: str, interval: str, end: datetime | None, limit: int) -> list[Bar]:
        terms = {"outputsize": str(min(limit, LARGEST_PAGE)), "order": "desc"}
        if end is not None:
            terms["end_date"] = _text(end - timedelta(seconds=1))
        return sorted(await self._page(symbol, interval, terms), key=lambda bar: bar.open_time)[-limit:]

    async def _page(self, symbol: str, interval: str, terms: dict[str, str]) -> list[Bar]:
        asked = {"symbol": symbol, "interval": INTERVALS[interval], "timezone": "UTC", "dp": "8", **terms}
        try:
            body = await self._get("/time_series", asked, credits=1)
        except NoData:
            return []
        values = body.get("values")
        if not isinstance(values, list):
            raise Garbled("an answer without values")
        return [_bar(row) for row in values]

    async def _get(self, path: str, parameters: dict[str, str], *, credits: int) -> dict:
        """The body of a good answer. Waits for credits, and out of a spent minute into the next, a few times."""
        for attempt in range(1, ATTEMPTS + 1):
            await self._credits.spend(credits)
            self.counters["requests"] += 1
            answer = await self._rest.get(path, parameters)
            self._observe(answer)
            try:
                return self._checked(answer)
            except RateLimited as error:
                self.counters["rate_limited"] += 1
                if attempt == ATTEMPTS or error.wait_seconds > 60:
                    raise
                await self._clock.sleep(error.wait_seconds)
        raise AssertionError("the last attempt returns or raises")

    def _observe(self, answer: Answer) -> None:
        left = answer.headers.get("api-credits-left", "")
        if left.isdecimal():
            self._credits.left_this_minute(int(left))

    def _checked(self, answer: Answer) -> dict:
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 200 and not _is_error(body):
            if not body:
                raise Garbled("an empty answer")
            return body
        code, detail = _code(body, answer.status), str(body.get("message", f"HTTP {answer.status}"))[:200]
        if code == 429:
            raise RateLimited(detail, wait_seconds=self._credits.exhausted(day="for the day" in detail))
        kinds = {400: Rejected, 401: KeyRefused, 403: NotInPlan, 404: NoData, 414: Rejected}
        raise kinds.get(code, Disconnected)(f"{code}: {detail}")

    # WebSocket

    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        """Prices of all symbols over one connection. NotInPlan when it takes none of them."""
        subscribe = json.dumps({"action": "subscribe", "params": {"symbols": ",".join(symbols)}})
        url = f"{self._base_ws}/v1/quotes/price?apikey={self._key}"
        received = sockets.messages(
            url, hello=[subscribe], heartbeat=lambda: HEARTBEAT, clock=self._clock, counters=self.counters
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
        """The tick, if the message is one."""
        match message.get("event"):
            case "price":
                return self._price(message)
            case "subscribe-status":
                self._subscribed(message)
            case "heartbeat":
                self.counters["heartbeats"] += 1
            case _:
                self.counters["unknown_messages"] += 1
        return None

    def _price(self, message: dict) -> Tick:
        symbol = message.get("symbol")
        if not isinstance(symbol, str):
            raise Garbled("a price without a symbol")
        bid, ask = number(message.get("bid")), number(message.get("ask"))
        at, now = moment(message.get("timestamp")), self._clock.now()
        return Tick(symbol, bid, ask, required(message.get("price")), at, now)

    def _subscribed(self, message: dict) -> None:
        success, fails = message.get("success") or [], message.get("fails") or []
        self.counters["subscriptions"] += 1
        self.counters["failed_symbols"] += len(fails)
        if message.get("status") == "error" and not success:
            raise NotInPlan(f"no symbol was subscribed: {str(message.get('messages') or fails)[:200]}")


def _is_error(body: dict) -> bool:
    return body.get("status") == "error" or ("code" in body and "message" in body)


def _code(body: dict, status: int) -> int:
    code = body.get("code", status)
    return int(code) if isinstance(code, int | str) and str(code).isdecimal() else status


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _bar(row) -> Bar:
    try:
        opened = datetime.fromisoformat(row["datetime"]).replace(tzinfo=UTC)
        prices = [required(row[name]) for name in ("open", "high", "low", "close")]
        return Bar(opened, *prices, number(row.get("volume")) or required("0"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Garbled(f"not a bar: {str(row)[:80]}") from error
