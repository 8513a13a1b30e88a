"""An order as the matcher keeps it: the engine's Order plus what money and answers need.

Slots only: there may be a million.

Prices in ticks, quantities in lots, money in quote units, rates in 10^-8.
"""

from datetime import datetime

from exchange.commands import Place
from exchange.engine.book import BUY, Order
from exchange.models import Order as OrderRow
from marketdata.contracts import RATE_ONE
from marketdata.markets import MarketSpec

Status = OrderRow.Status
#: A look-up, because an enum's own `value` is a call.
STATUS_NAMES = {status: status.value for status in Status}
OPEN = frozenset({Status.OPEN, Status.PARTIALLY_FILLED})
LIVE = OPEN | {Status.PENDING}


class LiveOrder(Order):
    """A resting or incoming order. `budget` (quote units) is set for market orders by amount.

    They have no quantity of their own. What only a SpecialOrder has stands here as what a plain one means by it, so
    that the plain one, of which there are most, is no larger for it.
    """

    stop = triggered_at = expires_at = list_id = list_kind = list_role = waits_for = None
    direction = trail = trail_rate = display = hidden = shared = place = 0

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
        "reason",
        "priority",
        "created_at",
        "updated_at",
        "reduce_only",
        "margin_per_lot",
    )

    @property
    def filled(self) -> int:
        """Lots filled so far."""
        return self.quantity - self.remaining - self.hidden

    def is_open(self) -> bool:
        return self.status in OPEN

    def is_live(self) -> bool:
        """Whether it has not ended: it rests, or it waits to be triggered."""
        return self.status in LIVE


class SpecialOrder(LiveOrder):
    """An order with terms that a plain one has not: a trigger, a hidden part, an end in time, a place in a list.

    stop, direction, trail, trail_rate   see exchange.engine.triggers; `stop` stays when it is triggered
    triggered_at   when the price reached it; it may still be PENDING then, for the length of a batch
    display, hidden   lots that an iceberg shows at a time, and lots that it does not show now (`remaining` are shown)
    place   among the orders that took their place in the queue at the same sequence
    expires_at   text of the moment
    list_id, list_kind, list_role   its list, by the id of the list's first order
    waits_for   the order whose fill brings it to life
    shared   what another leg of its list holds in its stead
    """

    __slots__ = (
        "stop",
        "direction",
        "trail",
        "trail_rate",
        "triggered_at",
        "display",
        "hidden",
        "place",
        "expires_at",
        "list_id",
        "list_kind",
        "list_role",
        "waits_for",
        "shared",
    )


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
    more: dict | None = None,
    reduce_only: bool = False,
    margin_per_lot: int | None = None,
) -> LiveOrder:
    """An order that has not met the book yet. `more`: the terms of a SpecialOrder, by name; `margin_per_lot` (in
    settlement units) belongs to margin markets.
    """
    if more:
        order = SpecialOrder(id, account, side, price, quantity)
        for name in SpecialOrder.__slots__:
            setattr(order, name, more.get(name, getattr(LiveOrder, name)))
    else:
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
    order.status, order.reason = Status.OPEN, ""
    order.created_at = order.updated_at = created_at
    order.reduce_only = reduce_only
    order.margin_per_lot = margin_per_lot
    return order


def order_of(command: Place, order_id: int, rates: tuple[int, int], moment: datetime) -> LiveOrder:
    """The order that a command asks for, at its account's rates as maker and taker."""
    maker_rate, taker_rate = rates
    return new_order(
        id=order_id,
        account=command.account,
        side=command.side,
        price=command.price,
        quantity=command.quantity,
        client_order_id=command.client_order_id,
        type=command.type,
        time_in_force=command.time_in_force,
        post_only=command.post_only,
        prevention=command.prevention,
        budget=command.budget,
        maker_rate=maker_rate,
        taker_rate=taker_rate,
        created_at=moment,
        more=command.more,
        reduce_only=command.reduce_only,
    )


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

    Of two legs of a list that exclude each other the second holds only what it needs above the first. On a margin
    market each lot holds what was fixed when the order was accepted or amended (see exchange.margin).
    """
    if order.price is None or order.waits_for is not None:
        return 0
    lots = order.remaining + order.hidden if remaining is None else remaining
    return max(0, _needed(spec, order, lots) - order.shared) if order.shared else _needed(spec, order, lots)


def sharable(spec: MarketSpec, order: LiveOrder, funds: int) -> int:
    """How much of the `funds` that another leg of its list holds an order can share: no more than it needs itself, as
    what it has reserved says no more of what it shares.
    """
    return min(funds, _needed(spec, order, order.remaining + order.hidden))


def _needed(spec: MarketSpec, order: LiveOrder, lots: int) -> int:
    """What a limit order must have set aside for so many lots."""
    if spec.contract is not None:
        return (order.margin_per_lot or 0) * lots
    worst_rate = max(order.maker_rate, order.taker_rate)
    return required(spec, side=order.side, price=order.price, remaining=lots, worst_rate=worst_rate)


def reserved(spec: MarketSpec, order: LiveOrder) -> int:
    """What the order has reserved now: nothing once it has ended."""
    return held(spec, order) if order.is_live() else 0
