"""The job that lets time do its work when nobody trades: it has a batch look at each market where something is due.

All that is done is done by exchange.upkeep and exchange.following, under the market's lock, at the head of whichever
batch comes first; this job only sees to it that one comes, within LOOK_SECONDS. One process at a time looks, but two
would do no harm: what is done already is not due any more. What a venue that was down has missed is due when it comes
back; so are the orders that a trade has triggered, and what a list has made due (another exit's end, a bracket's
exits), that no batch has done yet, because the process that would have done it is gone, or the market was not open. For
lists, of which there may be many, it looks every LISTS_SECONDS only.
"""

import time
from datetime import datetime

from django.db import connection
from django.db.models import Q

from exchange import deferred, fee_tiers, halts, sessions
from exchange.commands import Refresh
from exchange.phases import CONTINUOUS, State
from exchange.sequencer import sequencer
from marketdata import clock, hours, leadership, markets
from marketdata.models import Market
from marketdata.refusals import UnreadableMarket
from marketdata.rules import rules_of

#: Below 2^31, so that pg_locks shows it whole in objid.
LOCK = 0x636C6F63
LOOK_SECONDS = 1.0
LISTS_SECONDS = 10.0
WAIT_SECONDS = 60
LIVE = "('PENDING', 'OPEN', 'PARTIALLY_FILLED')"
ENDING = f"""
SELECT DISTINCT o.market_id FROM exchange_order o JOIN marketdata_market m ON m.id = o.market_id
WHERE o.expires_at <= %s AND o.status IN {LIVE} AND m.status <> 'HALTED'
"""
#: Where orders can be triggered, as exchange.following sees it; a margin market's hours aside.
TRADING = """
SELECT m.id FROM marketdata_market m
WHERE m.status = 'OPEN' AND m.is_active AND COALESCE(m.session->>'phase', %s) = %s
"""
#: Where some have been. By order_due_in_market.
TRIGGERED = f"""
{TRADING} AND EXISTS
(SELECT FROM exchange_order o WHERE o.market_id = m.id AND o.status = 'PENDING' AND o.triggered_at IS NOT NULL)
"""
#: Where something is due in lists: the end of an exit beside one that was filled or has ended, and what becomes of the
#: exits of an entry that has ended. `opens`: exits that come to life, where orders can be triggered. The members are
#: looked up for one list after the other: as a plain join all past orders may be read.
IN_LISTS = f"""
SELECT DISTINCT o.market_id, o.waits_for_id = other.id AND other.filled_quantity > 0 AS opens
FROM exchange_order o JOIN LATERAL (
    SELECT id, list_role, status, filled_quantity, reason FROM exchange_order WHERE list_id = o.list_id OFFSET 0
) other ON other.id <> o.id
WHERE o.list_id IS NOT NULL AND o.status IN {LIVE} AND (
    (o.waits_for_id = other.id AND other.status NOT IN {LIVE}) OR
    (o.list_role <> 'ENTRY' AND other.list_role <> 'ENTRY' AND other.reason <> 'other_leg'
     AND (other.filled_quantity > 0 OR other.status NOT IN {LIVE})))
"""


def due_markets(now: datetime) -> set[int]:
    """The markets that are not halted and have an order or a phase that has reached its end, and those that are open
    and have an order which was triggered and waits still.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENDING, [now])
        ids = {market_id for (market_id,) in cursor.fetchall()}
        cursor.execute(TRIGGERED, [CONTINUOUS, CONTINUOUS])
        ids |= {market_id for (market_id,) in cursor.fetchall() if _is_in_hours(market_id, now)}
    timed = Market.objects.filter(Q(calendar__isnull=False) | Q(session__isnull=False))
    for market in timed.exclude(status=Market.Status.HALTED).select_related("quote"):
        if _has_phase_due(market, now):
            ids.add(market.id)
    return ids


def _is_in_hours(market_id: int, now: datetime) -> bool:
    try:
        contract = markets.by_id(market_id).contract
    except UnreadableMarket:
        return False  # nothing can be done there
    return contract is None or hours.is_open(contract.schedule, now)


def _has_phase_due(market: Market, now: datetime) -> bool:
    """Not where all that is due waits for the market to be open (exchange.upkeep)."""
    try:
        rules, session = rules_of(market), State.of(market.session)
    except markets.UNREADABLE:
        return False
    if sessions.next_change(rules, session) > clock.text(now):
        return False
    return market.status == Market.Status.OPEN or not sessions.uncrosses(session, sessions.due(rules, session, now)[0])


def due_in_lists(now: datetime) -> set[int]:
    """The markets where something of a list is due that can be done now. Looks at each list that lives."""
    with connection.cursor() as cursor:
        cursor.execute(IN_LISTS)
        found = cursor.fetchall()
        if not found:
            return set()
        cursor.execute(TRADING, [CONTINUOUS, CONTINUOUS])
        trading = {market_id for (market_id,) in cursor.fetchall()}
    return {id for id, opens in found if not opens or (id in trading and _is_in_hours(id, now))}


_looked_at_lists = float("-inf")


def look() -> int:
    """Have a batch look at each market where something is due; how many there were. Returns after the commits."""
    global _looked_at_lists
    ids = due_markets(clock.now())
    if time.monotonic() - _looked_at_lists >= LISTS_SECONDS:
        ids |= due_in_lists(clock.now())
        _looked_at_lists = time.monotonic()
    for future in sequencer.submit([Refresh(market_id) for market_id in sorted(ids)]):
        future.result(WAIT_SECONDS)
    return len(ids)


def work() -> None:
    """All that the job does in one turn."""
    look()
    halts.watch()
    deferred.settle_due(clock.now())
    fee_tiers.assign_daily()


async def run() -> None:
    """Look for ever, in the one process, of all on the database, that may."""
    await leadership.repeat(LOCK, "clockwork", work, LOOK_SECONDS)
