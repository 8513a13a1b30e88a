"""Orders of margin markets: what they reserve, and what their fills make of positions and money."""

from decimal import Decimal

import pytest

from accounts import positions
from accounts.models import Balance, FeeRate, FeeTier, Shortfall
from exchange import fee_tiers, preview
from marketdata import clock
from marketdata.markets import by_symbol


def trade(venue, taker: str, side: str, maker: str, quantity: str, symbol: str, price: str, **terms) -> dict:
    """The maker rests, the taker buys or sells at once."""
    other = "SELL" if side == "BUY" else "BUY"
    venue.order(f"{maker} {other} {quantity} {symbol} @ {price}", **terms)
    return venue.order(f"{taker} {side} {quantity} {symbol} @ {price} IOC")


class TestReserving:
    def test_a_resting_order_reserves_initial_margin(self, venue):
        order = venue.order("ann BUY 1 EURUSD @ 1.10000")
        assert (order["status"], order["reserved"]) == ("OPEN", "2200")  # 110,000 / 50
        assert venue.funds("ann", "USD") == "7800+2200"
        assert venue.cancel("ann", order)["status"] == "CANCELLED"
        assert venue.funds("ann", "USD") == "10000+0"

    def test_more_than_the_account_can_carry_is_refused(self, venue):
        assert venue.refused("ann BUY 5 EURUSD @ 1.10000") == "insufficient_margin"
        assert venue.funds("ann", "USD") == "10000+0"

    def test_yen_margin_is_paid_in_dollars(self, venue):
        order = venue.order("ann SELL 1 USDJPY @ 150.000")
        assert order["reserved"] == "2000"  # 100,000 dollars / 50, rounded up


class TestNetting:
    def test_a_trade_opens_two_positions(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        assert venue.position("ann", "EURUSD") == "1 110000 2200/2200"
        assert venue.position("bob", "EURUSD") == "-1 -110000 2200/2200"
        assert venue.funds("ann", "USD") == venue.funds("bob", "USD") == "7800+2200"
        assert venue.is_sound()

    def test_closing_pays_the_winner_what_the_loser_lost(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        trade(venue, "ann", "SELL", "bob", "1", "EURUSD", "1.10500")
        assert venue.position("ann", "EURUSD") == venue.position("bob", "EURUSD") == "flat"
        assert (venue.funds("ann", "USD"), venue.funds("bob", "USD")) == ("10500+0", "9500+0")
        assert venue.is_sound()

    def test_part_is_closed_at_average_cost(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.11000")
        trade(venue, "ann", "SELL", "bob", "0.5", "EURUSD", "1.11500")
        assert venue.position("ann", "EURUSD").startswith("1.5 165750 ")
        assert venue.last("ann", "EURUSD").realized == 500
        assert venue.is_sound()

    def test_through_zero_in_one_fill(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        venue.mark("EURUSD", "1.10500")
        trade(venue, "ann", "SELL", "bob", "3", "EURUSD", "1.10500")
        assert venue.position("ann", "EURUSD") == "-2 -221000 4420/4420"
        assert venue.position("bob", "EURUSD") == "2 221000 4420/4420"
        assert venue.funds("ann", "USD") == "6080+4420"
        assert venue.is_sound()

    def test_a_dollar_account_trades_yen(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "USDJPY", "150.000")
        venue.mark("USDJPY", "151.000")
        trade(venue, "ann", "SELL", "bob", "1", "USDJPY", "151.000")
        # 100,000 yen at 1/151: 662.25165562913…
        assert venue.funds("ann", "USD") == "10662.25165562+0"
        assert venue.funds("bob", "USD") == "9337.74834437+0"
        assert venue.is_sound()

    def test_a_cross_pair_converts_over_another_market(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURGBP", "0.88000")
        venue.mark("GBPUSD", "1.26000")
        trade(venue, "ann", "SELL", "bob", "1", "EURGBP", "0.88200")
        assert venue.funds("ann", "USD") == "10252+0"  # 200 pounds
        assert venue.is_sound()


class TestLosses:
    def test_what_the_loser_cannot_pay_is_on_record(self, venue):
        venue.change("EURUSD", price_band=None)
        trade(venue, "ann", "BUY", "bob", "4", "EURUSD", "1.10000")
        venue.mark("EURUSD", "1.05000")
        trade(venue, "ann", "SELL", "bob", "4", "EURUSD", "1.05000", reduce_only=True)
        assert (venue.funds("ann", "USD"), venue.funds("bob", "USD")) == ("0+0", "30000+0")
        row = Shortfall.objects.get()
        assert (row.account_id, row.amount, row.covered, row.uncovered) == (venue.accounts["ann"].id, 10_000, 0, 10_000)
        assert venue.is_sound()

    def test_another_positions_margin_pays_before_anybody_else(self, venue):
        venue.change("EURUSD", price_band=None)
        venue.trader("cat", USD=50_000)
        trade(venue, "ann", "BUY", "cat", "3", "EURUSD", "1.10000")
        trade(venue, "ann", "BUY", "cat", "0.5", "GBPUSD", "1.25000")
        trade(venue, "ann", "SELL", "cat", "3", "EURUSD", "1.06800")  # 9,600 lost of 10,000
        assert venue.position("ann", "GBPUSD") == "0.5 62500 1250/400"
        assert venue.funds("ann", "USD") == "0+400"
        assert not Shortfall.objects.exists()
        assert venue.is_sound()


@pytest.mark.parametrize(
    ("price", "lots", "value"),
    [
        ("1.1", 1, "1100"), ("1.100005", 100, "110000.5"), ("1.100005", -100, "-110000.5"),
        ("1.09999999999999", 1, "1099.99999999"), ("1.09999999999999", -1, "-1100"),
    ],
)  # fmt: skip
def test_a_mark_may_lie_between_ticks(venue, price, lots, value):
    spec = by_symbol("EURUSD")
    assert spec.quote_text(positions.value_at(spec, lots, Decimal(price))) == value


def test_the_whole_is_conserved(venue):
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    trade(venue, "ann", "SELL", "bob", "2", "EURUSD", "1.10300")
    total = sum(balance.total for balance in Balance.objects.filter(asset__symbol="USD"))
    venue.cancel("bob", venue.order("bob SELL 0.5 EURUSD @ 1.11000"))
    assert sum(balance.total for balance in Balance.objects.filter(asset__symbol="USD")) == total
    assert venue.is_sound()


def test_a_contract_counts_with_its_size_for_fee_tiers(venue):
    """Beside a share of the same quote asset, which counts as it is."""
    FeeTier.objects.create(
        quote=venue.assets["USD"], min_volume=111_000, maker_fee=Decimal(0), taker_fee=Decimal("0.0005")
    )
    venue.trader("bob", AAPL=10)
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")  # 110,000 dollars
    assert fee_tiers.assign(clock.now()) == 0
    trade(venue, "ann", "BUY", "bob", "10", "AAPL", "100")
    assert fee_tiers.assign(clock.now()) == 2
    assert set(FeeRate.objects.values_list("volume", flat=True)) == {Decimal(111_000)}


@pytest.mark.parametrize("is_met", [True, False])
@pytest.mark.parametrize("has_tier", [True, False])
def test_who_asks_before_is_told_by_the_fees_of_their_tier(venue, has_tier, is_met):
    """4.5 contracts have 9,900 of margin; at the market's fee they would need 495 more."""
    venue.change("EURUSD", maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"))
    dollars, ann = venue.assets["USD"], venue.accounts["ann"]
    tier = FeeTier.objects.create(quote=dollars, min_volume=1, maker_fee=0, taker_fee=Decimal("0.0001"))
    if has_tier:
        FeeRate.objects.create(account=ann, quote=dollars, tier=tier, volume=1, computed_at=clock.now())
    fee_tiers.rates.forget()
    if is_met:
        venue.trader("cat", USD=100_000)
        venue.order("cat SELL 5 EURUSD @ 1.10000")
    weighed = preview.check(
        account_id=ann.id, symbol="EURUSD", side="BUY", quantity=Decimal("4.5"), price=Decimal("1.1"), reduce_only=False
    )
    assert weighed["code"] == (None if has_tier else "insufficient_margin")
    if has_tier:
        assert venue.order("ann BUY 4.5 EURUSD @ 1.1")["status"] == ("FILLED" if is_met else "OPEN")
    else:
        assert venue.refused("ann BUY 4.5 EURUSD @ 1.1") == "insufficient_margin"
