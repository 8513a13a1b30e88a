"""The orders of one market that are accepted and not at the matcher yet, and what is to happen to them next.

An order waits for a price (see exchange.engine.triggers) or for another order of its list. What happens in the book
makes some of them due: `due` says what is to be done, in which order. Nothing here is done by itself: whoever holds
the market's lock does it and writes a row of the market journal for each (see exchange.following), and a book that
does the journal again takes the same orders out of `due`. So the room is a function of the journal, like the book.

Rules of lists
- The exits of a list exclude each other. The first that is filled in part, triggered or ended ends the other: EXPIRED,
  with the reason `other_leg`. If it was the stop that was triggered, what it shared with the other is its own from the
  other's end on, however long it then waits for the market to trade.
- The exits of a bracket wait for the end of its entry: then they come to life for as many lots as it filled, or end
  if it filled none (`entry_unfilled`). The take-profit order goes first; the stop is armed if that filled nothing.
"""

from collections import OrderedDict, defaultdict
from datetime import datetime

from exchange.engine.triggers import Triggers
from exchange.live import LiveOrder, SpecialOrder
from exchange.models import BookCommand, ListRole

Kind = BookCommand.Kind
OTHER_LEG, ENTRY_UNFILLED = "other_leg", "entry_unfilled"
#: What is next for an order: the kind of journal row, and the reason if it ends.
TRIGGER, ARM = (Kind.TRIGGER, ""), (Kind.ARM, "")
END, END_UNFILLED = (Kind.EXPIRE, OTHER_LEG), (Kind.EXPIRE, ENTRY_UNFILLED)
EXITS = {ListRole.TAKE_PROFIT: ListRole.STOP_LOSS, ListRole.STOP_LOSS: ListRole.TAKE_PROFIT}


class WaitingRoom:
    """`orders` are the PENDING ones by id; `due` says what is next for an order, in this order."""

    __slots__ = ("orders", "triggers", "due", "lists", "mark")

    def __init__(self):
        self.orders: dict[int, SpecialOrder] = {}
        self.triggers = Triggers()
        #: The last mark price that this process was told, where that is what triggers.
        self.mark: int | None = None
        self.due: OrderedDict[int, tuple[str, str]] = OrderedDict()
        #: The members of each list that have not ended, by role.
        self.lists: dict[int, dict[str, LiveOrder]] = defaultdict(dict)

    def enter(self, order: SpecialOrder) -> None:
        """An accepted order that waits."""
        self.orders[order.id] = order
        if order.waits_for is None and order.triggered_at is None:
            self.triggers.add(order)
        self.join(order)

    def join(self, order: LiveOrder) -> None:
        """An order that lives, waiting or in the book: its list knows it."""
        if order.list_id is not None:
            self.lists[order.list_id][order.list_role] = order

    def leave(self, order_id: int) -> SpecialOrder:
        """Take a waiting order out. KeyError when it does not wait."""
        order = self.orders.pop(order_id)
        self.due.pop(order_id, None)
        if order_id in self.triggers.waiting:
            self.triggers.remove(order_id)
        return order

    def observe(self, price: int, moment: datetime) -> None:
        """A price of the market: whoever it triggers is due."""
        for order in self.triggers.observe(price):
            if order.id not in self.due:
                self._trigger(order, moment)

    def arm(self, order: SpecialOrder, price: int | None, moment: datetime) -> None:
        """Let an order that waited for another wait for its price now; it is due at once if that is reached."""
        order.waits_for = None
        self.due.pop(order.id, None)
        self.triggers.add(order)
        if price is not None and order.direction * price >= order.direction * order.stop:
            self.triggers.remove(order.id)
            self._trigger(order, moment)

    def _trigger(self, order: SpecialOrder, moment: datetime) -> None:
        order.triggered_at = moment
        if order.list_id is not None:
            self._end_other(order)
        self.due[order.id] = TRIGGER

    def changed(self, order: LiveOrder) -> None:
        """A member of a list was filled, in part or whole, or has ended."""
        members = self.lists.get(order.list_id)
        if members is None:
            return
        is_live = order.is_live()
        if order.list_role in EXITS:
            if (order.filled or not is_live) and order.reason != OTHER_LEG:
                self._end_other(order)
        elif not is_live:
            self._entry_ended(order, members)
        if not is_live:
            members.pop(order.list_role, None)
            self.due.pop(order.id, None)
            if not members:
                del self.lists[order.list_id]

    def _end_other(self, order: LiveOrder) -> None:
        """The other exit is due to end, unless the market has already triggered it."""
        if (other := self.rival(order)) is not None:
            self.end(other.id)

    def rival(self, order: LiveOrder) -> LiveOrder | None:
        """The other exit, that ends once this one does: no more when the market has triggered it."""
        other = self.lists.get(order.list_id, {}).get(EXITS.get(order.list_role))
        if other is None or self.due.get(other.id) == END_UNFILLED:
            return None
        return None if self.due.get(other.id) == TRIGGER and other.triggered_at is not None else other

    def heir(self, order: LiveOrder) -> SpecialOrder | None:
        """The triggered stop that has to itself what it shared with this order, once that ends."""
        if order.list_role != ListRole.TAKE_PROFIT:
            return None
        stop = self.lists.get(order.list_id, {}).get(ListRole.STOP_LOSS)
        return stop if stop is not None and stop.triggered_at is not None else None

    def end(self, order_id: int) -> None:
        """The order is due to end, before anybody goes to the book: it must not trade any more."""
        self.due[order_id] = END
        self.due.move_to_end(order_id, last=False)

    def _entry_ended(self, entry: LiveOrder, members: dict[str, LiveOrder]) -> None:
        for role, step in ((ListRole.TAKE_PROFIT, TRIGGER), (ListRole.STOP_LOSS, ARM)):
            if (leg := members.get(role)) is not None and leg.waits_for == entry.id:
                if entry.filled:
                    leg.quantity = leg.remaining = entry.filled
                self.due[leg.id] = step if entry.filled else END_UNFILLED

    def rows(self) -> list[tuple]:
        """All that decides how the room goes on, to compare two of them."""
        return sorted(
            (o.id, o.stop or 0, o.waits_for or 0, o.quantity, o.shared, self.due.get(o.id, ("", "")))
            for o in self.orders.values()
        )
