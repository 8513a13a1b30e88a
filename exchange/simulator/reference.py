"""The hidden price that a simulated market moves around: what its makers believe a unit to be worth.

`ReferencePrice` is a seeded random walk in the logarithm of the price, drawn back to its anchor, with the volatility
and the news of its Weather. By itself it spreads about half a per cent around the anchor and never leaves LIMIT, so
that a price written in a tutorial stays inside the price band for ever; a scenario's news move it, and the anchor with
it, for good. While a provider's price is known, it is that. `CrossPrice` is the price of a market whose two assets
trade against a third one too: the quotient of those two prices, give or take a hair, as arbitrage would have it.

Floats are right here: this is an opinion about a price, not money; it leaves as whole ticks.
"""

from decimal import Decimal
from math import exp, log, sqrt
from random import Random

from exchange.simulator.weather import Weather

#: Per square root of a simulated second, in ordinary weather: one basis point.
VOLATILITY = 0.0001
#: A market around exactly one is that of a coin with its peg, which moves this much of what others move.
PEGGED = 0.05
#: Per simulated second: the pull forgets a deviation in about an hour.
REVERSION = 0.0003
#: Farthest distance from the anchor, as a logarithm.
LIMIT = 0.04
#: A cross price strays this far from the quotient, typically, and forgets it within this time.
STRAYING, STRAYING_SECONDS = 0.00003, 20.0


class ReferencePrice:
    """One market's walk. Draws only from the `random` it was given."""

    def __init__(self, *, anchor: Decimal, start: Decimal | None, random: Random):
        """`start`: where to go on, such as the last trade; the anchor itself when None."""
        self.weather = Weather(random)
        self._random = random
        self._anchor = anchor
        self._liveliness = PEGGED if anchor == 1 else 1.0
        self._deviation = _clipped(log(start / anchor)) if start else 0.0
        self._moved = 0.0
        self._followed: float | None = None

    @property
    def anchor(self) -> Decimal:
        return self._anchor

    def aim(self, anchor: Decimal) -> None:
        """Take an anchor that an operator may have moved; the price stays where it is as far as LIMIT allows."""
        if anchor != self._anchor:
            self._deviation = _clipped(self._deviation + log(self._anchor / anchor))
            self._anchor = anchor

    def follow(self, price: Decimal | None) -> None:
        """Be a provider's price from now on; None: walk on by itself, from wherever it is."""
        if price is not None:
            self._followed = log(price / self._anchor)
        elif self._followed is not None:
            self._deviation = _clipped(self._followed)
            self._moved, self._followed = self._followed - self._deviation, None

    def advance(self, seconds: float, *, volatility: float = 1.0) -> None:
        """Let simulated time pass, at so many times the ordinary volatility."""
        news = self.weather.advance(seconds)
        scale = VOLATILITY * self.weather.volatility * volatility
        pull = -REVERSION * seconds * self._deviation
        shock = scale * sqrt(seconds) * self._random.gauss(0, 1)
        self._deviation = _clipped(self._deviation + pull + self._liveliness * (shock + news))

    def jump(self, size: float) -> None:
        """News from a scenario: a step of the logarithm that stays."""
        self._moved += size
        self.weather.excite(min(3.0, abs(size) / 0.002))

    def price(self) -> float:
        """The price now, in the quote asset."""
        deviation = self._deviation + self._moved if self._followed is None else self._followed
        return float(self._anchor) * exp(deviation)

    def ticks(self, tick_size: Decimal) -> int:
        """The price now, in whole ticks, at least one."""
        return max(1, round(self.price() / float(tick_size)))


class CrossPrice(ReferencePrice):
    """The quotient of two other reference prices. By itself again while their anchors have nothing to do with its
    own: then somebody has made up prices that no arbitrage could bring together.

    A scenario's news of the cross market alone make it nervous, but do not move it: they would have to be news of one
    of its parts.
    """

    def __init__(self, *, parts: tuple[ReferencePrice, ReferencePrice], **terms):
        super().__init__(**terms)
        self._parts = parts
        self._strayed = 0.0

    def advance(self, seconds: float, *, volatility: float = 1.0) -> None:
        super().advance(seconds, volatility=volatility)
        kept = exp(-seconds / STRAYING_SECONDS)
        noise = STRAYING * sqrt(1 - kept * kept) * self._random.gauss(0, 1)
        self._strayed = self._strayed * kept + noise

    def price(self) -> float:
        above, below = self._parts
        distance = log(above.anchor / below.anchor / self._anchor)
        if self._followed is not None or abs(distance) > LIMIT:
            return super().price()
        return above.price() / below.price() * exp(self._strayed)


def _clipped(deviation: float) -> float:
    return max(-LIMIT, min(LIMIT, deviation))
