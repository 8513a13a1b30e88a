"""Orders, the book, the tape and executions over REST. Placing, amending, cancelling and the book are doors
(exchange.api.doors), which the lean handler enters as well; the rest reads the database.
"""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import TRADING
from exchange import orders
from exchange.api import doors, examples, shapes
from exchange.api.serializers import (
    ACTIVE,
    AmendRequest,
    BatchRequest,
    BookQuery,
    CancelAllQuery,
    FillQuery,
    OrderQuery,
    OrderRequest,
    TradeQuery,
)
from exchange.api.settlement import known_trade, settled_row, trades
from exchange.models import Fill, Order, Trade
from exchange.rendering import fill_row, order_row
from marketdata.api.acceptor import read_query
from marketdata.api.doors import DoorView
from marketdata.markets import by_symbol, id_of


class OrderListView(ListAPIView, DoorView):
    """The own orders: GET lists, POST places, DELETE cancels all."""

    queryset = Order.objects.none()
    has_cursor = True
    keys_may = TRADING

    def get_queryset(self):
        wanted = read_query(OrderQuery, self.request.query_params)
        rows = Order.objects.filter(account_id=self.request.auth.account_id)
        if "symbol" in wanted:
            rows = rows.filter(market_id=id_of(wanted["symbol"]))
        if "side" in wanted:
            rows = rows.filter(side=wanted["side"])
        if "status" in wanted:
            rows = rows.filter(status__in=Order.ACTIVE if wanted["status"] == ACTIVE else [wanted["status"]])
        if "client_order_id" in wanted:
            rows = rows.filter(client_order_id=wanted["client_order_id"])
        if "created_after" in wanted:
            rows = rows.filter(created_at__gt=wanted["created_after"])
        return orders.with_fills(rows.order_by("-id"))

    @extend_schema(
        operation_id="orders_list",
        summary="List your orders",
        description="Newest first.",
        parameters=[OrderQuery],
        responses=shapes.OrderShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response([order_row(order, order.fills.all()) for order in page])

    @extend_schema(
        operation_id="orders_place",
        summary="Place an order",
        description=(
            "Answers after the order is committed, with the fills it made at once. Idempotent by `client_order_id`: "
            "the same order again gives the first one with 200 and the header `Idempotent-Replayed: true`, another "
            "order under that id 409.\n\n"
            "**Triggered orders** (STOP_LOSS, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT, TRAILING_STOP) are PENDING "
            "until the market's price reaches `stop_price`, and go to the book in the transaction of the trade that "
            "reaches it: the nearest stop first, then the lower id. Their funds are set aside from the beginning. "
            "STOP_LOSS, TAKE_PROFIT and TRAILING_STOP trade no worse than `price`, a price band beyond their first "
            "stop; what they cannot fill within it expires, as does an order that the book refuses (`reason`). "
            "An **iceberg** (`displayed_quantity`) shows a part at a time; each part goes to the back of the queue."
        ),
        request=OrderRequest,
        responses={
            201: shapes.OrderShape,
            200: OpenApiResponse(shapes.OrderShape, "Placed before under this client_order_id."),
        },
        examples=examples.PLACE,
    )
    def post(self, request):
        return self.through(doors.place, request)

    @extend_schema(
        operation_id="orders_cancel_all",
        summary="Cancel all your open orders",
        description=(
            "Of one market, or of all when `symbol` is left out. A misspelt or empty one, or one in the body, is "
            "refused rather than taken for all. More than 1,000 are cancelled in parts, between which others trade. "
            "Every order goes whose placement was answered before. What is being placed meanwhile, by a batch in "
            "another market for one, may come after it and stay: pull the kill switch if nothing may come any more."
        ),
        parameters=[CancelAllQuery],
        request=None,
        responses={200: shapes.CancelledShape},
    )
    def delete(self, request):
        return self.through(doors.cancel_all, request)


class OrderHistoryView(OrderListView):
    """orders/list/: the same list under the name that some scripts use."""

    http_method_names = ["get", "head", "options"]

    @extend_schema(
        operation_id="orders_list_alias",
        summary="List your orders",
        description="The same as GET orders/.",
        parameters=[OrderQuery],
        responses=shapes.OrderShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        return super().get(request, *args, **kwargs)


class OrderView(DoorView):
    """One of the own orders."""

    keys_may = TRADING

    @extend_schema(operation_id="orders_read", summary="One order with its fills", responses=shapes.OrderShape)
    def get(self, request, order_id: int):
        return Response(orders.stored(doors.known_id(order_id), request.auth.account_id))

    @extend_schema(
        operation_id="orders_amend",
        summary="Amend an open order",
        description=(
            "A smaller quantity at the same price keeps its place in the queue; anything else goes to the back, and "
            "trades at once where it crosses the book. Triggered orders, icebergs and orders of a list are not amended "
            "(409 `order_pending`, `order_not_amendable`): replace them."
        ),
        request=AmendRequest,
        responses=shapes.OrderShape,
    )
    def put(self, request, order_id: int):
        return self.through(doors.amend, request, order_id=order_id)

    @extend_schema(
        operation_id="orders_amend_partly",
        summary="Amend an open order",
        description="The same as PUT.",
        request=AmendRequest,
        responses=shapes.OrderShape,
    )
    def patch(self, request, order_id: int):
        return self.through(doors.amend, request, order_id=order_id)

    @extend_schema(
        operation_id="orders_cancel",
        summary="Cancel an open order",
        description="Answers the order as it ended. One that had ended before is refused with 409 `order_not_open`.",
        request=None,
        responses={200: shapes.OrderShape},
    )
    def delete(self, request, order_id: int):
        return self.through(doors.cancel, request, order_id=order_id)


class OrderCancelView(DoorView):
    """The same as DELETE, for clients that cannot send it."""

    keys_may = TRADING

    @extend_schema(
        operation_id="orders_cancel_by_post",
        summary="Cancel an open order",
        request=None,
        responses={200: shapes.OrderShape},
    )
    def post(self, request, order_id: int):
        return self.through(doors.cancel, request, order_id=order_id)


class OrderBatchView(DoorView):
    """Several orders in one request."""

    keys_may = TRADING

    @extend_schema(
        operation_id="orders_place_batch",
        summary="Place up to 100 orders",
        description=(
            "Each is placed or refused by itself, in order; `results` has one entry for each, with the status it would "
            "have had alone."
        ),
        request=BatchRequest,
        responses=shapes.BatchShape,
        examples=examples.BATCH,
    )
    def post(self, request):
        return self.through(doors.place_batch, request)


class BookView(DoorView):
    """The order book, as of the last commit."""

    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="orderbook_read",
        summary="Order book",
        description="Price levels, best first, at a `sequence` of the market. Knows of every answer given before.",
        parameters=[BookQuery],
        responses=shapes.BookShape,
    )
    def get(self, request, **arguments):
        return self.through(doors.book, request, **arguments)


class BookOfView(BookView):
    """The same with the symbol in the path."""

    @extend_schema(
        operation_id="orderbook_read_of",
        summary="Order book",
        description="The same as orderbook/?symbol=.",
        parameters=[shapes.DepthQuery],
        responses=shapes.BookShape,
    )
    def get(self, request, symbol: str):
        return super().get(request, symbol=symbol)


class TradeListView(ListAPIView):
    """The public tape."""

    permission_classes = [AllowAny]
    queryset = Trade.objects.none()
    has_cursor = True

    @extend_schema(
        operation_id="trades_list",
        summary="Public trades",
        description="Newest first.",
        parameters=[TradeQuery],
        responses=shapes.TradeShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        wanted = read_query(TradeQuery, request.query_params)
        rows = trades().order_by("-id")
        if "symbol" in wanted:
            rows = rows.filter(market_id=by_symbol(wanted["symbol"]).id)
        return self.get_paginated_response([settled_row(trade) for trade in self.paginate_queryset(rows)])


class TradeView(APIView):
    """One public trade."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="trades_read", summary="One public trade", responses=shapes.TradeShape)
    def get(self, request, trade_id: int):
        return Response(settled_row(known_trade(trade_id)))


class FillListView(ListAPIView):
    """The own executions."""

    queryset = Fill.objects.none()
    has_cursor = True

    @extend_schema(
        operation_id="fills_list",
        summary="Your executions",
        description="Newest first, with role and fee.",
        parameters=[FillQuery],
        responses=shapes.FillShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        wanted = read_query(FillQuery, request.query_params)
        rows = Fill.objects.filter(account_id=request.auth.account_id).select_related("market__quote").order_by("-id")
        if "symbol" in wanted:
            rows = rows.filter(market_id=id_of(wanted["symbol"]))
        if "order" in wanted:
            rows = rows.filter(order_id=wanted["order"])
        return self.get_paginated_response([_own_fill(fill) for fill in self.paginate_queryset(rows)])


def _own_fill(fill: Fill) -> dict:
    market = fill.market
    return {
        "order_id": fill.order_id,
        "symbol": market.symbol,
        "side": fill.side,
        **fill_row(fill, market.quote.symbol),
    }
