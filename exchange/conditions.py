"""Special orders under the market's lock: terms that depend on the market's price, and what may not be amended.

A stop market order (STOP_LOSS, TAKE_PROFIT, TRAILING_STOP) has a protection price, which is its `price`: a price band
beyond its first stop (DEFAULT_PROTECTION where the market has no band). It reserves funds as a limit order at that
price would, and triggered it trades no worse; what it cannot fill within it expires.
"""

from decimal import Decimal

from exchange import admission
from exchange import commands as c
from exchange.books import MARKET_WHEN_TRIGGERED, SIDE_NAMES, LiveBook
from exchange.engine.book import BUY
from exchange.engine.triggers import RISING, trailed
from exchange.live import LiveOrder, Status
from exchange.validation import check_size, require
from marketdata import marks, units
from marketdata.contracts import RATE_DECIMALS, RATE_ONE
from marketdata.markets import MarketSpec

DEFAULT_PROTECTION = Decimal("0.1")
#: Each part that an iceberg shows makes a trade of its own, of whoever takes them all.
ICEBERG_PARTS = 100


class _Trail:
    """A trailing order before it has a stop."""

    stop = None

    def __init__(self, more: dict):
        self.direction, self.trail, self.trail_rate = more["direction"], more["trail"], more["trail_rate"]


def complete(cmd: c.Place, live: LiveBook) -> None:
    """Give the order the terms that follow from the market's price, and refuse what that price rules out."""
    more, spec = cmd.more, live.spec
    if display := more.get("display"):  # asked here, where an order sent again that was taken with more parts is found
        few = cmd.quantity <= ICEBERG_PARTS * display
        require(few, "displayed_quantity", f"It must be at least quantity / {ICEBERG_PARTS}.")
    if not more.get("direction"):
        admission.check_band(live, cmd.price)
        return
    market = market_price(live)
    if more.get("trail") or more.get("trail_rate"):
        more["stop"] = _first_stop(_Trail(more), spec, market)
    elif market is not None and more["direction"] * market >= more["direction"] * more["stop"]:
        word = "above" if more["direction"] == RISING else "below"
        raise c.StopWouldTrigger(
            f"The market price is {spec.price_text(market)}: a {cmd.type} {SIDE_NAMES[cmd.side]} needs a stop_price "
            f"{word} it, or it would be triggered at once."
        )
    low, high = protection(spec, more["stop"])
    if cmd.type in MARKET_WHEN_TRIGGERED:
        cmd.price = high if cmd.side == BUY else low
    elif not low <= cmd.price <= high:
        raise c.PriceOutOfBand(
            f"Price {spec.price_text(cmd.price)} is too far from the stop price: "
            f"valid are {spec.price_text(low)} to {spec.price_text(high)}."
        )
    check_size(spec, cmd.price, cmd.quantity, None, may_be_rest=cmd.reduce_only)


def market_price(live: LiveBook) -> int | None:
    """The price that triggers, in ticks: the mark price or the last one, or the reference price until the first trade.

    A margin market's mark is read where it is kept; of other markets a process knows what it was told.
    """
    by_mark = live.spec.trigger_by == "MARK"
    if by_mark and live.spec.contract is not None and (mark := marks.mark(live.spec.id)) is not None:
        return live.spec.nearest(mark.price)
    if by_mark and live.waiting.mark is not None:
        return live.waiting.mark
    return live.reference()


def protection(spec: MarketSpec, stop: int) -> tuple[int, int]:
    """The worst prices that a sell and a buy triggered at this stop may trade at."""
    width = units.to_units(spec.price_band or DEFAULT_PROTECTION, RATE_DECIMALS)
    return max(1, -(-stop * (RATE_ONE - width) // RATE_ONE)), stop * (RATE_ONE + width) // RATE_ONE


def _first_stop(trail: _Trail, spec: MarketSpec, market: int | None) -> int:
    if market is None:
        raise c.NoMarketPrice(f"{spec.symbol} has not traded yet: a trailing stop has nothing to follow.")
    if trail.direction != RISING and trail.trail >= market:
        raise c.BadTrail(f"trail_amount must be below the market price, {spec.price_text(market)}.")
    return trailed(trail, market)


def check_amendable(order: LiveOrder) -> None:
    """Only a plain resting order may be amended: one with more terms would have to be checked anew."""
    instead = "cancel it, or put another in its place: POST orders/{id}/replace/."
    if order.status == Status.PENDING:
        raise c.OrderPending(f"Order {order.id} waits for its trigger: {instead}")
    if order.list_id is not None:
        raise c.NotAmendable(f"Order {order.id} belongs to list {order.list_id}: {instead}")
    if order.triggered_at is not None:
        raise c.NotAmendable(f"Order {order.id} was triggered: {instead}")
    if order.display:
        raise c.NotAmendable(f"Order {order.id} is an iceberg: {instead}")
