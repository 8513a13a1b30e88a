"""An auction in a batch: the engine's plan, journaled, and everybody paid. The caller has locked all whose orders rest.

Reduce-only orders have nothing set aside for what would open a position, so none may be filled beyond its own: they
are shrunk to what they can reduce, each under a sequence of its own, before the auction is planned for good.
"""

from collections import Counter

from accounts import conversion
from exchange import payable, paying, reducing, spot
from exchange.books import LiveBook
from exchange.engine import auction
from exchange.engine.auction import Uncross
from exchange.journal import Kind
from exchange.live import LiveOrder


def hold(batch, live: LiveBook) -> bool:
    """End the collecting of orders with trades at one price, if any bid reaches an ask. False, with nothing done, where
    those could not be settled: nothing tells what profits are worth in the settlement asset.
    """
    at = live.reference()
    if not conversion.is_known(live.spec) and auction.plan(live.book, at) is not None:
        return False
    plan = _plan(batch, live, at)
    if plan is None:
        return True
    sequence = batch.records.command(live, Kind.UNCROSS, 0, {"reference": at})
    matches = live.uncross(plan, sequence, batch.records.moment)
    filled = _lots(plan)
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
    return True


def _lots(plan: Uncross) -> Counter[LiveOrder]:
    """What each order gets."""
    filled = Counter()
    for buy, sell, lots in plan.matches:
        filled[buy] += lots
        filled[sell] += lots
    return filled


def _plan(batch, live: LiveBook, reference: int | None) -> Uncross | None:
    """What the auction does once no reduce-only order would do more than reduce, and none would cost more than its
    account pays itself. Without the lots that they lose the price and everybody's share may be others, so it is planned
    anew; each turn takes lots away, so this ends.
    """
    while (plan := auction.plan(live.book, reference)) is not None and live.spec.contract is not None:
        fills = [(order, lots) for buy, sell, lots in plan.matches for order in (buy, sell)]
        over = reducing.beyond(fills, live, batch.margin_desk.positions) if live.reducing else {}
        if over:
            filled = _lots(plan)
            for order, lots in over.items():
                reducing.shrink(batch, live, order, filled[order] - lots)
            continue
        at_price = [(order, plan.call.price, lots) for order, lots in fills]
        unpaid = payable.unpayable(batch.margin_desk, batch.sheet, live, at_price)
        if not unpaid:
            break
        for order in unpaid:
            batch.cancel_order(live, order, "unfillable")
    return plan
