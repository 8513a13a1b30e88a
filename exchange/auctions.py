"""An auction in a batch: the engine's plan, journaled, and everybody paid. The caller has locked all who take part."""

from collections import Counter

from exchange import paying, spot
from exchange.books import LiveBook
from exchange.engine import auction
from exchange.journal import Kind
from marketdata.markets import MarketSpec


def reference(live: LiveBook) -> int | None:
    """The price that decides between several, in ticks: the last one, or the market's reference price."""
    price = live.last_price or live.spec.reference_price
    return None if price is None else max(1, int(price / live.spec.tick_size))


def hold(batch, live: LiveBook) -> None:
    """End the collecting of orders with trades at one price, if any bid reaches an ask."""
    at = reference(live)
    plan = auction.plan(live.book, at)
    if plan is None:
        return
    sequence = batch.records.command(live, Kind.UNCROSS, 0, {"reference": at})
    matches = live.uncross(plan, sequence, batch.records.moment)
    filled = Counter()
    for buy, sell, lots in plan.matches:
        filled[buy] += lots
        filled[sell] += lots
    for order, lots in filled.items():
        spot.free_filled(batch.sheet, live.spec, order, lots)
        batch.records.touch(live, order)
    for match in matches:
        paying.pay(batch, live, match)
        batch.records.trade(live, match, [])
    if live.waiting.due:
        batch.stirred.append(live)


def indicative(live: LiveBook) -> dict | None:
    """The price and volume that the auction would have now; None unless orders are being collected."""
    if not live.collecting:
        return None
    call = auction.indicative(live.book, reference(live))
    return rendered(live.spec, call) | {"phase": live.session.phase, "until": live.session.until}


def rendered(spec: MarketSpec, call: auction.Call | None) -> dict:
    """As the wire shows it: a positive surplus is on the bid side."""
    if call is None:
        return {"price": None, "quantity": "0", "surplus": "0"}
    return {
        "price": spec.price_text(call.price),
        "quantity": spec.quantity_text(call.lots),
        "surplus": spec.quantity_text(call.surplus),
    }
