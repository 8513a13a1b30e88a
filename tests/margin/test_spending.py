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


@pytest.mark.parametrize("stop_limit, ended", [("2810", "OPEN PENDING"), ("2810.01", "EXPIRED REJECTED")])
def test_nor_by_the_exits_of_a_bracket(ann, stop_limit, ended):
    """Beside the 2,800 that are free it has the 10 of its entry, when its exits come to life."""
    ann.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    ann.trader("carl", USD=10)
    ann.trader("ann", AAPL=1)
    ann.order("carl BUY 1 AAPL @ 10")
    entry, *exits = ann.bracket("ann SELL 1 AAPL MARKET", profit="0.01", stop="2800", stop_limit=stop_limit)
    assert entry["status"] == "FILLED"
    assert " ".join(ann.stored(order)["status"] for order in exits) == ended
    assert ann.stored(exits[1])["reason"] == (None if "PENDING" in ended else "insufficient_funds")
    assert ann.is_sound()


def test_what_a_list_has_set_aside_stays_its_own(ann):
    """Lost is more than what is available by the time that the stop takes over what it shared with the other exit."""
    ann.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    ann.trader("carl", AAPL=101)
    ann.trader("dan", USD=25)
    profit, stop = ann.oco("ann BUY 100 AAPL", profit="20", stop="25", stop_limit="26")
    assert (ann.stored(profit)["reserved"], ann.stored(stop)["reserved"]) == ("2000", "600")
    ann.mark("EURUSD", "1.0")
    ann.order("carl SELL 1 AAPL @ 25")
    ann.order("carl SELL 100 AAPL @ 26")
    ann.order("dan BUY 1 AAPL @ 25")
    assert [ann.stored(order)["status"] for order in (profit, stop)] == ["EXPIRED", "FILLED"]
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
