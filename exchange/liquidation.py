"""Liquidating one account: its open orders go first, then positions, until it is restored or nothing is left.

All margin orders go, and the spot orders that have set aside what the positions are settled in: that may be enough.
What is placed anew meanwhile goes in the transaction of the order that closes (exchange.payable), if it is needed.

Each position is closed by an IOC order through the one door, reduce-only, so that it can never open anything, and at
a price no further from the mark than the contract's `liquidation_band`. After each order the account is read again.
A position that nobody takes within the band is passed over; what is still short then is tried again later. An order
whose answer is lost counts as none before it is certain: the next one is only chosen when it has been found, or cannot
come any more; else the same loss would be answered by many orders, in this market and in others. Where its market does
not tell for long, the liquidation ends, so that others have their turn, and the account's next one asks again. Whoever
takes over from a process that is gone does not know what that had under way: so an order is only for the position that
it was decided for, and refused where that has changed (PositionMoved). A loss beyond what the account has is paid by
the insurance fund in the very trade that makes it real (see exchange.margin); where the fund could not,
exchange.risk_stop stops new risk and tells the operators.
"""

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from decimal import Decimal
from math import ceil, floor

from django.db import transaction

from accounts import conversion, ledger
from accounts.margin import State
from exchange import orders, risk_reading
from exchange.commands import NoLiquidity, OrderNotOpen, Place, PositionMoved, Refresh, TooManyFills, UnknownOrder
from exchange.engine.book import BUY
from exchange.liquidation_plan import Close, Held, is_restored, next_close
from exchange.live import fee_on
from exchange.models import Order
from exchange.risk import call_level, figures, standing
from exchange.risk_index import Key
from exchange.risk_models import Liquidation
from exchange.risk_reading import Open, Purse
from exchange.sequencer import sequencer
from marketdata import clock, hours, marks, metrics, threads, units
from marketdata.contracts import RATE_ONE
from marketdata.markets import MarketSpec
from marketdata.models import Asset
from marketdata.refusals import Refusal, Unavailable, UnreadableMarket

logger = logging.getLogger(__name__)

#: Accounts that are told of their liquidation in one transaction.
CHUNK = 200
#: Orders that one liquidation may place: what it needs more for is begun again.
MOST_ORDERS = 50
#: How long until a market that could not be locked is asked again what became of an order.
ASK_SECONDS = 0.5
#: How long one liquidation asks.
ASK_AT_MOST_SECONDS = 60.0

_pool = threads.Pool(2, "liquidation")
stop_threads = _pool.stop


def begin(purses: Sequence[Purse]) -> dict[Key, int]:
    """Keep that these are liquidated from now on, and tell their owners; the liquidations' ids."""
    started: dict[Key, int] = {}
    assets = Asset.objects.in_bulk({purse.key.asset_id for purse in purses})
    for start in range(0, len(purses), CHUNK):
        some = [(purse.key, assets[purse.key.asset_id], purse.state()) for purse in purses[start : start + CHUNK]]
        with transaction.atomic(), ledger.working_sheet({key.account_id for key, _, _ in some}, []) as sheet:
            rows = Liquidation.objects.bulk_create(_begun(*one) for one in some)
            for row, (key, asset, state) in zip(rows, some, strict=True):
                started[key] = row.pk
                _emit(sheet, row, asset, state)
    return started


def _begun(key: Key, asset: Asset, state: State) -> Liquidation:
    return Liquidation(
        account_id=key.account_id,
        asset=asset,
        equity_before=units.from_units(state.equity, asset.decimals),
        used_before=units.from_units(state.used, asset.decimals),
        began_at=clock.now(),
    )


def close_interrupted(ids: Collection[int] | None = None) -> int:
    """End what a process that died has left under way, or of what failed in this one these; whoever is still short is
    begun anew. How many those were.
    """
    rows = Liquidation.objects.filter(ended_at__isnull=True, **({} if ids is None else {"pk__in": ids}))
    return rows.update(outcome=Liquidation.Outcome.UNFILLED, ended_at=clock.now())


class Unsure(Exception):
    """An order may have been done, or may yet be."""


async def liquidate(purse: Purse, liquidation_id: int, unsure: dict[Key, Place]) -> str:
    """Carry one out; its outcome. `purse`: the account as it was read when that was decided. `unsure`: orders of which
    nobody knows what became of them, by the purses that placed them; kept here from one liquidation to the next.
    """
    key, known = purse.key, purse
    try:
        if key in unsure:
            await _closed_after_all(unsure[key])
            del unsure[key]
            known = None
    except Unsure:
        return await _pool.run(_end, liquidation_id, 0, 0)
    cancelled = await _cancel_orders(await _pool.run(risk_reading.orders_to_cancel, key))
    if cancelled:
        known = None
    placed, passed = 0, set()
    while placed < MOST_ORDERS and (order := await _pool.run(next_order, key, known, passed)) is not None:
        placed += 1
        order.client_order_id = _name(liquidation_id, placed)
        try:
            closed = await _place(order)
        except Unsure:
            unsure[key] = order
            break
        if closed is not None and closed < order.quantity:
            passed.add(order.spec.id)
        known = None
    return await _pool.run(_end, liquidation_id, cancelled, placed)


def next_order(key: Key, purse: Purse | None, passed: Collection[int]) -> Place | None:
    """What to close next, at the account as it was read, or as it stands now; None when there is nothing to do."""
    purse = purse or _purse(key)
    if purse is None:
        return None
    state = purse.state()
    close = next_close(
        standing(state), held(purse, passed), int(call_level() * RATE_ONE),
        least_lots={one.spec.id: one.spec.min_quantity for one in purse.open},
    )  # fmt: skip
    if close is None:
        return None
    found = next(one for one in purse.open if one.spec.id == close.market_id)
    order = order_of(key.account_id, found.spec, close, marks.mark(found.spec.id))
    order.held = found.net.quantity
    return order


def held(purse: Purse, passed: Collection[int]) -> list[Held]:
    """The account's positions that may be closed now: within hours, at a fresh mark, and not tried in vain before."""
    found, now = [], clock.now()
    for one in purse.open:
        mark = marks.mark(one.spec.id)
        is_open = hours.is_open(one.spec.contract.schedule, now)
        if one.spec.id in passed or not is_open or mark is None or mark.is_stale:
            continue
        exposure = one.exposure()
        cost = closing_cost(one, mark)
        found.append(
            Held(one.spec.id, one.net.quantity, exposure.unrealized, exposure.used, exposure.maintenance, cost)
        )
    return found


def closing_cost(one: Open, mark: marks.Mark) -> int:
    """What closing all of it at the mark's bid or ask costs against the mark, fees included, in settlement units."""
    spec, rate, lots = one.spec, conversion.rate_of(one.spec), abs(one.net.quantity)
    price = ceil(mark.price / spec.tick_size)
    half_spread = ceil((mark.ask - mark.bid) / 2 / spec.tick_size)
    return rate.up(fee_on(spec.notional(price, lots), spec.taker_rate) + 1 + spec.notional(half_spread, lots))


# Orders


async def _cancel_orders(order_ids: Sequence[int]) -> int:
    """Take the account's orders out, as an operator would; how many that were. Some cannot be where a market's figures
    make no sense: what they hold is looked after when it is needed (exchange.payable).
    """
    work = [orders.cancel_async(account_id=None, order_id=order_id, reason="liquidation") for order_id in order_ids]
    cancelled = 0
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            cancelled += 1
        elif not isinstance(outcome, OrderNotOpen | UnknownOrder | UnreadableMarket):
            raise outcome
    return cancelled


def _name(liquidation_id: int, step: int) -> str:
    """A client_order_id that the account's owner cannot have taken before: nobody knows it."""
    return f"liquidation-{liquidation_id}-{step}-{secrets.token_hex(8)}"


async def _place(order: Place) -> int | None:
    """Place one closing order, of fewer lots where all would meet too many others; how many lots it closed. None:
    nothing was done, and the market is not to blame. Unsure when that cannot be found out.
    """
    try:
        placed = await orders.place_async(order)
    except NoLiquidity:
        return 0
    except PositionMoved:
        return None
    except TooManyFills:  # of one lot there is one trade
        order.quantity //= 2
        return await _place(order)
    except Unavailable as unavailable:
        logger.warning("liquidation of account %d in %s: %s", order.account, order.spec.symbol, unavailable.detail)
        return await _closed_after_all(order)
    except Refusal as refusal:
        logger.warning("liquidation of account %d in %s: %s", order.account, order.spec.symbol, refusal.detail)
        return 0
    return order.spec.lots(Decimal(placed.order["filled_quantity"]))


async def _closed_after_all(order: Place) -> int | None:
    """How many lots an order closed whose answer was lost; None if there is no such order and will be none.

    By then no process begins it any more (see exchange.relay), and what was under way holds the market's lock: a batch
    that has had that lock comes after it.
    """
    try:
        async with asyncio.timeout(ASK_AT_MOST_SECONDS):
            while not await _was_locked(order.spec.id):
                await asyncio.sleep(ASK_SECONDS)
    except TimeoutError:
        raise Unsure from None
    return await _pool.run(_closed_by, order)


async def _was_locked(market_id: int) -> bool:
    try:
        return not isinstance(await sequencer.submit_from_loop([Refresh(market_id)])[0], Exception)
    except Unavailable:
        return False


def _closed_by(order: Place) -> int | None:
    named = Order.objects.filter(account=order.account, client_order_id=order.client_order_id)
    filled = named.values_list("filled_quantity", flat=True).first()
    return None if filled is None else order.spec.lots(filled)


def order_of(account_id: int, spec: MarketSpec, close: Close, mark: marks.Mark) -> Place:
    """The order that closes so much, no further from the mark than the contract allows."""
    band, ticks = spec.contract.liquidation_band, mark.price / spec.tick_size
    price = floor(ticks * (1 + band)) if close.side == BUY else ceil(ticks * (1 - band))
    return Place(
        account=account_id,
        spec=spec,
        side=close.side,
        type="LIMIT",
        price=price,
        quantity=min(close.lots, spec.max_quantity),
        budget=None,
        time_in_force="IOC",
        post_only=False,
        prevention="EXPIRE_MAKER",
        reduce_only=True,
        is_liquidation=True,
    )


# Reading and writing, in threads


def _purse(key: Key) -> Purse | None:
    """The purse as it stands now; None once nothing is open."""
    return next((purse for purse in risk_reading.purses([key.account_id]) if purse.key == key), None)


def _end(liquidation_id: int, cancelled: int, placed: int) -> str:
    """Keep how it went, and tell the owner."""
    row = Liquidation.objects.select_related("asset").get(pk=liquidation_id)
    purse = _purse(Key(row.account_id, row.asset_id))
    state = purse.state() if purse is not None else None
    row.outcome = _outcome(state)
    row.orders_cancelled, row.orders_placed, row.ended_at = cancelled, placed, clock.now()
    with transaction.atomic(), ledger.working_sheet({row.account_id}, []) as sheet:
        if state is not None:
            row.equity_after = units.from_units(state.equity, row.asset.decimals)
            row.used_after = units.from_units(state.used, row.asset.decimals)
        row.save()
        _emit(sheet, row, row.asset, state)
    metrics.LIQUIDATIONS.labels(str(row.outcome)).inc()
    return row.outcome


def _outcome(state: State | None) -> str:
    if state is None:
        return Liquidation.Outcome.CLOSED
    restored = is_restored(standing(state), int(call_level() * RATE_ONE))
    return Liquidation.Outcome.RESTORED if restored else Liquidation.Outcome.UNFILLED


def _emit(sheet: ledger.Sheet, row: Liquidation, asset: Asset, state: State | None) -> None:
    equity, used = (state.equity, state.used) if state is not None else (0, 0)
    event = {
        "type": "liquidation",
        "id": row.pk,
        "outcome": str(row.outcome),
        "orders_cancelled": row.orders_cancelled,
        "orders_placed": row.orders_placed,
        **figures(asset, equity, used),
    }
    sheet.emit(row.account_id, event)
