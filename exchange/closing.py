"""Closing the rounds of competitions that have ended: their open orders are cancelled, the financing up to their end is
posted, then equity is kept. And taking one entry out of a round in the same way, by an operator.

One process at a time does it, within LOOK_SECONDS of the end, and each before it opens. Doing it again does no harm, so
a crash in between is made good by the next look.
"""

import asyncio
import logging

from accounts import competitions
from accounts.models import Competition, CompetitionEntry
from exchange import financing, kill_switch, orders
from exchange.models import Order
from marketdata import leadership
from marketdata.threads import in_thread

logger = logging.getLogger(__name__)

#: Below 2^31, so that pg_locks shows it whole in objid.
LOCK = 0x636F6D70
LOOK_SECONDS = 2.0
#: How long a server that starts waits for what ended before.
FIRST_LOOK_SECONDS = 10.0


def close_due() -> list[Competition]:
    """Close every round that has ended; the competitions that were closed. One with an order in a market whose figures
    make no sense waits until those are mended, with all its other orders cancelled, and holds up no other.
    """
    return [competition for competition in competitions.due() if _close(competition)]


def disqualify(entry: CompetitionEntry) -> int:
    """Take an entry out of its round and cancel all that it has open; how many orders were cancelled.

    As with the kill switch: a batch that has the account's lock finishes, and its orders are cancelled with the rest;
    any later one finds the entry's time over. Doing it again does no harm; after a crash in between the job does.
    """
    competitions.disqualify(entry)
    return kill_switch.cancel_everything(entry.account_id, "disqualified")


def finish_disqualified() -> int:
    """Cancel what a process that ended in the middle of `disqualify` has left open; how many orders those were. Since
    then such an entry places only what reduces a position: that stays.
    """
    left = Order.objects.filter(
        account__competition_entry__disqualified_at__isnull=False, status__in=Order.LIVE, reduce_only=False
    )
    ids = list(left.order_by("pk").values_list("pk", flat=True))
    return orders.cancel_these(ids, reason="disqualified").cancelled


def look() -> None:
    """All that the job does in one turn."""
    try:
        finish_disqualified()
    finally:  # rounds end whatever keeps an order from being cancelled
        close_due()


def _close(competition: Competition) -> bool:
    accounts = competitions.stop(competition)
    open_orders = Order.objects.filter(account_id__in=accounts, status__in=Order.LIVE).order_by("pk")
    ids = list(open_orders.values_list("pk", flat=True))
    unreadable = orders.cancel_these(ids, reason="competition_ended").unreadable
    if unreadable is not None:
        logger.warning("competition %d is not closed: %s", competition.pk, unreadable.detail)
        return False
    financing.post_due(competition.ends_at)  # else a rollover just before the end, or missed, would count for nobody
    return competitions.close(competition)


async def first_look() -> None:
    """Close what ended while nothing ran, before this process takes an order: what still rests there stands at prices
    of long ago, for whoever comes first. In each process, because none can tell whether another is there yet; what it
    does not come to is left to `run`.
    """
    try:
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            await in_thread(close_due)
    except Exception:
        logger.exception("competitions: what ended is closed later")


async def run() -> None:
    """Look for ever, in the one process, of all on the database, that may."""
    await leadership.repeat(LOCK, "competitions", look, LOOK_SECONDS)
