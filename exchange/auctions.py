"""An auction in a batch: the engine's plan, journaled, and everybody paid. The caller has locked all who take part."""

from collections import Counter

from accounts import conversion
from exchange import paying, spot
from exchange.books import LiveBook
from exchange.engine import auction
from exchange.journal import Kind


def hold(batch, live: LiveBook) -> bool:
    """End the collecting of orders with trades at one price, if any bid reaches an ask. False, with nothing done, where
    those could not be settled: nothing tells what profits are worth in the settlement asset.
    """
    at = live.reference()
    plan = auction.plan(live.book, at)
    if plan is None:
        return True
    if not conversion.is_known(live.spec):
        return False
    sequence = batch.records.command(live, Kind.UNCROSS, 0, {"reference": at})
    matches = live.uncross(plan, sequence, batch.records.moment)
    filled = Counter()
    for buy, sell, lots in plan.matches:
        filled[buy] += lots
        filled[sell] += lots
    for order, lots in filled.items():
        spot.free_filled(batch.sheet, live.spec, order, lots)
        batch.records.touch(live, order)
    for match in matches:
        paying.pay(batch, live, match)
        batch.records.trade(live, match, [])
    if live.spec.contract is not None:
        batch.margin_desk.lock_margins(batch.sheet)
    if live.reducing:
        batch.margin_desk.take_out_excess(batch, live, [order.account for order in filled])
    if live.waiting.due:
        batch.stirred.append(live)
    return True

