"""What a command must pass under the market's lock: replays, the price band, the new terms of an amendment."""

from datetime import datetime
from decimal import Decimal

from accounts.ledger import Holder
from exchange import commands as c
from exchange import validation
from exchange.books import LiveBook
from exchange.commands import Amend, Place, Replay
from exchange.live import LiveOrder
from marketdata import marks, units
from marketdata.markets import MarketSpec
from marketdata.models import Market


def replay(cmd: Place, order_id: int, fingerprint: str | None) -> Replay:
    if fingerprint != cmd.fingerprint:
        raise reused(cmd.client_order_id, order_id)
    return Replay(order_id)


def reused(client_order_id: str, order_id: int) -> c.ClientOrderIdReused:
    """The refusal, with the order that has the id."""
    return c.ClientOrderIdReused(
        f"client_order_id {client_order_id!r} belongs to order {order_id}, which has other terms; use a new id."
    )


def check_status(spec: MarketSpec, status: str) -> None:
    """Only an open market takes orders."""
    if status == Market.Status.OPEN:
        return
    if status == Market.Status.CLOSED:
        raise c.MarketClosed(f"{spec.symbol} is closed.")
    hint = (
        "only cancellations are taken"
        if status == Market.Status.CANCEL_ONLY
        else "nothing moves until the operator reopens it"
    )
    raise c.MarketHalted(f"{spec.symbol} is halted: {hint}.")


def check_account(holder: Holder, spec: MarketSpec, moment: datetime, *, only_reduces: bool) -> None:
    """An account that was not stopped trades, a competition entry as its terms say."""
    if not holder.is_active:
        raise c.AccountInactive(
            "This account may not trade: you stopped it (DELETE kill-switch/ ends that), or an operator did."
        )
    if holder.terms is not None:
        holder.terms.check(spec.id, spec.symbol, moment, only_reduces=only_reduces)


def check_room(spec: MarketSpec, cmd: Place, open_orders: int) -> None:
    """An account has so many open orders in a market, those that wait among them."""
    stays = cmd.more or cmd.time_in_force not in ("IOC", "FOK")
    if stays and open_orders + cmd.orders > spec.max_open_orders:
        raise c.TooManyOpenOrders(f"{spec.symbol} takes at most {spec.max_open_orders}; cancel some.")


def check_band(live: LiveBook, price: int | None) -> None:
    """A limit price must be near the market: nobody trades by a typing error."""
    mark = marks.mark(live.spec.id) if live.spec.contract is not None else None
    if price is None or (band := live.band(mark and mark.price)) is None:
        return
    check_within(live.spec, price, band)


def check_within(spec: MarketSpec, price: int, band: tuple[Decimal, int, int]) -> None:
    """PriceOutOfBand unless the price lies in the band: (market price, lowest, highest), as exchange.bands has it."""
    market_price, low, high = band
    if not low <= price <= high:
        raise c.PriceOutOfBand(
            f"Price {spec.price_text(price)} is out of band: the market price of {spec.symbol} is "
            f"{units.plain(market_price)}, "
            f"valid are {spec.price_text(low)} to {spec.price_text(high)}."
        )


def new_terms(live: LiveBook, order: LiveOrder, cmd: Amend) -> tuple[int, int]:
    """The amended price and quantity in ticks and lots, checked."""
    spec = live.spec
    price = order.price if cmd.price is None else validation.ticks(spec, cmd.price)
    quantity = order.quantity if cmd.quantity is None else validation.lots(spec, cmd.quantity)
    if quantity <= order.filled:
        raise c.QuantityOutOfRange(
            f"{spec.quantity_text(order.filled)} are filled already; "
            "the new quantity must be above that, or cancel the order."
        )
    validation.check_size(spec, price, quantity, None, may_be_rest=order.reduce_only)
    if price != order.price:
        check_band(live, price)
    return price, quantity


def without_older_fills(order: LiveOrder, plan, answer: dict) -> dict:
    """An amendment's answer knows only the fills it made; None tells the door to read them all."""
    if order.filled != plan.filled:
        answer["fills"] = None
    return answer
