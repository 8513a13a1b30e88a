"""The call auction: one price for all orders that were collected, and who trades at it. Pure.

The price follows the market model of Xetra (Deutsche Börse, "Market Model for the Trading Venue Xetra", T7, price
determination in auctions) for books of limit orders:
1. the limit at which most can be executed;
2. of several, the one with the smallest surplus (what stays unexecuted at that price, on either side);
3. of several, if the surplus is on the bid side at all of them the highest, if on the ask side the lowest;
4. if there is no surplus, or here a bid and there an ask surplus, the reference price decides, between the lowest limit
   and the highest (with surpluses: between the highest limit with a bid surplus and the lowest with an ask surplus):
   within them it is the price itself (releases before T7 took the nearer limit), outside the nearer limit is. Without
   a reference price it is their middle, rounded down to the tick: a rule of this venue.

Who trades: better prices first, then earlier orders; nobody is skipped, and at most one order a side is filled in part.
Both queues are paired from the front. Hidden quantity of icebergs takes part like the rest of them.

Invariants: everybody trades within their limit; afterwards the book is not crossed. A price is a whole number of ticks,
a quantity a whole number of lots.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from exchange.engine.book import Book
from exchange.engine.orders import BUY, SELF_TRADE, SELL, FullPlan, Order, Plan


class Call(NamedTuple):
    """The price, what is executed at it, and what is left at it: positive on the bid side, negative on the ask side."""

    price: int
    lots: int
    surplus: int


class Uncross(NamedTuple):
    """What an auction would do: (buy, sell, lots) in the order of execution, all at the call's price."""

    call: Call
    matches: list[tuple[Order, Order, int]]


def call(bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], reference: int | None) -> Call | None:
    """The auction price of (price, lots) levels, best first; None when no bid reaches an ask."""
    if not bids or not asks or bids[0][0] < asks[0][0]:
        return None
    limits = sorted({price for price, _ in (*bids, *asks) if asks[0][0] <= price <= bids[0][0]})
    calls = [_at(price, bids, asks) for price in limits] if len(limits) < 8 else _all(limits, bids, asks)
    most = max(one.lots for one in calls)
    least = min(abs(one.surplus) for one in calls if one.lots == most)
    best = [one for one in calls if one.lots == most and abs(one.surplus) == least]
    if len(best) == 1 or best[0].surplus < 0:
        return best[0]
    if best[-1].surplus > 0:
        return best[-1]
    low, high = _between(best)
    price = (low + high) // 2 if reference is None else min(max(reference, low), high)
    return _at(price, bids, asks)


def _between(best: list[Call]) -> tuple[int, int]:
    """The two limits that the reference price decides between: `best` ascend, and with them surpluses fall."""
    bid_surplus = [one.price for one in best if one.surplus > 0]
    ask_surplus = [one.price for one in best if one.surplus < 0]
    low = bid_surplus[-1] if bid_surplus else best[0].price
    high = ask_surplus[0] if ask_surplus else best[-1].price
    return low, high


def _at(price: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> Call:
    bought = sum(lots for limit, lots in bids if limit >= price)
    sold = sum(lots for limit, lots in asks if limit <= price)
    return Call(price, min(bought, sold), bought - sold)


def _all(limits: list[int], bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> list[Call]:
    """The same for many limits at once, in one walk along each side."""
    demand = _running(reversed(limits), bids, BUY)
    supply = _running(limits, asks, SELL)
    calls = zip(limits, reversed(demand), supply, strict=True)
    return [Call(price, min(bought, sold), bought - sold) for price, bought, sold in calls]


def _running(prices: Iterable[int], levels: Sequence[tuple[int, int]], side: int) -> list[int]:
    """What a side would trade at each price, from its best price on to worse ones."""
    sums = [0, *accumulate(lots for _, lots in levels)]
    count, totals = 0, []
    for price in prices:
        while count < len(levels) and side * levels[count][0] >= side * price:
            count += 1
        totals.append(sums[count])
    return totals


def total(order: Order) -> int:
    """All that an order has left, shown or hidden."""
    return order.remaining + order.hidden


def crossing(book: Book) -> tuple[list[Order], list[Order]]:
    """The bids and the asks that reach the other side, best first."""
    bid, ask = book.best(BUY), book.best(SELL)
    if bid is None or ask is None or bid < ask:
        return [], []
    return list(book.reachable(SELL, price=ask)), list(book.reachable(BUY, price=bid))


def plan(book: Book, reference: int | None) -> Uncross | None:
    """Who would trade with whom, and at which price; None when nobody would. Changes nothing."""
    bids, asks = crossing(book)
    found = call(_levels(bids), _levels(asks), reference)
    if found is None:
        return None
    return Uncross(found, list(_pairs(_filled(bids, found.lots), _filled(asks, found.lots))))


def _levels(orders: list[Order]) -> list[tuple[int, int]]:
    levels: dict[int, int] = {}
    for order in orders:
        levels[order.price] = levels.get(order.price, 0) + total(order)
    return list(levels.items())


def _filled(orders: list[Order], lots: int) -> list[tuple[Order, int]]:
    """How much each order gets of that many lots."""
    filled = []
    for order in orders:
        if not lots:
            break
        got = min(total(order), lots)
        filled.append((order, got))
        lots -= got
    return filled


def _pairs(bids: list[tuple[Order, int]], asks: list[tuple[Order, int]]) -> Iterable[tuple[Order, Order, int]]:
    """Both queues paired from the front; they are of equal length in lots."""
    sellers = iter(asks)
    sell, offered = next(sellers)
    for buy, wanted in bids:
        while wanted:
            if not offered:
                sell, offered = next(sellers)
            lots = min(wanted, offered)
            yield buy, sell, lots
            wanted -= lots
            offered -= lots


# Before the auction


def plan_entry(book: Book, order: Order) -> Plan:
    """An order that comes in while orders are collected rests, whatever it crosses, but for an own order: then it is
    refused, whichever prevention it asks for, as nothing may end for a trade that the auction may not make.
    """
    if _meets_own(book, order.account, order.side, order.price):
        return FullPlan(order, 0).refuse(SELF_TRADE)
    return Plan(order, order.remaining)


def plan_amendment(book: Book, order_id: int, price: int, quantity: int) -> Plan:
    """An amendment meanwhile: as Book.plan_amend, without meeting anybody."""
    order = book.orders[order_id]
    lots = quantity - (order.quantity - total(order))
    if lots <= 0:
        raise ValueError(f"order {order_id} has filled as much as the new quantity of {quantity} lots")
    change = FullPlan(order, lots, price, quantity)
    change.keeps_place = price == order.price and quantity <= order.quantity
    if not change.keeps_place and _meets_own(book, order.account, order.side, price):
        return change.refuse(SELF_TRADE)
    return change


def _meets_own(book: Book, account: int, side: int, price: int) -> bool:
    return any(other.account == account for other in book.reachable(side, price=price))
