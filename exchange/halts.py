"""Halting the whole venue by rule: when too many of its markets were halted by theirs, all others are halted too.

VENUE_HALT_MARKETS says how many; 0 switches the rule off. What a rule has halted only operators reopen, one by one or
all at once (the admin); the reason stands in each market's row. A market's halt counts once: what is reopened while
those that halted the venue are halted still stays open.
"""

import logging

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat

from exchange.interruption import RULE
from marketdata.models import Market

logger = logging.getLogger(__name__)

#: The markets that are halted along with the others.
TAKEN_ALONG = {"status__in": (Market.Status.OPEN, Market.Status.CANCEL_ONLY), "is_active": True}
BY_THEIRS = "markets were halted by theirs"
COUNTED = "; the venue was halted with it"


def watch() -> int:
    """Halt all that is not halted or closed if the rule says so; how many markets that were. Database."""
    most = settings.VENUE_HALT_MARKETS
    if not most:
        return 0
    halted = list(_by_their_own_rules().values_list("pk", flat=True))
    if len(halted) < most:
        return 0
    others = Market.objects.filter(**TAKEN_ALONG).order_by("pk").values_list("pk", flat=True)
    count = sum(_halt(market_id, f"{RULE}{len(halted)} {BY_THEIRS}") for market_id in list(others))
    # Last: else a process that ends on the way would leave the others open.
    _count(halted)
    return count


@transaction.atomic
def _count(halted: list[int]) -> None:
    """Once more only those that are still halted, locked by id as everybody locks markets."""
    rows = _by_their_own_rules().filter(pk__in=halted).order_by("pk").select_for_update(no_key=True)
    counted = [market.pk for market in rows.only("pk")]
    Market.objects.filter(pk__in=counted).update(status_reason=Concat("status_reason", Value(COUNTED)))


def _by_their_own_rules() -> QuerySet[Market]:
    """Those whose halts have not been counted."""
    halted = Market.objects.filter(status=Market.Status.HALTED, status_reason__startswith=RULE)
    return halted.exclude(status_reason__endswith=BY_THEIRS).exclude(status_reason__endswith=COUNTED)


def _halt(market_id: int, reason: str) -> bool:
    with transaction.atomic():
        # Under the row's lock: an operator may be closing it at this moment.
        market = Market.objects.select_for_update(no_key=True).filter(pk=market_id, **TAKEN_ALONG).first()
        if market is None:
            return False
        market.status, market.scheduled_status, market.status_reason = Market.Status.HALTED, "", reason
        market.save(update_fields=["status", "scheduled_status", "status_reason"])
    logger.warning("%s is halted %s", market.symbol, reason)
    return True
