"""The price band of a market: how far a limit price may be from the market price. Pure, in ticks."""

from decimal import Decimal
from math import ceil, floor

from marketdata import units
from marketdata.contracts import RATE_DECIMALS, RATE_ONE
from marketdata.markets import MarketSpec


def around(spec: MarketSpec, price: Decimal | None) -> tuple[Decimal, int, int] | None:
    """(the price, lowest, highest allowed price in ticks), or None while there is no price or no band."""
    if price is None or spec.price_band is None:
        return None
    width = units.to_units(spec.price_band, RATE_DECIMALS)
    ticks = price / spec.tick_size
    low, high = ticks * (RATE_ONE - width) / RATE_ONE, ticks * (RATE_ONE + width) / RATE_ONE
    return price, max(1, ceil(low)), floor(high)
