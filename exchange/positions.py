"""What a person does with margin besides placing orders: choosing leverage, closing a position, and on a demonstration
filling at the feed's price. (Weighing an order first is exchange.preview.)

Closing and filling are orders, through the one door. The venue sets their prices, whatever the client sends along. So
the same request made again may come to another order: a client_order_id is held against what was asked for.
"""

from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor

from django.conf import settings
from django.db import transaction

from accounts import ledger, positions
from accounts.models import Account, MarginSetting, Position
from exchange import admission, house_quotes, margin_reading, orders, validation
from exchange.books import SIDES
from exchange.commands import NoLiquidity, OrderRefusal, Place, ReduceOnly
from exchange.models import Order
from exchange.resent import market_of
from marketdata import clock, markets, marks, units
from marketdata.markets import MarketSpec
from marketdata.refusals import Malformed, NotFound, Refusal


class LeverageOutOfRange(Refusal):
    """The contract allows less."""

    code, title = "leverage_out_of_range", "Leverage out of range"


class LeverageInUse(Refusal):
    """Orders have reserved their margin at the present one."""

    code, status, title = "leverage_in_use", 409, "Open orders use the leverage"


class UnknownPosition(NotFound):
    """There is no such position, or it is somebody else's."""

    title = "Unknown position"


class PositionClosed(Refusal):
    """The position was closed before."""

    code, status, title = "position_closed", 409, "Position is closed"


class NoPosition(OrderRefusal):
    """There is nothing to close."""

    code, title = "no_position", "No open position"


class DemoOnly(Refusal):
    """Only a demonstration fills at the feed's price."""

    code, status, title = "demo_only", 403, "Only on a demonstration"


def margin_market(symbol: str) -> MarketSpec:
    """The margin market of that symbol; UnknownMarket, or Malformed for a spot market."""
    spec = markets.by_symbol(symbol)
    if spec.contract is None:
        detail = f"{spec.symbol} is a spot market; it has no margin."
        raise Malformed(detail, errors=[{"field": "symbol", "code": "not_a_margin_market", "detail": detail}])
    return spec


# Leverage


def set_leverage(*, account_id: int, symbol: str, leverage: int) -> dict:
    """Choose the leverage for what the account opens there from now on; what is open keeps its margin, and its owner
    hears what was chosen.

    A lower one is refused (LeverageInUse) while orders are open that could open a position: when they are filled it
    would ask for more than they have reserved.
    """
    spec = margin_market(symbol)
    if not 1 <= leverage <= spec.contract.max_leverage:
        raise LeverageOutOfRange(f"{spec.symbol} allows a leverage of 1 to {spec.contract.max_leverage}.")
    with transaction.atomic(), ledger.working_sheet([account_id], []) as sheet:  # locked as by who places and fills
        chosen = MarginSetting.objects.filter(account=account_id, market=spec.id).first()
        if leverage < (chosen.leverage if chosen else spec.contract.max_leverage):
            orders_open = Order.objects.filter(account=account_id, market=spec.id, status__in=Order.LIVE)
            if orders_open.filter(reduce_only=False).exists():
                raise LeverageInUse(f"Cancel your open orders in {spec.symbol} before you lower the leverage.")
        MarginSetting.objects.update_or_create(
            account_id=account_id, market_id=spec.id, defaults={"leverage": leverage}
        )
        for row in Position.objects.filter(account=account_id, market=spec.id, closed_at__isnull=True):
            sheet.emit(account_id, positions.event(margin_reading.live(row), leverage))
    return margin_reading.leverage_rows(account_id, [spec])[0]


# What was asked for before


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what: `client_order_id` is the client's name for it, `fingerprint` what must be equal for the same
    name to mean the same request.
    """

    account_id: int
    spec: MarketSpec
    client_order_id: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Done:
    """The order that did what was asked for, and the position that is left now. `replayed`: it was done before."""

    order: dict
    position: dict | None
    replayed: bool = False


def _asked(account_id: int, spec: MarketSpec, client_order_id: str | None, *terms: object) -> Asked:
    return Asked(account_id, spec, client_order_id, validation.digest((spec.id, *terms)))


def _replayed(asked: Asked) -> Done | None:
    """The answer to what was done before under this name; ClientOrderIdReused if that was something else."""
    if asked.client_order_id is None:
        return None
    order = Order.objects.filter(account=asked.account_id, client_order_id=asked.client_order_id).first()
    if order is None:
        return None
    if order.fingerprint != asked.fingerprint:
        raise admission.reused(asked.client_order_id, order.pk)
    return Done(orders.stored(order.pk), _shown(asked.account_id, asked.spec), replayed=True)


def _command(asked: Asked, **terms) -> Place:
    """The order that does it. Under the lock the sequencer looks for the name once more."""
    name = asked.client_order_id
    command = validation.place_command(
        account_id=asked.account_id, symbol=asked.spec.symbol, client_order_id=name, **terms
    )
    if name is not None:
        command.fingerprint = asked.fingerprint
    return command


def _size(quantity: Decimal | None) -> str:
    return "all" if quantity is None else units.plain(quantity)


# Closing


def close(*, account_id: int, symbol: str, quantity: Decimal | None, client_order_id: str | None) -> Done:
    """Close all or part of the account's position in a market, at the market. NoPosition when there is none."""
    spec = market_of(margin_market, account_id=account_id, symbol=symbol, client_order_id=client_order_id)
    asked = _asked(account_id, spec, client_order_id, "close", _size(quantity))
    # The position first: what the same request closes meanwhile, the look for the name then finds.
    row = Position.objects.filter(account=account_id, market=spec.id, closed_at__isnull=True).first()
    if replayed := _replayed(asked):
        return replayed
    if row is None:
        raise NoPosition(f"You have no open position in {spec.symbol}.")
    return _close(row, asked, quantity)


def exit_position(*, account_id: int, position_id: int, quantity: Decimal | None, client_order_id: str | None) -> Done:
    """Close all or part of one position by its id. UnknownPosition, or PositionClosed when it is over."""
    row = Position.objects.filter(account=account_id, pk=position_id).first()
    if row is None:
        raise UnknownPosition(f"You have no position {position_id}.")
    asked = _asked(account_id, markets.by_id(row.market_id), client_order_id, "exit", row.pk, _size(quantity))
    if replayed := _replayed(asked):
        return replayed
    if row.closed_at is not None:
        raise PositionClosed(f"Position {position_id} was closed at {clock.text(row.closed_at)}.")
    return _close(row, asked, quantity)


def _close(row: Position, asked: Asked, quantity: Decimal | None) -> Done:
    """By one order, of as much as one takes. All of a position that has become smaller is what is left of it."""
    spec = asked.spec
    command = _command(
        asked,
        side="SELL" if row.quantity > 0 else "BUY",
        type="MARKET",
        quantity=min(abs(row.quantity), spec.quantity(spec.max_quantity)) if quantity is None else quantity,
        reduce_only=True,
        self_trade_prevention="EXPIRE_MAKER",
    )
    try:
        placed = orders.place(command)
    except ReduceOnly:
        left = Position.objects.filter(pk=row.pk, closed_at__isnull=True).first()
        if left is None:
            raise PositionClosed(f"Position {row.pk} was closed before your order came.") from None
        if quantity is not None or abs(left.quantity) >= abs(row.quantity):
            raise
        return _close(left, asked, None)
    return Done(placed.order, _shown(row.account_id, spec), placed.replayed)


def _shown(account_id: int, spec: MarketSpec) -> dict | None:
    """The account's open position in a market as it stands now."""
    with margin_reading.snapshot():
        account = margin_reading.read(account_id)
        position = account.positions.of(account_id, spec)
        return margin_reading.position_row(account, position) if position else None


# The demonstration's fills


def sim_fill(*, account_id: int, symbol: str, side: str, quantity: Decimal, client_order_id: str | None) -> Done:
    """Trade with the house at the feed's bid or ask, or better where somebody else offers it."""
    if not settings.FAUCET:
        raise DemoOnly("This venue fills nothing at the feed's price; place an order.")
    spec = market_of(margin_market, account_id=account_id, symbol=symbol, client_order_id=client_order_id)
    asked = _asked(account_id, spec, client_order_id, "sim_fill", side, _size(quantity))
    if replayed := _replayed(asked):
        return replayed
    mark = marks.fresh(spec.id, spec.symbol)
    is_buy = SIDES[side] > 0
    ticks = ceil(mark.ask / spec.tick_size) if is_buy else floor(mark.bid / spec.tick_size)
    price = spec.price(max(ticks, 1))
    terms = {"price": price, "quantity": quantity, "self_trade_prevention": "EXPIRE_MAKER"}
    wanted = _command(asked, side=side, time_in_force="IOC", **terms)
    house = house_quotes.house_account(spec.id)
    _check_exposure(house, spec, SIDES[side] * wanted.quantity)
    other = "SELL" if is_buy else "BUY"
    offered = validation.place_command(account_id=house.pk, symbol=spec.symbol, side=other, **terms)
    offer, placed = orders.place_many([offered, wanted])
    if isinstance(offer, orders.Placed) and offer.order["status"] in ("OPEN", "PARTIALLY_FILLED"):
        with suppress(Refusal):  # filled by then
            orders.cancel(account_id=house.pk, order_id=offer.order["id"])
    if isinstance(placed, Exception):
        raise placed
    return Done(placed.order, _shown(account_id, spec), placed.replayed)


def _check_exposure(house: Account, spec: MarketSpec, lots: int) -> None:
    """The house has a limit: NoLiquidity beyond it."""
    held = Position.objects.filter(account=house, market=spec.id, closed_at__isnull=True).first()
    after = (spec.lots(held.quantity) if held else 0) - lots
    if abs(after) > spec.contract.exposure_limit_lots and after * lots < 0:
        raise NoLiquidity(f"The house takes no more of {spec.symbol} on that side now.")
