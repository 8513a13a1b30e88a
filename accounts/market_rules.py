"""What a market may not become because of what accounts own and pay in it: Market.clean asks these rules."""

from decimal import Decimal

from accounts.fee_models import FeeTier, unpaid_rebate
from marketdata.models import Market


def connect() -> None:
    """Have markets ask; called once, when the app is ready."""
    Market.RULES_ABOVE += [fee_errors]


def fee_errors(market: Market) -> dict[str, str]:
    """A rebate, the market's or a tier's, that somebody's taker fee would not pay for."""
    tiers = FeeTier.objects.filter(quote=market.quote_id).values_list("maker_fee", "taker_fee")
    maker, taker = map(min, zip((Decimal(market.maker_fee), Decimal(market.taker_fee)), *tiers, strict=True))
    wrong = unpaid_rebate(maker, taker, market.symbol)
    return {"maker_fee": f"{wrong} Fee tiers count too: an account pays the lower fee."} if wrong else {}
