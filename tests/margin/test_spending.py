"""What open positions have lost or lack of their margin stays with the account, and gains are not spent before they are
real.
"""

from decimal import Decimal

import pytest

from accounts import withdrawals
from exchange import margin_reading, orders, preview
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


# Margin that another position's loss has taken


@pytest.fixture
def short_of_margin(venue):
    """Long two contracts of GBPUSD, of whose 5,000 dollars of margin a loss in EURUSD has taken 1,000; then as much is
    paid in.
    """
    ann = venue
    ann.trader("carl", USD=100_000, AAPL=10_000)
    ann.trader("bob", USD=100_000)
    ann.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    for symbol, price in (("EURUSD", "1.1"), ("GBPUSD", "1.25")):
        ann.order(f"bob SELL 2 {symbol} @ {price}")
        ann.order(f"ann BUY 2 {symbol} @ {price}")
    ann.mark("EURUSD", "1.07")
    ann.order("bob BUY 2 EURUSD @ 1.07")
    ann.order("ann SELL 2 EURUSD @ 1.07")
    ann.trader("ann", USD=1_000)
    assert (ann.position("ann", "GBPUSD"), ann.funds("ann", "USD")) == ("2 250000 5000/4000", "1000+4000")
    yield ann
    assert ann.is_sound()


def spendable(venue) -> list[str]:
    """As the account is shown it, and as an order that rests is weighed by it."""
    account = venue.accounts["ann"].id
    with margin_reading.snapshot():
        shown = margin_reading.account_row(margin_reading.read(account))["spendable"]
    terms = {"symbol": "EURUSD", "side": "BUY", "quantity": Decimal("0.01"), "price": Decimal("1.05")}
    return [shown, preview.check(account_id=account, reduce_only=False, **terms)["spendable"]]


@pytest.mark.parametrize("paid_in", [0, 1, 500])
def test_what_positions_lack_is_not_spendable(short_of_margin, paid_in):
    if paid_in:
        short_of_margin.trader("ann", USD=paid_in)
    assert spendable(short_of_margin) == [str(paid_in)] * 2
    short_of_margin.mark("GBPUSD", "1.251")
    assert spendable(short_of_margin) == [str(paid_in)] * 2
    short_of_margin.mark("GBPUSD", "1.249")
    assert spendable(short_of_margin) == [str(paid_in - 200)] * 2


@pytest.mark.parametrize("spending", SPENDINGS)
def test_what_positions_lack_is_not_spent(short_of_margin, spending):
    ann = short_of_margin
    if spending in ("a market order", "a budget"):
        ann.order("carl SELL 10000 AAPL @ 1")
    ann.trader("ann", USD=500)
    with pytest.raises(Refusal) as refusal:
        SPENDINGS[spending](ann, 501)
    assert refusal.value.code == "insufficient_funds"
    orders.cancel_all(account_id=ann.accounts["ann"].id)
    SPENDINGS[spending](ann, 500)


@pytest.mark.parametrize(
    "sentence, terms",
    [
        ("ann BUY 0.2 EURUSD @ 1.05", {}),
        ("ann BUY 0.2 EURUSD @ 1.07 IOC", {}),
        ("ann BUY 0.2 EURUSD", {"type": "STOP_LIMIT", "stop_price": Decimal("1.15"), "price": Decimal("1.05")}),
        ("ann BUY 0.2 GBPUSD @ 1.25 IOC", {}),
    ],
)
def test_nor_is_it_put_at_risk(short_of_margin, sentence, terms):
    ann = short_of_margin
    ann.order("bob SELL 1 EURUSD @ 1.07")
    ann.order("bob SELL 1 GBPUSD @ 1.25")
    assert ann.refused(sentence, **terms) == "insufficient_margin"


@pytest.mark.parametrize("terms", [{}, {"reduce_only": True}, {"reduce_only": True, "type": "MARKET", "price": None}])
def test_closing_and_cancelling_stay_possible(short_of_margin, terms):
    """Two fifths of the 4,000 are free with two fifths of the position; 600 of the 1,600 stay with the rest."""
    ann = short_of_margin
    ann.trader("ann", USD=100)
    resting = ann.order("ann BUY 0.04 EURUSD @ 1.05")
    ann.order("bob BUY 0.8 GBPUSD @ 1.25")
    ann.order("ann SELL 0.8 GBPUSD @ 1.25" + ("" if "type" in terms else " IOC"), **terms)
    assert ann.position("ann", "GBPUSD") == "1.2 150000 3000/3000"
    ann.cancel("ann", resting)
    assert ann.funds("ann", "USD") == "2100+3000"


def test_through_zero_the_position_that_lacked_it_is_no_more(short_of_margin):
    """Of 1,000 that are available and 4,000 that are freed 2,000 are lost; 2,480 are what the new one needs."""
    ann = short_of_margin
    ann.mark("GBPUSD", "1.24")
    ann.order("bob BUY 3 GBPUSD @ 1.24")
    ann.order("ann SELL 3 GBPUSD @ 1.24 IOC")
    assert ann.position("ann", "GBPUSD") == "-1 -124000 2480/2480"
    assert ann.funds("ann", "USD") == "520+2480"
