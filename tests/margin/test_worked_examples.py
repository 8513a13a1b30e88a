"""Worked examples that brokers publish, traded on this venue: margin, profit and fees come out to the cent.

IFC Markets, "How to Calculate Your Profit and Loss" (ifcmarkets.com/en/introduction/profit-loss-calculation); Blue
Index, "Forex trading examples" (2006, in the Wayback Machine); OANDA fxTrade, "How to Calculate Profit and Loss",
example 2; Forex4you, FAQ "How do I get profit from trades?"; OANDA help, "Margin-related calculations"
(help.oanda.com/uk, OANDA One account); CGS International, "FX CFD Trading Example", example 2. Their figures are
rounded or cut to the cent; ours have eight decimals.
"""

from decimal import ROUND_DOWN, Decimal

import pytest

from exchange import margin_reading
from tests.margin.test_settlement import trade

CENT = Decimal("0.01")


def is_to_the_cent(ours: Decimal, theirs: str) -> bool:
    """Rounded or cut: the sources do either."""
    return Decimal(theirs) in (ours.quantize(CENT), ours.quantize(CENT, ROUND_DOWN))


def profit(venue, symbol: str) -> Decimal:
    return venue.last("ann", symbol).realized


class TestDollarYen:
    @pytest.mark.parametrize(
        ("lots", "bought", "sold", "leverage", "margin", "dollars"),
        [
            ("2", "95.650", "96.400", 50, "4000", "1556.01"),  # IFC Markets: 150,000 yen
            ("5", "117.030", "117.650", 100, "5000", "2634.93"),  # Blue Index: 310,000 yen at 1 % margin
            ("0.1", "115.050", "114.450", 50, "200", "-52.42"),  # OANDA: 6,000 yen lost
        ],
    )
    def test_a_dollar_account_is_paid_at_the_closing_price(
        self, venue, lots, bought, sold, leverage, margin, dollars
    ):
        for name in ("ann", "bob"):
            venue.trader(name, USD=100_000)
        venue.terms("USDJPY", max_leverage=leverage)
        venue.mark("USDJPY", bought)
        trade(venue, "ann", "BUY", "bob", lots, "USDJPY", bought)
        assert venue.last("ann", "USDJPY").margin == Decimal(margin)
        venue.mark("USDJPY", sold)
        trade(venue, "ann", "SELL", "bob", lots, "USDJPY", sold, reduce_only=True)
        ours = profit(venue, "USDJPY")
        assert is_to_the_cent(abs(ours), dollars.strip("-")) and (ours < 0) == dollars.startswith("-")
        assert venue.is_sound()


def test_a_cross_pair_in_yen(venue):
    """Forex4you: 400,000 EURJPY from 131.57 to 132.16 with USDJPY at 107.24 are 236,000 yen, or 2,200.67 dollars."""
    for name in ("ann", "bob"):
        venue.trader(name, USD=100_000)
    venue.contract("EURJPY", "EUR", "JPY", "0.01")
    venue.mark("EURJPY", "131.57")
    venue.mark("USDJPY", "107.24")
    trade(venue, "ann", "BUY", "bob", "4", "EURJPY", "131.57")
    venue.mark("EURJPY", "132.16")
    trade(venue, "ann", "SELL", "bob", "4", "EURJPY", "132.16", reduce_only=True)
    assert venue.last("ann", "EURJPY").realized_quote == 236_000
    assert is_to_the_cent(profit(venue, "EURJPY"), "2200.67")
    assert venue.is_sound()


def test_a_pound_account_trades_euros(venue):
    """OANDA One: a million EURGBP at 0.8568, 3.33333 % margin, 50,000 pounds, marked at the bid of 0.8566."""
    for name in ("ann", "bob"):
        venue.trader(name, GBP=50_000)
    tiers = [{"up_to": None, "initial": "0.0333333", "maintenance": "0.01666665"}]
    pounds = {"settlement": venue.assets["GBP"], "tiers": tiers}
    venue.contract("EURGBP_P", "EUR", "GBP", "0.0001", **pounds)
    venue.mark("EURGBP_P", "0.8568")
    trade(venue, "ann", "BUY", "bob", "10", "EURGBP_P", "0.8568")
    venue.mark("EURGBP_P", "0.8566")
    with margin_reading.snapshot():
        rows = margin_reading.account_row(margin_reading.read(venue.accounts["ann"].id))["by_asset"]
    row = next(row for row in rows if row["settlement_asset"] == "GBP")
    assert (row["unrealized_pnl"], row["equity"]) == ("-200", "49800")
    assert is_to_the_cent(Decimal(row["used"]), "28559.97")
    assert is_to_the_cent(Decimal(row["free"]), "21240.03")
    assert is_to_the_cent(Decimal(row["level"]), "174.37")


def test_fees_of_both_sides(venue):
    """CGS: a lot of EURUSD from 1.11508 to 1.11445 at 0.4 basis points loses 63 dollars and 8.92 of fees."""
    venue.change("EURUSD", maker_fee=Decimal("0.00004"), taker_fee=Decimal("0.00004"))
    venue.terms("EURUSD", max_leverage=20)
    venue.mark("EURUSD", "1.11508")
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.11508")
    assert venue.last("ann", "EURUSD").margin == Decimal("5575.40")
    trade(venue, "ann", "SELL", "bob", "1", "EURUSD", "1.11445", reduce_only=True)
    position = venue.last("ann", "EURUSD")
    assert (position.realized, position.fees.quantize(CENT)) == (-63, Decimal("8.92"))
    lost = 10_000 - Decimal(venue.funds("ann", "USD").split("+")[0])
    assert is_to_the_cent(lost, "71.92")
    assert Decimal(venue.fees_of("EURUSD")) == 2 * position.fees
    assert venue.is_sound()
