"""A book brought up from the market journal: each row is the command that was settled, done once more.

What follows from a row is the same, bit for bit, as when it was written: the same functions of a LiveBook do it.
"""

from datetime import datetime

from exchange import journal
from exchange.books import LiveBook, Match
from exchange.engine import auction
from exchange.live import sharable
from exchange.phases import State


def catch_up(live: LiveBook, cursor, until: int) -> None:
    """Do again what other processes did, from the journal; the book is at `until` afterwards.

    JournalGone when it does not hold all of that any more: then the book is good for nothing.
    """
    for sequence, kind, order_id, command, created_at in journal.read(cursor, live.spec.id, live.sequence, until):
        if sequence != live.sequence + 1:
            raise journal.JournalGone(f"{live.spec.symbol}: journal jumps from {live.sequence} to {sequence}")
        redo(live, sequence, kind, order_id, command, created_at)
    if live.sequence != until:
        raise journal.JournalGone(f"{live.spec.symbol}: journal ends at {live.sequence}, the market is at {until}")


def redo(live: LiveBook, sequence: int, kind: str, order_id: int, command: dict, moment: datetime) -> list[Match]:
    """One journal row."""
    live.sequence = sequence
    if kind == journal.Kind.PLACE:
        order = journal.order_of(order_id, command, moment)
        if order.stop is not None or order.waits_for is not None:
            order.shared = sharable(live.spec, order, order.shared)  # older rows may say more
            return live.wait(order, sequence, moment) or []
        return live.enter(order, live.plan(order), sequence, moment)
    if kind == journal.Kind.PHASE:
        live.take_session(State.of(command))
        return []
    if kind == journal.Kind.AMEND:
        live.book.orders[order_id].margin_per_lot = command.pop("margin_per_lot", None)
        return live.amend(live.plan_amend(order_id, **command), sequence, moment)
    if kind == journal.Kind.UNCROSS:
        return live.uncross(auction.plan(live.book, command["reference"]), sequence, moment)
    if kind == journal.Kind.CANCEL:
        live.cancel(order_id, moment, command.get("reason", ""))
        return []
    return _redo_waiting(live, sequence, kind, order_id, command, moment)


def _redo_waiting(
    live: LiveBook, sequence: int, kind: str, order_id: int, command: dict, moment: datetime
) -> list[Match]:
    """One journal row that only an order with more terms has."""
    if kind == journal.Kind.TRIGGER:
        order = live.waiting.orders[order_id]
        order.margin_per_lot = command.get("margin_per_lot", order.margin_per_lot)
        lots = command.get("quantity", order.remaining)
        return live.trigger(order, live.plan_waiting(order, lots), lots, sequence, moment)
    if kind == journal.Kind.ARM:
        order = live.waiting.orders[order_id]
        live.arm(order, sharable(live.spec, order, command["shared"]), moment)
    elif kind == journal.Kind.EXPIRE:
        live.end(order_id, command["status"], command["reason"], moment)
    elif kind == journal.Kind.MARK:
        live.waiting.mark = command["price"]
        live.waiting.observe(command["price"], moment)
    else:
        raise ValueError(f"unknown kind of journal row: {kind}")
    return []
