"""Tickers over REST: every market's last 24 hours and best prices. Also under stocks/…, as some scripts call it."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

from exchange.tickers import board
from exchange.trending import MOVE, VOLUME, trending
from marketdata import markets
from marketdata.api.acceptor import read_query, validated
from marketdata.api.doors import Answer, Call, Door, DoorView
from marketdata.api.fields import StrictSerializer, Text, Whole, Word
from marketdata.api.shapes import AmountField
from marketdata.markets import MarketSpec, by_symbol
from marketdata.refusals import Refusal

BATCH_SYMBOLS = 500


class TickersRequest(StrictSerializer):
    """Which markets."""

    symbols = serializers.ListField(child=Text(max_length=32), min_length=1, max_length=BATCH_SYMBOLS)


class TrendingQuery(serializers.Serializer):
    """What counts, and how many."""

    by = Word(
        choices=[(VOLUME, VOLUME), (MOVE, MOVE)],
        default=VOLUME,
        help_text="VOLUME: the worth of what was traded, in what portfolios are valued in. MOVE: the largest change in "
        "percent, up or down.",
    )
    limit = Whole(least=1, most=100, default=10)


class TickerShape(serializers.Serializer):
    """A market now and over the last 24 hours: from the minute that lies 24 hours back, so up to a minute more.

    A market without a trade in them has its last price as open, high and low; one that never traded has nulls.
    """

    symbol = serializers.CharField()
    sequence = serializers.IntegerField(help_text="Of the market, as in the order book.")
    last = AmountField(allow_null=True)
    bid = AmountField(allow_null=True, help_text="Null while that side is empty.")
    ask = AmountField(allow_null=True)
    mid = AmountField(allow_null=True, help_text="(bid + ask) / 2, exact.")
    open = AmountField(allow_null=True)
    high = AmountField(allow_null=True)
    low = AmountField(allow_null=True)
    volume = AmountField(help_text="In the base asset; of a margin market in contracts.")
    quote_volume = AmountField(help_text="In the quote asset.")
    change = AmountField(allow_null=True, help_text="last - open.")
    change_percent = AmountField(allow_null=True, help_text="Rounded to four decimals.")
    trades = serializers.IntegerField()
    updated_at = serializers.DateTimeField(allow_null=True, help_text="When the last trade was.")


class TickerErrorShape(serializers.Serializer):
    """Why there is no ticker."""

    code = serializers.CharField()
    detail = serializers.CharField()


class TickersShape(serializers.Serializer):
    """By the names that were asked for: a name is in one of the two."""

    tickers = serializers.DictField(child=TickerShape())
    errors = serializers.DictField(child=TickerErrorShape())


class TrendingShape(serializers.Serializer):
    """The markets that traded in the last 24 hours, the most first."""

    by = serializers.CharField()
    results = TickerShape(many=True)


# Doors


def _prepare_one(call: Call) -> list[MarketSpec]:
    return [by_symbol(call.arguments["symbol"])]


def _answer_one(call: Call, found: list[dict]) -> Answer:
    return Answer(200, found[0])


one = Door(_prepare_one, board.read, board.read_async, _answer_one, takes_body=False)


def _prepare_batch(call: Call) -> dict[str, MarketSpec | Refusal]:
    """What each name means; names that mean nothing keep their refusal."""
    return {name: _spec_or_refusal(name) for name in validated(TickersRequest, call.body)["symbols"]}


def _spec_or_refusal(name: str) -> MarketSpec | Refusal:
    try:
        return by_symbol(name)
    except Refusal as refusal:
        return refusal


def _known(asked: dict) -> dict[str, MarketSpec]:
    return {name: spec for name, spec in asked.items() if isinstance(spec, MarketSpec)}


def _sorted_out(asked: dict, found: list[dict]) -> dict:
    refusals = {name: refusal for name, refusal in asked.items() if isinstance(refusal, Refusal)}
    return {
        "tickers": dict(zip(_known(asked), found, strict=True)),
        "errors": {name: {"code": refusal.code, "detail": refusal.detail} for name, refusal in refusals.items()},
    }


def _read_batch(asked: dict) -> dict:
    return _sorted_out(asked, board.read(list(_known(asked).values())))


async def _read_batch_async(asked: dict) -> dict:
    return _sorted_out(asked, await board.read_async(list(_known(asked).values())))


def _answer_batch(call: Call, sorted_out: dict) -> Answer:
    return Answer(200, sorted_out)


batch = Door(_prepare_batch, _read_batch, _read_batch_async, _answer_batch)


# Views


class TickerListView(ListAPIView):
    """All active markets, by symbol."""

    permission_classes = [AllowAny]

    @extend_schema(summary="Tickers", description="Every active market, by symbol.", responses=TickerShape(many=True))
    def get(self, request, *args, **kwargs):
        return self.get_paginated_response(board.read(self.paginate_queryset(markets.active())))


class TickerView(DoorView):
    """One market."""

    permission_classes = [AllowAny]

    @extend_schema(summary="One ticker", responses=TickerShape)
    def get(self, request, symbol: str):
        return self.through(one, request, symbol=symbol)


class TickerBatchView(DoorView):
    """Some markets, named."""

    permission_classes = [AllowAny]

    @extend_schema(
        summary="Several tickers",
        description="A name that is no market gets an entry under `errors`; the others are answered all the same.",
        request=TickersRequest,
        responses=TickersShape,
    )
    def post(self, request):
        return self.through(batch, request)


class TrendingView(DoorView):
    """What moves."""

    permission_classes = [AllowAny]

    @extend_schema(summary="Trending markets", parameters=[TrendingQuery], responses=TrendingShape)
    def get(self, request):
        wanted = read_query(TrendingQuery, request.query_params)
        return Response({"by": wanted["by"], "results": trending(wanted["by"], wanted["limit"])})
