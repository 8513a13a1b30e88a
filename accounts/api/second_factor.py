"""The second factor over REST: for people who are logged in, never for keys."""

from base64 import b32encode

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import second_factor
from accounts.models import User
from marketdata.api.acceptor import validated
from marketdata.api.fields import StrictSerializer, Text

OTP = OpenApiParameter(
    "X-OTP", str, OpenApiParameter.HEADER, description="The code of your authenticator, if you have a second factor."
)


class CodeRequest(StrictSerializer):
    """A code from the authenticator."""

    code = Text(max_length=6)


class StateShape(serializers.Serializer):
    """Whether a second factor is on."""

    enabled = serializers.BooleanField()


class SecretShape(StateShape):
    """The secret, for an authenticator app; not shown again."""

    secret = serializers.CharField(help_text="In Base32.")
    uri = serializers.CharField(help_text="otpauth://…, to be shown as a QR code.")


class TotpView(APIView):
    """Time-based one-time codes."""

    keys_may = {}

    @extend_schema(operation_id="totp_read", summary="Is your second factor on?", responses=StateShape)
    def get(self, request):
        return Response({"enabled": second_factor.is_enabled(request.auth.user_id)})

    @extend_schema(
        operation_id="totp_begin",
        summary="Set up a second factor",
        description=(
            "Put the secret into an authenticator and confirm it with a code by POST me/totp/confirm/. From then on "
            "withdrawals need a code in X-OTP, and so does the admin. 409 `totp_conflict` when one is on already."
        ),
        request=None,
        responses={201: SecretShape},
    )
    def post(self, request):
        device = second_factor.begin(_user(request))
        secret = b32encode(device.bin_key).decode()
        return Response({"enabled": False, "secret": secret, "uri": device.config_url}, status=201)

    @extend_schema(
        operation_id="totp_remove",
        summary="Remove the second factor",
        description="Needs a code, by the header X-OTP.",
        parameters=[OTP],
        request=None,
        responses={200: StateShape},
    )
    def delete(self, request):
        second_factor.remove(_user(request), request.headers.get("X-OTP"))
        return Response({"enabled": False})


class TotpConfirmView(APIView):
    """The second step."""

    keys_may = {}

    @extend_schema(
        operation_id="totp_confirm", summary="Turn the second factor on", request=CodeRequest, responses=StateShape
    )
    def post(self, request):
        second_factor.confirm(_user(request), validated(CodeRequest, request.data)["code"])
        return Response({"enabled": True})


def _user(request) -> User:
    return User.objects.get(pk=request.auth.user_id)
