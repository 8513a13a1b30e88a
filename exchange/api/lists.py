"""Order lists over REST: OCO and brackets placed whole, listed, cancelled; and an order in the place of another."""

from django.db.models import F
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.response import Response

from accounts.authentication import TRADING
from exchange import lists, orders, resent, validation
from exchange.api import doors, shapes
from exchange.api.serializers import PREVENTION, OrderRequest
from exchange.commands import Replay, UnknownOrder
from exchange.models import ListKind, Order, SelfTradePrevention, Side
from exchange.rendering import order_row
from marketdata.api.acceptor import accept
from marketdata.api.doors import Answer, Call, Door, DoorView
from marketdata.api.fields import Flag, PlainDecimal, StrictSerializer, Text, Word

ENTRY_TIMES = ("GTC", "IOC", "FOK", "DAY")


class OrderListRequest(StrictSerializer):
    """An OCO or a bracket. `side` is that of the OCO's two orders, or of the bracket's entry."""

    kind = Word(choices=ListKind.choices)
    symbol = Text(max_length=32)
    side = Word(choices=Side.choices)
    quantity = PlainDecimal(help_text="Of each order of the list.")
    take_profit_price = PlainDecimal(help_text="The limit price of the order that takes the profit.")
    stop_price = PlainDecimal(help_text="Where the stop is triggered.")
    stop_limit_price = PlainDecimal(
        required=False, allow_null=True, help_text="Makes the stop a STOP_LIMIT; a STOP_LOSS without it."
    )
    type = Word(
        choices=validation.PLAIN_TYPES,
        required=False,
        allow_null=True,
        help_text="Of a bracket's entry; LIMIT if left out.",
    )
    price = PlainDecimal(required=False, allow_null=True, help_text="Of a bracket's LIMIT entry.")
    time_in_force = Word(
        choices=ENTRY_TIMES, required=False, allow_null=True, help_text="Of a bracket's entry."
    )
    reduce_only = Flag(
        default=False,
        allow_null=True,
        help_text="Of an OCO on a margin market; a bracket's exits are reduce-only there in any case.",
    )
    self_trade_prevention = Word(
        choices=SelfTradePrevention.choices, default="EXPIRE_TAKER", allow_null=True, help_text=PREVENTION
    )
    client_order_id = Text(
        max_length=64, required=False, allow_null=True, help_text="Of the list's first order: its idempotency key."
    )


class OrderListShape(serializers.Serializer):
    """A list: its first order gives it its id."""

    list_id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=ListKind.choices)
    symbol = serializers.CharField()
    status = serializers.ChoiceField(choices=["ACTIVE", "DONE"], help_text="DONE when all its orders have ended.")
    orders = shapes.OrderShape(many=True)


def list_shape(members: list[dict], kind: str) -> dict:
    """The list of these order objects."""
    is_active = any(order["status"] in Order.LIVE for order in members)
    first = members[0]
    return {
        "list_id": first["list_id"],
        "kind": kind,
        "symbol": first["symbol"],
        "status": "ACTIVE" if is_active else "DONE",
        "orders": members,
    }


def _kind(members: list[dict]) -> str:
    """An OCO is named by its take-profit order, a bracket by its entry."""
    return "BRACKET" if members[0]["list_role"] == "ENTRY" else "OCO"


def _prepare_list(call: Call) -> lists.PlaceList | Replay:
    terms = accept(OrderListRequest, call.body)
    terms = {name: value for name, value in terms.items() if value is not None}
    return resent.or_replay(lists.list_command, account_id=call.principal.account_id, **terms)


def _answer_list(call: Call, placed: orders.PlacedList) -> Answer:
    body = list_shape(placed.orders, _kind(placed.orders))
    if placed.replayed:
        return Answer(200, body, {"Idempotent-Replayed": "true"})
    return Answer(201, body)


place_list = Door(_prepare_list, orders.place_list, orders.place_list_async, _answer_list)


def _prepare_replace(call: Call) -> lists.Replace | Replay:
    terms = accept(OrderRequest, call.body)
    terms = {name: value for name, value in terms.items() if value is not None}
    order_id = doors.known_id(call.arguments["order_id"])
    return resent.or_replay(lists.replace_command, account_id=call.principal.account_id, order_id=order_id, **terms)


replace = Door(_prepare_replace, orders.place, orders.place_async, doors.answer_placed)


class OrderListsView(ListAPIView, DoorView):
    """The own lists: GET lists, POST places one."""

    queryset = Order.objects.none()
    keys_may = TRADING

    @extend_schema(
        operation_id="order_lists_list",
        summary="List your order lists",
        description="Newest first.",
        responses=OrderListShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        firsts = Order.objects.filter(account_id=request.auth.account_id, list_id=F("pk")).order_by("-pk")
        page = self.paginate_queryset(firsts)
        members = {first.pk: [] for first in page}
        rows = orders.with_fills(Order.objects.filter(list_id__in=list(members)).order_by("pk"))
        for row in rows:
            members[row.list_id].append(order_row(row, row.fills.all()))
        return self.get_paginated_response([list_shape(found, _kind(found)) for found in members.values()])

    @extend_schema(
        operation_id="order_lists_place",
        summary="Place an OCO or a bracket",
        description=(
            "All orders of the list are taken, or none. The two exits exclude each other: the first that is filled in "
            "part, triggered or ended ends the other (EXPIRED, reason `other_leg`), and funds are reserved once for "
            "both. A bracket's exits wait (PENDING, nothing reserved) until its entry has ended, then come to life for "
            "as much as it filled."
        ),
        request=OrderListRequest,
        responses={
            201: OrderListShape,
            200: OpenApiResponse(OrderListShape, "Placed before under this client_order_id."),
        },
        examples=[
            OpenApiExample(
                "Sell at 200, or when it falls to 175",
                value={
                    "kind": "OCO", "symbol": "AAPL", "side": "SELL", "quantity": "10",
                    "take_profit_price": "200", "stop_price": "175",
                },
                request_only=True,
            )
        ],
    )  # fmt: skip
    def post(self, request):
        return self.through(place_list, request)


class OrderListView(DoorView):
    """One of the own lists."""

    keys_may = TRADING

    @extend_schema(operation_id="order_lists_read", summary="One order list", responses=OrderListShape)
    def get(self, request, list_id: int):
        members = orders.stored_list(doors.known_id(list_id), request.auth.account_id)
        if not members:
            raise UnknownOrder(f"You have no list {list_id}.")
        return Response(list_shape(members, _kind(members)))

    @extend_schema(
        operation_id="order_lists_cancel",
        summary="Cancel what is left of a list",
        description="Answers all of its orders as they stand then. Where nothing was left, nothing is refused.",
        request=None,
        responses={200: OrderListShape},
    )
    def delete(self, request, list_id: int):
        members = orders.cancel_list(account_id=request.auth.account_id, list_id=doors.known_id(list_id))
        return Response(list_shape(members, _kind(members)))


class OrderReplaceView(DoorView):
    """Cancel and place in one step."""

    keys_may = TRADING

    @extend_schema(
        operation_id="orders_replace",
        summary="Put another order in the place of an open one",
        description=(
            "Of the same market and side. The new order may use the funds of the old one, which is cancelled if the "
            "new one is taken, and stays as it is if the new one is refused."
        ),
        request=OrderRequest,
        responses={
            201: shapes.OrderShape,
            200: OpenApiResponse(shapes.OrderShape, "Placed before under this client_order_id."),
        },
    )
    def post(self, request, order_id: int):
        return self.through(replace, request, order_id=order_id)
