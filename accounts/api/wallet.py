"""Withdrawals over REST: asking, watching, changing one's mind. What operators decide is in the admin."""

from functools import partial

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import second_factor, withdrawals
from accounts.api.second_factor import OTP
from accounts.api.serializers import MoneyRequest
from accounts.api.shapes import WalletShape
from accounts.api.views import IDEMPOTENCY_KEY, move_money
from accounts.authentication import WITHDRAWING
from accounts.models import Withdrawal
from marketdata import clock
from marketdata.api.acceptor import read_query
from marketdata.api.fields import MAX_ID, Word
from marketdata.api.shapes import AmountField
from marketdata.refusals import NotFound
from marketdata.units import plain


class WithdrawalQuery(serializers.Serializer):
    """Filter of the own withdrawals."""

    status = Word(choices=Withdrawal.Status.choices, required=False)


class WithdrawalShape(serializers.Serializer):
    """PENDING while the amount is reserved; then APPROVED (paid out), REJECTED or CANCELLED (given back)."""

    id = serializers.IntegerField()
    asset = serializers.CharField()
    amount = AmountField()
    status = serializers.ChoiceField(choices=Withdrawal.Status.choices)
    reason = serializers.CharField(help_text="What the operator says to it; empty so far, or for nothing.")
    journal = serializers.IntegerField(allow_null=True, help_text="The journal in the ledger that paid it out.")
    requested_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class RequestedShape(WithdrawalShape, WalletShape):
    """The withdrawal and the wallet after it."""


class WithdrawView(APIView):
    """Asking for money to be paid out."""

    keys_may = WITHDRAWING

    @extend_schema(
        operation_id="wallet_withdraw",
        summary="Withdraw",
        description=(
            "The amount is reserved at once and paid out when an operator approves it; see GET wallet/withdrawals/. "
            "Where the venue pays at once, it comes back APPROVED. Users with a second factor send a code in X-OTP, "
            "with an API key too: 403 `otp_required`, `otp_invalid`. A code is used up by a withdrawal that is taken, "
            "not by one that is refused; sent again under its Idempotency-Key, a withdrawal needs none. "
            "What is no longer listed is paid out all the same."
        ),
        parameters=[IDEMPOTENCY_KEY, OTP],
        request=MoneyRequest,
        responses={201: OpenApiResponse(RequestedShape, "Reserved, or paid out already.")},
    )
    def post(self, request):
        # One transaction with the withdrawal, and not asked for what was done before and is only told again.
        code = partial(second_factor.take, request.auth.user_id, request.headers.get("X-OTP"))
        return move_money(request, "withdrawal", _request, admit=code)


class WithdrawalListView(ListAPIView):
    """The own withdrawals."""

    queryset = Withdrawal.objects.none()
    has_cursor = True

    @extend_schema(
        operation_id="withdrawals_list",
        summary="Your withdrawals",
        description="Newest first.",
        parameters=[WithdrawalQuery],
        responses=WithdrawalShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        wanted = read_query(WithdrawalQuery, request.query_params)
        rows = Withdrawal.objects.filter(account_id=request.auth.account_id, **wanted).select_related("asset")
        page = self.paginate_queryset(rows.order_by("-id"))
        return self.get_paginated_response([withdrawal_row(row) for row in page])


class WithdrawalView(APIView):
    """One of the own withdrawals."""

    keys_may = WITHDRAWING

    @extend_schema(operation_id="withdrawals_read", summary="One withdrawal", responses=WithdrawalShape)
    def get(self, request, withdrawal_id: int):
        found = withdrawals.find(withdrawal_id=_known(withdrawal_id), account_id=request.auth.account_id)
        return Response(withdrawal_row(found))

    @extend_schema(
        operation_id="withdrawals_cancel",
        summary="Cancel a pending withdrawal",
        description="Gives the money back. A decided withdrawal is refused with 409 `withdrawal_decided`.",
        request=None,
        responses={200: WithdrawalShape},
    )
    def delete(self, request, withdrawal_id: int):
        cancelled = withdrawals.cancel(withdrawal_id=_known(withdrawal_id), account_id=request.auth.account_id)
        return Response(withdrawal_row(cancelled))


def _request(account, asset, amount) -> dict:
    return withdrawal_row(withdrawals.request(account=account, asset=asset, amount=amount))


def _known(withdrawal_id: int) -> int:
    if withdrawal_id > MAX_ID:
        raise NotFound(f"You have no withdrawal {withdrawal_id}.")
    return withdrawal_id


def withdrawal_row(row: Withdrawal) -> dict:
    """A withdrawal, with its asset loaded, as its owner sees it."""
    return {
        "id": row.pk,
        "asset": row.asset.symbol,
        "amount": plain(row.amount),
        "status": row.status,
        "reason": row.reason,
        "journal": row.journal_id,
        "requested_at": clock.text(row.requested_at),
        "decided_at": row.decided_at and clock.text(row.decided_at),
    }
