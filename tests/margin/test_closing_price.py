"""Closing at a price that its account could not pay for: what two who agree on it would take from the insurance."""

from decimal import Decimal

import pytest

from accounts import withdrawals
from exchange import preview, weighing
from exchange.commands import InsufficientMargin
from tests.margin.test_settlement import trade


@pytest.fixture
def fx(venue):
    """ann is long 4 EURUSD against bob, each with 10,000; the mark is 1.10, and the band lets prices stray far from it.
    """
    venue.change("EURUSD", price_band=Decimal("0.2"))
    trade(venue, "ann", "BUY", "bob", "4", "EURUSD", "1.10000")
    return venue


#: 10,000 pay for 2,500 pips of a lot; a fee is not charged here.
PRICES = [("1.10000", True), ("1.07500", True), ("1.07499", False), ("1.04600", False), ("1.20000", True)]


@pytest.mark.parametrize(("price", "passes"), PRICES)
@pytest.mark.parametrize(("is_met", "reduce_only"), [(True, True), (True, False), (False, True)])
def test_how_far_from_the_mark_one_may_close(fx, price, passes, is_met, reduce_only):
    """Whether the other is there already or is yet to come."""
    if is_met:
        fx.trader("rich", USD=10_000_000)
        fx.order(f"rich BUY 4 EURUSD @ {price}")
    terms = {"reduce_only": True} if reduce_only else {}
    weighed = preview.check(
        account_id=fx.accounts["ann"].id, symbol="EURUSD", side="SELL", quantity=Decimal(4), price=Decimal(price),
        reduce_only=reduce_only,
    )  # fmt: skip
    assert weighed["would_pass"] is passes
    if passes:
        assert fx.order(f"ann SELL 4 EURUSD @ {price}", **terms)["status"] == ("FILLED" if is_met else "OPEN")
    else:
        assert fx.refused(f"ann SELL 4 EURUSD @ {price}", **terms) == weighed["code"] == "insufficient_margin"
    assert fx.is_sound()


def test_who_has_less_than_nothing_closes_at_the_mark_or_better(fx):
    fx.trader("rich", USD=10_000_000)
    fx.mark("EURUSD", "1.05000")
    for price in ("1.05000", "1.05010"):
        fx.order(f"rich BUY 1 EURUSD @ {price}")
    assert fx.order("ann SELL 1 EURUSD @ 1.05010 IOC", reduce_only=True)["status"] == "FILLED"
    assert fx.order("ann SELL 1 EURUSD @ 1.05000 IOC", reduce_only=True)["status"] == "FILLED"
    fx.order("rich BUY 1 EURUSD @ 1.04990")
    assert fx.refused("ann SELL 1 EURUSD @ 1.04990 IOC", reduce_only=True) == "insufficient_margin"


def test_an_amendment_may_not_go_further_either(fx):
    order = fx.order("ann SELL 4 EURUSD @ 1.10000", reduce_only=True)
    with pytest.raises(InsufficientMargin):
        fx.amend("ann", order, price="1.04600")
    assert fx.amend("ann", order, price="1.08000")["price"] == "1.08"
    assert fx.is_sound()


def test_a_stop_counts_on_what_its_account_has_elsewhere(fx):
    """An order by hand can wait for that; a stop that is refused would protect nobody."""
    fx.trader("rich", USD=10_000_000)
    assert fx.order("ann BUY 0.4 GBPUSD @ 1.25000")["reserved"] == "1000"
    stop = fx.order("ann SELL 4 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.07650"), reduce_only=True)
    fx.order("rich BUY 4.01 EURUSD @ 1.07640")
    fx.mark("EURUSD", "1.07650")
    assert fx.refused("ann SELL 4 EURUSD @ 1.07640 IOC", reduce_only=True) == "insufficient_margin"
    fx.trader("poor", USD=10_000)
    trade(fx, "poor", "SELL", "rich", "0.01", "EURUSD", "1.07650")
    fx.follow("EURUSD")
    assert fx.stored(stop)["status"] == "FILLED"


def withdraw(fx) -> None:
    withdrawals.request(account=fx.accounts["ann"], asset=fx.assets["USD"], amount=Decimal(1_000))


def buy_for_later(fx) -> None:
    fx.trader("holder", AAPL=10)
    fx.change("AAPL", settlement_days=2)
    trade(fx, "ann", "BUY", "holder", "10", "AAPL", "100")


@pytest.mark.parametrize("promise", [withdraw, buy_for_later])
def test_but_not_on_what_it_has_promised(fx, promise):
    fx.trader("rich", USD=10_000_000)
    promise(fx)
    stop = fx.order("ann SELL 4 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.07650"), reduce_only=True)
    fx.order("rich BUY 4.01 EURUSD @ 1.07640")
    fx.mark("EURUSD", "1.07650")
    fx.trader("poor", USD=10_000)
    trade(fx, "poor", "SELL", "rich", "0.01", "EURUSD", "1.07650")
    fx.follow("EURUSD")
    assert (fx.stored(stop)["status"], fx.stored(stop)["reason"]) == ("REJECTED", "insufficient_margin")
    assert fx.is_sound()


def test_what_was_weighed_is_there_when_the_mark_moves_on_meanwhile(fx, monkeypatch):
    """Profit in yen pays for what rests: at another rate there would be too little for it."""
    fx.trader("rich", USD=10_000_000)
    fx.trader("cat", USD=10_000)
    trade(fx, "cat", "BUY", "rich", "2", "USDJPY", "150.000")
    fx.mark("USDJPY", "152.000")
    fx.order("rich BUY 2 USDJPY @ 152.000")
    weigh = weighing.weigh

    def weigh_and_move(*arguments, **terms):
        need = weigh(*arguments, **terms)
        fx.mark("USDJPY", "153.000")
        return need

    monkeypatch.setattr(weighing, "weigh", weigh_and_move)
    assert fx.order("cat SELL 8.31 USDJPY @ 152.000")["status"] == "PARTIALLY_FILLED"
    assert fx.is_sound()
