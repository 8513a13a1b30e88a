"""Made-up prices: seeded, without end, the same at the same moment in every process. The default provider.

The price of a moment is a function of seed, symbol and time alone: the anchor times the exponential of a sum of
smoothed noise, one layer per time scale from two seconds to a year, each as strong as a random walk would be at that
scale. So a stream, a quote and the bars of any past agree with each other, and nothing has to be remembered.

A provider symbol is `NAME` or `NAME@anchor`, such as `BTC@60000`; without an anchor the name decides one between 10
and 1000. Floats are right here: this is an opinion about a price, not money; it leaves with eight digits.

Known limits: markets move independently of each other, and around the clock.
"""

import hashlib
import math
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from marketdata.providers import spans
from marketdata.providers.limits import Clock
from marketdata.providers.protocol import Bar, Rejected, Tick

#: Of the logarithm of the price, per square root of a second: about 1 % a day.
VOLATILITY = 0.000035
SCALES_SECONDS = (2, 8, 30, 120, 600, 3_600, 4 * 3_600, 86_400, 5 * 86_400, 30 * 86_400, 365 * 86_400)
SPREAD = 0.0002
SAMPLES_A_BAR = 12
TICK_SECONDS = 1.0
SIGNIFICANT_DIGITS = 8


class Synthetic:
    """Prices from a seed."""

    name = "SYNTHETIC"

    def __init__(self, *, clock: Clock, seed: int = 1):
        self.counters: Counter = Counter()
        self._clock = clock
        self._seed = seed

    def groups(self, symbols: Sequence[str]) -> list[list[str]]:
        return [list(symbols)]

    def poll_seconds(self, symbols: Sequence[str]) -> float:
        return TICK_SECONDS

    async def close(self) -> None:
        """Nothing is open."""

    async def quotes(self, symbols: Sequence[str]) -> list[Tick]:
        ticks, now = [], self._clock.now()
        for symbol in symbols:
            try:
                ticks.append(self._tick(symbol, now))
            except Rejected:
                self.counters["unknown_symbols"] += 1
        return ticks

    async def history(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Bar]:
        """Whole bars on the interval's grid since 1970; the month is thirty-one days long."""
        step = int(spans.length(interval).total_seconds())
        last = int((end or self._clock.now()).timestamp()) // step
        first = max(last - limit, 0) if start is None else math.ceil(start.timestamp() / step)
        return [self._bar(symbol, number * step, step) for number in range(first, min(last, first + limit))]

    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        """A tick of each symbol every TICK_SECONDS; it never ends by itself."""
        while True:
            for tick in await self.quotes(symbols):
                self.counters["messages"] += 1
                yield tick
            await self._clock.sleep(TICK_SECONDS)

    def _tick(self, symbol: str, now: datetime) -> Tick:
        price = self.price(symbol, now.timestamp())
        bid, ask = _rounded(price * (1 - SPREAD / 2)), _rounded(price * (1 + SPREAD / 2))
        return Tick(symbol, bid, ask, _rounded(price), now, now)

    def price(self, symbol: str, seconds: float) -> float:
        """The price of a moment, in seconds since 1970."""
        name, anchor = parse(symbol)
        walk = 0.0
        for scale in SCALES_SECONDS:
            place, part = divmod(seconds / scale, 1.0)
            before = _noise(self._seed, name, scale, int(place))
            after = _noise(self._seed, name, scale, int(place) + 1)
            walk += VOLATILITY * math.sqrt(scale / 2) * (before + (after - before) * part)
        return anchor * math.exp(walk)

    def _bar(self, symbol: str, opened: int, step: int) -> Bar:
        prices = [self.price(symbol, opened + step * index / SAMPLES_A_BAR) for index in range(SAMPLES_A_BAR + 1)]
        exact = [_rounded(price) for price in prices]
        volume = Decimal(round(step * (1 + abs(_noise(self._seed, symbol + "/volume", step, opened // step)))))
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=opened)
        return Bar(time, exact[0], max(exact), min(exact), exact[-1], volume)


def parse(symbol: str) -> tuple[str, float]:
    """Name and anchor of a provider symbol; Rejected when the anchor is no positive number."""
    name, _, anchor = symbol.partition("@")
    if not anchor:
        return name, 10.0 ** (1 + 2 * hashlib.blake2b(name.encode(), digest_size=1).digest()[0] / 255)
    try:
        price = Decimal(anchor)
    except InvalidOperation:
        price = Decimal(0)
    if not (price.is_finite() and 0 < price < 10**15):
        raise Rejected(f"{symbol}: the anchor must be a positive price")
    return name, float(price)


@lru_cache(maxsize=65_536)
def _noise(seed: int, name: str, scale: int, place: int) -> float:
    """A standard normal number, the same for the same arguments on every machine."""
    digest = hashlib.blake2b(f"{seed}:{name}:{scale}:{place}".encode(), digest_size=16).digest()
    first, second = struct.unpack("<QQ", digest)
    return math.sqrt(-2 * math.log((first + 1) / 2**64)) * math.cos(2 * math.pi * second / 2**64)


def _rounded(price: float) -> Decimal:
    return Decimal(f"{price:.{SIGNIFICANT_DIGITS}g}")
