"""GET candles/: what a market traded, interval by interval."""

from datetime import UTC, datetime, timedelta

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from marketdata import candles, external
from marketdata.api.acceptor import read_query
from marketdata.api.fields import Flag, Moment, Reading, Text, Unreadable, Whole
from marketdata.api.shapes import AmountField
from marketdata.candle_intervals import EPOCH, INTERVALS
from marketdata.markets import by_symbol

#: The last millisecond that a moment can be.
MAX_MILLISECONDS = (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


@extend_schema_field({"type": "string", "examples": ["2026-01-05T09:30:00Z", "1767605400000"]})
class MomentOrMilliseconds(Moment):
    """RFC 3339, or milliseconds since the Unix epoch as bots write it."""

    def to_internal_value(self, value):
        if isinstance(value, str) and value.isascii() and value.isdigit():
            if len(value) > 15 or int(value) > MAX_MILLISECONDS:
                self.fail("invalid", format="RFC 3339, or milliseconds since 1970")
            return EPOCH + timedelta(milliseconds=int(value))
        return super().to_internal_value(value)


class IntervalName(Reading, serializers.ChoiceField):
    """The name of an interval; 1m is a minute and 1M a month, so the case counts."""

    def __init__(self, **kwargs):
        super().__init__(choices=list(INTERVALS), **kwargs)

    def read(self, value) -> str:
        if value not in INTERVALS:
            raise Unreadable("invalid_choice", f"Must be one of {', '.join(INTERVALS)}.")
        return value


class CandleQuery(serializers.Serializer):
    """Which candles."""

    symbol = Text(max_length=32)
    interval = IntervalName(default="1m", help_text="UTC; weeks begin on Monday, months on the first, 3d at the epoch.")
    start = MomentOrMilliseconds(
        required=False, help_text="Candles that open then or later, the first ones from there. Without it: the newest."
    )
    end = MomentOrMilliseconds(required=False, help_text="Candles that open then or earlier.")
    limit = Whole(least=1, most=candles.MAX_LIMIT, default=candles.DEFAULT_LIMIT)
    fill = Flag(
        default=False, help_text="No gaps: where nothing was traded, the close before it, no volume. Not with source."
    )
    source = Text(
        max_length=32,
        required=False,
        help_text="Imported history of that source (any case) instead of own trades, in the intervals imported only.",
    )


class CandleShape(serializers.Serializer):
    """What was traded from `open_time` on, for one interval. The last one may still be forming."""

    open_time = serializers.DateTimeField()
    open = AmountField()
    high = AmountField()
    low = AmountField()
    close = AmountField()
    volume = AmountField(help_text="In the base asset; of a margin market in contracts.")
    quote_volume = AmountField(allow_null=True, help_text="In the quote asset; null in imported history.")
    trades = serializers.IntegerField(allow_null=True, help_text="How many; null in imported history.")
    source = serializers.CharField(required=False, help_text="Only in imported history: where it came from.")


class CandleListView(APIView):
    """See the module."""

    permission_classes = [AllowAny]
    pagination_class = None

    @extend_schema(
        operation_id="candles_list",
        summary="Candles",
        description=(
            "A list, oldest first, the forming candle included. Candles without a trade are left out unless"
            " `fill=true`. Open and close are those of the first and last trade by id. Operators may let 1s candles go"
            " after some time, by default 30 days: further back there are none; longer ones stay for ever. `source`"
            " gives imported history instead, each candle marked with it: of an interval that was not imported nothing,"
            " as longer candles are not made of imported shorter ones."
        ),
        parameters=[CandleQuery],
        responses=CandleShape(many=True),
    )
    def get(self, request):
        wanted = dict(read_query(CandleQuery, request.query_params))
        spec, interval = by_symbol(wanted.pop("symbol")), INTERVALS[wanted.pop("interval")]
        if source := wanted.pop("source", None):
            span = wanted.get("start"), wanted.get("end"), wanted.get("limit", candles.DEFAULT_LIMIT)
            return Response(external.candles(spec, interval.name, *span, source=source))
        rows = candles.page(market_id=spec.id, interval=interval, **wanted)
        return Response([candles.shown(row) for row in rows])
