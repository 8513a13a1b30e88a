"""A market's session: its phases by the calendar, the auctions between them, and the phase's word on each order.

CLOSED → PRE_OPEN → auction → CONTINUOUS → CLOSING → auction → CLOSED. In PRE_OPEN and CLOSING, and in the AUCTION of a
volatility interruption, orders rest and nothing matches; leaving such a phase holds the auction. A market without a
calendar is always CONTINUOUS, but for interruptions.

A phase is state under the market's lock: each change is a PHASE row of the market journal with the whole state
(exchange.phases), which the market's row keeps as well. So every process has the same phase at the same sequence, and
a replay goes through the same auctions. Market.status, the operators' word, stands beside it: a halt stops the clock
of the session, which catches up when the market is reopened; a market that is closed or takes only cancellations stops
before its next auction. A calendar that is edited while its day is on holds at once: the market goes to the phase
that is due now, with the auction that ends the collecting of orders, if it does.

Known limits: of a gap longer than a session only its two ends are caught up with, one auction each. A phase that a
process whose clock was hours fast has begun stays, for all with a right one, until the day has come as far: a market
that has been ahead looks to them as a right one looks to a process whose clock is slow, and that must not open what
is closed. An operator ends it: another calendar, or none, is followed at once, and so is the right one after it.
"""

from datetime import datetime

import orjson

from exchange import auctions, following
from exchange import commands as c
from exchange.books import LiveBook
from exchange.journal import Kind
from exchange.live import Status
from exchange.phases import AUCTION, CLOSED, COLLECTING, CONTINUOUS, State
from marketdata import clock
from marketdata.calendar import Calendar, Change
from marketdata.markets import MarketSpec
from marketdata.rules import Rules

SAVE = "UPDATE marketdata_market SET session = %s::jsonb WHERE id = %s::bigint"
EVER = "9"  # after every moment's text


class NotContinuous(c.OrderRefusal):
    code, title = "auction_phase", "Orders are collected for an auction"


class AuctionOnly(c.OrderRefusal):
    code, title = "auction_only", "No auction is being prepared"


def is_due(live: LiveBook, now: str) -> bool:
    """Whether a change of phase is due."""
    spec, session, at = live.next_change
    if spec is not live.spec or session is not live.session:
        at = next_change(live.spec.rules, live.session)
        live.next_change = (live.spec, live.session, at)
    return at <= now


def next_change(rules: Rules, session: State) -> str:
    """When the phase changes next: a moment's text, "" for at once."""
    calendar, moments = rules.calendar, [EVER]
    if session.until is not None:
        moments.append(session.until)
    if calendar is None:
        if session.since is not None:
            moments.append("")  # it had a calendar
    elif _is_elsewhere(calendar, session):
        moments.append("")
    elif change := calendar.next_change(_moment(session.since)):
        moments.append(clock.text(change.at))
    return min(moments)


def due(rules: Rules, session: State, now: datetime) -> list[Change]:
    """The changes that are due, in order."""
    calendar = rules.calendar
    if calendar is None:
        changes = [] if session.since is None else [Change(now, CONTINUOUS)]
    elif _is_elsewhere(calendar, session):
        changes = [Change(now, calendar.phase_at(now))]
    else:
        changes = calendar.changes(_moment(session.since), now)
    if session.until is not None and (end := _moment(session.until)) <= now:
        if not changes or end < changes[0].at:
            changes = [Change(end, CONTINUOUS), *changes]
    return changes


def _is_elsewhere(calendar: Calendar, session: State) -> bool:
    """Whether the phase is not the calendar's: it is new to the market, or was edited while that day was on."""
    phase = CONTINUOUS if session.phase == AUCTION else session.phase
    return session.since is None or calendar.phase_at(_moment(session.since)) != phase


def uncrosses(session: State, change: Change) -> bool:
    """Whether the change ends the collecting of orders, with an auction."""
    return session.is_collecting and change.phase not in COLLECTING


def change(batch, live: LiveBook, change: Change) -> bool:
    """Take one change of phase, with the auction that comes before it; False, with nothing done, while that must wait.
    """
    before = live.session
    terms = {"since": None if live.spec.rules.calendar is None else clock.text(change.at)}
    after = before.to(change.phase, **terms)
    if uncrosses(before, change):
        if not auctions.hold(batch, live):
            return False
        _end_auction_only(batch, live)
    enter(batch, live, after)
    return True


def enter(batch, live: LiveBook, session: State) -> None:
    """Journal the new state, and keep it in the market's row."""
    batch.records.command(live, Kind.PHASE, 0, session.row())
    live.take_session(session)
    batch.records.extra.append((SAVE, [orjson.dumps(session.row()).decode(), live.spec.id]))


def _end_auction_only(batch, live: LiveBook) -> None:
    """Orders for one auction end with it."""
    for order in [order for order in live.book.orders.values() if order.time_in_force == "AUC"]:
        following.end(batch, live, order, Status.EXPIRED, "auction_ended")


def check_order(spec: MarketSpec, phase: str, *, type: str, time_in_force: str, moment: datetime) -> None:
    """Whether the phase lets an order of this kind in."""
    check_open(spec, phase, moment)
    collecting = phase in COLLECTING
    if collecting and (type == "MARKET" or time_in_force in ("IOC", "FOK")):
        raise NotContinuous(f"{spec.symbol} collects orders for an auction: place a limit order that can rest.")
    if not collecting and time_in_force == "AUC":
        raise AuctionOnly(f"{spec.symbol} is trading; AUC orders are taken while an auction is prepared.")


def check_open(spec: MarketSpec, phase: str, moment: datetime) -> None:
    """Orders and amendments are for a market that is not closed."""
    if phase == CLOSED:
        raise c.MarketClosed(f"{spec.symbol} is closed; {_next_opening(spec, moment)}.")


def _next_opening(spec: MarketSpec, moment: datetime) -> str:
    calendar = spec.rules.calendar
    change = calendar.next_change(moment) if calendar else None
    return f"orders are taken again from {clock.text(change.at)} on" if change else "no session lies ahead"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
