"""Those who offer both sides: market makers. Decisions only; see `agents`."""

from collections.abc import Container
from dataclasses import dataclass, replace
from random import Random

from exchange.engine.book import BUY, SELL
from exchange.simulator.agents import (
    AmendIntent,
    CancelIntent,
    Intent,
    MarketState,
    OpenOrder,
    PlaceIntent,
    fitted_lots,
    spacing_ticks,
    typical_lots,
)


@dataclass(frozen=True, slots=True)
class MarketMaker:
    """`levels` quotes on each side of the reference price, standing on a grid.

    When the price moves by a step of the grid, only the quotes that fell off one end move to the other; quotes that
    were eaten are filled up. The whole ladder comes at once when there is nothing, otherwise at most `most_changes`
    commands a step. Who has bought quotes lower, to sell it again, and the other way round.
    """

    levels: int = 8
    #: A quote at the best level is worth this many typical orders, and half of that more at each level behind.
    size: int = 10
    most_changes: int = 6
    #: The grid is finer than people's usual distance between quotes by this much.
    fineness: int = 1
    #: The chance of looking at all in a step while quotes stand: who does not look leaves stale ones behind.
    attention: float = 1.0
    #: Gains of so many typical orders move the quotes by a whole step of the grid; never more than one.
    skew_orders: int = 60

    def decide(self, state: MarketState, random: Random) -> list[Intent]:
        if self.attention < 1 and state.orders and random.random() >= self.attention:
            return []
        intents, state = [], replace(state, reference=self._centre(state))
        for side in self._sides(state):
            intents += self._requote(state, side, random)
        return intents[: self.most_changes] if state.orders else intents

    def _gap(self, state: MarketState) -> int:
        return spacing_ticks(max(1, state.reference // self.fineness))

    def _centre(self, state: MarketState) -> int:
        """The reference price, leaning against what was bought or sold."""
        full = typical_lots(state.spec, state.reference) * self.skew_orders
        lean = max(-1.0, min(1.0, state.inventory / full))
        return state.clamped(max(1, state.reference - round(self._gap(state) * lean)))

    def _edge(self, state: MarketState) -> int:
        """How far from the centre the best quote stands, at least; farther when the price moves a lot.

        On a quiet day the spread is one step of the grid more often than two.
        """
        nerves = max(1.0, state.volatility / 1.5)
        return max(1, int(self._gap(state) * (nerves * state.spread_factor / 2 - 0.3)))

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
            if not size[price] * 2 // 5 <= order.remaining <= size[price] * 5 // 2:
                intents += _moved(order, price, size[price])
        return intents

    def _prices(self, state: MarketState, side: int) -> list[int]:
        """The grid's prices that this side wants quotes at, best first."""
        gap = self._gap(state)
        edge = state.reference - side * self._edge(state)
        first = edge // gap * gap if side == BUY else -(-edge // gap) * gap
        prices = (first - side * gap * index for index in range(self.levels))
        return [price for price in prices if state.low <= price <= state.high]

    def _lots(self, state: MarketState, price: int, index: int) -> int:
        lots = typical_lots(state.spec, price) * self.size * (2 + index) // 2
        return fitted_lots(state.spec, price, int(lots * state.depth_factor))


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
