"""The gate between what a provider says and what the venue believes. Pure: no Django, no clock of its own.

Invariants: what passes is finite, positive, not crossed, within the band around the last price that passed, not older
than it, not from the future, and on the market's tick with at least the source's spread. What does not pass is named
by one of REASONS, so that it can be counted.

A price outside the band is only believed when several ticks agree on it over a while (a real jump), and a first
price, or one after a long silence, when a second one agrees with it. Known limit: a provider that repeats the same
wrong price for that long is believed; no gate on one source can know better.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal

from marketdata import units
from marketdata.providers.protocol import Tick

REASONS = (
    "no_price", "nan", "not_positive", "out_of_range", "crossed", "too_wide", "from_the_future", "backwards",
    "duplicate", "unconfirmed", "out_of_band",
)  # fmt: skip

#: Clocks differ by so much. What is further ahead was noted by a clock that has been put back since.
FUTURE = timedelta(seconds=10)
#: A jump out of the band is real when so many ticks agree on it for so long.
JUMP_TICKS, JUMP_TIME = 5, timedelta(seconds=30)
#: After so long without a price, or before the first one, two agreeing ticks do.
SILENCE = timedelta(minutes=15)
FIRST_TICKS = 2
#: Ticks agree when they differ by less than this part of the band.
AGREEMENT = Decimal("0.25")
LARGEST_EXPONENT, SMALLEST_EXPONENT = 19, -18
WIDE = Context(prec=80)
STEP = Decimal(1).scaleb(SMALLEST_EXPONENT)


@dataclass(frozen=True, slots=True)
class Source:
    """A market's price source: spread and band are fractions, tick_size is the market's."""

    market_id: int
    symbol: str
    provider: str
    provider_symbol: str
    spread: Decimal
    band: Decimal
    tick_size: Decimal


@dataclass(frozen=True, slots=True)
class Believed:
    """A price that passed."""

    bid: Decimal
    ask: Decimal
    mid: Decimal
    quoted_at: datetime
    received_at: datetime


@dataclass(slots=True)
class _Candidate:
    """A price that is waiting to be confirmed."""

    mid: Decimal
    first_at: datetime
    last_at: datetime
    ticks: int


class Gate:
    """The gate of one market."""

    def __init__(self, source: Source, last: Believed | None = None):
        self.source = source
        self.last = last
        self._last_mid = last.mid if last else None
        self._candidate: _Candidate | None = None

    def check(self, tick: Tick, now: datetime) -> Believed | str:
        """What to believe, or the reason why not."""
        sides = _sides(tick)
        if isinstance(sides, str):
            return sides
        bid, ask = sides
        mid = _middle(bid, ask)
        reason = self._too_wide(bid, ask, mid) or self._wrong_time(tick, mid, now) or self._unbelievable(tick, mid)
        if reason:
            return reason
        believed = self._spread(bid, ask, mid, tick)
        if isinstance(believed, Believed):
            self.last, self._last_mid, self._candidate = believed, mid, None
        return believed

    def _too_wide(self, bid: Decimal, ask: Decimal, mid: Decimal) -> str | None:
        return "too_wide" if WIDE.subtract(ask, bid) > WIDE.multiply(mid, self.source.band) else None

    def _wrong_time(self, tick: Tick, mid: Decimal, now: datetime) -> str | None:
        if tick.at > now + FUTURE:
            return "from_the_future"
        if self.last is None or self.last.quoted_at > now + FUTURE or tick.at > self.last.quoted_at:
            return None
        if tick.at < self.last.quoted_at:
            return "backwards"
        return "duplicate" if mid == self._last_mid else None

    def _unbelievable(self, tick: Tick, mid: Decimal) -> str | None:
        """None when the price is near the last one, or has been confirmed often enough."""
        if self.last is not None and _near(mid, self._last_mid, self.source.band):
            return None
        is_first = self.last is None or tick.at - self.last.quoted_at > SILENCE
        candidate = self._confirmed_by(tick, mid)
        long_enough = is_first or candidate.last_at - candidate.first_at >= JUMP_TIME
        if candidate.ticks >= (FIRST_TICKS if is_first else JUMP_TICKS) and long_enough:
            return None
        return "unconfirmed" if is_first else "out_of_band"

    def _confirmed_by(self, tick: Tick, mid: Decimal) -> _Candidate:
        """The candidate after this tick: the same one if the tick is later and agrees, else a new one."""
        candidate = self._candidate
        tolerance = WIDE.multiply(self.source.band, AGREEMENT)
        if candidate is None or not _near(mid, candidate.mid, tolerance) or tick.at < candidate.last_at:
            self._candidate = candidate = _Candidate(mid, tick.at, tick.at, 1)
        elif tick.at > candidate.last_at:
            candidate.ticks += 1
            candidate.last_at = tick.at
        return candidate

    def _spread(self, bid: Decimal, ask: Decimal, mid: Decimal, tick: Tick) -> Believed | str:
        """At least the source's spread apart, and on the market's tick: the bid down, the ask up."""
        half = WIDE.divide(WIDE.multiply(mid, self.source.spread), Decimal(2))
        bid = _floor(min(bid, WIDE.subtract(mid, half)), self.source.tick_size)
        ask = _ceiling(max(ask, WIDE.add(mid, half)), self.source.tick_size)
        if bid <= 0 or ask.adjusted() > LARGEST_EXPONENT:
            return "out_of_range"
        return Believed(bid, ask, _middle(bid, ask), tick.at, tick.received_at)


def _sides(tick: Tick) -> tuple[Decimal, Decimal] | str:
    """Bid and ask, both the last price where they are not known, to eighteen decimals; or what is wrong with them."""
    for price in (tick.bid, tick.ask, tick.last):
        if price is not None and (reason := _wrong(price)):
            return reason
    if tick.bid is not None and tick.ask is not None:
        bid, ask = tick.bid, tick.ask
    elif tick.last is not None:
        bid = ask = tick.last
    else:
        return "no_price"
    if bid > ask:
        return "crossed"
    return bid.quantize(STEP, context=WIDE), ask.quantize(STEP, context=WIDE)


def _wrong(price: Decimal) -> str | None:
    if not price.is_finite():
        return "nan"
    if price <= 0:
        return "not_positive"
    if not SMALLEST_EXPONENT <= price.adjusted() <= LARGEST_EXPONENT:
        return "out_of_range"
    return None


def _middle(bid: Decimal, ask: Decimal) -> Decimal:
    return WIDE.divide(WIDE.add(bid, ask), Decimal(2)).quantize(STEP, context=WIDE)


def _near(price: Decimal, other: Decimal, band: Decimal) -> bool:
    return abs(WIDE.subtract(price, other)) <= WIDE.multiply(other, band)


def _floor(price: Decimal, step: Decimal) -> Decimal:
    count, _ = units.divmod_exact(price.quantize(STEP, context=WIDE), step)
    return WIDE.multiply(step, Decimal(count))


def _ceiling(price: Decimal, step: Decimal) -> Decimal:
    count, rest = units.divmod_exact(price.quantize(STEP, context=WIDE), step)
    return WIDE.multiply(step, Decimal(count + bool(rest)))
