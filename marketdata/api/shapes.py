"""What answers look like, for the OpenAPI document."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from marketdata.calendar import AUCTION, CLOSED, CLOSING, CONTINUOUS, PRE_OPEN
from marketdata.models import Asset, Market

PHASES = [CLOSED, PRE_OPEN, CONTINUOUS, AUCTION, CLOSING]


@extend_schema_field({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["187.5"]})
class AmountField(serializers.CharField):
    """A decimal as a plain string: no exponent, no trailing zeros."""


class ProblemErrorShape(serializers.Serializer):
    """What is wrong with one field."""

    field = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemShape(serializers.Serializer):
    """RFC 9457: every error looks like this. `code` is stable; `detail` is for people."""

    type = serializers.CharField(help_text="A page about the code.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = ProblemErrorShape(many=True)
    request_id = serializers.CharField()


class AssetShape(serializers.Serializer):
    """Something that can be owned."""

    symbol = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Asset.Kind.choices)
    decimals = serializers.IntegerField(help_text="The smallest unit is 10^-decimals.")


class DayHoursShape(serializers.Serializer):
    """One weekday's session, in local time."""

    weekday = serializers.IntegerField(help_text="0 is Monday.")
    pre_open = serializers.TimeField(allow_null=True, help_text="Orders are collected from here on.")
    opens = serializers.TimeField()
    closing = serializers.TimeField(allow_null=True, help_text="The closing auction begins.")
    closes = serializers.TimeField()


class HolidayShape(serializers.Serializer):
    """A day that differs from its weekday."""

    day = serializers.DateField()
    closes_early = serializers.TimeField(allow_null=True, help_text="Null: no session at all.")


class HoursShape(serializers.Serializer):
    """When a market trades."""

    time_zone = serializers.CharField()
    week = DayHoursShape(many=True)
    holidays = HolidayShape(many=True)


class SessionShape(serializers.Serializer):
    """Where a market stands in its day: CONTINUOUS without hours, CLOSED outside of a contract's."""

    phase = serializers.ChoiceField(choices=PHASES)
    until = serializers.DateTimeField(allow_null=True, help_text="When an AUCTION in the midst of trading ends.")
    next_phase = serializers.ChoiceField(choices=PHASES, allow_null=True)
    next_change_at = serializers.DateTimeField(allow_null=True)


class ContractShape(serializers.Serializer):
    """What makes a market a margin market. Rates are fractions; of financing, a year."""

    contract_size = AmountField(help_text="Units of the base asset in one contract; a quantity counts contracts.")
    settlement_asset = serializers.CharField(help_text="What margin, profit and loss are paid in.")
    max_leverage = serializers.IntegerField()
    tiers = serializers.ListField(
        child=serializers.DictField(child=AmountField(allow_null=True)),
        help_text="Rates of slices of the notional: up_to (null: no end), initial, maintenance.",
    )
    is_reduce_only = serializers.BooleanField()
    is_open_now = serializers.BooleanField(help_text="Whether the trading session is open.")
    hours_zone = serializers.CharField()
    hours = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Open spans of the week; empty: always.",
    )
    holidays = serializers.ListField(child=serializers.CharField())
    financing_long_rate = AmountField()
    financing_short_rate = AmountField()
    triple_day = serializers.IntegerField(allow_null=True, help_text="Weekday (0 is Monday) that counts three days.")
    rollover_time = serializers.CharField()
    rollover_zone = serializers.CharField()
    mark_price = AmountField(allow_null=True)
    mark_is_stale = serializers.BooleanField()


class MarketShape(serializers.Serializer):
    """A pair that trades, with its filters."""

    symbol = serializers.CharField()
    base = serializers.CharField()
    quote = serializers.CharField()
    kind = serializers.ChoiceField(choices=Market.Kind.choices)
    status = serializers.ChoiceField(
        choices=Market.Status.choices, help_text="CLOSED by an operator, or outside its hours."
    )
    tick_size = AmountField()
    lot_size = AmountField()
    min_quantity = AmountField()
    max_quantity = AmountField()
    min_notional = AmountField()
    price_band = AmountField(
        allow_null=True, help_text="Allowed distance of a limit price from the market price, as a fraction."
    )
    maker_fee = AmountField(help_text="As a fraction: 0.001 is 0.1 %. Fees are paid in the quote asset.")
    taker_fee = AmountField()
    max_open_orders = serializers.IntegerField(help_text="Per account.")
    max_notional = AmountField(allow_null=True, help_text="Of one order.")
    volatility_band = AmountField(
        allow_null=True, help_text="A trade further from the last price, as a fraction, starts an auction instead."
    )
    settlement_days = serializers.IntegerField(help_text="Trades settle that many business days later.")
    hours = HoursShape(allow_null=True, help_text="Null: always; a margin market has hours in its contract, too.")
    session = SessionShape()
    last_price = AmountField(allow_null=True)
    last_price_updated_at = serializers.DateTimeField(allow_null=True)
    contract = ContractShape(allow_null=True, help_text="Null for spot markets.")
