"""The demonstration's margin markets: currencies, gold and a perpetual, quoted by the house from synthetic prices.

An FX contract is a standard lot of 100,000 base units, traded in hundredths; gold's is 100 ounces, the perpetual's one
bitcoin. All are settled in dollars. Their prices never sleep, so neither do they: a demonstration that is closed on
Saturdays shows nothing (hours of the FX week are set in the admin: SUN 17:00 to FRI 17:00, New York). Figures are of
the kind that brokers publish; they are nobody's in particular.
"""

from collections.abc import Callable
from datetime import time
from decimal import Decimal
from typing import NamedTuple

from accounts import house, ledger
from accounts.models import Account
from exchange import house_quotes
from marketdata.models import Asset, Contract, Market, PriceSource

ASSETS = {
    "GBP": ("Pound sterling", Asset.Kind.FIAT, 8),
    "JPY": ("Yen", Asset.Kind.FIAT, 8),
    "AUD": ("Australian dollar", Asset.Kind.FIAT, 8),
    "CHF": ("Swiss franc", Asset.Kind.FIAT, 8),
    "XAU": ("Gold, troy ounce", Asset.Kind.METAL, 8),
}
SETTLEMENT = "USD"
FX_ZONE = "America/New_York"
WEDNESDAY = 2
HOUSE_FUNDS, INSURANCE_FUNDS = Decimal(1_000_000), Decimal(1_000_000)

MAJOR_TIERS = [
    {"up_to": "10000000", "initial": "0.02", "maintenance": "0.01"},
    {"up_to": "50000000", "initial": "0.05", "maintenance": "0.025"},
    {"up_to": None, "initial": "0.1", "maintenance": "0.05"},
]
WIDER_TIERS = [
    {"up_to": "5000000", "initial": "0.05", "maintenance": "0.025"},
    {"up_to": None, "initial": "0.1", "maintenance": "0.05"},
]


class Terms(NamedTuple):
    """What differs from market to market. Rates a year; spread in ticks; size and limit in lots."""

    base: str
    quote: str
    tick: str
    size: int
    price: str
    spread: int
    long_rate: str
    short_rate: str
    leverage: int = 50
    jump: str = "0.01"


MARKETS = {
    "EURUSD": Terms("EUR", "USD", "0.00001", 100_000, "1.08500", 8, "0.025", "-0.010"),
    "GBPUSD": Terms("GBP", "USD", "0.00001", 100_000, "1.27000", 12, "0.010", "0.005"),
    "USDJPY": Terms("USD", "JPY", "0.001", 100_000, "150.000", 10, "-0.030", "0.045"),
    "AUDUSD": Terms("AUD", "USD", "0.00001", 100_000, "0.66000", 10, "0.010", "0.005"),
    "USDCHF": Terms("USD", "CHF", "0.00001", 100_000, "0.88000", 12, "-0.030", "0.045"),
    "XAUUSD": Terms("XAU", "USD", "0.01", 100, "2400.00", 30, "0.050", "-0.020", 20, "0.03"),
    "BTCUSD_PERP": Terms("BTC", "USD", "0.1", 1, "65000.0", 50, "0.100", "-0.100", 20, "0.03"),
}


def make_markets() -> int:
    """Make those that are missing, each with its contract and price source; how many were new."""
    return sum(_make(symbol, terms) for symbol, terms in MARKETS.items())


def _make(symbol: str, terms: Terms) -> bool:
    if Market.objects.filter(symbol=symbol).exists():
        return False
    is_perpetual = symbol.endswith("_PERP")
    market = Market.objects.create(
        symbol=symbol,
        kind=Market.Kind.MARGIN,
        base=Asset.objects.get(symbol=terms.base),
        quote=Asset.objects.get(symbol=terms.quote),
        tick_size=Decimal(terms.tick),
        lot_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        max_quantity=Decimal("500"),
        price_band=Decimal("0.05"),
        maker_fee=Decimal(0),
        taker_fee=Decimal("0.0005") if is_perpetual else Decimal("0.00002"),
        reference_price=Decimal(terms.price),
        trigger_by=Market.Trigger.MARK,
    )
    Contract.objects.create(
        market=market,
        settlement=Asset.objects.get(symbol=SETTLEMENT),
        contract_size=Decimal(terms.size),
        max_leverage=terms.leverage,
        tiers=MAJOR_TIERS if terms.leverage == 50 else WIDER_TIERS,
        mark_jump=Decimal(terms.jump),
        is_quoted=True,
        quote_spread_ticks=terms.spread,
        quote_size_lots=5_000,
        exposure_limit_lots=50_000,
        financing_long_rate=Decimal(terms.long_rate),
        financing_short_rate=Decimal(terms.short_rate),
        financing_days=365 if is_perpetual else 360,
        triple_day=None if is_perpetual else WEDNESDAY,
        rollover_time=time(0) if is_perpetual else time(17),
        rollover_zone="UTC" if is_perpetual else FX_ZONE,
    )
    PriceSource.objects.create(
        market=market,
        provider=PriceSource.Provider.SYNTHETIC,
        provider_symbol=f"{symbol}@{terms.price}",
        spread=Decimal("0.00005"),
        band=Decimal("0.05"),
    )
    return True


def fund_house(give: Callable[[Account, Asset, Decimal], None]) -> None:
    """The house's money as counterparty, market by market, and the insurance fund's."""
    asset = Asset.objects.get(symbol=SETTLEMENT)
    give(house.insurance_fund(), asset, INSURANCE_FUNDS)
    for market in Market.objects.filter(symbol__in=MARKETS).order_by("id"):
        ledger.fee_account(market.pk)
        give(house_quotes.house_account(market.pk), asset, HOUSE_FUNDS)
