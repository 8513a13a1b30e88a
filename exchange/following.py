"""What follows from a command: the orders that its trades triggered, and the lists whose members have ended.

It is done in the transaction of the command, before the next command, one order after the other, each under a market
sequence of its own; what it trades may make further orders due, behind those that are due already. An order is
triggered once, so this ends. A batch does at most FOLLOWERS of them, fewer where they make BATCH_FILLS trades; the rest
are the first thing that the market's next batch does, before any command. So are orders that would meet an account that
this batch could not know to lock.

A market that is not open, or outside its trading hours, triggers nothing: what is due stays so until it reopens. So it
is where nothing tells what a profit is worth in the settlement asset, because no trade could be settled. Where a margin
market takes no new risk (see exchange.margin), an order that is triggered and may open some ends instead. So does one
whose account could not place it there now.

`accounts` is the estimate before the lock: everybody whom a cascade could reach if trades happened anywhere between
two prices.
"""

from accounts import conversion, spending
from exchange import commands as c
from exchange import interruption, payable, spot
from exchange.books import LiveBook
from exchange.live import SpecialOrder, held, sharable
from exchange.models import BookCommand, ListRole, Order
from exchange.payable import Unlocked
from exchange.phases import CONTINUOUS
from marketdata import hours
from marketdata.models import Market
from marketdata.refusals import Refusal

Kind = BookCommand.Kind
#: Orders that one batch triggers, arms or ends as the consequence of its commands.
FOLLOWERS = 256


def follow(batch, live: LiveBook) -> bool:
    """Do what is due in this market; False when the batch must end here, with something left for the next."""
    waiting = live.waiting
    trades = batch.status[live.spec.id] == Market.Status.OPEN and live.session.phase == CONTINUOUS
    if live.spec.contract is not None:
        trades = trades and hours.is_open(live.spec.contract.schedule, batch.records.moment)
        trades = trades and conversion.is_known(live.spec)
    while (order_id := _next(waiting.due, trades)) is not None:
        if batch.followed >= FOLLOWERS or len(batch.records.trades) >= c.BATCH_FILLS:
            return False
        (kind, reason), order = waiting.due[order_id], live.find(order_id)
        if order.account not in batch.sheet.holders:
            batch.lack(Unlocked({order.account}))
            return False
        if kind == Kind.TRIGGER:
            done = _trigger(batch, live, order)
        elif kind == Kind.ARM:
            done = _arm(batch, live, order)
        else:
            done = end(batch, live, order, Order.Status.EXPIRED, reason)
        if not done:
            return False
        batch.followed += 1
    return True


def _next(due: dict[int, tuple[str, str]], trades: bool) -> int | None:
    """The first that may be done: where nothing trades, lists still end what they must."""
    return next((order_id for order_id, (kind, _) in due.items() if trades or kind == Kind.EXPIRE), None)


def end(batch, live: LiveBook, order, status: str, reason: str) -> dict:
    """Take a live order out for a reason of the venue's, and give back what it held; its order object."""
    spot.release_rest(batch.sheet, live.spec, order)
    if (heir := live.waiting.heir(order)) is not None:
        _fund(batch, live, heir)
    return take_out(batch, live, order, status, reason)


def take_out(batch, live: LiveBook, order, status: str, reason: str) -> dict:
    """The same for one that holds nothing any more."""
    batch.records.command(live, Kind.EXPIRE, order.id, {"status": str(status), "reason": reason})
    live.end(order.id, status, reason, batch.records.moment)
    batch.stir(live)
    return {**batch.records.touch(live, order), "fills": None if order.filled else []}


def _trigger(batch, live: LiveBook, order: SpecialOrder) -> bool:
    """Send a waiting order to the matcher."""
    lots = _triggered_lots(batch, live, order)
    if not lots:
        return True
    plan = live.plan_waiting(order, lots)
    if len(plan.matches) > c.MOST_FILLS:  # what no batch can do would stop the market for good
        end(batch, live, order, Order.Status.EXPIRED, c.TooManyFills.code)
        return True
    makers = {maker.account for maker, _ in plan.matches} | {order.account}
    if not makers <= batch.sheet.holders.keys():
        batch.lack(Unlocked(makers))
        return False
    waits_for, shared = order.waits_for, order.shared
    if not _fund(batch, live, order):
        return True
    if interruption.must_wait(live, order, plan):
        _unfund(batch, live, order, waits_for, shared)
        interruption.pause(batch, live, order)
        return False
    if live.spec.contract is not None:
        try:
            is_changed = _make_room(batch, live, order, plan)
        except Unlocked as reached:
            _unfund(batch, live, order, waits_for, shared)
            batch.lack(reached)
            return False
        except Refusal as refusal:  # nobody knows what its account has
            end(batch, live, order, Order.Status.REJECTED, refusal.code)
            return True
        if is_changed:
            _unfund(batch, live, order, waits_for, shared)
            return True  # it is due still: without those it may meet others, who may not be locked
        if plan.refusal is None and not _weigh(batch, live, order, plan):
            return True
    if order.reduce_only and plan.rests:
        # It rests as the newest, but the market has called it: the others make room.
        batch.margin_desk.take_out_beside(batch, live, order.account, order.side * (plan.filled + plan.rests))
    row = {} if lots == order.remaining else {"price": order.price, "quantity": lots}
    if order.margin_per_lot is not None:
        row["margin_per_lot"] = order.margin_per_lot
    sequence = batch.records.command(live, Kind.TRIGGER, order.id, row)
    matches = live.trigger(order, plan, lots, sequence, batch.records.moment)
    batch.settle(live, order, plan, matches)
    return True


def _triggered_lots(batch, live: LiveBook, order: SpecialOrder) -> int:
    """How much of the order the market takes now: of a reduce-only one as much as there is to reduce, whatever rests
    for the same position. 0 if it ended EXPIRED instead.
    """
    if live.spec.contract is None:
        return order.remaining
    try:
        batch.margin_desk.check_risk(batch.sheet, live, order)
        lots = min(order.remaining, batch.margin_desk.reducible(live, order)) if order.reduce_only else order.remaining
        if lots <= 0:
            raise c.ReduceOnly("There is no position to reduce.")
    except Refusal as refusal:
        end(batch, live, order, Order.Status.EXPIRED, refusal.code)
        return 0
    return lots


def _make_room(batch, live: LiveBook, order: SpecialOrder, plan) -> bool:
    """Take out what the order may not meet, and what its account must take back to pay for it; whether there was any.
    """
    if batch.margin_desk.take_out_unfillable(batch, live, plan):
        return True
    return plan.refusal is None and payable.take_back(batch, live, order, plan)


def _weigh(batch, live: LiveBook, order: SpecialOrder, plan) -> bool:
    """What a margin order holds was weighed when it was placed; without the funds for what it does now it ends
    REJECTED, and False.
    """
    try:
        batch.margin_desk.reserve_triggered(batch.sheet, live.spec, order, plan)
    except Refusal as refusal:
        end(batch, live, order, Order.Status.REJECTED, refusal.code)
        return False
    return True


def _arm(batch, live: LiveBook, order: SpecialOrder) -> bool:
    """Let the stop of a bracket wait for its price, with the funds that it needs above the other exit's."""
    other = live.waiting.lists[order.list_id].get(ListRole.TAKE_PROFIT)
    order.shared = sharable(live.spec, order, held(live.spec, other)) if other is not None else 0
    if not _fund(batch, live, order):
        return True
    batch.records.command(live, Kind.ARM, order.id, {"shared": order.shared})
    live.arm(order, order.shared, batch.records.moment)
    batch.records.touch(live, order)
    return True


def _fund(batch, live: LiveBook, order: SpecialOrder) -> bool:
    """Reserve what the order does not hold yet; without the funds it ends REJECTED, and False.

    What comes to life spends like any other order. What it shared so far was set aside for it all along, and the other
    exit has just given it back: whatever was lost since, it stays the order's own.
    """
    before = held(live.spec, order)
    waits_for, shared = order.waits_for, order.shared
    order.waits_for = None
    if waits_for is None:
        order.shared = 0
    asset = spot.reserve_asset(live.spec, order.side)
    missing = held(live.spec, order) - before
    try:
        if waits_for is None:
            batch.sheet.reserve(order.account, asset, missing)
        else:
            spending.reserve(batch.sheet, order.account, asset, missing)
    except Refusal as refusal:
        order.waits_for, order.shared = waits_for, shared
        end(batch, live, order, Order.Status.REJECTED, refusal.code)
        return False
    return True


def _unfund(batch, live: LiveBook, order: SpecialOrder, waits_for: int | None, shared: int) -> None:
    """Give back what `_fund` has just reserved: until the order goes to the book no other process hears of it."""
    funds = held(live.spec, order)
    order.waits_for, order.shared = waits_for, shared
    asset = spot.reserve_asset(live.spec, order.side)
    batch.sheet.release(order.account, asset, funds - held(live.spec, order))


# Before the lock


def accounts(live: LiveBook, low: int, high: int, lots: dict[int, int]) -> set[int]:
    """Everybody whom triggered orders could touch if trades happened at prices from `low` to `high`.

    `lots` are those that the commands themselves take from the book, by their side.
    """
    triggers, reached, met = live.waiting.triggers, {}, set()
    while len(reached) < FOLLOWERS:
        fresh = [order for order in triggers.within(low, high) if order.id not in reached]
        if not fresh:
            break
        reached.update((order.id, order) for order in fresh)
        for side in {order.side for order in fresh}:
            mine = [order for order in reached.values() if order.side == side]
            limit = max(side * order.price for order in mine) * side
            wanted = sum(order.remaining for order in mine) + lots.get(side, 0)
            for maker in live.book.reachable(side, price=limit, lots=wanted):
                met.add(maker.account)
                low, high = min(low, maker.price), max(high, maker.price)
            # Those that come to rest may be met by others of the cascade, at their limits.
            low, high = min(low, *(o.price for o in mine)), max(high, *(o.price for o in mine))
    return met | {order.account for order in reached.values()}


def accounts_of(live: LiveBook, plan) -> set[int]:
    """The same for a plan that trades."""
    prices = [maker.price for maker, _ in plan.matches]
    side = plan.order.side
    return accounts(live, min(prices), max(prices), {side: plan.filled}) if prices else set()
