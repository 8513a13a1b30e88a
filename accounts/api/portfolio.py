"""The portfolio over REST: totals now, how the trades went, and equity over time."""

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import equity, metrics, portfolio
from accounts.api.holdings import HoldingShape
from accounts.api.shapes import BalanceShape
from accounts.valuation import quote_asset
from marketdata import clock
from marketdata.api.acceptor import read_query
from marketdata.api.fields import Moment, Reading, Text, Unreadable
from marketdata.api.shapes import AmountField
from marketdata.units import plain


class QuoteQuery(serializers.Serializer):
    """In which asset."""

    quote = Text(max_length=16, required=False, help_text=f"Asset to value in; {settings.PORTFOLIO_QUOTE} if left out.")


class IntervalName(Reading, serializers.ChoiceField):
    """The name of an interval, in any case."""

    def __init__(self, **kwargs):
        super().__init__(choices=list(equity.INTERVALS), **kwargs)

    def read(self, value) -> str:
        if type(value) is str and value.lower() in equity.INTERVALS:
            return value.lower()
        raise Unreadable("invalid_choice", f"Must be one of {', '.join(equity.INTERVALS)}.")


class HistoryQuery(serializers.Serializer):
    """Which part of the past, in which steps."""

    interval = IntervalName(default="1h")
    start = Moment(required=False)
    end = Moment(required=False)


class CashShape(BalanceShape):
    """Money, and its value in the quote asset."""

    value = AmountField(allow_null=True)


class ValuedHoldingShape(HoldingShape):
    """A holding, and its value in the summary's quote asset."""

    value = AmountField(
        allow_null=True,
        help_text="Over spot markets, where they lead to the quote asset; else over margin markets too, at their mark.",
    )


class SummaryShape(serializers.Serializer):
    """Everything that the account owns. What has no price in `quote` is in `unpriced`, and in no total."""

    quote = serializers.CharField()
    cash = CashShape(many=True)
    cash_value = AmountField()
    holdings = ValuedHoldingShape(many=True)
    holdings_value = AmountField()
    number_of_holdings = serializers.IntegerField()
    unsettled_value = AmountField(
        help_text="What trades that are not settled yet will bring, less what they will take, of markets with deferred "
        "settlement; until then cash and holdings are as they were."
    )
    total_value = AmountField(help_text="With `unsettled_value` and the unrealised profit of margin positions.")
    unrealized_pnl = AmountField()
    todays_pnl = AmountField(
        allow_null=True,
        help_text="Since midnight UTC, without what was paid in or out. It counts from the snapshot nearest to that: "
        "where the venue did not run then, from the last one before. Null when no snapshot tells what there was.",
    )
    margin_equity = AmountField(
        allow_null=True,
        help_text="What open margin positions are settled in, and their unrealised profit; null without any.",
    )
    unpriced = serializers.ListField(child=serializers.CharField())


class RealizedShape(serializers.Serializer):
    """Realised profit since midnight UTC, Monday, the first of the month, and of all time."""

    today = AmountField()
    week = AmountField()
    month = AmountField()
    all = AmountField()


class MetricsShape(serializers.Serializer):
    """How the trades went. A closed trade is a sale of what was bought before, or a closed margin position, whose loss
    counts whole: also what the insurance fund paid of it.
    """

    quote = serializers.CharField()
    trades = serializers.IntegerField(help_text="Executions on spot markets.")
    closed_trades = serializers.IntegerField()
    winning_trades = serializers.IntegerField()
    losing_trades = serializers.IntegerField()
    win_rate = AmountField(allow_null=True, help_text="Percent of the closed trades.")
    realized_pnl = RealizedShape()
    best_trade = AmountField(allow_null=True)
    worst_trade = AmountField(allow_null=True)
    profit_factor = AmountField(allow_null=True, help_text="Gains / losses; null without losses.")
    max_drawdown = AmountField(allow_null=True, help_text="Deepest fall of profit from a peak, by hourly snapshots.")
    max_drawdown_percent = AmountField(help_text="Of the equity at that peak.")
    fees_paid = AmountField()
    unpriced = serializers.ListField(child=serializers.CharField())


class PointShape(serializers.Serializer):
    """The last snapshot of an interval."""

    time = serializers.DateTimeField(help_text="When the interval began.")
    equity = AmountField()
    paid_in = AmountField(help_text="Deposits less withdrawals until then.")
    pnl = AmountField(help_text="equity - paid_in.")


class HistoryShape(serializers.Serializer):
    """Equity over time, oldest first, in the venue's quote asset."""

    quote = serializers.CharField()
    interval = serializers.CharField()
    points = PointShape(many=True)


class SummaryView(APIView):
    """What the account is worth now."""

    @extend_schema(
        operation_id="portfolio_summary", summary="Your portfolio", parameters=[QuoteQuery], responses=SummaryShape
    )
    def get(self, request):
        return Response(portfolio.summary(account_id=request.auth.account_id, quote=wanted_quote(request)))


class HistoryView(APIView):
    """What it was worth."""

    @extend_schema(
        operation_id="portfolio_history",
        summary="Your equity over time",
        description=f"From hourly snapshots; the newest {equity.POINTS} points between start and end.",
        parameters=[HistoryQuery],
        responses=HistoryShape,
    )
    def get(self, request):
        wanted = dict(read_query(HistoryQuery, request.query_params))
        interval = wanted.pop("interval")
        terms = {"start": None, "end": None} | wanted
        points = equity.history(account_id=request.auth.account_id, interval=interval, **terms)
        rows = [point_row(point) for point in points]
        return Response({"quote": quote_asset(None).symbol, "interval": interval, "points": rows})


class MetricsView(APIView):
    """How trading went. The floor above knows orders, and adds the recent ones."""

    def answer(self, request) -> dict:
        """The figures, without orders."""
        return metrics.metrics(account_id=request.auth.account_id, quote=wanted_quote(request))


def wanted_quote(request):
    """The asset that a request wants values in."""
    return quote_asset(read_query(QuoteQuery, request.query_params).get("quote"))


def point_row(point: equity.Point) -> dict:
    """A point as the API shows it."""
    return {
        "time": clock.text(point.opened),
        "equity": plain(point.equity),
        "paid_in": plain(point.paid_in),
        "pnl": plain(point.equity - point.paid_in),
    }
