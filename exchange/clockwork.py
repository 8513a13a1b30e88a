"""The job that lets time do its work when nobody trades: it has a batch look at each market where something is due.

All that is done is done by exchange.upkeep and exchange.following, under the market's lock, at the head of whichever
batch comes first; this job only sees to it that one comes, within LOOK_SECONDS. One process at a time looks, but two
would do no harm: what is done already is not due any more. What a venue that was down has missed is due when it comes
back; so are the orders that a trade has triggered and no batch has sent to the book yet, because the process that would
have done it is gone, or the market was not open. Known limit: what a list alone makes due (another exit's end, a
bracket's exits) waits then for the market's next batch.
"""

import asyncio
import logging
from datetime import datetime

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q

from exchange import deferred, fee_tiers, halts, sessions
from exchange.commands import Refresh
from exchange.phases import CONTINUOUS, State
from exchange.sequencer import sequencer
from marketdata import clock, hours, markets
from marketdata.leadership import Leadership, Lost
from marketdata.models import Market
from marketdata.refusals import Unavailable, UnreadableMarket
from marketdata.rules import rules_of

logger = logging.getLogger(__name__)

#: Below 2^31, so that pg_locks shows it whole in objid.
LOCK = 0x636C6F63
LOOK_SECONDS = 1.0
WAIT_SECONDS = 60
ENDING = """
SELECT DISTINCT o.market_id FROM exchange_order o JOIN marketdata_market m ON m.id = o.market_id
WHERE o.expires_at <= %s AND o.status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED') AND m.status <> 'HALTED'
"""
#: Where orders can be triggered, as exchange.following sees it; a margin market's hours aside. By order_due_in_market.
TRIGGERED = """
SELECT m.id FROM marketdata_market m
WHERE m.status = 'OPEN' AND m.is_active AND COALESCE(m.session->>'phase', %s) = %s AND EXISTS
(SELECT FROM exchange_order o WHERE o.market_id = m.id AND o.status = 'PENDING' AND o.triggered_at IS NOT NULL)
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


def look() -> int:
    """Have a batch look at each market where something is due; how many there were. Returns after the commits."""
    ids = due_markets(clock.now())
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
    leadership = Leadership(LOCK, "clockwork")
    try:
        while True:
            try:
                if await leadership.take():
                    await leadership.do(work)
            except (Lost, DatabaseError, InterfaceError, Unavailable) as error:
                logger.warning("the clockwork waits for the database: %s", type(error).__name__)
            except Exception:
                logger.exception("the clockwork failed and goes on")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await leadership.close()
