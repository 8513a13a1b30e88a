"""What orders look like in requests: the one definition for the DRF views, the lean handler, sockets and the OpenAPI
document.
"""

from rest_framework import serializers

from exchange.models import Order, OrderType, SelfTradePrevention, Side, TimeInForce
from marketdata.api.fields import Flag, Instant, Moment, PlainDecimal, Several, StrictSerializer, Text, Whole, Word

BATCH_ORDERS = 100
MAX_DEPTH = 1000
DEFAULT_DEPTH = 20
ACTIVE = "ACTIVE"
PREVENTION = (
    "What ends where the order meets one of its own account's. While orders are collected for an auction each means "
    "EXPIRE_TAKER: the new order is refused (self_trade)."
)


class OrderRequest(StrictSerializer):
    """An order to be placed."""

    symbol = Text(max_length=32, help_text="Such as AAPL or BTC_USDT; BTCUSDT works too.")
    side = Word(choices=Side.choices)
    type = Word(choices=OrderType.choices, default="LIMIT", allow_null=True)
    price = PlainDecimal(required=False, allow_null=True, help_text="For LIMIT. A multiple of the market's tick_size.")
    quantity = PlainDecimal(required=False, allow_null=True, help_text="A multiple of the market's lot_size.")
    quote_quantity = PlainDecimal(
        required=False,
        allow_null=True,
        help_text="For MARKET, instead of quantity: how much of the quote asset to spend or take.",
    )
    stop_price = PlainDecimal(
        required=False, allow_null=True, help_text="For STOP_LOSS, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT."
    )
    trail_amount = PlainDecimal(
        required=False, allow_null=True, help_text="For TRAILING_STOP: how far the stop stays behind the price."
    )
    trail_percent = PlainDecimal(
        required=False, allow_null=True, help_text="For TRAILING_STOP, instead of trail_amount: 1.5 is 1.5 %."
    )
    displayed_quantity = PlainDecimal(
        required=False,
        allow_null=True,
        help_text="For LIMIT: an iceberg order, which shows this much at a time, at least quantity / 100.",
    )
    expires_at = Instant(required=False, allow_null=True, help_text="For GTD: when the order ends.")
    time_in_force = Word(
        choices=TimeInForce.choices,
        required=False,
        allow_null=True,
        help_text="IOC for MARKET, GTC for all others if left out. DAY ends at the session's close, GTD at expires_at.",
    )
    post_only = Flag(default=False, allow_null=True, help_text="Refuse (would_take) rather than trade at once.")
    reduce_only = Flag(
        default=False,
        allow_null=True,
        help_text=(
            "Margin markets: only take from the position, never open one. What takes all that is left of it may be "
            "smaller than min_quantity and min_notional."
        ),
    )
    self_trade_prevention = Word(
        choices=SelfTradePrevention.choices, default="EXPIRE_TAKER", allow_null=True, help_text=PREVENTION
    )
    client_order_id = Text(
        max_length=64,
        required=False,
        allow_null=True,
        help_text="Your name for the order, unique per account for all time; sent again, the first order is returned.",
    )


class AmendRequest(StrictSerializer):
    """New terms of an open order; what is left out stays."""

    price = PlainDecimal(required=False, allow_null=True)
    quantity = PlainDecimal(
        required=False,
        allow_null=True,
        help_text="The whole quantity, what is filled included. Less keeps the place in the queue.",
    )


class BatchRequest(StrictSerializer):
    """Up to 100 orders; each is answered by itself, in order."""

    orders = Several(least=1, most=BATCH_ORDERS, help_text="Each as in POST orders/.")


class BookQuery(serializers.Serializer):
    """Which book, how deep."""

    symbol = Text(max_length=32)
    depth = Whole(least=1, most=MAX_DEPTH, default=DEFAULT_DEPTH, help_text="Levels per side.")


class CancelAllQuery(StrictSerializer):
    """Which orders to cancel: those of a market, or all. Strict, so that a typo does not cancel everything."""

    symbol = Text(max_length=32, required=False)


class OrderQuery(serializers.Serializer):
    """Filters of the own orders."""

    symbol = Text(max_length=32, required=False)
    side = Word(choices=Side.choices, required=False)
    status = Word(
        choices=[*Order.Status.choices, (ACTIVE, ACTIVE)],
        required=False,
        help_text="ACTIVE means OPEN or PARTIALLY_FILLED.",
    )
    client_order_id = Text(max_length=64, required=False)
    created_after = Moment(required=False)


class TradeQuery(serializers.Serializer):
    """Filter of the public tape."""

    symbol = Text(max_length=32, required=False)


class FillQuery(serializers.Serializer):
    """Filters of the own executions."""

    symbol = Text(max_length=32, required=False)
    order = Whole(least=1, required=False, help_text="The order's id.")
