"""The checks of an order that need no lock: a ladder, one named refusal a line.

What moves with the book (status, band, funds, open orders) is checked under the market's lock, in exchange.batch.
"""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b

from exchange import special_terms
from exchange.books import SIDES
from exchange.commands import BadLotSize, BadTickSize, BelowMinNotional, MarketClosed, Place, QuantityOutOfRange
from marketdata import units
from marketdata.markets import MarketSpec, by_symbol
from marketdata.refusals import Malformed

PLAIN_TYPES = ("LIMIT", "MARKET")
#: Times in force that end an order by the clock.
ENDING = ("DAY", "GTD", "AUC")

#: Largest notional of one order, in whole quote assets: far below where NUMERIC(38,18) ends.
MAX_NOTIONAL = 10**15


def place_command(
    *,
    account_id: int,
    symbol: str,
    side: str,
    type: str = "LIMIT",
    price: Decimal | None = None,
    quantity: Decimal | None = None,
    quote_quantity: Decimal | None = None,
    time_in_force: str | None = None,
    post_only: bool = False,
    self_trade_prevention: str = "EXPIRE_TAKER",
    client_order_id: str | None = None,
    reduce_only: bool = False,
    spec: MarketSpec | None = None,
    **special,
) -> Place:
    """A Place for the sequencer, or a refusal: Malformed, UnknownMarket, or one of exchange.commands.

    `spec`: what to take the market for, if not for what it is. `special` are the terms of exchange.special_terms:
    stop_price, trail_amount, trail_percent, displayed_quantity, expires_at.
    """
    spec = spec or by_symbol(symbol)
    time_in_force = time_in_force or ("IOC" if type == "MARKET" else "GTC")
    if type in PLAIN_TYPES:
        _check_combination(type, price, quantity, quote_quantity, time_in_force, post_only)
    command = Place(
        account=account_id,
        spec=spec,
        side=SIDES[side],
        type=type,
        price=None if price is None else ticks(spec, price),
        quantity=0 if quantity is None else lots(spec, quantity),
        budget=None if quote_quantity is None else quote_units(spec, quote_quantity),
        time_in_force=time_in_force,
        post_only=post_only,
        prevention=self_trade_prevention,
        client_order_id=client_order_id,
        reduce_only=reduce_only,
    )
    _check_kind(spec, reduce_only, quote_quantity)
    if special or type not in PLAIN_TYPES or time_in_force in ENDING:
        special_terms.add(command, **special)
    if client_order_id is not None:
        command.fingerprint = fingerprint(command)
    check_size(spec, sizing_price(command), command.quantity, command.budget, may_be_rest=reduce_only)
    return command


def sizing_price(command: Place) -> int | None:
    """The price by which an order is too small or too large: a stop market order's is its stop."""
    return command.price or (command.more or {}).get("stop")


def refit(command: Place, spec: MarketSpec) -> Place:
    """The same order under changed filters: called when an operator edited the market after the door's checks."""
    old = command.spec
    if not spec.is_same_market(old):
        raise MarketClosed(f"{spec.symbol} is another market by now; look at it before you order.")
    is_of_these_terms = command.fingerprint == fingerprint(command)  # not of a whole list
    command.price = None if command.price is None else ticks(spec, old.price(command.price))
    command.quantity = lots(spec, old.quantity(command.quantity)) if command.quantity else 0
    command.spec = spec
    if command.more:
        special_terms.refit(command, old)
    if is_of_these_terms:
        command.fingerprint = fingerprint(command)  # the same request, sent again, counts its stops in the new tick
    check_size(spec, sizing_price(command), command.quantity, command.budget, may_be_rest=command.reduce_only)
    return command


def fingerprint(command: Place) -> str:
    """What must be equal for the same client_order_id to mean the same order."""
    spec = command.spec
    terms = (
        spec.id, command.side, command.type, command.time_in_force, command.post_only, command.prevention,
        command.budget, None if command.price is None else spec.price_text(command.price),
        spec.quantity_text(command.quantity),
    )  # fmt: skip
    if command.reduce_only:
        terms = (*terms, "reduce_only")
    if command.more:
        terms += (sorted(command.more.items()),)
    return digest(terms)


def digest(terms: Sequence) -> str:
    """The fingerprint of these terms."""
    return blake2b(repr(terms).encode(), digest_size=16).hexdigest()


def _check_combination(type, price, quantity, quote_quantity, time_in_force, post_only) -> None:
    if type == "LIMIT":
        require(price is not None, "price", "A limit order needs a price.")
        require(quantity is not None, "quantity", "A limit order needs a quantity.")
        require(quote_quantity is None, "quote_quantity", "Only a market order can be placed by quote amount.")
        require(
            not post_only or time_in_force not in ("IOC", "FOK"),
            "post_only",
            "A post-only order rests: its time in force cannot be IOC or FOK.",
        )
        return
    require(price is None, "price", "A market order has no price; use type LIMIT.")
    require(time_in_force not in ENDING, "time_in_force", "A market order does not rest: GTC, IOC or FOK.")
    require((quantity is None) != (quote_quantity is None), "quantity", "Give either quantity or quote_quantity.")
    require(not post_only, "post_only", "A market order cannot be post-only.")
    require(time_in_force != "FOK" or quote_quantity is None, "time_in_force", "FOK needs a quantity.")


def _check_kind(spec: MarketSpec, reduce_only: bool, quote_quantity: Decimal | None) -> None:
    """What only the one or the other kind of market takes."""
    if spec.contract is None:
        require(not reduce_only, "reduce_only", "Only orders of margin markets can be reduce-only.")
    else:
        require(quote_quantity is None, "quote_quantity", "An order of a margin market needs a quantity.")


def require(condition: bool, field: str, detail: str) -> None:
    if not condition:
        raise Malformed(detail, errors=[{"field": field, "code": "invalid", "detail": detail}])


def ticks(spec: MarketSpec, price: Decimal) -> int:
    """A price in ticks; BadTickSize when it lies between two."""
    try:
        return spec.ticks(price)
    except units.NotWhole:
        raise BadTickSize(
            f"Price {units.plain(price)} is not a multiple of the tick size {units.plain(spec.tick_size)}."
        ) from None


def lots(spec: MarketSpec, quantity: Decimal) -> int:
    """A quantity in lots; BadLotSize when it lies between two."""
    try:
        return spec.lots(quantity)
    except units.NotWhole:
        raise BadLotSize(
            f"Quantity {units.plain(quantity)} is not a multiple of the lot size {units.plain(spec.lot_size)}."
        ) from None


def quote_units(spec: MarketSpec, amount: Decimal) -> int:
    """A quote amount in its smallest units; BadLotSize when it is finer."""
    try:
        return units.to_units(amount, spec.quote_decimals)
    except units.NotWhole:
        raise BadLotSize(
            f"{units.plain(amount)} has more than the {spec.quote_decimals} decimals of {spec.quote}."
        ) from None


def check_size(
    spec: MarketSpec, price: int | None, quantity: int, budget: int | None, *, may_be_rest: bool = False
) -> None:
    """Quantity within the market's range, notional neither too small nor absurd. What closes all that is left of a
    position may be small: whether a reduce-only order does, only the lock tells (exchange.margin).
    """
    least = 1 if may_be_rest else spec.min_quantity
    if budget is None and not least <= quantity <= spec.max_quantity:
        raise QuantityOutOfRange(
            f"Quantity {spec.quantity_text(quantity)} is out of range: {spec.symbol} takes "
            f"{spec.quantity_text(spec.min_quantity)} to {spec.quantity_text(spec.max_quantity)}."
        )
    notional = budget if price is None else spec.notional(price, quantity)
    if notional is None:
        return
    if notional < spec.min_notional and not may_be_rest:
        raise BelowMinNotional(
            f"The order is worth {spec.quote_text(notional)} {spec.quote}; "
            f"at least {spec.quote_text(spec.min_notional)} is needed."
        )
    if notional > MAX_NOTIONAL * 10**spec.quote_decimals:
        raise QuantityOutOfRange(f"The order is worth more than {MAX_NOTIONAL} {spec.quote}.")
