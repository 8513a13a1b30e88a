"""Registering, tokens, profile, wallet and events over REST."""

import json
from collections.abc import Callable
from decimal import Decimal

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import events, idempotency, lockout, tokens, transfers, users
from accounts.api import shapes
from accounts.api.serializers import (
    DEFAULT_ASSET,
    EventQuery,
    LoginRequest,
    MoneyRequest,
    RefreshRequest,
    RegisterRequest,
)
from accounts.models import Account, Balance, User
from marketdata import clock
from marketdata.api.acceptor import read_query, validated
from marketdata.models import Asset
from marketdata.throttling import address_of_request, rate, windows
from marketdata.units import plain

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Your name for this movement: sent again with the same body, it moves nothing and answers as first",
)


#: Of the ways in and out: who comes with an old token is here for a new one, or to be rid of it.
NOBODY_IS_ASKED: list[type] = []


class RegisterView(APIView):
    """A new user with an empty main account."""

    authentication_classes = NOBODY_IS_ASKED
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="register", summary="Register", request=RegisterRequest, responses={201: shapes.UserShape}
    )
    def post(self, request):
        wanted = validated(RegisterRequest, request.data)
        if settings.RATE_LIMITS:
            windows.charge(("register", address_of_request(request)), rate(settings.RATE_LIMIT_REGISTER)).check()
        return Response(user_row(users.register(**wanted)), status=201)


class TokenView(APIView):
    """Only failures are limited, by name and by address: 429, `Retry-After` says for how long."""

    authentication_classes = NOBODY_IS_ASKED
    permission_classes = [AllowAny]

    @extend_schema(operation_id="token_obtain", summary="Log in", request=LoginRequest, responses=shapes.TokenPairShape)
    def post(self, request):
        wanted = validated(LoginRequest, request.data)
        lockout.check(request._request, wanted["username"])
        try:
            pair, user = tokens.log_in(**wanted)
        except tokens.InvalidCredentials:
            lockout.failed(request._request, wanted["username"])
            raise
        lockout.succeeded(request._request, user)
        return Response(pair)


class TokenRefreshView(APIView):
    """Rotation: the refresh token sent is used up."""

    authentication_classes = NOBODY_IS_ASKED
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="token_refresh",
        summary="Get a new token pair",
        request=RefreshRequest,
        responses=shapes.TokenPairShape,
    )
    def post(self, request):
        return Response(tokens.refresh(validated(RefreshRequest, request.data)["refresh"]))


class TokenBlacklistView(APIView):
    """Logging out."""

    authentication_classes = NOBODY_IS_ASKED
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="token_blacklist",
        summary="Log out",
        description="Ends the refresh token; access tokens made from it run out by themselves.",
        request=RefreshRequest,
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request):
        tokens.log_out(validated(RefreshRequest, request.data)["refresh"])
        return Response({})


class MeView(APIView):
    """The profile."""

    @extend_schema(operation_id="me", summary="Your profile", responses=shapes.UserShape)
    def get(self, request):
        return Response(user_row(User.objects.get(pk=request.auth.user_id)))


class WalletView(APIView):
    """What the account holds; POST is the demo's faucet, for people and not for API keys."""

    @extend_schema(operation_id="wallet_read", summary="Your balances", responses=shapes.WalletShape)
    def get(self, request):
        return Response({"balances": balance_rows(request.auth.account_id)})

    @extend_schema(
        operation_id="wallet_deposit",
        summary="Deposit",
        description=(
            f"Demo venues only, 403 `faucet_closed` elsewhere: up to {settings.FAUCET_DAILY_LIMIT:,} of an asset a day."
            f" `asset` defaults to {DEFAULT_ASSET}."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request=MoneyRequest,
        responses={201: OpenApiResponse(shapes.MovementShape, "Done.")},
    )
    def post(self, request):
        return move_money(request, "deposit", _deposit)


class EventsView(APIView):
    """What happened to the account, for catching up."""

    @extend_schema(
        operation_id="events_list",
        summary="Your events",
        description="In order, without a gap. 410 `events_gone` when the next one is older than what the venue keeps.",
        parameters=[EventQuery],
        responses=shapes.EventsShape,
    )
    def get(self, request):
        wanted = read_query(EventQuery, request.query_params)
        found, has_more = events.after(
            account_id=request.auth.account_id, sequence=wanted["after"], limit=wanted["limit"]
        )
        last = found[-1]["sequence"] if found else wanted["after"]
        return Response({"events": found, "next": last, "has_more": has_more})


def move_money(
    request,
    kind: str,
    perform: Callable[[Account, Asset, Decimal], dict],
    admit: idempotency.Admission | None = None,
) -> Response:
    """Answer a request to move money by what `perform` says and the balances after it: 201, once per
    Idempotency-Key. `admit` as in idempotency.once.
    """
    wanted = validated(MoneyRequest, request.data)
    account = Account.objects.get(pk=request.auth.account_id)
    asset, amount = transfers.asset_named(wanted["asset"]), wanted["amount"]

    def answer() -> tuple[int, dict]:
        return 201, {**perform(account, asset, amount), "balances": balance_rows(account.pk)}

    status, body, replayed = idempotency.once(
        account=account,
        key=request.headers.get("Idempotency-Key"),
        request=json.dumps([kind, asset.symbol, plain(amount)]),
        perform=answer,
        admit=admit,
    )
    return Response(body, status=status, headers={"Idempotent-Replayed": "true"} if replayed else None)


def _deposit(account: Account, asset: Asset, amount: Decimal) -> dict:
    moved = transfers.faucet(account=account, asset=asset, amount=amount)
    return {"id": moved.journal_id, "kind": "DEPOSIT", "asset": asset.symbol, "amount": plain(moved.amount)}


def user_row(user: User) -> dict:
    """A user as they see themselves."""
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "is_staff": user.is_staff,
        "account_id": users.main_account(user).pk,
        "date_joined": clock.text(user.date_joined),
    }


def balance_rows(account_id: int) -> list[dict]:
    """The account's balances that are not zero, by asset."""
    rows = Balance.objects.filter(account_id=account_id).select_related("asset").order_by("asset__symbol")
    return [
        {
            "asset": row.asset.symbol,
            "available": plain(row.available),
            "reserved": plain(row.reserved),
            "total": plain(row.total),
        }
        for row in rows
        if row.total
    ]
