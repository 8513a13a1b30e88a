"""What requests and answers about margin and positions look like: the requests are the one definition for validation
and for the OpenAPI document; of the answers a test compares.
"""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.positions import SIDES
from exchange.api.shapes import OrderShape
from exchange.models import Side
from marketdata.api.fields import Flag, PlainDecimal, StrictSerializer, Text, Whole, Word
from marketdata.api.shapes import AmountField

POSITION_STATES = ("OPEN", "CLOSED", "ALL")


@extend_schema_field({"type": ["string", "number", "boolean", "array", "object"], "items": {}})
class Ignored(serializers.Field):
    """Something that a client may send and nobody looks at."""

    def __init__(self, **kwargs):
        super().__init__(required=False, allow_null=True, help_text="Not looked at: the venue sets prices.", **kwargs)

    def to_internal_value(self, data) -> None:
        return None

    def to_representation(self, value) -> None:
        return None


def _client_order_id() -> Text:
    return Text(max_length=64, required=False, allow_null=True, help_text="Your name for the order that does it.")


class CloseRequest(StrictSerializer):
    """A position to close, by its market."""

    symbol = Text(max_length=32)
    quantity = PlainDecimal(required=False, allow_null=True, help_text="If left out, all that one order takes.")
    client_order_id = _client_order_id()
    price = Ignored()
    exit_price = Ignored()


class ExitRequest(StrictSerializer):
    """How much of the position to close."""

    quantity = PlainDecimal(required=False, allow_null=True, help_text="If left out, all that one order takes.")
    client_order_id = _client_order_id()
    price = Ignored()
    exit_price = Ignored()


class SimFillRequest(StrictSerializer):
    """A trade at the feed's price."""

    symbol = Text(max_length=32)
    side = Word(choices=Side.choices)
    quantity = PlainDecimal()
    client_order_id = _client_order_id()
    price = Ignored()


class CheckRequest(StrictSerializer):
    """An order to weigh. Without a price it is a market order."""

    symbol = Text(max_length=32)
    side = Word(choices=Side.choices)
    quantity = PlainDecimal()
    price = PlainDecimal(required=False, allow_null=True)
    reduce_only = Flag(default=False, allow_null=True)


class LeverageRequest(StrictSerializer):
    """The leverage to use in a market."""

    symbol = Text(max_length=32)
    leverage = Whole(least=1, most=1000)


class PositionQuery(serializers.Serializer):
    """Which positions."""

    symbol = Text(max_length=32, required=False)
    status = Word(choices=[(state, state) for state in POSITION_STATES], default="OPEN")


class BasicPositionShape(serializers.Serializer):
    """A net position. Money in the settlement asset, prices in the market's quote asset."""

    id = serializers.IntegerField()
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=SIDES)
    quantity = AmountField(help_text="Contracts, signed: below zero for a short.")
    entry_price = AmountField(allow_null=True, help_text="Average, of what is open; rounded half up to 18 decimals.")
    settlement_asset = serializers.CharField()
    margin = AmountField(help_text="Initial margin as it was opened.")
    realized_pnl = AmountField(help_text="So far, before fees and financing.")
    fees = AmountField()
    financing = AmountField(help_text="Paid so far for holding it overnight; below zero: got.")
    opened_at = serializers.DateTimeField()


class PositionShape(BasicPositionShape):
    """A position at the mark price; what moves with the mark is null once it is closed."""

    leverage = serializers.IntegerField(allow_null=True)
    mark_price = AmountField(allow_null=True)
    marked_at = serializers.DateTimeField(allow_null=True)
    mark_is_stale = serializers.BooleanField(allow_null=True)
    notional = AmountField(allow_null=True, help_text="Its worth at the mark, in the settlement asset.")
    unrealized_pnl = AmountField(allow_null=True)
    maintenance = AmountField(
        allow_null=True,
        help_text="The least margin that it needs at the mark. An account whose equity is below what all its positions "
        "need is liquidated, whatever its level.",
    )
    liquidation_price = AmountField(
        allow_null=True, help_text="Where the account would be liquidated if nothing else moved."
    )
    closed_at = serializers.DateTimeField(allow_null=True)


class MarginStateShape(serializers.Serializer):
    """Margin in one settlement asset."""

    settlement_asset = serializers.CharField()
    balance = AmountField(help_text="Free, and reserved for margin orders and positions.")
    unrealized_pnl = AmountField()
    equity = AmountField(help_text="balance + unrealized_pnl")
    used = AmountField(help_text="Initial margin of the open positions.")
    orders = AmountField(help_text="Reserved by open orders of margin markets.")
    free = AmountField(help_text="equity - used - orders")
    spendable = AmountField(help_text="What a new order may take: free, but for gains that are not realised.")
    maintenance = AmountField()
    level = AmountField(allow_null=True, help_text="equity / used in percent; null without positions.")


class MarginShape(MarginStateShape):
    """Margin in the venue's own asset, and in each one."""

    by_asset = MarginStateShape(many=True)


class SnapshotShape(serializers.Serializer):
    """Everything at one moment."""

    sequence = serializers.IntegerField(help_text="Of the account's events, as in GET events/.")
    taken_at = serializers.DateTimeField()
    margin = MarginShape()
    positions = PositionShape(many=True)


class ClosedShape(serializers.Serializer):
    """The order that did it, and what is left of the position."""

    order = OrderShape()
    position = PositionShape(allow_null=True)


class CheckShape(serializers.Serializer):
    """What the order would need, whether it would pass now, and how the account would stand after its fills."""

    symbol = serializers.CharField()
    would_pass = serializers.BooleanField(help_text="Orders of your own that it would meet count like anybody's.")
    code = serializers.CharField(allow_null=True, help_text="Of the refusal.")
    detail = serializers.CharField(allow_null=True)
    leverage = serializers.IntegerField()
    required = AmountField(help_text="Margin of what fills at once, and margin, fees and open loss of what rests.")
    spendable = AmountField()
    unfilled_quantity = AmountField(help_text="What of it the book could not fill now.")
    position_after = AmountField()
    entry_price_after = AmountField(allow_null=True)
    liquidation_price_after = AmountField(allow_null=True)
    level_before = AmountField(allow_null=True)
    level_after = AmountField(allow_null=True)
    settlement_asset = serializers.CharField()


class LeverageShape(serializers.Serializer):
    """The leverage in one market."""

    symbol = serializers.CharField()
    leverage = serializers.IntegerField()
    max_leverage = serializers.IntegerField()
