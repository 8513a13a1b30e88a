"""Margin and positions over REST."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import READ, TRADING
from accounts.models import Position
from exchange import margin_reading, positions, preview
from exchange.api import margin_shapes as shapes
from marketdata import clock, markets
from marketdata.api.acceptor import read_query, validated
from marketdata.api.fields import MAX_ID

#: What a closed position no longer has.
NOTHING_LIVE = dict.fromkeys(
    shapes.PositionShape().fields.keys() - shapes.BasicPositionShape().fields.keys() - {"closed_at"}
)
DONE = {
    201: shapes.ClosedShape,
    200: OpenApiResponse(shapes.ClosedShape, "Done before under this client_order_id."),
}


class MarginView(APIView):
    """How the margin account stands."""

    @extend_schema(operation_id="margin_read", summary="Your margin", responses=shapes.MarginShape)
    def get(self, request):
        with margin_reading.snapshot():
            return Response(margin_reading.account_row(margin_reading.read(request.auth.account_id)))


class MarginCheckView(APIView):
    """Weighing an order without placing it."""

    keys_may = {"POST": READ, "OPTIONS": READ}

    @extend_schema(
        operation_id="margin_check",
        summary="What an order would need",
        description="Weighs it against the book and your account as they stand. Nothing is placed or reserved. Orders "
        "of your own in the book count like anybody's here: one that meets them may pass, and be refused or end early "
        "when it is placed (`self_trade`).",
        request=shapes.CheckRequest,
        responses={200: shapes.CheckShape},
    )
    def post(self, request):
        wanted = validated(shapes.CheckRequest, request.data)
        wanted = {"price": None, **wanted, "reduce_only": bool(wanted.get("reduce_only"))}
        weighed = preview.check(account_id=request.auth.account_id, **wanted)
        return Response(weighed)


class LeverageView(APIView):
    """The leverage of each margin market."""

    keys_may = TRADING

    @extend_schema(
        operation_id="margin_leverage_list",
        summary="Your leverage by market",
        responses=shapes.LeverageShape(many=True),
    )
    def get(self, request):
        return Response(margin_reading.leverage_rows(request.auth.account_id, markets.active()))

    @extend_schema(
        operation_id="margin_leverage_set",
        summary="Choose a market's leverage",
        description="For what you open from now on; what is open keeps its margin.",
        request=shapes.LeverageRequest,
        responses={200: shapes.LeverageShape},
    )
    def put(self, request):
        wanted = validated(shapes.LeverageRequest, request.data)
        return Response(positions.set_leverage(account_id=request.auth.account_id, **wanted))


class PositionListView(ListAPIView):
    """The own positions."""

    queryset = Position.objects.none()

    @extend_schema(
        operation_id="positions_list",
        summary="Your positions",
        description="The open ones at the mark price, newest first; `status=CLOSED` or `ALL` for earlier ones.",
        parameters=[shapes.PositionQuery],
        responses=shapes.PositionShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        wanted = read_query(shapes.PositionQuery, request.query_params)
        rows = Position.objects.filter(account=request.auth.account_id).order_by("-id")
        if wanted["status"] != "ALL":
            rows = rows.filter(closed_at__isnull=wanted["status"] == "OPEN")
        if "symbol" in wanted:
            rows = rows.filter(market=markets.id_of(wanted["symbol"]))
        with margin_reading.snapshot():
            account = margin_reading.read(request.auth.account_id)
            page = [self._row(account, row) for row in self.paginate_queryset(rows)]
        return self.get_paginated_response(page)

    def _row(self, account: margin_reading.MarginAccount, row: Position) -> dict:
        if row.closed_at is not None:
            return {**NOTHING_LIVE, **margin_reading.closed_row(row)}
        return shown(margin_reading.position_row(account, margin_reading.live(row)))


class PositionSnapshotView(APIView):
    """Everything about margin as of one moment."""

    @extend_schema(
        operation_id="positions_snapshot",
        summary="Your margin and open positions in one consistent read",
        responses=shapes.SnapshotShape,
    )
    def get(self, request):
        with margin_reading.snapshot():
            account = margin_reading.read(request.auth.account_id)
            return Response(
                {
                    "sequence": account.holder.event_sequence,
                    "taken_at": clock.text(clock.now()),
                    "margin": margin_reading.account_row(account),
                    "positions": [shown(row) for row in margin_reading.position_rows(account)],
                }
            )


class PositionCloseView(APIView):
    """Closing by symbol."""

    keys_may = TRADING

    @extend_schema(
        operation_id="positions_close",
        summary="Close a position, all or part",
        description=(
            "By a reduce-only market order. More than is open is refused with `reduce_only`, and what was closed or "
            "turned round just before with 409 `position_closed`. Resting reduce-only orders keep "
            "what they can still reduce, and end where that is nothing. Of a position above the market's "
            "`max_quantity` it closes that much; repeat it, under another client_order_id, for the rest. What "
            "closes all that is left may be smaller than `min_quantity`."
        ),
        request=shapes.CloseRequest,
        responses=DONE,
    )
    def post(self, request):
        wanted = _terms(shapes.CloseRequest, request.data, "symbol", "quantity", "client_order_id")
        return _done(positions.close(account_id=request.auth.account_id, **wanted))


class PositionExitView(APIView):
    """Closing by the position's id."""

    keys_may = TRADING

    @extend_schema(
        operation_id="positions_exit",
        summary="Close one position",
        description="As positions/close/ does, by the position's id. The venue sets the price.",
        request=shapes.ExitRequest,
        responses=DONE,
    )
    def post(self, request, position_id: int):
        if position_id > MAX_ID:
            raise positions.UnknownPosition(f"You have no position {position_id}.")
        wanted = _terms(shapes.ExitRequest, request.data or {}, "quantity", "client_order_id")
        done = positions.exit_position(account_id=request.auth.account_id, position_id=position_id, **wanted)
        return _done(done)


class SimFillView(APIView):
    """A fill at the feed's price."""

    keys_may = TRADING

    @extend_schema(
        operation_id="sim_fill",
        summary="Trade with the house at the feed's price",
        description="Demonstrations only, margin markets only: at the feed's ask or bid, or better.",
        request=shapes.SimFillRequest,
        responses=DONE,
    )
    def post(self, request):
        wanted = _terms(shapes.SimFillRequest, request.data, "symbol", "side", "quantity", "client_order_id")
        return _done(positions.sim_fill(account_id=request.auth.account_id, **wanted))


def _terms(serializer: type, body: object, *names: str) -> dict:
    """The validated terms that are looked at; None for what was not sent."""
    wanted = validated(serializer, body)
    return {name: wanted.get(name) for name in names}


def _done(done: positions.Done) -> Response:
    body = {"order": done.order, "position": done.position and shown(done.position)}
    if done.replayed:
        return Response(body, status=200, headers={"Idempotent-Replayed": "true"})
    return Response(body, status=201)


def shown(row: dict) -> dict:
    """An open position's row with the fields that only closed ones fill."""
    return {**row, "closed_at": None}
