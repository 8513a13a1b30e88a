"""The kill switch over REST: a key may pull it, only a person resets it."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import READ, TRADE
from exchange import kill_switch


class KillSwitchShape(serializers.Serializer):
    """Whether the account is stopped, and by whom."""

    stopped = serializers.BooleanField()
    stopped_by = serializers.ChoiceField(choices=["OWNER", "OPERATOR"], allow_null=True)


class PulledShape(KillSwitchShape):
    """And how many orders were cancelled."""

    cancelled = serializers.IntegerField()


def _state(account_id: int) -> dict:
    by = kill_switch.state(account_id)
    return {"stopped": bool(by), "stopped_by": by or None}


class KillSwitchView(APIView):
    """What the owner stopped the owner lets trade again; what an operator stopped only an operator."""

    keys_may = {"GET": READ, "POST": TRADE}

    @extend_schema(operation_id="kill_switch_read", summary="Is your account stopped?", responses=KillSwitchShape)
    def get(self, request):
        return Response(_state(request.auth.account_id))

    @extend_schema(
        operation_id="kill_switch_pull",
        summary="Stop your account",
        description=(
            "Cancels every open order of the account, in halted markets too, and refuses new ones and amendments with "
            "`account_inactive` until the switch is reset. Pulling it again does no harm."
        ),
        request=None,
        responses={200: PulledShape},
    )
    def post(self, request):
        account_id = request.auth.account_id
        cancelled = kill_switch.pull(account_id=account_id, by=kill_switch.OWNER)
        return Response({**_state(account_id), "cancelled": cancelled})

    @extend_schema(
        operation_id="kill_switch_reset",
        summary="Let your account trade again",
        description="Not with an API key. 403 `stopped_by_operator` when an operator has stopped the account.",
        request=None,
        responses={200: KillSwitchShape},
    )
    def delete(self, request):
        kill_switch.reset(account_id=request.auth.account_id, by=kill_switch.OWNER)
        return Response(_state(request.auth.account_id))
