"""API keys over REST: for people who are logged in, never for keys."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import api_keys
from accounts.authentication import READ
from accounts.models import Account, ApiKey
from marketdata import clock
from marketdata.api.acceptor import validated
from marketdata.api.fields import MAX_ID, Moment, StrictSerializer, Text, Whole, Word
from marketdata.refusals import Malformed, NotFound

MAX_ADDRESSES = 32
DEFAULT_NAME = "API key"


class KeyRequest(StrictSerializer):
    """A key to be made. It is bound to the account of the request: the main one, or that of X-Account."""

    name = Text(max_length=64, default=None, allow_null=True, help_text=f"Else {DEFAULT_NAME}.")
    permissions = serializers.ListField(
        child=Word(choices=ApiKey.Permission.choices), min_length=1, max_length=8, default=[READ], allow_null=True
    )
    allowed_ips = serializers.ListField(
        child=Text(max_length=43), max_length=MAX_ADDRESSES, default=[], allow_null=True,
        help_text="Addresses or networks; [] is any.",
    )  # fmt: skip
    expires_at = Moment(required=False, allow_null=True, default=None)

    def validate_name(self, name: str | None) -> str:
        """Null is the same as nothing."""
        return name or DEFAULT_NAME

    def validate_permissions(self, permissions: list[str] | None) -> list[str]:
        """Null is the same as nothing."""
        return permissions or [READ]

    def validate_allowed_ips(self, addresses: list[str] | None) -> list[str]:
        """Null is the same as nothing."""
        return addresses or []


class KeyShape(serializers.Serializer):
    """A key without its secret."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    key = serializers.CharField(help_text="For the header X-API-KEY.")
    account = serializers.IntegerField(help_text="The account that it trades.")
    permissions = serializers.ListField(child=serializers.ChoiceField(choices=ApiKey.Permission.choices))
    allowed_ips = serializers.ListField(child=serializers.CharField())
    is_active = serializers.BooleanField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")
    created_at = serializers.DateTimeField()


class NewKeyShape(KeyShape):
    """The only answer that ever shows the secret."""

    secret = serializers.CharField()


class RevokeQuery(StrictSerializer):
    """Which key."""

    id = Whole(least=1, required=False, help_text="That key only; all of them without it.")


class RevokedShape(serializers.Serializer):
    """How many keys were revoked."""

    revoked = serializers.IntegerField()


class KeyListView(ListAPIView):
    """The user's keys, for whichever account."""

    queryset = ApiKey.objects.none()
    keys_may = {}

    @extend_schema(
        operation_id="api_keys_list",
        summary="Your API keys",
        description="Newest first, revoked ones too.",
        responses=KeyShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        rows = ApiKey.objects.filter(account__user_id=request.auth.user_id).order_by("-id")
        return self.get_paginated_response([key_row(row) for row in self.paginate_queryset(rows)])

    @extend_schema(
        operation_id="api_keys_create",
        summary="Make an API key",
        description=(
            "Requests signed with it need no login: `X-API-KEY`, `X-API-TIMESTAMP` (milliseconds), `X-API-SIGN` = hex "
            "HMAC-SHA256(secret, timestamp + method + path with query + raw body), all as sent, and if you like "
            "`X-API-RECV-WINDOW`: how old it may be (5000, at most 60000 ms); a second ahead is too far. READ opens "
            "what GET opens, TRADE orders, WITHDRAW withdrawals; keys and logins are never managed by a key."
        ),
        request=KeyRequest,
        responses={201: OpenApiResponse(NewKeyShape, "Keep the secret: it is not shown again.")},
    )
    def post(self, request):
        wanted = validated(KeyRequest, request.data)
        account = Account.objects.get(pk=request.auth.account_id)
        row, secret = api_keys.create(account=account, **wanted)
        return Response({**key_row(row), "secret": secret}, status=201)

    @extend_schema(
        operation_id="api_keys_revoke_all",
        summary="Revoke all your API keys, or one",
        description="The id may also stand in a body, `{\"id\": 1}`. Nothing else may: a slip would revoke all keys.",
        parameters=[RevokeQuery],
        request=None,
        responses={200: RevokedShape},
    )
    def delete(self, request):
        wanted = validated(RevokeQuery, {**request.query_params.dict(), **_fields(request.data)})
        revoked = api_keys.revoke(user_id=request.auth.user_id, key_id=wanted.get("id"))
        return Response({"revoked": len(revoked)})


class KeyView(APIView):
    """One of them."""

    keys_may = {}

    @extend_schema(operation_id="api_keys_read", summary="One API key", responses=KeyShape)
    def get(self, request, key_id: int):
        return Response(key_row(api_keys.find(key_id=_known(key_id), user_id=request.auth.user_id)))

    @extend_schema(
        operation_id="api_keys_revoke",
        summary="Revoke an API key",
        description="At once in the process that answers, within five seconds in others. Its sockets are closed.",
        request=None,
        responses={200: KeyShape},
    )
    def delete(self, request, key_id: int):
        api_keys.revoke(user_id=request.auth.user_id, key_id=_known(key_id))
        return Response(key_row(api_keys.find(key_id=key_id, user_id=request.auth.user_id)))


def _fields(body: object) -> dict:
    """The fields of a body; none if there is no body."""
    if not isinstance(body, dict):
        raise Malformed("The body is an object, or there is none.")
    return body


def _known(key_id: int) -> int:
    if key_id > MAX_ID:
        raise NotFound(f"You have no API key {key_id}.")
    return key_id


def key_row(row: ApiKey) -> dict:
    """A key as its owner sees it."""
    return {
        "id": row.pk,
        "name": row.name,
        "key": row.key,
        "account": row.account_id,
        "permissions": row.permissions,
        "allowed_ips": row.allowed_ips,
        "is_active": row.is_active,
        "expires_at": row.expires_at and clock.text(row.expires_at),
        "last_used_at": row.last_used_at and clock.text(row.last_used_at),
        "created_at": clock.text(row.created_at),
    }
