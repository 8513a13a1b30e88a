"""An order as the matcher keeps it: the engine's Order plus what money and answers need.

Slots only: there may be a million.

Prices in ticks, quantities in lots, money in quote units, rates in 10^-8.
"""

from datetime import datetime

from exchange.engine.book import BUY, Order
from exchange.models import Order as OrderRow
from marketdata.markets import RATE_DECIMALS, MarketSpec

RATE_ONE = 10**RATE_DECIMALS
Status = OrderRow.Status


class LiveOrder(Order):
    """A resting or incoming order. `budget` (quote units) is set for market orders by amount, which have no quantity of
    their own; `margin_per_lot` (settlement units) for orders of margin markets.
    """

    __slots__ = (
        "client_order_id",
        "type",
        "time_in_force",
        "post_only",
        "prevention",
        "budget",
        "maker_rate",
        "taker_rate",
        "filled_notional",
        "fee",
        "status",
        "priority",
        "created_at",
        "updated_at",
        "reduce_only",
        "margin_per_lot",
    )

    @property
    def filled(self) -> int:
        """Lots filled so far."""
        return self.quantity - self.remaining

    def is_open(self) -> bool:
        return self.status == Status.OPEN or self.status == Status.PARTIALLY_FILLED


def new_order(
    *,
    id: int,
    account: int,
    side: int,
    price: int | None,
    quantity: int,
    client_order_id: str | None,
    type: str,
    time_in_force: str,
    post_only: bool,
    prevention: str,
    budget: int | None,
    maker_rate: int,
    taker_rate: int,
    created_at: datetime,
    reduce_only: bool = False,
    margin_per_lot: int | None = None,
) -> LiveOrder:
    """An order that has not met the book yet."""
    order = LiveOrder(id, account, side, price, quantity)
    order.client_order_id = client_order_id
    order.type = type
    order.time_in_force = time_in_force
    order.post_only = post_only
    order.prevention = prevention
    order.budget = budget
    order.maker_rate = maker_rate
    order.taker_rate = taker_rate
    order.filled_notional = order.fee = order.priority = 0
    order.status = Status.OPEN
    order.created_at = order.updated_at = created_at
    order.reduce_only = reduce_only
    order.margin_per_lot = margin_per_lot
    return order


def fee_on(notional: int, rate: int) -> int:
    """A fee in quote units: rounded down, in the trader's favour, and never more in parts than on the whole."""
    return notional * rate // RATE_ONE


def required(spec: MarketSpec, *, side: int, price: int, remaining: int, worst_rate: int) -> int:
    """What an order must keep reserved: a sell its base units, a buy the notional and the fee at its worst rate.

    The fee is rounded up here and down in `fee_on`, so that whatever a fill pays is covered by what it frees.
    """
    if side != BUY:
        return remaining * spec.lot_units
    notional = spec.notional(price, remaining)
    return notional - (-notional * worst_rate // RATE_ONE)


def held(spec: MarketSpec, order: LiveOrder, remaining: int | None = None) -> int:
    """What a limit order holds for its remaining lots (or for that many); market orders never hold anything.

    On a margin market each lot holds what was fixed when the order was accepted or amended (see exchange.margin).
    """
    if spec.contract is not None:
        return (order.margin_per_lot or 0) * (order.remaining if remaining is None else remaining)
    if order.price is None:
        return 0
    return required(
        spec,
        side=order.side,
        price=order.price,
        remaining=order.remaining if remaining is None else remaining,
        worst_rate=max(order.maker_rate, order.taker_rate),
    )


def reserved(spec: MarketSpec, order: LiveOrder) -> int:
    """What the order has reserved now: nothing once it has ended."""
    return held(spec, order) if order.is_open() else 0
