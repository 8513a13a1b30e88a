"""Stopping new risk: when a user's loss was more than the insurance fund could pay, the margin markets of that
settlement asset take only reducing orders, and the operators are told (log, metrics, admin).

Each shortfall stops once: what an operator opened again stays open until there is a new one. Losses of the house's own
accounts stop nothing; its exposure limits do.
"""

import logging

from django.db import transaction
from django.db.models import Max, Sum

from accounts.models import Shortfall
from exchange.risk_models import RiskStop
from marketdata import clock, metrics
from marketdata.models import Contract

logger = logging.getLogger(__name__)


def check() -> list[RiskStop]:
    """Stop what must be stopped. Safe to call at any time, by several at once."""
    seen = dict(RiskStop.objects.order_by().values_list("asset").annotate(Max("last_shortfall_id")))
    rows = Shortfall.objects.filter(uncovered__gt=0, account__user__isnull=False)
    sums = rows.order_by().values("asset").annotate(last=Max("id"))
    return [_stop(row["asset"], seen.get(row["asset"], 0)) for row in sums if row["last"] > seen.get(row["asset"], 0)]


def _stop(asset_id: int, after: int) -> RiskStop:
    """Make the asset's markets reduce-only for the shortfalls above that id."""
    with transaction.atomic():
        rows = Shortfall.objects.filter(
            asset=asset_id, id__gt=after, uncovered__gt=0, account__user__isnull=False
        ).aggregate(uncovered=Sum("uncovered"), last=Max("id"))
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
