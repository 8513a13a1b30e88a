"""What open positions have lost stays with the account, and gains are not spent before they are real."""

from decimal import Decimal

import pytest

from accounts import withdrawals
from exchange import orders
from marketdata.refusals import Refusal


@pytest.fixture
def ann(venue):
    """Long a contract of EURUSD bought at 1.1: 10,000 dollars, of which 2,200 are margin; then it loses 5,000."""
    venue.order("bob SELL 1 EURUSD @ 1.1")
    venue.order("ann BUY 1 EURUSD @ 1.1")
    assert venue.funds("ann", "USD") == "7800+2200"
    venue.mark("EURUSD", "1.05")
    return venue


def withdraw(venue, amount: int) -> None:
    withdrawals.request(account=venue.accounts["ann"], asset=venue.assets["USD"], amount=Decimal(amount))


SPENDINGS = {
    "a withdrawal": withdraw,
    "a resting order": lambda venue, amount: venue.order(f"ann BUY {amount} AAPL @ 1"),
    "an order that waits": lambda venue, amount: venue.order(
        f"ann BUY {amount} AAPL @ 1", type="STOP_LIMIT", stop_price=Decimal(1)
    ),
    "an amendment": lambda venue, amount: venue.amend("ann", venue.order("ann BUY 1 AAPL @ 1"), quantity=amount),
    "a market order": lambda venue, amount: venue.order(f"ann BUY {amount} AAPL MARKET"),
    "a budget": lambda venue, amount: venue.order("ann BUY 0 AAPL MARKET", quote_quantity=Decimal(amount)),
    "several at once": lambda venue, amount: [
        venue.order(f"ann BUY {part} AAPL @ 1") for part in (amount // 2, amount - amount // 2)
    ],
}


@pytest.mark.parametrize("spending", SPENDINGS)
def test_a_loss_that_is_not_real_yet_is_not_spent(ann, spending):
    """2,800 of the 7,800 that are available are free."""
    ann.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    ann.trader("carl", AAPL=10_000)
    if spending in ("a market order", "a budget"):
        ann.order("carl SELL 10000 AAPL @ 1")
    with pytest.raises(Refusal) as refusal:
        SPENDINGS[spending](ann, 2_801)
    assert (refusal.value.code, "open positions" in str(refusal.value)) == ("insufficient_funds", True)
    for order in orders.cancel_all(account_id=ann.accounts["ann"].id):
        assert order["status"] == "CANCELLED"
    assert ann.funds("ann", "USD") == "7800+2200"
    SPENDINGS[spending](ann, 2_800)
    assert ann.is_sound()


def test_a_gain_is_not_spent_before_it_is_real(ann):
    ann.mark("EURUSD", "1.2")
    with pytest.raises(Refusal):
        withdraw(ann, 7_801)
    withdraw(ann, 7_800)


def test_positions_in_other_currencies_count_together(ann):
    ann.order("bob SELL 1 GBPUSD @ 1.25")
    ann.order("ann BUY 1 GBPUSD @ 1.25")  # 2,500 of margin: 5,300 are left
    ann.mark("GBPUSD", "1.28")  # 3,000 of the loss are made good
    with pytest.raises(Refusal):
        withdraw(ann, 3_301)
    withdraw(ann, 3_300)


def test_other_assets_are_free(ann):
    ann.trader("ann", USDT=500)
    withdrawals.request(account=ann.accounts["ann"], asset=ann.assets["USDT"], amount=Decimal(500))
