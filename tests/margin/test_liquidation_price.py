"""The liquidation price that is shown is where the account is liquidated: not a tick before, and a tick beyond."""

from decimal import Decimal

import pytest

from accounts.models import Position
from exchange import margin_reading, risk, risk_reading
from exchange.liquidation_plan import is_at_stop_out
from marketdata.markets import by_symbol
from tests.margin.test_settlement import trade

SLICES = [
    {"up_to": "100000", "initial": "0.02", "maintenance": "0.015"},
    {"up_to": "115000", "initial": "0.05", "maintenance": "0.04"},
    {"up_to": None, "initial": "0.1", "maintenance": "0.08"},
]
STEEP = [{"up_to": None, "initial": "0.02", "maintenance": "0.02"}]
FLAT = [{"up_to": None, "initial": "0.02", "maintenance": "0.001"}]


def shown(venue, symbol: str) -> str | None:
    position = Position.objects.get(account=venue.accounts["dan"], market__symbol=symbol, closed_at=None)
    with margin_reading.snapshot():
        account = margin_reading.read(position.account_id)
        return margin_reading.position_row(account, margin_reading.live(position))["liquidation_price"]


def is_liquidated(venue, symbol: str, price: Decimal) -> bool:
    venue.mark(symbol, str(price))
    (purse,) = risk_reading.purses([venue.accounts["dan"].id])
    return is_at_stop_out(risk.standing(purse.state()), risk.stop_out())


@pytest.mark.parametrize("other", [False, True], ids=["alone", "besides"])
@pytest.mark.parametrize(
    ("symbol", "price", "side", "dollars", "tiers"),
    [
        ("EURUSD", "1.10000", "SELL", 4_000, []),
        ("EURUSD", "1.10000", "SELL", 40_000, STEEP),
        ("EURUSD", "1.10000", "BUY", 40_000, STEEP),
        ("EURUSD", "1.10000", "BUY", 30_000, FLAT),
        ("EURUSD", "1.10000", "SELL", 30_000, FLAT),
        ("EURUSD", "1.10000", "SELL", 8_000, SLICES),
        ("EURUSD", "1.10000", "SELL", 30_000, SLICES),
        ("EURUSD", "1.10000", "BUY", 8_000, SLICES),
        ("EURUSD", "1.10000", "BUY", 30_000, SLICES),
        ("EURGBP", "0.88000", "SELL", 9_000, STEEP),
        ("EURGBP", "0.88000", "BUY", 9_000, SLICES),
        ("USDJPY", "150.000", "SELL", 9_000, STEEP),
        ("USDJPY", "150.000", "BUY", 9_000, FLAT),
    ],
)
def test_it_is_where_the_account_is_liquidated(venue, symbol, price, side, dollars, tiers, other):
    venue.trader("cat", USD=1_000_000)
    venue.trader("dan", USD=dollars)
    venue.terms(symbol, tiers=tiers)
    trade(venue, "dan", side, "cat", "1", symbol, price)
    if other:
        trade(venue, "dan", "BUY", "cat", "0.3", "GBPUSD", "1.25000")
    expected = Decimal(shown(venue, symbol))
    tick, way = by_symbol(symbol).tick_size, -1 if side == "BUY" else 1
    assert not is_liquidated(venue, symbol, expected - way * tick)
    assert is_liquidated(venue, symbol, expected + way * tick)
    assert abs(Decimal(shown(venue, symbol)) - expected) <= tick, "the same wherever the mark is"


def test_one_that_cannot_lose_so_much_has_none(venue):
    venue.trader("cat", USD=1_000_000)
    venue.trader("dan", USD=200_000)
    trade(venue, "dan", "BUY", "cat", "1", "EURUSD", "1.10000")
    assert shown(venue, "EURUSD") is None
    assert not is_liquidated(venue, "EURUSD", Decimal("0.00001"))
