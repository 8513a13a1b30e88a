"""Rates between assets by the mark prices: how a profit in yen becomes dollars.

From the quote asset to the settlement asset the shortest way over margin markets' marks is taken, forwards (× price) or
backwards (÷ price), and where none leads over marks, over all markets' last prices as well. A rate is an exact
fraction, as old as the marks are (see marketdata.marks). A stale mark still converts, and so, where no other way leads,
does what is known of markets that are not active any more: who holds a position must be able to leave it. What must not
begin on an old price is refused elsewhere (`check`, for the second).
"""

from collections import deque
from decimal import Decimal
from fractions import Fraction

from accounts import margin, valuation
from accounts.valuation import EXACT_ENOUGH, PRICE_STEP, Pair
from marketdata import markets, marks
from marketdata.markets import MarketSpec
from marketdata.marks import StalePrice
from marketdata.models import Market


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
    """Prices in one settlement asset, for as long as the marks are the same ones. Several threads ask at once: marks
    and the prices by them are replaced together, and who is at work goes on with those that he began with.
    """

    def __init__(self):
        #: The marks, and the prices by settlement asset and by how many of the SOURCES were asked.
        self.known: tuple[object, dict[tuple[int, int], dict[int, Fraction]]] = None, {}

    def find(self, asset: int, settlement: int, sources: int) -> Fraction | None:
        """The price by the first of so many sources, by more of them where those do not tell."""
        latest = marks.latest()
        of, prices = self.known
        if latest is not of:
            prices = {}
            self.known = latest, prices
        for asked in range(1, sources + 1):
            if (settlement, asked) not in prices:
                pairs = [pair for load in SOURCES[:asked] for pair in load()]
                prices[settlement, asked] = prices_in(settlement, pairs)
            if (price := prices[settlement, asked].get(asset)) is not None:
                return price
        return None


_cache = _Cache()


def fraction_of(spec: MarketSpec) -> Fraction:
    """What one of the market's quote asset is worth in its settlement asset. StalePrice when no market tells."""
    return _fraction_of(spec, len(SOURCES))


def check(spec: MarketSpec) -> None:
    """StalePrice when no active market tells: by what others once said nothing begins, it only ends."""
    _fraction_of(spec, len(SOURCES) - 1)


def is_known(spec: MarketSpec) -> bool:
    """Whether trades of the market can be settled: those of a spot market always."""
    try:
        return spec.contract is None or bool(fraction_of(spec))
    except StalePrice:
        return False


def _fraction_of(spec: MarketSpec, sources: int) -> Fraction:
    if spec.quote_id == spec.contract.settlement_id:
        return Fraction(1)
    price = _cache.find(spec.quote_id, spec.contract.settlement_id, sources)
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


def _left_pairs() -> list[Pair]:
    """Markets that are not active any more, at their last mark or else their last price."""
    latest = marks.latest()
    rows = Market.objects.filter(is_active=False).order_by("id")
    return [
        Pair(base, quote, latest[market].price if market in latest else last or reference)
        for market, base, quote, last, reference in rows.values_list(
            "id", "base_id", "quote_id", "last_price", "reference_price"
        )
    ]


#: What is asked for a way, one after the other; the last are not good enough for new risk.
SOURCES = (_marked_pairs, valuation.load_pairs, _left_pairs)
