"""What requests to the accounts' routes look like."""

from rest_framework import serializers

from marketdata.api.fields import PlainDecimal, StrictSerializer, Text, Whole

DEFAULT_ASSET = "USD"
EVENTS = 1000


class Password(serializers.CharField):
    """Taken as it is: no trimming."""

    def __init__(self, **kwargs):
        super().__init__(
            trim_whitespace=False, max_length=256, write_only=True, style={"input_type": "password"}, **kwargs
        )


class RegisterRequest(StrictSerializer):
    """Who wants to trade."""

    username = Text(max_length=150)
    password = Password()
    email = serializers.EmailField(required=False, allow_blank=True, allow_null=True)

    def validate_email(self, email: str | None) -> str:
        """Null is no address."""
        return email or ""


class LoginRequest(StrictSerializer):
    """Username in any case, and password."""

    username = Text(max_length=150)
    password = Password()


class RefreshRequest(StrictSerializer):
    """A refresh token."""

    refresh = Text(max_length=4096)


class MoneyRequest(StrictSerializer):
    """How much of what."""

    asset = Text(max_length=16, default=DEFAULT_ASSET, allow_null=True, help_text="Symbol, such as USD.")
    amount = PlainDecimal()

    def validate_asset(self, asset: str | None) -> str:
        """Null is the same as nothing."""
        return asset or DEFAULT_ASSET


class EventQuery(serializers.Serializer):
    """From where on."""

    after = Whole(default=0, help_text="Sequence of the last event that you have.")
    limit = Whole(least=1, most=EVENTS, default=EVENTS)
