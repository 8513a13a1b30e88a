"""Spot settlement: how an order's funds are reserved, settled and released on a sheet of locked balances.

The paying account and asset follow from market and side, never from the request: a buyer pays the quote asset, a
seller the base asset, and both pay their fee in the quote asset to the market's fee account. A buy that fills below
its limit gets the difference back in the same step, because `free_filled` releases what the filled part had
reserved at the limit price.
"""

from accounts import spending
from accounts.ledger import Sheet
from accounts.models import Journal
from exchange.engine.book import BUY, Plan
from exchange.live import LiveOrder, fee_on, held, required
from marketdata.markets import MarketSpec


def reserve_asset(spec: MarketSpec, side: int) -> int:
    """The asset that an order of this side sets aside and pays with; on margin markets both sides' is the same."""
    if spec.contract is not None:
        return spec.contract.settlement_id
    return spec.quote_id if side == BUY else spec.base_id


def reserve(sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
    """Set aside what the whole of a limit order needs; a market order must only be able to pay what the plan says.

    InsufficientFunds otherwise, with nothing changed.
    """
    asset = reserve_asset(spec, order.side)
    if order.price is not None:
        spending.reserve(sheet, order.account, asset, held(spec, order))
        return
    if order.side == BUY:
        costs = [spec.notional(maker.price, lots) for maker, lots in plan.matches]
        needed = sum(cost + fee_on(cost, order.taker_rate) for cost in costs)
    else:
        needed = max(plan.filled, order.remaining) * spec.lot_units
    spending.check(sheet, order.account, asset, needed)


def hold(sheet: Sheet, spec: MarketSpec, order: LiveOrder) -> None:
    """Set aside what a waiting order holds; InsufficientFunds otherwise, with nothing changed."""
    spending.reserve(sheet, order.account, reserve_asset(spec, order.side), held(spec, order))


def change_reserve(
    sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan, *, price: int, remaining: int
) -> None:
    """Move an open order's reserve to other terms, if the account has the difference.

    InsufficientFunds otherwise, nothing changed.
    """
    worst_rate = max(order.maker_rate, order.taker_rate)
    needed = required(spec, side=order.side, price=price, remaining=remaining, worst_rate=worst_rate)
    difference = needed - held(spec, order)
    if difference > 0:
        spending.reserve(sheet, order.account, reserve_asset(spec, order.side), difference)
    else:
        sheet.release(order.account, reserve_asset(spec, order.side), -difference)


def free_filled(sheet: Sheet, spec: MarketSpec, order: LiveOrder, lots: int) -> None:
    """Release what the `lots` just filled had reserved, so that they can be paid.

    `order.remaining` is already without them.
    """
    if lots and order.price is not None:
        freed = held(spec, order, order.remaining + order.hidden + lots) - held(spec, order)
        sheet.release(order.account, reserve_asset(spec, order.side), freed)


def release_rest(sheet: Sheet, spec: MarketSpec, order: LiveOrder) -> None:
    """Give back all that an order which ends here still holds."""
    sheet.release(order.account, reserve_asset(spec, order.side), held(spec, order))


def settle(
    sheet: Sheet,
    spec: MarketSpec,
    *,
    reference: int,
    fees: int,
    buyer: int,
    seller: int,
    lots: int,
    notional: int,
    buyer_fee: int,
    seller_fee: int,
) -> None:
    """One trade's journal of accounts, lots and quote units; what the fills had reserved is freed already."""
    base, quote, quantity = spec.base_id, spec.quote_id, lots * spec.lot_units
    sheet.post(
        Journal.Kind.TRADE,
        (
            (buyer, quote, -notional - buyer_fee),
            (buyer, base, quantity),
            (seller, base, -quantity),
            (seller, quote, notional - seller_fee),
            (fees, quote, buyer_fee + seller_fee),
        ),
        reference=reference,
    )
