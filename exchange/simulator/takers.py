"""Those who come to trade: noise, followers and faders of trends, and institutions. Decisions only; see `agents`."""

from dataclasses import dataclass, field
from random import Random

from exchange.engine.book import BUY, SELL
from exchange.simulator.agents import (
    CancelIntent,
    Intent,
    MarketState,
    PlaceIntent,
    affordable,
    fitted_lots,
    spacing_ticks,
    typical_lots,
)

#: Exponent of the lengths of runs and metaorders: sums of such runs keep their sign with long memory.
RUN_EXPONENT, LONGEST_RUN = 1.5, 60
#: Sizes are lognormal; a few are many times larger.
SIZE_CENTRE, SIZE_SPREAD, TAIL_SHARE, LARGEST_TAIL = -0.3, 0.8, 0.03, 15.0


def order_lots(state: MarketState, random: Random) -> int:
    """The size of somebody's order: mostly near the typical one, now and then far larger."""
    factor = random.lognormvariate(SIZE_CENTRE, SIZE_SPREAD)
    if random.random() < TAIL_SHARE:
        factor *= min(LARGEST_TAIL, random.paretovariate(RUN_EXPONENT))
    return max(1, int(typical_lots(state.spec, state.reference) * factor))


def taking(state: MarketState, side: int, lots: int) -> list[Intent]:
    """A market order; nothing when nobody is there to trade with, or the money does not reach."""
    price = state.best(-side)
    if price is None:
        return []
    return affordable(state, PlaceIntent(side, fitted_lots(state.spec, price, lots)), price)


def resting(state: MarketState, side: int, lots: int, price: int) -> list[Intent]:
    """A limit order at the nearest price that the market takes."""
    price = state.clamped(price)
    return affordable(state, PlaceIntent(side, fitted_lots(state.spec, price, lots), price), price)


@dataclass(slots=True)
class NoiseTrader:
    """Trades for reasons of its own: market orders, limit orders around the reference price, and second thoughts.

    It takes in runs of one side, as people do who split what they want into pieces.
    """

    #: The chance of doing anything at all in a step.
    activity: float = 0.2
    #: Shares of what it does when it does something; the rest are limit orders.
    market_share: float = 0.45
    cancel_share: float = 0.15
    most_orders: int = 6
    _side: int = field(default=BUY, init=False)
    _left: int = field(default=0, init=False)

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if random.random() >= self.activity * state.activity:
            return []
        choice, lots = random.random(), order_lots(state, random)
        if state.orders and (choice < self.cancel_share or len(state.orders) >= self.most_orders):
            return [CancelIntent(random.choice(state.orders).id)]
        if choice < self.cancel_share + self.market_share:
            return taking(state, self._next_side(random), lots)
        return self._limit(state, random.choice((BUY, SELL)), lots, random)

    def _next_side(self, random: Random) -> int:
        if not self._left:
            self._side = random.choice((BUY, SELL))
            self._left = min(LONGEST_RUN, int(random.paretovariate(RUN_EXPONENT)))
        self._left -= 1
        return self._side

    def _limit(self, state: MarketState, side: int, lots: int, random: Random) -> list[Intent]:
        """Mostly behind the reference price, now and then through it."""
        gap = spacing_ticks(state.reference)
        return resting(state, side, lots, state.reference - side * int(random.expovariate(1 / (2 * gap)) - gap / 2))


@dataclass(frozen=True, slots=True)
class MomentumTrader:
    """Buys what has been rising and sells what has been falling, when the trend stands out of the noise."""

    activity: float = 0.06
    #: The least trend, as a logarithm, in ordinary weather.
    threshold: float = 0.0004

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if state.trend is None or random.random() >= self.activity * state.activity:
            return []
        if abs(state.trend) < self.threshold * max(1.0, state.volatility):
            return []
        return taking(state, BUY if state.trend > 0 else SELL, order_lots(state, random))


@dataclass(frozen=True, slots=True)
class ReversionTrader:
    """Believes that what went far comes back: leaves limit orders against the trend, and takes them out when it is
    over.
    """

    activity: float = 0.1
    threshold: float = 0.0006
    most_orders: int = 3

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if state.trend is None or random.random() >= self.activity * state.activity:
            return []
        if abs(state.trend) < self.threshold:
            return [CancelIntent(state.orders[0].id)] if state.orders else []
        side = SELL if state.trend > 0 else BUY
        price = state.best(side)
        if price is None or len(state.orders) >= self.most_orders:
            return []
        return resting(state, side, 2 * order_lots(state, random), price)


@dataclass(slots=True)
class Institution:
    """Now and then has to trade far more than the book offers, and does it piece by piece (a metaorder).

    When a scenario forces somebody to trade, it is the institution: at once and in larger pieces.
    """

    #: Metaorders an hour of simulated time, at `steps_per_hour` looks.
    per_hour: float = 6.0
    steps_per_hour: float = 7200.0
    #: The chance of sending the next piece in a step, and how many pieces a metaorder has at least and at most.
    pace: float = 0.25
    least_pieces: int = 8
    most_pieces: int = 150
    _side: int = field(default=BUY, init=False)
    _left: int = field(default=0, init=False)

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if state.pressure:
            return taking(state, state.pressure, 3 * order_lots(state, random))
        if not self._left:
            self._begin(random)
            return []
        if random.random() >= self.pace * state.activity:
            return []
        self._left -= 1
        return taking(state, self._side, order_lots(state, random))

    def _begin(self, random: Random) -> None:
        if random.random() < self.per_hour / self.steps_per_hour:
            self._side = random.choice((BUY, SELL))
            self._left = min(self.most_pieces, int(self.least_pieces * random.paretovariate(RUN_EXPONENT)))
