"""Holdings, with what is bought and sold but not settled yet, which only this floor knows."""

from drf_spectacular.utils import extend_schema

from accounts import portfolio, unsettled
from accounts.api import holdings
from exchange import deferred
from marketdata.api.shapes import AmountField
from marketdata.models import Asset
from marketdata.snapshots import one_moment
from marketdata.units import plain


class SettledHoldingShape(holdings.HoldingShape):
    """A holding. `quantity` is settled; what is to be delivered is part of it and reserved."""

    to_receive = AmountField(help_text="Bought in markets with deferred settlement and not delivered yet.")
    to_deliver = AmountField(help_text="Sold there and not delivered yet.")


NOTHING = {"to_receive": 0, "to_deliver": 0}


@one_moment()
def rows(account_id: int) -> list[dict]:
    """The lines of what the account has, then those of what it has only bought."""
    pending = unsettled.both_ways(account_id)
    assets = dict(Asset.objects.filter(pk__in=pending).values_list("symbol", "pk"))
    owned = portfolio.holding_rows(account_id)
    lines = [_with(line, pending.get(assets.get(line["asset"]), NOTHING)) for line in owned]
    new = assets.keys() - {line["asset"] for line in lines}
    bases = deferred.unsettled_bases(account_id) if new else ()
    bought = sorted(symbol for symbol in new if assets[symbol] in bases)
    return lines + [_with(_empty(symbol), pending[assets[symbol]]) for symbol in bought]


def _with(line: dict, pending: dict) -> dict:
    return {**line, **{name: plain(amount) if amount else "0" for name, amount in pending.items()}}


def _empty(symbol: str) -> dict:
    """The line of an asset of which nothing has been delivered."""
    zeros = {"quantity": "0", "bought_quantity": "0", "reserved": "0"}
    unknown = dict.fromkeys(
        ("quote", "avg_price", "current_price", "market_value", "cost_basis", "unrealized_pnl", "pnl_percent")
    )
    return {"asset": symbol, **unknown, **zeros}


class HoldingListView(holdings.HoldingListView):
    """What the account owns besides money."""

    @extend_schema(
        operation_id="holdings_list",
        summary="Your holdings",
        description="By asset. Money (what nobody trades as a base) is not among them; see GET wallet/.",
        responses=SettledHoldingShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        return self.get_paginated_response(self.paginate_queryset(rows(request.auth.account_id)))
