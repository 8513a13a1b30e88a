"""What simulated traders want: each agent sees a MarketState and answers with intents. Pure but for the random numbers
it is handed.

What an agent has in the book it sees in the state, so that a restart, a lost answer or a refusal needs no care. All
that some remember is which way they are trading, and how much is left: forgotten at a restart, to nobody's harm.
Prices in ticks, quantities in lots, money in quote units. A new kind of trader is a new class with `decide`; makers
are in `makers`, takers in `takers`; see `population` for who takes part.
"""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from exchange.engine.book import BUY
from marketdata.markets import MarketSpec

#: Distance between quotes, as a share of the price: at most five basis points.
SPACING_NUMERATOR, SPACING_DENOMINATOR = 5, 10_000
#: A typical order is worth this many times the market's least notional.
TYPICAL_NOTIONALS = 1000
#: ... but in a market without one, this many lots; and never fewer than LEAST_LOTS.
TYPICAL_LOTS, LEAST_LOTS = 100, 2


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One of the agent's resting orders."""

    id: int
    side: int
    price: int
    remaining: int
    filled: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """What an agent sees. `orders` are its own, oldest first; the market takes prices from `low` to `high`."""

    spec: MarketSpec
    reference: int
    low: int
    high: int
    bid: int | None
    ask: int | None
    orders: tuple[OpenOrder, ...]
    base_lots: int
    quote_units: int
    #: Lots that the agent has gained since it last thought of its stock as ordinary; negative when it has sold.
    inventory: int = 0
    #: The short average of the middle of the book over the long one, as a logarithm; None while it is too new.
    trend: float | None = None
    #: How lively the market is, and how willing makers are, as multiples of what is ordinary.
    volatility: float = 1.0
    activity: float = 1.0
    spread_factor: float = 1.0
    depth_factor: float = 1.0
    #: Which way somebody is forced to trade, BUY or SELL; 0 for nobody.
    pressure: int = 0

    def best(self, side: int) -> int | None:
        return self.bid if side == BUY else self.ask

    def clamped(self, price: int) -> int:
        """The nearest price that the market takes."""
        return max(self.low, min(self.high, price))


@dataclass(frozen=True, slots=True)
class PlaceIntent:
    """A limit order, or a market order when there is no price."""

    side: int
    lots: int
    price: int | None = None


@dataclass(frozen=True, slots=True)
class AmendIntent:
    """New terms for an own order that has no fills yet."""

    order_id: int
    price: int
    lots: int


@dataclass(frozen=True, slots=True)
class CancelIntent:
    """Take an own order out."""

    order_id: int


Intent = PlaceIntent | AmendIntent | CancelIntent


class Agent(Protocol):
    """A kind of trader."""

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        """What to do now, in this order."""


def typical_lots(spec: MarketSpec, price: int) -> int:
    """The size of an ordinary order at this price."""
    if not spec.min_notional:
        return TYPICAL_LOTS
    return max(LEAST_LOTS, TYPICAL_NOTIONALS * spec.min_notional // spec.notional(price, 1))


def spacing_ticks(price: int) -> int:
    """The distance between quotes: 1, 2 or 5 times a power of ten, as people quote."""
    wanted, power = max(1, price * SPACING_NUMERATOR // SPACING_DENOMINATOR), 1
    while wanted >= 10 * power:
        power *= 10
    return next(power * step for step in (5, 2, 1) if wanted >= power * step)


def fitted_lots(spec: MarketSpec, price: int, lots: int) -> int:
    """The quantity moved into the market's filters."""
    least = -(-spec.min_notional // spec.notional(price, 1))
    return min(spec.max_quantity, max(spec.min_quantity, least, lots))


def affordable(state: MarketState, intent: PlaceIntent, price: int) -> list[Intent]:
    """The order, or nothing when the funds do not reach with a margin for fees and for walking the book."""
    if intent.side == BUY:
        enough = state.quote_units >= state.spec.notional(price, intent.lots) * 11 // 10
    else:
        enough = state.base_lots >= intent.lots
    return [intent] if enough else []
