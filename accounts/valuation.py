"""What things are worth: prices of all assets in one quote asset, through whichever markets there are.

An active market's price is its last one, or the reference price until it has traded; a margin market's is its mark,
where it has one. From asset to quote the shortest way over markets is taken, forwards (base → quote) or backwards
(1 / price); one over spot markets alone, however long, before one over a margin market: what is owned is worth what it
can be sold for. Of equally short ways the one whose markets come first, by id. An asset that no way leads from has no
price: it is shown as unpriced, never as zero.

Rounding: a price that is not simply a market's is rounded half up to PRICE_DECIMALS, a value half up to the smallest
unit of the quote asset.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from heapq import heappop, heappush
from itertools import count

from django.conf import settings

from marketdata.models import Asset, Market
from marketdata.refusals import NotFound

PRICE_DECIMALS = 18
EXACT_ENOUGH = Context(prec=60, rounding=ROUND_HALF_UP)
PRICE_STEP = Decimal(1).scaleb(-PRICE_DECIMALS)


@dataclass(frozen=True, slots=True)
class Pair:
    """A market as a way between two assets; `price` is None before anybody named one."""

    base: int
    quote: int
    price: Decimal | None
    #: Nobody owns the base of a margin market for having traded there.
    is_spot: bool = True


def load_pairs() -> list[Pair]:
    """All active markets. One query."""
    rows = Market.objects.filter(is_active=True).order_by("-kind", "id")
    return [
        Pair(base, quote, mark or last or reference, kind == Market.Kind.SPOT)
        for base, quote, mark, last, reference, kind in rows.values_list(
            "base_id", "quote_id", "marked__price", "last_price", "reference_price", "kind"
        )
    ]


class Valuation:
    """Prices of all assets in `quote`, at one moment."""

    def __init__(self, quote: Asset, pairs: list[Pair]):
        self.quote = quote
        self.pairs = pairs
        self.prices = prices_in(quote.pk, pairs)

    def price(self, asset_id: int) -> Decimal | None:
        """What one of the asset is worth in the quote asset; None when nobody knows."""
        return self.prices.get(asset_id)

    def value(self, asset_id: int, quantity: Decimal) -> Decimal | None:
        """The same for a quantity; none of an asset is worth 0, known or not."""
        price = self.prices.get(asset_id)
        if price is None:
            return None if quantity else Decimal(0)
        return rounded(EXACT_ENOUGH.multiply(quantity, price), self.quote.decimals)


def prices_in(quote: int, pairs: list[Pair]) -> dict[int, Decimal]:
    """The price in `quote` of each asset from which a way leads there; 1 for the quote asset itself. Pure."""
    ways: dict[int, list[tuple[int, Decimal, bool, bool]]] = {}
    for pair in pairs:
        if pair.price:
            ways.setdefault(pair.quote, []).append((pair.base, pair.price, True, pair.is_spot))
            ways.setdefault(pair.base, []).append((pair.quote, pair.price, False, pair.is_spot))
    # Nearest first: margin markets on the way, then markets at all, then in the order of the pairs.
    found, order = {}, count()
    waiting = [(0, 0, next(order), quote, Decimal(1))]
    while waiting:
        margins, length, _, nearer, worth = heappop(waiting)
        if nearer in found:
            continue
        found[nearer] = worth
        for farther, price, is_forward, is_spot in ways.get(nearer, []):
            if farther not in found:
                combine = EXACT_ENOUGH.multiply if is_forward else EXACT_ENOUGH.divide
                way = (margins + (not is_spot), length + 1, next(order), farther, combine(worth, price))
                heappush(waiting, way)
    return {asset: _as_price(price) for asset, price in found.items()}


def _as_price(price: Decimal) -> Decimal:
    return price if price.as_tuple().exponent >= -PRICE_DECIMALS else price.quantize(PRICE_STEP, context=EXACT_ENOUGH)


def rounded(value: Decimal, decimals: int) -> Decimal:
    """Half up to that many decimals."""
    return value.quantize(Decimal(1).scaleb(-decimals), context=EXACT_ENOUGH)


def symbols_of(asset_ids: Collection[int]) -> list[str]:
    """The symbols of these assets, in order."""
    if not asset_ids:
        return []
    return list(Asset.objects.filter(pk__in=asset_ids).order_by("symbol").values_list("symbol", flat=True))


def quote_asset(symbol: str | None) -> Asset:
    """The asset to value in (any case), PORTFOLIO_QUOTE when none is named. NotFound when there is none."""
    asset = Asset.objects.filter(symbol=(symbol or settings.PORTFOLIO_QUOTE).upper()).first()
    if asset is None:
        raise NotFound(f"There is no asset {symbol or settings.PORTFOLIO_QUOTE!r}; name another as quote.")
    return asset
