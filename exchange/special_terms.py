"""The terms of orders that are more than plain, checked where no lock is needed: triggers, icebergs, ends in time.

A ladder like exchange.validation, which calls it. What depends on the market's price is checked and completed under
the lock, in exchange.conditions.
"""

from datetime import datetime
from decimal import Decimal

from exchange import validation
from exchange.commands import BadTrail, Place
from exchange.loading import direction_of
from marketdata import clock, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import MarketSpec

STOP_TYPES = ("STOP_LOSS", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
LIMIT_TYPES = ("LIMIT", "STOP_LIMIT", "TAKE_PROFIT_LIMIT")
#: A trailing distance in percent has at most this many decimals.
PERCENT_DECIMALS = RATE_DECIMALS - 2
#: The terms that are prices in ticks, and those that are lots.
PRICES, LOTS = ("stop", "trail"), ("display",)


def add(
    command: Place,
    *,
    stop_price: Decimal | None = None,
    trail_amount: Decimal | None = None,
    trail_percent: Decimal | None = None,
    displayed_quantity: Decimal | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Put the special terms into the command; Malformed where they do not fit its type."""
    require, kind, spec = validation.require, command.type, command.spec
    if kind not in validation.PLAIN_TYPES:
        _check_triggered(command)
    require((stop_price is not None) == (kind in STOP_TYPES), "stop_price", _hint("A stop_price", STOP_TYPES, kind))
    trails = (trail_amount is not None) + (trail_percent is not None)
    if kind == "TRAILING_STOP":
        require(trails == 1, "trail_amount", "Give either trail_amount or trail_percent.")
    require(kind == "TRAILING_STOP" or not trails, "trail_amount", "Only a TRAILING_STOP trails.")
    is_dated = command.time_in_force == "GTD"
    require(expires_at is not None or not is_dated, "expires_at", "GTD needs expires_at.")
    require(expires_at is None or is_dated, "expires_at", "expires_at is for time_in_force GTD.")
    more = {}
    if kind not in validation.PLAIN_TYPES:
        more["direction"] = direction_of(kind, command.side)
        more["stop"] = None if stop_price is None else validation.ticks(spec, stop_price)
        more["trail"] = 0 if trail_amount is None else validation.ticks(spec, trail_amount)
        more["trail_rate"] = 0 if trail_percent is None else _rate(trail_percent)
    if displayed_quantity is not None:
        more["display"] = _display(command, displayed_quantity)
    if expires_at is not None:
        # Whether it lies ahead is asked under the lock (exchange.expiry): an order sent again is a replay first.
        more["expires_at"] = clock.text(expires_at)
    command.more = more or None


def refit(command: Place, old: MarketSpec) -> None:
    """The same terms under changed filters."""
    spec, more = command.spec, command.more
    for name in PRICES:
        if more.get(name):
            more[name] = validation.ticks(spec, old.price(more[name]))
    for name in LOTS:
        if more.get(name):
            more[name] = validation.lots(spec, old.quantity(more[name]))


def _check_triggered(command: Place) -> None:
    require, kind = validation.require, command.type
    require(command.budget is None and command.quantity, "quantity", f"A {kind} order needs a quantity.")
    require((command.price is not None) == (kind in LIMIT_TYPES), "price", _hint("A price", LIMIT_TYPES, kind))
    # It may be triggered long after the auction that it was given for.
    require(command.time_in_force != "AUC", "time_in_force", f"A {kind} order cannot be for one auction only.")
    if kind in LIMIT_TYPES:
        rests = command.time_in_force not in ("IOC", "FOK")
        require(not command.post_only or rests, "post_only", "A post-only order cannot be IOC or FOK.")
    else:
        require(not command.post_only, "post_only", f"A {kind} order takes: it cannot be post-only.")
        # It waits until it is triggered; what it then cannot fill expires, so that IOC says the same as GTC.
        require(command.time_in_force != "FOK", "time_in_force", "GTC, DAY or GTD.")


def _hint(what: str, types: tuple[str, ...], kind: str) -> str:
    if kind in types:
        return f"A {kind} order needs {what[2:]}."
    return f"{what} is for {', '.join(types)}, not for {kind}."


def _rate(percent: Decimal) -> int:
    if percent >= 100:
        raise BadTrail("trail_percent must be below 100.")
    try:
        return units.to_units(percent, PERCENT_DECIMALS)
    except units.NotWhole:
        raise BadTrail(f"trail_percent has at most {PERCENT_DECIMALS} decimals.") from None


def _display(command: Place, displayed_quantity: Decimal) -> int:
    require = validation.require
    display = validation.lots(command.spec, displayed_quantity)
    fits = command.type == "LIMIT" and command.time_in_force not in ("IOC", "FOK", "AUC")
    require(fits, "displayed_quantity", "Only a LIMIT order that rests can be an iceberg.")
    require(display < command.quantity, "displayed_quantity", "It must be less than quantity.")
    return display
