"""What orders reserve is what their fills will need, however many of them there are and in whatever order they come."""

from decimal import Decimal

import pytest

from exchange import orders, positions

TIERS = [
    {"up_to": "110000", "initial": "0.02", "maintenance": "0.01"},
    {"up_to": None, "initial": "0.1", "maintenance": "0.05"},
]


@pytest.fixture
def ann(venue):
    """A contract of EURUSD at 1.1 needs 2,200 dollars, each further one 11,000; she has 20,000."""
    venue.terms("EURUSD", tiers=TIERS)
    venue.trader("ann", USD=10_000)
    venue.trader("bob", USD=1_000_000)
    return venue


def leverage(venue, figure: int) -> None:
    positions.set_leverage(account_id=venue.accounts["ann"].id, symbol="EURUSD", leverage=figure)


def test_orders_that_rest_together_reach_the_tiers_together(ann):
    first = ann.order("ann BUY 1 EURUSD @ 1.1")
    second = ann.order("ann BUY 1 EURUSD @ 1.1")
    assert (first["reserved"], second["reserved"]) == ("2200", "11000")
    assert ann.refused("ann BUY 1 EURUSD @ 1.1") == "insufficient_margin"
    ann.order("bob SELL 2 EURUSD @ 1.1")
    assert ann.position("ann", "EURUSD") == "2 220000 13200/13200"
    assert ann.funds("ann", "USD") == "6800+13200" and ann.is_sound()


def test_whichever_is_filled_first_the_sum_is_the_same(ann):
    ann.order("ann BUY 1 EURUSD @ 1.0999")
    ann.order("ann BUY 1 EURUSD @ 1.1")
    ann.order("bob SELL 1 EURUSD @ 1.1")
    ann.order("bob SELL 1 EURUSD @ 1.0999")
    assert ann.position("ann", "EURUSD").split()[0] == "2" and ann.is_sound()


def test_what_fills_at_once_leaves_the_resting_ones_their_margin(ann):
    ann.order("ann BUY 1 EURUSD @ 1.09")  # 2,180 of 20,000; the contract that is bought now may be the second
    ann.order("bob SELL 2 EURUSD @ 1.1")
    assert ann.refused("ann BUY 2 EURUSD @ 1.1 IOC") == "insufficient_margin"
    ann.order("ann BUY 1 EURUSD @ 1.1 IOC")
    ann.order("bob SELL 1 EURUSD @ 1.09")
    assert ann.position("ann", "EURUSD") == "2 219000 13100/13100"


STOP = {"type": "STOP_LIMIT", "stop_price": Decimal("1.05")}


@pytest.mark.parametrize(
    "sentence, terms, reserved",
    [
        ("ann SELL 1 EURUSD @ 1.2", {}, "3200"),  # 110,000 in the first tier, 10,000 in the second
        ("ann BUY 1 EURUSD @ 1.05", {}, "10100"),  # 5,000 in the first, which the other order leaves
        ("ann BUY 1 EURUSD @ 1.05", STOP, "10100"),
    ],
)
def test_orders_of_the_same_side_count_those_that_wait_too(ann, sentence, terms, reserved):
    ann.order("ann BUY 1 EURUSD @ 1.05", **terms)
    assert ann.order(sentence)["reserved"] == reserved


def test_an_amended_order_does_not_stand_beside_itself(ann):
    order = ann.order("ann BUY 1 EURUSD @ 1.1")
    assert ann.amend("ann", order, price="1.09")["reserved"] == "2180"


def test_what_is_weighed_is_what_is_asked_for(ann):
    ann.order("ann BUY 1 EURUSD @ 1.1")
    check = {"account_id": ann.accounts["ann"].id, "symbol": "EURUSD", "side": "BUY", "reduce_only": False}
    weighed = positions.check(quantity=Decimal(2), price=Decimal("1.1"), **check)
    assert weighed["would_pass"] is False
    weighed = positions.check(quantity=Decimal(1), price=Decimal("1.1"), **check)
    assert (weighed["would_pass"], weighed["required"]) == (True, "11000")


def test_a_lower_leverage_waits_for_the_orders_that_count_on_the_higher(ann):
    order = ann.order("ann BUY 1 EURUSD @ 1.1")
    with pytest.raises(positions.LeverageInUse):
        leverage(ann, 1)
    leverage(ann, 50)
    orders.cancel(account_id=ann.accounts["ann"].id, order_id=order["id"])
    leverage(ann, 1)
    assert ann.refused("ann BUY 1 EURUSD @ 1.1") == "insufficient_margin"
    leverage(ann, 2)


def test_orders_that_only_reduce_do_not_hinder(ann):
    ann.order("bob SELL 1 EURUSD @ 1.1")
    ann.order("ann BUY 1 EURUSD @ 1.1")
    ann.order("ann SELL 1 EURUSD @ 1.2", reduce_only=True)
    leverage(ann, 5)
