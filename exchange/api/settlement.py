"""Settling a trade by hand over REST, and what a trade's settlement looks like there."""

from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import PermissionDenied
from accounts.models import User
from exchange import deferred
from exchange.api import shapes
from exchange.models import Trade
from exchange.rendering import trade_row
from marketdata import clock
from marketdata.api.fields import MAX_ID
from marketdata.refusals import NotFound


def trades():
    """Trades with all that `settled_row` reads."""
    return Trade.objects.select_related("market", "settlement")


def settled_row(trade: Trade) -> dict:
    """A public trade, and whether it is settled: in a market that settles at once it is from the beginning."""
    settlement = getattr(trade, "settlement", None)
    settled_at = trade.executed_at if settlement is None else settlement.settled_at
    return {
        **trade_row(trade),
        "is_settled": settled_at is not None,
        "settled_at": None if settled_at is None else clock.text(settled_at),
    }


def known_trade(trade_id: int) -> Trade:
    trade = trades().filter(pk=trade_id).first() if 0 < trade_id <= MAX_ID else None
    if trade is None:
        raise NotFound(f"There is no trade {trade_id}.")
    return trade


class SettleView(APIView):
    """An operator's decision."""

    keys_may = {}

    @extend_schema(
        operation_id="trades_settle",
        summary="Settle a trade (staff)",
        description=(
            "For operators with the right to change settlements: delivers and pays a trade of a market with deferred "
            "settlement now, before its day or after the venue could not. 409 `not_deferred` or `already_settled`."
        ),
        request=None,
        responses={200: shapes.TradeShape},
    )
    def post(self, request, trade_id: int):
        user = User.objects.get(pk=request.auth.user_id)
        if not (user.is_staff and user.has_perm("exchange.change_settlement")):
            raise PermissionDenied("Only operators settle trades.")
        known_trade(trade_id)
        deferred.settle(trade_id, actor_id=user.pk, by_hand=True)
        return Response(settled_row(known_trade(trade_id)))
