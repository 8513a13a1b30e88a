"""Weighing an order without placing it: what it would need, whether it would pass, and how the account would stand
afterwards. Book and account are read without a lock: what is placed a moment later may meet others.

Known limits: orders of one's own that it would meet are looked at like anybody's, and neither the order-to-trade ratio
nor an interruption that it would bring on is looked at.
"""

from dataclasses import dataclass
from decimal import Decimal

from accounts import conversion
from accounts.positions import LivePosition, average_text
from exchange import admission, bands, barrier, limits, margin, margin_reading, sessions, validation, weighing
from exchange.books import SIDE_NAMES
from exchange.commands import NoLiquidity, Place, ReduceOnly
from exchange.fee_tiers import rates_of
from exchange.margin_reading import MarginAccount
from exchange.models import Order
from exchange.phases import COLLECTING
from exchange.positions import margin_market
from marketdata import clock, marks, units
from marketdata.markets import MarketSpec
from marketdata.models import Market
from marketdata.refusals import Refusal
from marketdata.rules import session_row

#: How deep a weighed order looks into the book.
DEPTH = 1000


@dataclass(slots=True)
class Weighed:
    """What an order would need and leave behind."""

    spec: MarketSpec
    account: MarginAccount
    need: weighing.Need
    unfilled: int
    refusal: Refusal | None


def check(
    *, account_id: int, symbol: str, side: str, quantity: Decimal, price: Decimal | None, reduce_only: bool
) -> dict:
    """Weigh an order against the book and the account as they stand; nothing is placed or reserved. What it would need,
    whether it would pass, and how the account would stand after it.
    """
    margin_market(symbol)
    command = validation.place_command(
        account_id=account_id,
        symbol=symbol,
        side=side,
        type="MARKET" if price is None else "LIMIT",
        price=price,
        quantity=quantity,
        reduce_only=reduce_only,
    )
    spec = command.spec
    market = Market.objects.get(pk=spec.id)
    phase = session_row(market, clock.now())["phase"]
    matches, rest = ([], command.quantity) if phase in COLLECTING else _walk(spec, command)
    with margin_reading.snapshot():
        account = margin_reading.read(account_id)
        maker_rate, taker_rate = rates_of(account_id, spec)
        resting, closes = (0, rest) if reduce_only else (0 if price is None else rest, 0)
        need = weighing.weigh(
            account.positions, account.sheet(), spec, conversion.rate_of(spec), account_id, command.side,
            matches=matches, rests=resting, closes=closes, price=command.price, taker_rate=taker_rate,
            worst_rate=max(maker_rate, taker_rate),
            beside=margin_reading.resting_notional(account_id, spec, SIDE_NAMES[command.side]),
        )  # fmt: skip
        refusal = _refusal(command, market, phase, account, need, matches)
        return _weighed_row(Weighed(spec, account, need, rest, refusal))


def _walk(spec: MarketSpec, command: Place) -> tuple[list[tuple[int, int]], int]:
    """What the order would meet in the book, (ticks, lots), and the lots that it would not."""
    book = barrier.view(spec).snapshot(DEPTH)
    matches, left = [], command.quantity
    for price, quantity in book["asks" if command.side > 0 else "bids"]:
        ticks, lots = spec.ticks(Decimal(price)), min(left, spec.lots(Decimal(quantity)))
        if not left or (command.price is not None and command.side * ticks > command.side * command.price):
            break
        matches.append((ticks, lots))
        left -= lots
    return matches, left


def _refusal(
    command: Place, market: Market, phase: str, account: MarginAccount, need: weighing.Need,
    matches: list[tuple[int, int]],
) -> Refusal | None:  # fmt: skip
    """The first thing for which the venue would refuse the order."""
    spec = command.spec
    try:
        _check_market(command, market, phase, account)
        margin.check_placing(command, spec, clock.now())
    except Refusal as refusal:
        return refusal
    if command.reduce_only and (refusal := _over_or_under(command, account.positions.of(command.account, spec))):
        return refusal
    if command.price is None and not matches:
        return NoLiquidity("There is no order on the other side; place a limit order instead.")
    try:
        if command.price is None:
            limits.check_notional(spec, sum(spec.notional(price, lots) for price, lots in matches))
        need.check(spec)
        need.check_orders(spec)
    except Refusal as refusal:
        return refusal
    return None


def _over_or_under(command: Place, position: LivePosition | None) -> Refusal | None:
    """What keeps a reduce-only order from taking so much of the position."""
    held = -command.side * position.quantity if position else 0
    if command.quantity > held:
        return ReduceOnly("The order would do more than reduce your position.")
    if command.quantity < held:
        try:
            validation.check_size(command.spec, command.price, command.quantity, None)
        except Refusal as refusal:
            return refusal
    return None


def _check_market(command: Place, market: Market, phase: str, account: MarginAccount) -> None:
    """The market's status and phase, who may trade there, its price band and its limits, in the order in which the
    matcher asks for them under the lock.
    """
    spec, now = command.spec, clock.now()
    admission.check_status(spec, market.status if market.is_active else Market.Status.CLOSED)
    admission.check_account(account.holder, spec, now, only_reduces=command.reduce_only)
    sessions.check_order(spec, phase, type=command.type, time_in_force=command.time_in_force, moment=now)
    mark = marks.mark(spec.id)
    band = bands.around(spec, mark.price if mark else market.last_price or spec.reference_price)
    if command.price is not None and band is not None:
        admission.check_within(spec, command.price, band)
    waiting = Order.objects.filter(account=account.account_id, market=spec.id, status__in=Order.LIVE)
    admission.check_room(spec, command, waiting.count())
    limits.check_terms(spec, command.price, command.quantity, None)


def _weighed_row(weighed: Weighed) -> dict:
    """A weighed order as the wire shows it, with the account as it would stand after its fills."""
    spec, need, account = weighed.spec, weighed.need, weighed.account
    decimals, asset = spec.contract.settlement_decimals, spec.contract.settlement_id
    before = account.state(asset)
    position = _preview(account, spec, need)
    after = account.state(asset)
    liquidation = margin_reading.liquidation_price(account, spec, position) if position.quantity else None
    return {
        "symbol": spec.symbol,
        "would_pass": weighed.refusal is None,
        "code": weighed.refusal.code if weighed.refusal else None,
        "detail": weighed.refusal.detail if weighed.refusal else None,
        "leverage": account.positions.leverage(account.account_id, spec),
        "required": units.text(need.total, decimals),
        "spendable": units.text(need.spendable, decimals),
        "unfilled_quantity": spec.quantity_text(weighed.unfilled),
        "position_after": spec.quantity_text(position.quantity),
        "entry_price_after": average_text(spec, position.net),
        "liquidation_price_after": liquidation,
        "level_before": margin_reading.level_text(before.level),
        "level_after": margin_reading.level_text(after.level),
        "settlement_asset": spec.contract.settlement,
    }


def _preview(account: MarginAccount, spec: MarketSpec, need: weighing.Need) -> LivePosition:
    """Put the order's fills and reserve into this reading of the account; the position as it would be."""
    owner, asset = account.account_id, spec.contract.settlement_id
    old = account.positions.of(owner, spec)
    position = LivePosition(owner, spec, clock.now(), quantity=need.after.quantity, cost=need.after.cost)
    if old is not None and old.quantity * need.after.quantity > 0:
        kept = min(abs(old.quantity), abs(need.after.quantity))
        position.margin = old.margin * kept // abs(old.quantity)
        position.reserved = old.reserved - need.freed
    position.margin += need.margin
    position.reserved += need.margin
    account.positions.put(position)
    resting = need.rests * need.per_lot
    account.orders[asset] = account.orders.get(asset, 0) + resting
    account.available[asset] = account.available.get(asset, 0) + need.freed + need.cash - need.margin - resting
    return position
