"""What simulated traders want: each agent sees a MarketState and answers with intents. Pure but for the random numbers
it is handed.

An agent keeps no memory: what it has in the book it sees in the state, so that a restart, a lost answer or a refusal
needs no care. Prices in ticks, quantities in lots, money in quote units. A new kind of trader is a new class with
`decide`; see `population` for who takes part.
"""

from collections.abc import Container
from dataclasses import dataclass
from random import Random
from typing import Protocol

from exchange.engine.book import BUY, SELL
from marketdata.markets import MarketSpec

#: Distance between quotes, as a share of the price: three basis points.
SPACING_NUMERATOR, SPACING_DENOMINATOR = 3, 10_000
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


@dataclass(frozen=True, slots=True)
class MarketMaker:
    """The house: `levels` quotes on each side of the reference price, standing on a grid.

    When the price moves by a step of the grid, only the quotes that fell off one end move to the other; quotes that
    were eaten are filled up. The whole ladder comes at once when there is nothing, otherwise at most `most_changes`
    commands a step.
    """

    levels: int = 8
    #: A quote at the best level is worth this many typical orders, and half of that more at each level behind.
    size: int = 10
    most_changes: int = 6

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        intents = []
        for side in self._sides(state):
            intents += self._requote(state, side, random)
        return intents[: self.most_changes] if state.orders else intents

    def _sides(self, state: MarketState) -> tuple[int, int]:
        """The side that makes room first, so that the house never meets its own quotes."""
        bid = max((order.price for order in state.orders if order.side == BUY), default=state.reference)
        ask = min((order.price for order in state.orders if order.side == SELL), default=state.reference)
        return (SELL, BUY) if 2 * state.reference > bid + ask else (BUY, SELL)

    def _requote(self, state: MarketState, side: int, random: Random) -> list[Intent]:
        wanted = self._prices(state, side)
        size = {price: self._lots(state, price, index) for index, price in enumerate(wanted)}
        mine = sorted((order for order in state.orders if order.side == side), key=lambda order: -side * order.price)
        kept, spare = _sorted_out(mine, size)
        missing = [price for price in wanted if price not in kept]
        fresh = {price: fitted_lots(state.spec, price, _varied(size[price], random)) for price in missing}
        intents: list[Intent] = []
        for order, price in zip(spare, missing, strict=False):
            intents += _moved(order, price, fresh[price])
        intents += [PlaceIntent(side, fresh[price], price) for price in missing[len(spare) :]]
        intents += [CancelIntent(order.id) for order in spare[len(missing) :]]
        for price, order in kept.items():
            if order.remaining < size[price] * 2 // 5:
                intents += _moved(order, price, size[price])
        return intents

    def _prices(self, state: MarketState, side: int) -> list[int]:
        """The grid's prices that this side wants quotes at, best first."""
        gap = spacing_ticks(state.reference)
        edge = state.reference - side * max(1, gap // 2)
        first = edge // gap * gap if side == BUY else -(-edge // gap) * gap
        prices = (first - side * gap * index for index in range(self.levels))
        return [price for price in prices if state.low <= price <= state.high]

    def _lots(self, state: MarketState, price: int, index: int) -> int:
        return fitted_lots(state.spec, price, typical_lots(state.spec, price) * self.size * (2 + index) // 2)


def _varied(lots: int, random: Random) -> int:
    return int(lots * random.uniform(0.7, 1.3))


def _sorted_out(orders: list[OpenOrder], wanted: Container[int]) -> tuple[dict[int, OpenOrder], list[OpenOrder]]:
    """The orders that stand at a wanted price, one each, and those to spare, in the order given."""
    kept: dict[int, OpenOrder] = {}
    spare = []
    for order in orders:
        if order.price in wanted and order.price not in kept:
            kept[order.price] = order
        else:
            spare.append(order)
    return kept, spare


def _moved(order: OpenOrder, price: int, lots: int) -> list[Intent]:
    """An order given new terms."""
    if order.filled:  # amended for ever, it would collect fills without end, and carry them all in each answer
        return [CancelIntent(order.id), PlaceIntent(order.side, lots, price)]
    return [AmendIntent(order.id, price, lots)]


@dataclass(frozen=True, slots=True)
class NoiseTrader:
    """Trades for reasons of its own: market orders, limit orders around the reference price, and second thoughts."""

    #: The chance of doing anything at all in a step.
    activity: float = 0.2
    #: Shares of what it does when it does something; the rest are limit orders.
    market_share: float = 0.45
    cancel_share: float = 0.15
    most_orders: int = 6

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if random.random() >= self.activity:
            return []
        choice, side = random.random(), random.choice((BUY, SELL))
        lots = max(1, int(typical_lots(state.spec, state.reference) * random.lognormvariate(-0.3, 0.8)))
        if state.orders and (choice < self.cancel_share or len(state.orders) >= self.most_orders):
            return [CancelIntent(state.orders[0].id)]
        if choice < self.cancel_share + self.market_share:
            return self._market(state, side, lots)
        return self._limit(state, side, lots, random)

    def _market(self, state: MarketState, side: int, lots: int) -> list[Intent]:
        price = state.best(-side)
        if price is None:
            return []
        return _affordable(state, PlaceIntent(side, fitted_lots(state.spec, price, lots)), price)

    def _limit(self, state: MarketState, side: int, lots: int, random: Random) -> list[Intent]:
        """Mostly behind the reference price, now and then through it."""
        gap = spacing_ticks(state.reference)
        price = state.clamped(state.reference - side * int(random.expovariate(1 / (2 * gap)) - gap / 2))
        return _affordable(state, PlaceIntent(side, fitted_lots(state.spec, price, lots), price), price)


def _affordable(state: MarketState, intent: PlaceIntent, price: int) -> list[Intent]:
    """The order, or nothing when the funds do not reach with a margin for fees and for walking the book."""
    if intent.side == BUY:
        enough = state.quote_units >= state.spec.notional(price, intent.lots) * 11 // 10
    else:
        enough = state.base_lots >= intent.lots
    return [intent] if enough else []
