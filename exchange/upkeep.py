"""What time does to a market, done by whoever next holds its lock: orders end, phases of the session change.

Each batch keeps its markets up before its first command, so that what is due happens before anything new, however late
the batch comes, and in every process alike. A halted market is left alone until it is reopened. In one that is closed
or takes only cancellations orders end as ever, but nothing trades: an auction that is due waits until it is open, and
so do the phases after it. So it is in a margin market whose auction could not be settled, until it can
(exchange.auctions).

Order of events: before each change of phase those orders end whose moment lies before it; an order that ends with the
session still takes part in the closing auction. What has ended is journaled like a cancellation (EXPIRE).
"""

from heapq import heappop

from exchange import following, sessions
from exchange.books import LiveBook
from exchange.live import Status
from marketdata import clock
from marketdata.models import Market


def run(batch) -> set[int]:
    """Keep the batch's markets up. If the batch has not locked all accounts that this needs, it is left undone from
    there: the accounts, for the next batch to lock with its own.
    """
    now = clock.text(batch.records.moment)
    for live in batch.books.values():
        status = batch.status[live.spec.id]
        if not is_due(live, now) or status == Market.Status.HALTED:
            continue
        concerned = _concerned(live, now)
        if not concerned <= batch.sheet.holders.keys():
            return concerned
        _keep_up(batch, live, status, now)
    return set()


def _keep_up(batch, live: LiveBook, status: str, now: str) -> None:
    for change in sessions.due(live.spec.rules, live.session, batch.records.moment):
        if status != Market.Status.OPEN and sessions.uncrosses(live.session, change):
            break
        end_orders(batch, live, clock.text(change.at), inclusive=False)
        if not sessions.change(batch, live, change):
            break
    end_orders(batch, live, now)


def reach(live: LiveBook) -> set[int]:
    """The accounts that a batch must lock to keep the market up now."""
    now = clock.text(clock.now())
    return _concerned(live, now) if is_due(live, now) else set()


def is_due(live: LiveBook, now: str) -> bool:
    """Whether time has done something to the market. Two looks for most."""
    return (live.expiring and live.expiring[0][0] <= now) or sessions.is_due(live, now)


def _concerned(live: LiveBook, now: str) -> set[int]:
    if sessions.is_due(live, now):
        return set(live.open_orders)
    found = (live.find(order_id) for moment, order_id in live.expiring if moment <= now)
    return {order.account for order in found if order is not None}


def end_orders(batch, live: LiveBook, until: str, *, inclusive: bool = True) -> None:
    """End every order whose moment has come by then."""
    expiring = live.expiring
    while expiring and (expiring[0][0] < until or (inclusive and expiring[0][0] == until)):
        _, order_id = heappop(expiring)
        order = live.find(order_id)
        if order is not None:
            following.end(batch, live, order, Status.EXPIRED, "expired")
