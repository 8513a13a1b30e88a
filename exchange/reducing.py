"""The resting reduce-only orders of a book, by account and id: what exchange.margin looks after as positions shrink."""

from collections.abc import Iterable

from accounts.positions import Positions
from exchange.journal import Kind, amend_row
from exchange.live import LiveOrder

#: Times in force that never rest.
AT_ONCE = frozenset({"IOC", "FOK"})


class Reducing(dict[int, dict[int, LiveOrder]]):
    """Knows only accounts that have such orders: in most markets it is empty."""

    def note(self, order: LiveOrder) -> None:
        """An order that rests now."""
        if order.reduce_only:
            self.setdefault(order.account, {})[order.id] = order

    def drop(self, order: LiveOrder) -> None:
        """An order that has ended, resting or waiting."""
        if order.reduce_only and (mine := self.get(order.account)):
            mine.pop(order.id, None)
            if not mine:
                del self[order.account]


def competes(order: LiveOrder) -> bool:
    """Whether the order is to rest beside those that do. One that takes at once, or waits to, ends what it leaves no
    use for.
    """
    return order.price is not None and order.stop is None and order.time_in_force not in AT_ONCE


def beyond(fills: Iterable[tuple[LiveOrder, int]], live, positions: Positions) -> dict[LiveOrder, int]:
    """Of the resting reduce-only orders among these fills those that would do more than take from their owner's
    position, with the lots that are too many. What they would open counts for nobody after them.
    """
    left: dict[int, int] = {}
    over: dict[LiveOrder, int] = {}
    for order, lots in fills:
        account = order.account
        if account not in live.reducing:
            continue
        if account not in left:
            position = positions.of(account, live.spec)
            left[account] = position.quantity if position else 0
        left[account] += order.side * lots
        if order.reduce_only and (opened := min(lots, order.side * left[account])) > 0:
            over[order] = over.get(order, 0) + opened
            left[account] -= order.side * opened
    return over


def excess(resting: Iterable[LiveOrder], held: int) -> list[tuple[LiveOrder, int]]:
    """Of an account's resting reduce-only orders those that a position of `held` lots does not need whole, newest
    first, each with the lots that it does need.
    """
    orders = sorted(resting, key=lambda order: (order.priority, order.id))
    found = [(order, 0) for order in orders if order.side * held >= 0]
    left = abs(held)
    for order in orders:
        if order.side * held < 0:
            lots = order.remaining + order.hidden
            if lots > left:
                found.append((order, left))
            left = max(0, left - lots)
    return found[::-1]


def shrink(batch, live, order: LiveOrder, lots: int) -> None:
    """Leave a resting reduce-only order so many lots, where it is; it has nothing set aside. An iceberg, which cannot
    be amended, ends, as does one that is left none.
    """
    if not lots or order.display:
        batch.cancel_order(live, order, "reduce_only")
        return
    price, quantity = order.price, order.filled + lots
    plan = live.plan_amend(order.id, price, quantity, order.prevention, order.post_only)
    sequence = batch.records.command(live, Kind.AMEND, order.id, amend_row(price, quantity, order))
    live.amend(plan, sequence, batch.records.moment)
    batch.records.touch(live, order)
