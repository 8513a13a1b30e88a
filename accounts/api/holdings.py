"""Holdings over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView

from accounts import portfolio
from accounts.models import Holding
from marketdata.api.shapes import AmountField


class HoldingShape(serializers.Serializer):
    """What the account has of an asset, and how it stands against what it cost. Money is in `quote`.

    Average cost: purchase fees are part of the cost, sale fees lessen the proceeds. What was deposited has no cost:
    it is in `quantity` and `market_value`, not in `bought_quantity`, `cost_basis` and `unrealized_pnl`.
    """

    asset = serializers.CharField()
    quote = serializers.CharField(
        allow_null=True, help_text="What it was bought with. An asset bought with two makes two lines."
    )
    quantity = AmountField(help_text="Available and reserved.")
    bought_quantity = AmountField(help_text="The part of it that was bought here.")
    reserved = AmountField(help_text="Of the whole balance, set aside for orders and withdrawals.")
    avg_price = AmountField(allow_null=True, help_text="cost_basis / bought_quantity, rounded half up to 18 decimals.")
    current_price = AmountField(allow_null=True, help_text="Null where no market leads to a price.")
    market_value = AmountField(allow_null=True, help_text="Of the whole quantity.")
    cost_basis = AmountField(allow_null=True, help_text="Null for what was never bought.")
    unrealized_pnl = AmountField(allow_null=True, help_text="Value of the bought quantity - cost_basis.")
    pnl_percent = AmountField(allow_null=True, help_text="Of cost_basis, rounded to four decimals.")


class HoldingListView(ListAPIView):
    """What the account owns besides money."""

    queryset = Holding.objects.none()

    @extend_schema(
        operation_id="holdings_list",
        summary="Your holdings",
        description="By asset. Money (what nobody trades as a base) is not among them; see GET wallet/.",
        responses=HoldingShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        rows = portfolio.holding_rows(request.auth.account_id)
        return self.get_paginated_response(self.paginate_queryset(rows))
