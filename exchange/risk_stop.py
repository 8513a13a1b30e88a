"""Stopping new risk: when a user's loss was more than the insurance fund could pay, the margin markets of that
settlement asset take only reducing orders, and the operators are told (log, metrics, admin).

Each shortfall stops once: what an operator opened again stays open until there is a new one. Losses of the house's own
accounts stop nothing; its exposure limits do.
"""

import logging

from django.db import transaction
from django.db.models import Max, QuerySet, Sum

from accounts.models import Shortfall
from exchange.risk_models import RiskStop
from marketdata import clock, metrics
from marketdata.models import Asset, Contract

logger = logging.getLogger(__name__)


def check() -> list[RiskStop]:
    """Stop what must be stopped. Safe to call at any time, by several at once."""
    seen = dict(RiskStop.objects.order_by().values_list("asset").annotate(Max("last_shortfall_id")))
    sums = _uncovered().order_by().values("asset").annotate(last=Max("id"))
    due = [row["asset"] for row in sums if row["last"] > seen.get(row["asset"], 0)]
    return [stop for asset_id in due if (stop := _stop(asset_id)) is not None]


def _uncovered() -> QuerySet[Shortfall]:
    return Shortfall.objects.filter(uncovered__gt=0, account__user__isnull=False)


def _stop(asset_id: int) -> RiskStop | None:
    """Make the asset's markets reduce-only for its shortfalls since the last stop; None if another was quicker. They
    are committed in the order of their ids: who has one holds the lock of the insurance fund's account.
    """
    with transaction.atomic():
        Asset.objects.select_for_update(no_key=True).get(pk=asset_id)  # one at a time; nothing else waits for it
        after = RiskStop.objects.filter(asset=asset_id).aggregate(last=Max("last_shortfall_id"))["last"] or 0
        rows = _uncovered().filter(asset=asset_id, id__gt=after).aggregate(uncovered=Sum("uncovered"), last=Max("id"))
        if rows["last"] is None:
            return None
        contracts = Contract.objects.filter(settlement=asset_id, is_reduce_only=False).select_related("market")
        symbols = []
        for contract in contracts.order_by("market_id"):
            contract.is_reduce_only = True
            contract.save(update_fields=["is_reduce_only"])
            symbols.append(contract.market.symbol)
        stop = RiskStop.objects.create(
            asset_id=asset_id,
            uncovered=rows["uncovered"],
            last_shortfall_id=rows["last"],
            symbols=", ".join(symbols)[:1000],
            stopped_at=clock.now(),
        )
    metrics.RISK_STOPS.inc()
    logger.critical("a loss is not covered (%s): new risk is stopped in %s", stop, stop.symbols or "no market")
    return stop
