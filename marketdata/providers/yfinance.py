"""yfinance: Yahoo's prices through the library of that name, which is not among the venue's requirements.

Off unless an operator installs it and chooses it for a market: Yahoo's data is for personal use, and none of it is
shipped. Prices come as binary floats; they are read from their shortest text and rounded to the decimals that Yahoo
names as the symbol's own (`priceHint`, four where it names none), which removes the noise and nothing else.

Known limits: it polls (Yahoo's stream is undocumented); history of minutes reaches back days, of hours two years.
"""

import asyncio
import importlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from marketdata import packages
from marketdata.providers import spans
from marketdata.providers.limits import Clock, SlidingWindows
from marketdata.providers.protocol import (
    Bar,
    Disconnected,
    Garbled,
    KeyMissing,
    NotInPlan,
    ProviderError,
    RateLimited,
    Rejected,
    Tick,
    moment,
)

INTERVALS = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1d": "1d", "1w": "1wk", "1M": "1mo",
}  # fmt: skip
DEFAULT_DECIMALS = 4
#: Not documented by Yahoo; slower than what gets refused.
REQUESTS, SECONDS = 30, 60.0
REFUSED_WAIT_SECONDS = 300.0


class YFinance:
    """Yahoo through the installed library. KeyMissing when it is not installed."""

    name = "YFINANCE"

    def __init__(self, *, clock: Clock):
        self.counters: Counter = Counter()
        self._clock = clock
        self._windows = SlidingWindows([(REQUESTS, SECONDS)], clock)
        try:
            self._library = importlib.import_module("yfinance")
        except ImportError as error:
            raise KeyMissing(f"the library yfinance is not installed: {packages.install('yfinance')}") from error

    def groups(self, symbols: Sequence[str]) -> list[list[str]]:
        return [list(symbols)]

    def poll_seconds(self, symbols: Sequence[str]) -> float:
        return max(15.0, len(symbols) * SECONDS / REQUESTS)

    async def close(self) -> None:
        """The library keeps no connection of ours."""

    async def quotes(self, symbols: Sequence[str]) -> list[Tick]:
        """By the meta data of today's chart; a symbol that fails is left out and counted."""
        ticks = []
        for symbol in symbols:
            try:
                ticks.append(await self._quote(symbol))
            except (Garbled, Rejected):
                self.counters["garbled"] += 1
        return ticks

    async def _quote(self, symbol: str) -> Tick:
        _, meta = await self._chart(symbol, {"period": "1d", "interval": "1d"})
        price, told = meta.get("regularMarketPrice"), meta.get("regularMarketTime")
        if price is None or told is None:
            raise Garbled(f"no price of {symbol}")
        at = told.astimezone(UTC) if isinstance(told, datetime) else moment(int(told))
        return Tick(symbol, None, None, _exact(price, _decimals(meta)), at, self._clock.now())

    async def history(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Bar]:
        """By Ticker.history, unadjusted; bars with holes are left out, as is one off the grid (the live one)."""
        if interval not in INTERVALS:
            raise Rejected(f"yfinance has no interval {interval}; it has {', '.join(INTERVALS)}")
        end = end or self._clock.now()
        begin = start or end - spans.length(interval) * limit * 3
        terms = {"interval": INTERVALS[interval], "start": begin, "end": end, "auto_adjust": False, "actions": False}
        frame, meta = await self._chart(symbol, terms)
        bars = [bar for bar in _bars(frame, _decimals(meta)) if begin <= bar.open_time < end]
        if spans.length(interval) < timedelta(days=1):
            bars = [bar for bar in bars if not bar.open_time.second]
        return bars[:limit] if start is not None else bars[-limit:]

    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        """There is none: the feed polls."""
        raise NotInPlan("yfinance is polled")
        yield

    async def _chart(self, symbol: str, terms: dict) -> tuple:
        """The data frame and the meta data of one chart. The library blocks, so it runs in a thread."""
        await self._windows.spend()
        self.counters["requests"] += 1
        try:
            return await asyncio.to_thread(self._fetch, symbol, terms)
        except Exception as error:
            raise self._failure(symbol, error) from error

    def _fetch(self, symbol: str, terms: dict) -> tuple:
        ticker = self._library.Ticker(symbol)
        frame = ticker.history(**terms)
        return frame, ticker.history_metadata or {}

    def _failure(self, symbol: str, error: Exception) -> ProviderError:
        """The library's exceptions differ between versions: their names and texts tell."""
        text = f"{type(error).__name__}: {str(error)[:160]}"
        if "RateLimit" in text or "Too Many Requests" in text:
            self.counters["rate_limited"] += 1
            return RateLimited(text, wait_seconds=REFUSED_WAIT_SECONDS)
        if any(word in text for word in ("Missing", "delisted", "Not Found", "InvalidPeriod")):
            return Rejected(f"{symbol}: {text}")
        return Disconnected(text)


def _decimals(meta: dict) -> int:
    hint = meta.get("priceHint")
    return max(2, min(hint, 12)) if isinstance(hint, int) else DEFAULT_DECIMALS


def _exact(value: float, decimals: int) -> Decimal:
    """A binary float as the decimal that was meant. Garbled when it is none."""
    if value is None or not math.isfinite(value):
        raise Garbled("a hole in the data")
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)


def _bars(frame, decimals: int) -> list[Bar]:
    columns = [list(frame[name]) for name in ("Open", "High", "Low", "Close", "Volume")]
    bars = []
    for stamp, *values in zip(frame.index, *columns, strict=True):
        try:
            prices = [_exact(value, decimals) for value in values[:4]]
            opened = stamp.to_pydatetime()
            opened = opened.replace(tzinfo=UTC) if opened.tzinfo is None else opened.astimezone(UTC)
            bars.append(Bar(opened, *prices, _exact(values[4], 0)))
        except Garbled:
            continue
    return bars
