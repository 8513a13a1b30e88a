"""Prices through whichever markets there are."""

from decimal import Decimal

import pytest

from accounts.valuation import Pair, Valuation, prices_in
from marketdata.models import Asset

USD, USDT, BTC, ETH, EUR, LONE = range(1, 7)

#: (markets as (base, quote, price), asset, its price in USD)
PRICES = [
    ([], USD, "1"),
    ([(BTC, USD, "65000.01")], BTC, "65000.01"),
    ([(USD, EUR, "0.8")], EUR, "1.25"),
    ([(USD, EUR, "0.9")], EUR, "1.111111111111111111"),
    ([(BTC, USDT, "65000"), (USDT, USD, "0.5")], BTC, "32500"),
    ([(BTC, USDT, "65000"), (USD, USDT, "2")], BTC, "32500"),
    ([(ETH, BTC, "0.05"), (BTC, USDT, "60000"), (USDT, USD, "1")], ETH, "3000"),
    ([(ETH, BTC, "0.05"), (BTC, USD, "60000"), (ETH, USD, "3100")], ETH, "3100"),
    ([(BTC, USDT, "2"), (BTC, EUR, "4"), (USDT, USD, "3"), (EUR, USD, "5")], BTC, "6"),
    ([(BTC, USD, None)], BTC, None),
    ([(BTC, USD, "0")], BTC, None),
    ([(BTC, USDT, "65000")], BTC, None),
    ([(BTC, USD, "65000")], LONE, None),
]


@pytest.mark.parametrize(("markets", "asset", "price"), PRICES)
def test_the_shortest_way_to_a_price(markets, asset, price):
    pairs = [Pair(base, quote, value and Decimal(value)) for base, quote, value in markets]
    found = prices_in(USD, pairs).get(asset)
    assert found == (None if price is None else Decimal(price))


#: (margin markets, spot markets, asset, its price in USD)
MARGIN_PRICES = [
    ([(BTC, USD, "65000")], [(BTC, USDT, "60000"), (USDT, USD, "1")], BTC, "60000"),
    ([(BTC, USD, "65000")], [(ETH, BTC, "0.05"), (ETH, USDT, "3000"), (USDT, USD, "1")], BTC, "60000"),
    ([(BTC, USD, "65000")], [(BTC, USDT, "60000")], USDT, "1.083333333333333333"),
    ([(EUR, USD, "1.1"), (BTC, USD, "65000")], [(BTC, EUR, "60000")], BTC, "65000"),
    ([(EUR, USD, "1.1")], [(BTC, USDT, "60000"), (USDT, USD, "1")], EUR, "1.1"),
]


@pytest.mark.parametrize(("margin", "spot", "asset", "price"), MARGIN_PRICES)
def test_what_spot_markets_tell_goes_before_a_margin_market(margin, spot, asset, price):
    pairs = [Pair(*way, Decimal(value), is_spot=False) for *way, value in margin]
    pairs += [Pair(*way, Decimal(value)) for *way, value in spot]
    assert prices_in(USD, pairs)[asset] == Decimal(price)


def test_a_value_is_rounded_half_up_to_the_smallest_unit():
    cents = Valuation(Asset(id=USD, symbol="USD", decimals=2), [Pair(BTC, USD, Decimal("0.01"))])
    values = [cents.value(BTC, Decimal(quantity)) for quantity in ("0.49", "0.5", "-0.5", "1.5")]
    assert values == [Decimal(value) for value in ("0", "0.01", "-0.01", "0.02")]


def test_nothing_of_an_unpriced_asset_is_worth_nothing():
    usd = Valuation(Asset(id=USD, symbol="USD", decimals=2), [])
    assert (usd.value(LONE, Decimal(0)), usd.value(LONE, Decimal(1))) == (0, None)
