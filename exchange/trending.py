"""Which markets were traded most, or moved most, in the last 24 hours."""

from decimal import Decimal

from accounts.valuation import Valuation, load_pairs, quote_asset
from exchange.tickers import board
from marketdata import markets
from marketdata.refusals import NotFound

VOLUME, MOVE = "VOLUME", "MOVE"


def trending(by: str, limit: int) -> list[dict]:
    """The tickers of the markets that traded in the last 24 hours, the most first, by VOLUME or MOVE."""
    specs = markets.active()
    traded = [(spec, found) for spec, found in zip(specs, board.read(specs), strict=True) if found["trades"]]
    if by == VOLUME:
        prices = _prices()
        # What nobody can price counts as it is.
        weights = [Decimal(found["quote_volume"]) * prices.get(spec.quote_id, 1) for spec, found in traded]
    else:
        weights = [abs(Decimal(found["change_percent"])) for _, found in traded]
    ranked = sorted(zip(weights, traded, strict=True), key=lambda one: one[0], reverse=True)
    return [found for _, (_, found) in ranked[:limit]]


def _prices() -> dict[int, Decimal]:
    """The assets' prices in PORTFOLIO_QUOTE; none where the venue has no such asset yet."""
    try:
        return Valuation(quote_asset(None), load_pairs()).prices
    except NotFound:
        return {}
