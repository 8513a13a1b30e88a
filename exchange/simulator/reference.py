"""The price that a simulated market moves around: a seeded random walk which is drawn back to its anchor.

An Ornstein-Uhlenbeck process in the logarithm of the price. It spreads about 0.8 % around the anchor and never leaves
LIMIT, so that a price written in a tutorial stays inside the price band for ever. Floats are right here: this is an
opinion about a price, not money; it leaves as whole ticks.

Known limit: markets walk independently of each other, so ETH_BTC need not agree with ETH_USDT and BTC_USDT.
"""

from decimal import Decimal
from math import exp, log, sqrt
from random import Random

#: Per square root of a simulated second: two basis points.
VOLATILITY = 0.0002
#: Per simulated second: the pull forgets a deviation in about an hour.
REVERSION = 0.0003
#: Farthest distance from the anchor, as a logarithm.
LIMIT = 0.04


class ReferencePrice:
    """One market's walk. Draws only from the `random` it was given."""

    def __init__(self, *, anchor: Decimal, start: Decimal | None, random: Random):
        """`start`: where to go on, such as the last trade; the anchor itself when None."""
        self._random = random
        self._anchor = anchor
        self._deviation = _clipped(log(start / anchor)) if start else 0.0

    def aim(self, anchor: Decimal) -> None:
        """Take an anchor that an operator may have moved; the price stays where it is as far as LIMIT allows."""
        if anchor != self._anchor:
            self._deviation = _clipped(self._deviation + log(self._anchor / anchor))
            self._anchor = anchor

    def advance(self, seconds: float) -> None:
        """Let simulated time pass."""
        pull = -REVERSION * seconds * self._deviation
        shock = VOLATILITY * sqrt(seconds) * self._random.gauss(0, 1)
        self._deviation = _clipped(self._deviation + pull + shock)

    def ticks(self, tick_size: Decimal) -> int:
        """The price now, in whole ticks, at least one."""
        return max(1, round(float(self._anchor / tick_size) * exp(self._deviation)))


def _clipped(deviation: float) -> float:
    return max(-LIMIT, min(LIMIT, deviation))
