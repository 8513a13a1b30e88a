"""The statement over REST: pages of JSON, or all of it as CSV."""

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView

from accounts.models import Entry, Journal
from accounts.statement import Statement
from accounts.transfers import asset_named
from marketdata.api.acceptor import read_query
from marketdata.api.fields import Text
from marketdata.api.shapes import AmountField

CSV = "text/csv"


class LedgerQuery(serializers.Serializer):
    """Of which asset; of all when it is left out."""

    asset = Text(max_length=16, required=False)


class EntryShape(serializers.Serializer):
    """One change of a balance: why, by how much, and the balance (available and reserved) after it."""

    id = serializers.IntegerField()
    journal = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Journal.Kind.choices)
    reference = serializers.IntegerField(allow_null=True, help_text="The trade's id, or the withdrawal's.")
    asset = serializers.CharField()
    amount = AmountField()
    balance_after = AmountField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()


class LedgerView(ListAPIView):
    """Every entry of the account."""

    queryset = Entry.objects.none()
    has_cursor = True

    @extend_schema(
        operation_id="ledger_list",
        summary="Your statement",
        description=(
            "Newest first, with the running balance. `next` walks by `cursor` unless a `page` is asked for; `count` is "
            "null in a walk, except at its begin if there are at most 10,000. The amounts of an asset sum to its "
            "balance. "
            "With `Accept: text/csv` the whole history as one CSV file."
        ),
        parameters=[LedgerQuery],
        responses={
            (200, "application/json"): EntryShape(many=True),
            (200, CSV): OpenApiResponse(OpenApiTypes.STR, "A header line, then one line for each entry."),
        },
    )
    def get(self, request, *args, **kwargs):
        symbol = read_query(LedgerQuery, request.query_params).get("asset")
        asset_id = asset_named(symbol).pk if symbol else None
        statement = Statement(account_id=request.auth.account_id, asset_id=asset_id)
        if _wants_csv(request):
            headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
            return StreamingHttpResponse(statement.csv(), content_type=f"{CSV}; charset=utf-8", headers=headers)
        return self.get_paginated_response([line.row() for line in self.paginate_queryset(statement)])


def _wants_csv(request) -> bool:
    """Whether CSV is the first of the kinds asked for that there is, by their weights."""
    asked = [f"{kind.main_type}/{kind.sub_type}" for kind in request.accepted_types]
    return next((kind for kind in asked if kind in (CSV, "application/json", "*/*")), None) == CSV
