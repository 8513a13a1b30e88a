"""What the answers of exchange.api look like, for the OpenAPI document: rendering itself is exchange.rendering, and a
test compares.
"""

from rest_framework import serializers

from exchange.api.serializers import DEFAULT_DEPTH, MAX_DEPTH
from exchange.models import Fill, ListRole, Order, OrderType, SelfTradePrevention, Side, TimeInForce
from marketdata.api.fields import Whole
from marketdata.api.shapes import PHASES, AmountField, ProblemShape


class OrderFillShape(serializers.Serializer):
    """One execution of an order."""

    trade_id = serializers.IntegerField()
    price = AmountField()
    quantity = AmountField()
    fee = AmountField()
    fee_asset = serializers.CharField(help_text="Always the quote asset.")
    role = serializers.ChoiceField(choices=Fill.Role.choices)
    executed_at = serializers.DateTimeField()


class OrderShape(serializers.Serializer):
    """An order with its fills."""

    id = serializers.IntegerField()
    client_order_id = serializers.CharField(allow_null=True)
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=Side.choices)
    type = serializers.ChoiceField(choices=OrderType.choices)
    time_in_force = serializers.ChoiceField(choices=TimeInForce.choices)
    post_only = serializers.BooleanField()
    reduce_only = serializers.BooleanField()
    self_trade_prevention = serializers.ChoiceField(choices=SelfTradePrevention.choices)
    price = AmountField(
        allow_null=True, help_text="Of STOP_LOSS, TAKE_PROFIT and TRAILING_STOP: the worst price they trade at."
    )
    stop_price = AmountField(
        allow_null=True, help_text="A trailing stop's follows the price, without an event for each step."
    )
    trail_amount = AmountField(allow_null=True)
    trail_percent = AmountField(allow_null=True)
    quantity = AmountField()
    quote_quantity = AmountField(allow_null=True)
    filled_quantity = AmountField()
    remaining_quantity = AmountField()
    displayed_quantity = AmountField(allow_null=True)
    average_price = AmountField(allow_null=True, help_text="Rounded half up to 18 decimals.")
    status = serializers.ChoiceField(choices=Order.Status.choices)
    reason = serializers.CharField(
        allow_null=True,
        help_text="Why the venue ended it: the code of a refusal, or `expired`, `auction_ended`, `other_leg`, "
        "`entry_unfilled`, `reduce_only` (no position is left for it), `unfillable` (its account could not pay the "
        "fill, or it would have opened a position), `funds_needed` (a stop or a liquidation closed with what it held), "
        "`financing`, `liquidation`, `operator`, `disqualified`, `competition_ended`. Null for your own cancel.",
    )
    reserved = AmountField(
        help_text="Still set aside: quote asset for a buy, base asset for a sell; on margin markets settlement asset."
    )
    fee = AmountField(help_text="Paid so far, in the quote asset.")
    list_id = serializers.IntegerField(allow_null=True)
    list_role = serializers.ChoiceField(choices=ListRole.choices, allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    triggered_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    fills = OrderFillShape(many=True)


class CancelledShape(serializers.Serializer):
    """The orders that were taken out."""

    cancelled = serializers.IntegerField()
    orders = OrderShape(many=True)


class BatchResultShape(serializers.Serializer):
    """What one order of a batch came to: `order` or `error`, with the status it would have had alone."""

    status = serializers.IntegerField()
    order = OrderShape(required=False)
    error = ProblemShape(required=False)


class BatchShape(serializers.Serializer):
    """One result for each order, in order."""

    results = BatchResultShape(many=True)


class AuctionShape(serializers.Serializer):
    """What the auction would come to now, by the quantity that is shown."""

    phase = serializers.ChoiceField(choices=PHASES, help_text="PRE_OPEN, AUCTION or CLOSING.")
    until = serializers.DateTimeField(allow_null=True)
    price = AmountField(allow_null=True)
    quantity = AmountField()
    surplus = AmountField(help_text="Left over at that price: positive on the bid side, negative on the ask side.")


class BookShape(serializers.Serializer):
    """Levels of [price, quantity], best first."""

    symbol = serializers.CharField()
    sequence = serializers.IntegerField(help_text="Counts the commands that changed this market's book.")
    bids = serializers.ListField(child=serializers.ListField(child=AmountField(), min_length=2, max_length=2))
    asks = serializers.ListField(child=serializers.ListField(child=AmountField(), min_length=2, max_length=2))
    auction = AuctionShape(required=False, help_text="While orders are collected for an auction.")


class DepthQuery(serializers.Serializer):
    """How deep."""

    depth = Whole(least=1, most=MAX_DEPTH, default=DEFAULT_DEPTH, help_text="Levels per side.")


class TradeShape(serializers.Serializer):
    """A public trade; `side` is the taker's."""

    trade_id = serializers.IntegerField()
    symbol = serializers.CharField()
    price = AmountField()
    quantity = AmountField()
    side = serializers.ChoiceField(choices=Side.choices)
    executed_at = serializers.DateTimeField()
    is_settled = serializers.BooleanField(help_text="False while a market with deferred settlement has not delivered.")
    settled_at = serializers.DateTimeField(allow_null=True)


class FillShape(OrderFillShape):
    """One of your executions."""

    order_id = serializers.IntegerField()
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=Side.choices)
