"""The index of positions against sums made the plain way, and who is low at which mark."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from exchange.risk_index import SCALE, Holding, Key, RiskIndex, Value, in_slices, touched, value_of
from marketdata.contracts import Tier

FLAT = (Tier(None, 2_000_000, 1_000_000),)  # 2 % and 1 %
SLICED = (Tier(100_000, 2_000_000, 1_000_000), Tier(500_000, 5_000_000, 2_500_000), Tier(None, 10_000_000, 5_000_000))
ANN, BOB = Key(1, 7), Key(2, 7)


def value(price: int, quote_rate: str = "1") -> Value:
    """One unit of quote a lot and price."""
    return Value(int(price * Decimal(quote_rate) * SCALE), int(Decimal(quote_rate) * SCALE))


def index_with(*rows) -> RiskIndex:
    """(key, collateral, lots, price paid, margin) in market 1."""
    index = RiskIndex(Decimal(1))
    index.set_market(1, FLAT)
    index.set_market(2, FLAT)
    index.mark(1, value(100))
    for key, collateral, lots, price, margin in rows:
        index.put(key, collateral, [Holding(1, lots, lots * price, margin)])
    return index


TABLE = [
    # lots bought at 100, collateral, margin reserved, marks and whether it is low at each
    (10, 500, 200, ((100, False), (71, False), (70, True), (60, True), (71, False))),
    (-10, 500, 200, ((100, False), (129, False), (130, True), (140, True), (100, False))),
    (1_000, 900, 0, ((101, False), (100, True), (99, True))),  # below maintenance, though nothing is used
]


def test_who_is_low_at_which_mark():
    for lots, collateral, margin, marks in TABLE:
        index = index_with((ANN, collateral, lots, 100, margin))
        for price, is_low in marks:
            assert touched({1: value(price)}, index) == [ANN] * is_low, (lots, price)


def test_a_loss_that_another_market_makes_good_in_the_same_round_is_none():
    index = index_with((ANN, 500, 10, 100, 200))
    index.put(ANN, 500, [Holding(1, 10, 1000, 200), Holding(2, -10, -1000, 0)])
    assert touched({1: value(50), 2: value(50)}, index) == []
    assert touched({1: value(50), 2: value(100)}, index) == [ANN]


def test_what_is_put_again_replaces_what_was_known():
    index = index_with((ANN, 500, 10, 100, 200), (BOB, 500, -10, 100, 200))
    assert touched({1: value(60)}, index) == [ANN]
    assert index.put(ANN, 1000, [Holding(1, 10, 1000, 200)]) is False
    assert touched({1: value(60)}, index) == []
    index.put(BOB, 500, [])
    assert touched({1: value(900)}, index) == []
    assert (len(index), list(index.keys())) == (1, [ANN])


def test_a_purse_without_positions_is_never_low():
    index = index_with((ANN, 0, 10, 100, 200))
    assert index.put(ANN, 0, []) is False


def test_slices_each_at_their_own_rate():
    for notional, need in ((0, 0), (50_000, 500), (100_000, 1_000), (300_000, 6_000), (600_000, 16_000)):
        assert in_slices(notional, SLICED) == need


def test_a_yen_pair_counts_in_dollars():
    """1 lot of 1,000 at 150.00 yen is 1,000 dollars; a loss of 1,500 yen at that rate is 10 dollars."""
    rate = Fraction(1, 150)
    found = value_of(price=Decimal(150), lot=Decimal(1000), size=Decimal(1), rate=rate, scale=2, quote_scale=0)
    assert round(found.lot / SCALE) == 100_000
    assert round(-1500 * found.quote / SCALE) == -1000


@pytest.mark.parametrize("decimals", [0, 2, 8, 18])
@pytest.mark.parametrize("quote_decimals", [0, 2, 8, 18])
def test_a_unit_of_the_quote_asset_counts_however_little_it_is_worth(decimals, quote_decimals):
    """10,000 bought at 1,300 won, a won being worth 1/1,300: at that mark nothing is gained or lost, at half of it
    5,000 are lost.
    """
    index, terms = RiskIndex(Decimal(1)), {"lot": Decimal(1000), "size": Decimal(1), "rate": Fraction(1, 1300)}
    index.set_market(1, FLAT)
    index.put(ANN, 0, [Holding(1, 10, 13_000_000 * 10**quote_decimals, 0)])
    for price, profit in ((1300, 0), (650, -5_000)):
        found = value_of(price=Decimal(price), scale=decimals, quote_scale=quote_decimals, **terms)
        index.mark(1, found)
        assert abs(index.level(ANN).equity - profit * 10**decimals) <= 1


def test_sums_kept_by_differences_equal_sums_made_anew():
    dice = Random(6)
    index, purses = RiskIndex(Decimal("1.2")), {}
    terms = {1: FLAT, 2: SLICED, 3: FLAT}
    marks = {market: value(100, quote_rate) for market, quote_rate in ((1, "1"), (2, "0.0067"), (3, "1.25"))}
    for market, tiers in terms.items():
        index.set_market(market, tiers)
        index.mark(market, marks[market])
    for step in range(4_000):
        if step % 3:
            key = Key(dice.randrange(60), 7)
            holdings = [
                Holding(market, lots, lots * dice.randrange(50, 150), dice.randrange(1000))
                for market in dice.sample(sorted(terms), dice.randrange(4))
                if (lots := dice.randrange(-300, 300))
            ]
            purses[key] = (dice.randrange(20_000), holdings)
            index.put(key, *purses[key])
        else:
            market = dice.choice(sorted(terms))
            marks[market] = value(dice.randrange(40, 160), dice.choice(("1", "0.0067")))
            low = touched({market: marks[market]}, index)
            expected = {
                key for key, purse in purses.items() if is_low(*purse, marks, terms) and in_market(market, purse)
            }
            assert (len(low), set(low)) == (len(expected), expected)
    for key, purse in purses.items():
        assert index.level(key) == plain_level(*purse, marks, terms)


def in_market(market: int, purse: tuple) -> bool:
    return any(holding.market_id == market for holding in purse[1])


def plain_level(collateral: int, holdings: list[Holding], marks: dict, terms: dict) -> tuple[int, int, int]:
    profit = need = 0
    for holding in holdings:
        lot, quote = marks[holding.market_id]
        profit += (holding.lots * lot - holding.cost * quote) // SCALE
        need += in_slices(abs(holding.lots) * lot // SCALE, terms[holding.market_id])
    return collateral + profit, sum(holding.margin for holding in holdings), need


def is_low(collateral: int, holdings: list[Holding], marks: dict, terms: dict) -> bool:
    equity, used, need = plain_level(collateral, holdings, marks, terms)
    return equity <= used * 120 // 100 or equity < need
