"""Rates between assets by the mark prices: how a profit in yen becomes dollars.

From the quote asset to the settlement asset the shortest way over margin markets' marks is taken, forwards (× price) or
backwards (÷ price), and where none leads over marks, over all markets' last prices as well. A rate is an exact
fraction, as old as the marks are (see marketdata.marks). A stale mark still converts: who holds a position must be able
to leave it; what must not begin on an old price is refused elsewhere.
"""

from collections import deque
from decimal import Decimal
from fractions import Fraction

from accounts import margin, valuation
from accounts.valuation import EXACT_ENOUGH, PRICE_STEP, Pair
from marketdata import markets, marks
from marketdata.markets import MarketSpec
from marketdata.marks import StalePrice


def prices_in(settlement: int, pairs: list[Pair]) -> dict[int, Fraction]:
    """The price in `settlement` of each asset from which a way leads there. Pure."""
    ways: dict[int, list[tuple[int, Fraction]]] = {}
    for pair in pairs:
        if pair.price:
            price = Fraction(pair.price)
            ways.setdefault(pair.quote, []).append((pair.base, price))
            ways.setdefault(pair.base, []).append((pair.quote, 1 / price))
    found, waiting = {settlement: Fraction(1)}, deque([settlement])
    while waiting:
        nearer = waiting.popleft()
        for farther, price in ways.get(nearer, []):
            if farther not in found:
                found[farther] = found[nearer] * price
                waiting.append(farther)
    return found


class _Cache:
    """Prices in one settlement asset, for as long as the marks are the same ones."""

    def __init__(self):
        self.of: object = None
        self.prices: dict[int, dict[int, Fraction]] = {}

    def find(self, asset: int, settlement: int) -> Fraction | None:
        latest = marks.latest()
        if latest is not self.of:
            self.of, self.prices = latest, {}
        if settlement not in self.prices:
            self.prices[settlement] = prices_in(settlement, _marked_pairs())
        if asset not in self.prices[settlement]:
            self.prices[settlement] = prices_in(settlement, [*_marked_pairs(), *valuation.load_pairs()])
        return self.prices[settlement].get(asset)


_cache = _Cache()


def fraction_of(spec: MarketSpec) -> Fraction:
    """What one of the market's quote asset is worth in its settlement asset. StalePrice when no market tells."""
    if spec.quote_id == spec.contract.settlement_id:
        return Fraction(1)
    price = _cache.find(spec.quote_id, spec.contract.settlement_id)
    if price is None:
        raise StalePrice(f"No market tells what {spec.quote} is worth in {spec.contract.settlement}.")
    return price


def price_of(spec: MarketSpec) -> Decimal:
    """The same as a decimal, rounded half up to 18 places: to show and to keep."""
    price = fraction_of(spec)
    return EXACT_ENOUGH.divide(Decimal(price.numerator), Decimal(price.denominator)).quantize(
        PRICE_STEP, context=EXACT_ENOUGH
    )


def rate_of(spec: MarketSpec) -> margin.Rate:
    """The same for smallest units, exactly."""
    price = fraction_of(spec)
    numerator = price.numerator * 10**spec.contract.settlement_decimals
    return margin.Rate(numerator, price.denominator * 10**spec.quote_decimals)


def _marked_pairs() -> list[Pair]:
    latest = marks.latest()
    return [
        Pair(spec.base_id, spec.quote_id, latest[spec.id].price)
        for spec in markets.active()
        if spec.contract is not None and spec.id in latest
    ]
