"""What a market may not become because of what accounts own and pay in it: Market.clean asks these rules."""

from decimal import Decimal

from django.db import transaction

from accounts.fee_models import FeeTier, unpaid_rebate
from accounts.position_models import Position
from marketdata.models import Market


def connect() -> None:
    """Have markets ask; called once, when the app is ready."""
    Market.RULES_ABOVE += [fee_errors, position_errors]


def fee_errors(market: Market) -> dict[str, str]:
    """A rebate, the market's or a tier's, that somebody's taker fee would not pay for."""
    tiers = FeeTier.objects.filter(quote=market.quote_id).values_list("maker_fee", "taker_fee")
    maker, taker = map(min, zip((Decimal(market.maker_fee), Decimal(market.taker_fee)), *tiers, strict=True))
    wrong = unpaid_rebate(maker, taker, market.symbol)
    return {"maker_fee": f"{wrong} Fee tiers count too: an account pays the lower fee."} if wrong else {}


@transaction.atomic
def position_errors(market: Market) -> dict[str, str]:
    """A market that is made inactive while somebody holds a position there: nobody could close it."""
    if market.is_active:
        return {}
    # The matcher waits for the row: in the admin, whose requests are transactions, nobody opens a position meanwhile.
    if not Market.objects.select_for_update(no_key=True).filter(pk=market.pk, is_active=True).exists():
        return {}
    count = Position.objects.filter(market=market.pk, closed_at__isnull=True).count()
    text = (
        f"{count} positions are open here, and nobody could close them any more. Make the contract reduce-only, and"
        " the market inactive once they are closed."
    )
    return {"is_active": text} if count else {}
