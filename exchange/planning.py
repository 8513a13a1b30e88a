"""What a command would do to its book, and whether its account can carry that; only then does anything change.

A refusal leaves no trace, so what a plan asks of others comes last, when nothing can refuse it any more: resting orders
that it may not meet are taken out (exchange.margin), and a market where it would jump pauses for an auction
(exchange.interruption). Until then they are only thought away.

One refusal does change the market, and is meant to: that of an order which its account could carry, but which would
jump and cannot rest.
"""

from collections.abc import Callable
from itertools import islice

from exchange import commands as c
from exchange import following, interruption, limits, payable, spot
from exchange.books import LiveBook
from exchange.engine import auction
from exchange.engine.book import Plan
from exchange.live import LiveOrder
from exchange.payable import Unlocked


def prepare(
    batch, live: LiveBook, order: LiveOrder, look: Callable[..., Plan], reserve: Callable[[Plan], None]
) -> Plan:
    """The plan that `look` gives, checked, what it needs set aside by `reserve`, and the book ready for it; a Refusal
    or Unlocked, and no change, otherwise.
    """
    passed: dict[int, LiveOrder] = {}
    while True:
        plan = look(without=passed)
        _check(live, order, plan, collecting=live.collecting)
        if interruption.is_outside(live, plan):
            return _interrupt(batch, live, order, plan, reserve)
        _check_reach(batch, live, plan, len(passed))
        if live.spec.contract is None:
            break
        if found := batch.margin_desk.unfillable(batch.sheet, live, plan):
            passed |= {maker.id: maker for maker in found}
        elif order.id not in batch.margin_desk.forced or not payable.take_back(batch, live, order, plan):
            break
    reserve(plan)
    for maker in passed.values():
        batch.cancel_order(live, maker, "unfillable")
    limits.traded(live, order, plan)
    return plan


def _check(live: LiveBook, order: LiveOrder, plan: Plan, *, collecting: bool) -> None:
    if plan.refusal:
        raise c.engine_refusal(plan.refusal, collecting=collecting)
    limits.check_plan(live, order, plan)
    if order.budget is not None and not plan.filled and not plan.expired_makers:
        raise c.QuantityOutOfRange("The amount does not buy a single lot at the best price.")


def _check_reach(batch, live: LiveBook, plan: Plan, passed: int) -> None:
    """Unlocked if the plan meets anybody who is not locked. Where many are passed over those behind them may be, too:
    so that they are not locked one by one, a batch each, it looks three times as far ahead as it has come.
    """
    reached = {maker.account for maker, _ in plan.matches}
    if reached and live.waiting.triggers.waiting:
        reached |= following.accounts_of(live, plan)
    if not reached <= batch.sheet.holders.keys():
        ahead = live.book.reachable(plan.order.side, price=None) if passed else ()
        reached |= {maker.account for maker in islice(ahead, 4 * passed)}
        raise Unlocked(reached)


def _interrupt(batch, live: LiveBook, order: LiveOrder, plan: Plan, reserve: Callable[[Plan], None]) -> Plan:
    """The order's plan in the auction that begins in the place of the plan; a Refusal if it has none."""
    instead = auction.plan_entry(live.book, order) if interruption.can_join(order, plan) else plan
    _check(live, order, instead, collecting=True)
    _try(batch, live, order, instead, reserve)
    interruption.begin(batch, live, order, plan)
    reserve(instead)
    return instead


def _try(batch, live: LiveBook, order: LiveOrder, plan: Plan, reserve: Callable[[Plan], None]) -> None:
    """A Refusal if the account cannot carry the plan; nothing changes either way."""
    asset, per_lot = spot.reserve_asset(live.spec, order.side), order.margin_per_lot
    before = batch.sheet.available(order.account, asset)
    reserve(plan)
    batch.sheet.release(order.account, asset, before - batch.sheet.available(order.account, asset))
    order.margin_per_lot = per_lot
