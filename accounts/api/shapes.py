"""What answers of the accounts' routes look like, for the OpenAPI document."""

from rest_framework import serializers

from marketdata.api.shapes import AmountField


class UserShape(serializers.Serializer):
    """A user, as seen by themselves."""

    id = serializers.IntegerField()
    username = serializers.CharField()
    email = serializers.CharField()
    is_staff = serializers.BooleanField()
    account_id = serializers.IntegerField(help_text="The main account, on which orders and balances hang.")
    date_joined = serializers.DateTimeField()


class TokenPairShape(serializers.Serializer):
    """Send `access` as `Authorization: Bearer …`; trade `refresh` for a new pair before it expires."""

    access = serializers.CharField()
    refresh = serializers.CharField()


class BalanceShape(serializers.Serializer):
    """One asset: free to use, and set aside for open orders."""

    asset = serializers.CharField()
    available = AmountField()
    reserved = AmountField()
    total = AmountField()


class WalletShape(serializers.Serializer):
    """Every asset held."""

    balances = BalanceShape(many=True)


class MovementShape(WalletShape):
    """A finished deposit, and the wallet after it."""

    id = serializers.IntegerField(help_text="Of the journal in the ledger.")
    kind = serializers.ChoiceField(choices=["DEPOSIT"])
    asset = serializers.CharField()
    amount = AmountField()


class EventsShape(serializers.Serializer):
    """Events in order; each has a gap-free `sequence` and a `type`: order, fill and position have an object of that
    name, balance, margin_call, margin_call_cleared, liquidation and financing tell their figures beside it.
    """

    events = serializers.ListField(child=serializers.DictField())
    next = serializers.IntegerField(help_text="Pass as `after` for what follows.")
    has_more = serializers.BooleanField()
