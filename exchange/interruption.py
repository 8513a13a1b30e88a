"""Volatility interruptions: where an order would trade too far from the last price, an auction finds the price.

The order that would have jumped does not trade. If it can rest it joins the auction with its limit, else it is
refused; either way the market is in the phase AUCTION from its command on, for the seconds that its rules name, and
exchange.upkeep ends that with an auction at whatever price trades most. An order that its account could not carry
does not begin one (exchange.planning).

Halt by rule: the interruption that is one too many for a day (the calendar's, else UTC's) halts the market until an
operator reopens it; its auction is held then. exchange.halts halts the venue when too many of its markets stand still
that way.

A stop that is triggered and would jump stays triggered and goes to the book after the auction, wherever that trades: if
it began another one each time, the market would do nothing else.

Known limit: the auction's price is bound by the orders' limits only, not by a second band.
"""

from datetime import timedelta

from exchange import commands as c
from exchange import sessions
from exchange.books import LiveBook
from exchange.live import LiveOrder
from exchange.phases import AUCTION
from marketdata import clock, units
from marketdata.contracts import RATE_DECIMALS, RATE_ONE
from marketdata.models import Market

RULE = "by rule: "
HALT = """
UPDATE marketdata_market SET status = 'HALTED', scheduled_status = '', status_reason = %s, version = version + 1
WHERE id = %s::bigint
"""


class VolatilityInterruption(c.OrderRefusal):
    code, title = "volatility_interruption", "The market jumps: an auction begins"


def is_outside(live: LiveBook, plan) -> bool:
    """Whether the plan would trade further from the last price than the market allows."""
    band = live.spec.rules.volatility_band
    price = live.last_price or live.spec.reference_price
    if band is None or price is None or not plan.matches:
        return False
    width = units.to_units(band, RATE_DECIMALS)
    ticks = price / live.spec.tick_size
    worst = plan.matches[-1][0].price
    return abs(worst - ticks) * RATE_ONE > ticks * width


def can_join(order: LiveOrder, plan) -> bool:
    """Whether the order of this plan can rest in the auction; an amendment cannot."""
    return plan.quantity is None and order.price is not None and order.time_in_force not in ("IOC", "FOK")


def begin(batch, live: LiveBook, order: LiveOrder, plan) -> None:
    """Begin the auction in place of the plan; VolatilityInterruption if its order cannot join."""
    pause(batch, live)
    if batch.status[live.spec.id] == Market.Status.HALTED:
        raise c.MarketHalted(f"{live.spec.symbol} is halted after {live.session.interruptions} interruptions in a day.")
    if not can_join(order, plan):
        raise VolatilityInterruption(
            f"The order would trade too far from the last price: {live.spec.symbol} collects limit orders for an "
            f"auction until {live.session.until}."
        )


def must_wait(live: LiveBook, order: LiveOrder, plan) -> bool:
    """Whether a triggered order is to wait for an auction; each does once."""
    return order.id not in live.session.jumped and is_outside(live, plan)


def pause(batch, live: LiveBook, order: LiveOrder | None = None) -> None:
    """Begin the auction, and halt the market if it is one too many. `order`: the triggered one that is to wait for it.
    """
    rules, session = live.spec.rules, live.session
    until = clock.text(batch.records.moment + timedelta(seconds=rules.auction_seconds))
    calendar = rules.calendar
    # Of a calendar's day, as UTC's begins in the middle of some sessions.
    today = (calendar.day_of(batch.records.moment) if calendar else batch.records.moment.date()).isoformat()
    count = 1 + (session.interruptions if session.interrupted_on == today else 0)
    jumped = tuple(one for one in session.jumped if one in live.waiting.orders)
    if order is not None:
        jumped += (order.id,)
    terms = {"until": until, "interruptions": count, "interrupted_on": today, "jumped": jumped}
    sessions.enter(batch, live, session.to(AUCTION, **terms))
    if rules.max_interruptions is not None and count >= rules.max_interruptions:
        halt(batch, live, f"{count} volatility interruptions in a day")


def halt(batch, live: LiveBook, reason: str) -> None:
    """Halt the market from the next command on."""
    batch.status[live.spec.id] = Market.Status.HALTED
    batch.records.extra.append((HALT, [RULE + reason, live.spec.id]))
