"""The specification of the call auction, in the plainest code that says it; exchange.engine.auction must agree with it.

It works on a ReferenceBook, whose queues are flat lists in priority order.

The rules
1. While orders are collected, one that comes in rests last at its price, whatever it crosses; one that crosses an order
   of its own account is refused. An amendment that does not raise the quantity at the same price changes only that;
   any other goes last at its new price.
2. The auction's price is one of the limits between the best ask and the best bid: where most lots trade, then where the
   fewest are left over, then by the side that all of these leave over, the highest if bids are, the lowest if asks are.
   Else it is the reference price, brought between the highest limit that leaves bids over (or the lowest limit) and
   the lowest that leaves asks over (or the highest); without a reference price the middle of these, rounded down.
3. Lot by lot, the first bid in priority order buys of the first ask. Hidden lots count like shown ones.
4. An iceberg that traded all it showed shows as much again, last at its price, while it has any.

Known limit: each auction reads whole lists, lot by lot.
"""

from exchange.engine.orders import BUY, SELL, FullPlan, Order, Plan
from exchange.engine.reference import ReferenceBook


def plan_entry(book: ReferenceBook, order: Order) -> Plan:
    """Rule 1."""
    plan = FullPlan(order, order.remaining)
    if any(other.account == order.account for other in _crossed(book, order.side, order.price)):
        return plan.refuse("self_trade")
    return plan


def plan_amendment(book: ReferenceBook, order_id: int, price: int, quantity: int) -> Plan:
    """Rule 1."""
    order = book.orders[order_id]
    left = quantity - (order.quantity - order.remaining - order.hidden)
    if left <= 0:
        raise ValueError("the new quantity is filled already")
    plan = FullPlan(order, left, price=price, quantity=quantity)
    plan.keeps_place = price == order.price and quantity <= order.quantity
    if not plan.keeps_place and any(other.account == order.account for other in _crossed(book, order.side, price)):
        return plan.refuse("self_trade")
    return plan


def call(book: ReferenceBook, reference: int | None) -> tuple[int, int, int] | None:
    """Rule 2: (price, lots, surplus)."""
    bids, asks = book.queues[BUY], book.queues[SELL]
    if not bids or not asks or bids[0].price < asks[0].price:
        return None
    limits = {order.price for order in bids + asks if asks[0].price <= order.price <= bids[0].price}
    most = max(_traded(book, price) for price in limits)
    limits = {price for price in limits if _traded(book, price) == most}
    fewest = min(abs(_surplus(book, price)) for price in limits)
    limits = sorted(price for price in limits if abs(_surplus(book, price)) == fewest)
    surpluses = {_surplus(book, price) for price in limits}
    if len(limits) == 1 or all(surplus < 0 for surplus in surpluses):
        price = limits[0]
    elif all(surplus > 0 for surplus in surpluses):
        price = limits[-1]
    else:
        low = max((price for price in limits if _surplus(book, price) > 0), default=limits[0])
        high = min((price for price in limits if _surplus(book, price) < 0), default=limits[-1])
        price = (low + high) // 2 if reference is None else sorted((low, reference, high))[1]
    return price, _traded(book, price), _surplus(book, price)


def uncross(book: ReferenceBook, reference: int | None) -> list[tuple[int, int, int]]:
    """Rules 3 and 4, done: (buy's id, sell's id, lots)."""
    found = call(book, reference)
    if found is None:
        return []
    left = {order.id: order.remaining + order.hidden for order in book.orders.values()}
    traded: dict[int, Order] = {}
    matches: list[tuple[int, int, int]] = []
    for _ in range(found[1]):
        buy, sell = (next(o for o in book.queues[side] if left[o.id]) for side in (BUY, SELL))
        traded.update({buy.id: buy, sell.id: sell})
        for order in (buy, sell):
            left[order.id] -= 1
        if matches and matches[-1][:2] == (buy.id, sell.id):
            matches[-1] = buy.id, sell.id, matches[-1][2] + 1
        else:
            matches.append((buy.id, sell.id, 1))
    for order in traded.values():
        _leave(book, order, left[order.id])
    return matches


def _leave(book: ReferenceBook, order: Order, left: int) -> None:
    """Rule 4."""
    book.touch(order)
    if left > order.hidden:
        order.remaining = left - order.hidden
        return
    book.queues[order.side].remove(order)
    order.remaining = 0
    if order.display:
        book.show(order, left)
    if left:
        book.append(order)


def _crossed(book: ReferenceBook, side: int, price: int) -> list[Order]:
    return [other for other in book.queues[-side] if side * other.price <= side * price]


def _sum(orders: list[Order]) -> int:
    return sum(order.remaining + order.hidden for order in orders)


def _traded(book: ReferenceBook, price: int) -> int:
    bought = _sum([order for order in book.queues[BUY] if order.price >= price])
    sold = _sum([order for order in book.queues[SELL] if order.price <= price])
    return min(bought, sold)


def _surplus(book: ReferenceBook, price: int) -> int:
    bought = _sum([order for order in book.queues[BUY] if order.price >= price])
    sold = _sum([order for order in book.queues[SELL] if order.price <= price])
    return bought - sold
