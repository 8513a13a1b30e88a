"""Orders, fills and trades as the wire shows them, from the matcher's memory and from rows: one shape, two sources.

A test holds that both give the same text for the same order.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from accounts.valuation import PRICE_DECIMALS
from exchange.books import SIDE_NAMES, Match
from exchange.live import STATUS_NAMES, LiveOrder, SpecialOrder, reserved
from exchange.models import Fill, Order, Trade
from marketdata import clock, markets, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import MarketSpec
from marketdata.units import plain


def percent_text(rate: int) -> str:
    """A trailing rate as percent."""
    return units.text(rate, RATE_DECIMALS - 2)


def live_order(spec: MarketSpec, order: LiveOrder) -> dict:
    """An order of the matcher, without its fills."""
    filled, quote_decimals = order.filled, spec.quote_decimals
    shown = {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "symbol": spec.symbol,
        "side": SIDE_NAMES[order.side],
        "type": order.type,
        "time_in_force": order.time_in_force,
        "post_only": order.post_only,
        "reduce_only": order.reduce_only,
        "self_trade_prevention": order.prevention,
        "price": None if order.price is None else spec.price_text(order.price),
        "stop_price": None,
        "trail_amount": None,
        "trail_percent": None,
        "displayed_quantity": None,
        "list_id": None,
        "list_role": None,
        "expires_at": None,
        "triggered_at": None,
        "quantity": spec.quantity_text(order.quantity),
        "quote_quantity": None if order.budget is None else units.text(order.budget, quote_decimals),
        "filled_quantity": spec.quantity_text(filled),
        "remaining_quantity": spec.quantity_text(order.remaining + order.hidden),
        "average_price": _live_average(spec, order, filled) if filled else None,
        "status": STATUS_NAMES[order.status],
        "reason": order.reason or None,
        "reserved": units.text(reserved(spec, order), spec.reserve_decimals(order.side)),
        "fee": units.text(order.fee, quote_decimals),
        "created_at": clock.text(order.created_at),
        "updated_at": clock.text(order.updated_at),
    }
    if isinstance(order, SpecialOrder):
        shown |= _terms(spec, order)
    return shown


def _terms(spec: MarketSpec, order: SpecialOrder) -> dict:
    """What a plain order shows as null."""
    return {
        "stop_price": None if order.stop is None else spec.price_text(order.stop),
        "trail_amount": spec.price_text(order.trail) if order.trail else None,
        "trail_percent": percent_text(order.trail_rate) if order.trail_rate else None,
        "displayed_quantity": spec.quantity_text(order.display) if order.display else None,
        "list_id": order.list_id,
        "list_role": order.list_role,
        "expires_at": order.expires_at,
        "triggered_at": None if order.triggered_at is None else clock.text(order.triggered_at),
    }


def _live_average(spec: MarketSpec, order: LiveOrder, filled: int) -> str | None:
    quantity, contract = filled * spec.lot_units, spec.contract_ratio()
    return _average(order.filled_notional, spec.quote_decimals, quantity, spec.base_decimals, contract)


def _average(
    notional: int, quote_decimals: int, quantity: int, base_decimals: int, contract: tuple[int, int]
) -> str | None:
    """notional / quantity / contract size, rounded half up to PRICE_DECIMALS: a figure to look at, never one to
    settle by.
    """
    if not quantity:
        return None
    scaled = notional * 10 ** (PRICE_DECIMALS + base_decimals) * contract[1]
    divisor = quantity * 10**quote_decimals * contract[0]
    return units.text((2 * scaled + divisor) // (2 * divisor), PRICE_DECIMALS)


def live_fill(spec: MarketSpec, trade_id: int, match: Match, *, role: str, moment: datetime) -> dict:
    """One side's share of a match, as the order object lists it."""
    return {
        "trade_id": trade_id,
        "price": spec.price_text(match.price),
        "quantity": spec.quantity_text(match.lots),
        "fee": spec.quote_text(match.maker_fee if role == "MAKER" else match.taker_fee),
        "fee_asset": spec.quote,
        "role": role,
        "executed_at": clock.text(moment),
    }


def live_trade(spec: MarketSpec, trade_id: int, match: Match, moment: datetime) -> dict:
    """A match as the public tape shows it."""
    return {
        "trade_id": trade_id,
        "symbol": spec.symbol,
        "price": spec.price_text(match.price),
        "quantity": spec.quantity_text(match.lots),
        "side": SIDE_NAMES[match.taker.side],
        "executed_at": clock.text(moment),
    }


def order_row(order: Order, fills: Iterable[Fill]) -> dict:
    """A stored order (with market and its assets loaded) and its fills, oldest first: those that it says it has, as it
    may have been read before the newest of them.
    """
    quote, base = order.market.quote, order.market.base
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "symbol": order.market.symbol,
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "post_only": order.post_only,
        "reduce_only": order.reduce_only,
        "self_trade_prevention": order.self_trade_prevention,
        "price": _plain(order.price),
        "stop_price": _plain(order.stop_price),
        "trail_amount": _plain(order.trail_amount),
        "trail_percent": _plain(order.trail_percent),
        "displayed_quantity": _plain(order.displayed_quantity),
        "list_id": order.list_id,
        "list_role": order.list_role,
        "expires_at": None if order.expires_at is None else clock.text(order.expires_at),
        "triggered_at": None if order.triggered_at is None else clock.text(order.triggered_at),
        "quantity": plain(order.quantity),
        "quote_quantity": _plain(order.quote_quantity),
        "filled_quantity": plain(order.filled_quantity),
        "remaining_quantity": plain(order.remaining_quantity),
        "average_price": _average(
            units.to_units(order.filled_notional, quote.decimals),
            quote.decimals,
            units.to_units(order.filled_quantity, base.decimals),
            base.decimals,
            markets.contract_ratio(order.market),
        ),
        "status": order.status,
        "reason": order.reason or None,
        "reserved": plain(order.reserved),
        "fee": plain(order.fee),
        "created_at": clock.text(order.created_at),
        "updated_at": clock.text(order.updated_at),
        "fills": [fill_row(fill, quote.symbol) for fill in _making_up(order.filled_quantity, fills)],
    }


def _making_up(quantity: Decimal, fills: Iterable[Fill]) -> Iterator[Fill]:
    """The first of these fills, as many as come to that quantity."""
    for fill in fills:
        if quantity <= 0:
            return
        quantity -= fill.quantity
        yield fill


def _plain(value) -> str | None:
    return None if value is None else plain(value)


def fill_row(fill: Fill, fee_asset: str) -> dict:
    """A stored fill, as the order object lists it."""
    return {
        "trade_id": fill.trade_id,
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "fee_asset": fee_asset,
        "role": fill.role,
        "executed_at": clock.text(fill.executed_at),
    }


def trade_row(trade: Trade) -> dict:
    """A stored trade (with its market loaded), as the public tape shows it."""
    return {
        "trade_id": trade.id,
        "symbol": trade.market.symbol,
        "price": plain(trade.price),
        "quantity": plain(trade.quantity),
        "side": trade.taker_side,
        "executed_at": clock.text(trade.executed_at),
    }
