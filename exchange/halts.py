"""Halting the whole venue by rule: when too many of its markets were halted by theirs, all others are halted too.

VENUE_HALT_MARKETS says how many; 0 switches the rule off. What a rule has halted only operators reopen, one by one or
all at once (the admin); the reason stands in each market's row.
"""

import logging

from django.conf import settings
from django.db import transaction

from exchange.interruption import RULE
from marketdata import markets
from marketdata.models import Market

logger = logging.getLogger(__name__)

#: The markets that are halted along with the others.
TAKEN_ALONG = {"status__in": (Market.Status.OPEN, Market.Status.CANCEL_ONLY), "is_active": True}


def watch() -> int:
    """Halt all that is not halted or closed if the rule says so; how many markets that were. Database."""
    most = settings.VENUE_HALT_MARKETS
    if not most:
        return 0
    halted = Market.objects.filter(status=Market.Status.HALTED, status_reason__startswith=RULE).count()
    if halted < most:
        return 0
    ids = list(Market.objects.filter(**TAKEN_ALONG).order_by("id").values_list("id", flat=True))
    return sum(_halt(market_id, f"{RULE}{halted} markets were halted by theirs") for market_id in ids)


def _halt(market_id: int, reason: str) -> bool:
    with transaction.atomic():
        # Under the row's lock: an operator may be closing it at this moment.
        market = Market.objects.select_for_update(no_key=True).filter(pk=market_id, **TAKEN_ALONG).first()
        if market is None:
            return False
        market.status, market.scheduled_status, market.status_reason = Market.Status.HALTED, "", reason
        market.save(update_fields=["status", "scheduled_status", "status_reason"])
    markets.forget()
    logger.warning("%s is halted %s", market.symbol, reason)
    return True
