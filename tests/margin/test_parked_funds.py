"""The insurance fund pays for an account that has nothing left, not for one that has put its money elsewhere."""

from decimal import Decimal

import pytest

from accounts import house, withdrawals
from accounts.models import Shortfall
from exchange import clockwork, following, preview, store
from exchange.audit import replay
from exchange.batch import Batch
from marketdata import clock
from marketdata.markets import by_symbol
from tests.margin.test_settlement import trade
from tests.sessions.language import Day

PARKINGS = {
    "a spot order": lambda fx: fx.order("ann BUY 7800 AAPL @ 1"),
    "a spot order that waits": lambda fx: fx.order("ann BUY 7800 AAPL @ 1", type="STOP_LIMIT", stop_price=Decimal(1)),
    "a margin order": lambda fx: fx.order("ann BUY 3.12 GBPUSD @ 1.25"),
    "a margin order of the same market": lambda fx: fx.order("ann BUY 3.9 EURUSD @ 1.00"),
    "several orders": lambda fx: [
        fx.order("ann BUY 4800 AAPL @ 1"),
        fx.order("ann BUY 1.2 GBPUSD @ 1.25", self_trade_prevention="EXPIRE_MAKER"),
    ],
}


@pytest.fixture
def fx(venue):
    """ann is long a lot of EURUSD at 1.10000, with 2,200 of her 10,000 as its margin; the fund has 50,000."""
    venue.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    venue.change("EURUSD", price_band=None)
    venue.change("GBPUSD", price_band=None)
    venue.trader("rich", USD=10_000_000)
    venue.venue.accounts["fund"] = house.insurance_fund()
    venue.trader("fund", USD=50_000)
    trade(venue, "ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    yield venue
    assert venue.is_sound()
    for symbol in ("EURUSD", "GBPUSD", "AAPL"):
        assert replay.replay(by_symbol(symbol).id).difference is None
    clock.stand(None)


@pytest.fixture(params=PARKINGS)
def park(fx, request):
    """What sets aside all that ann has left."""
    return lambda: PARKINGS[request.param](fx)


def is_unpaid(fx) -> bool:
    """Whether the fund has paid nothing."""
    return fx.funds("fund", "USD") == "50000+0" and not Shortfall.objects.exists()


@pytest.mark.parametrize("terms", [{"reduce_only": True}, {}])
def test_closing_by_hand_asks_for_the_funds_of_orders_first(fx, park, terms):
    parked = park()
    fx.mark("EURUSD", "1.05000")
    fx.order("rich BUY 1 EURUSD @ 1.05000")
    weighed = preview.check(
        account_id=fx.accounts["ann"].id, symbol="EURUSD", side="SELL", quantity=Decimal(1), price=Decimal("1.05"),
        reduce_only="reduce_only" in terms,
    )  # fmt: skip
    assert fx.refused("ann SELL 1 EURUSD @ 1.05000 IOC", **terms) == weighed["code"] == "funds_in_orders"
    for order in parked if isinstance(parked, list) else [parked]:
        fx.cancel("ann", order)
    assert fx.order("ann SELL 1 EURUSD @ 1.05000 IOC", **terms)["status"] == "FILLED"
    assert (fx.funds("ann", "USD"), is_unpaid(fx)) == ("5000+0", True)


def test_what_margin_and_free_funds_pay_is_closed_whatever_orders_hold(fx, park):
    park()
    fx.mark("EURUSD", "1.07900")
    fx.order("rich BUY 1 EURUSD @ 1.07900")
    assert fx.order("ann SELL 1 EURUSD @ 1.07900 IOC", reduce_only=True)["status"] == "FILLED"
    assert is_unpaid(fx)


def test_who_has_no_orders_closes_at_the_mark_whatever_it_costs(fx):
    fx.mark("EURUSD", "0.99000")
    fx.order("rich BUY 1 EURUSD @ 0.99000")
    assert fx.order("ann SELL 1 EURUSD @ 0.99000 IOC", reduce_only=True)["status"] == "FILLED"
    assert (fx.funds("ann", "USD"), fx.funds("fund", "USD")) == ("0+0", "49000+0")


MAKERS = {
    "one that only reduces": ("1", {"reduce_only": True}),
    "an iceberg": ("1", {"reduce_only": True, "displayed_quantity": Decimal("0.2")}),
}


@pytest.mark.parametrize("mark", ["1.05000", "1.10000"])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_resting_order_that_its_account_cannot_pay_is_taken_out(fx, park, kind, mark):
    """With a gap of the mark, or at a price that two have agreed on."""
    lots, terms = MAKERS[kind]
    closing = fx.order(f"ann SELL {lots} EURUSD @ 1.05000", **terms)
    park()
    fx.mark("EURUSD", mark)
    assert fx.order("rich BUY 1 EURUSD @ 1.05000")["status"] == "OPEN"
    assert [fx.stored(closing)[name] for name in ("status", "reason")] == ["CANCELLED", "unfillable"]
    assert (fx.position("ann", "EURUSD").split()[0], is_unpaid(fx)) == ("1", True)


@pytest.mark.parametrize(
    ("price", "status"), [("1.05100", ["FILLED", "FILLED"]), ("1.00000", ["FILLED", "CANCELLED"])]
)
def test_of_several_each_has_what_the_others_leave(fx, price, status):
    """A half at 1.051 costs 2,450 of the 10,000; at 1.00 it costs 5,000, and 1,000 are not hers to lose."""
    orders = [fx.order(f"ann SELL 0.5 EURUSD @ {price}", reduce_only=True) for _ in range(2)]
    fx.order("ann BUY 1000 AAPL @ 1")
    fx.order("rich BUY 1 EURUSD @ " + price)
    assert ([fx.stored(order)["status"] for order in orders], is_unpaid(fx)) == (status, True)


def test_nor_does_one_that_goes_through_zero_make_it_pay(fx):
    """What it has set aside itself, for margin and its open loss, pays what it closes."""
    through = fx.order("ann SELL 1.5 EURUSD @ 1.08000")
    assert through["reserved"] == "6240"
    fx.order("ann BUY 1560 AAPL @ 1")
    fx.order("rich BUY 1.5 EURUSD @ 1.08000")
    assert (fx.stored(through)["status"], fx.position("ann", "EURUSD")) == ("FILLED", "-0.5 -54000 1080/1080")
    assert is_unpaid(fx)


def test_what_was_withdrawn_meanwhile_does_not_pay_for_a_price_that_two_have_agreed_on(fx):
    closing = fx.order("ann SELL 1 EURUSD @ 1.05000", reduce_only=True)
    asked = withdrawals.request(account=fx.accounts["ann"], asset=fx.assets["USD"], amount=Decimal(7_800))
    withdrawals.approve(withdrawal_id=asked.pk, actor=None, reason="")
    fx.order("rich BUY 1 EURUSD @ 1.05000")
    assert (fx.stored(closing)["status"], is_unpaid(fx)) == ("CANCELLED", True)


def test_of_several_resting_orders_those_are_filled_that_can_be_paid(fx):
    first = fx.order("ann SELL 0.4 EURUSD @ 1.05000", reduce_only=True)
    second = fx.order("ann SELL 0.6 EURUSD @ 1.05100", reduce_only=True)
    fx.order("ann BUY 7800 AAPL @ 1")
    fx.order("rich SELL 1 EURUSD @ 1.05200")
    assert fx.order("rich BUY 1 EURUSD @ 1.05200", self_trade_prevention="EXPIRE_MAKER")["status"] == "PARTIALLY_FILLED"
    assert [fx.stored(order)["status"] for order in (first, second)] == ["FILLED", "CANCELLED"]
    assert is_unpaid(fx)


@pytest.mark.parametrize("terms", [{"reduce_only": True}, {}])
def test_a_stop_takes_back_what_its_account_has_parked(fx, park, terms):
    fx.order("rich BUY 1 EURUSD @ 1.05000")
    fx.order("rich BUY 0.01 EURUSD @ 1.05010")
    fx.trader("ann", USD=2_200)
    stop = fx.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.05010"), **terms)
    if terms:
        withdrawals.request(account=fx.accounts["ann"], asset=fx.assets["USD"], amount=Decimal(2_200))
    parked = park()
    fx.mark("EURUSD", "1.05000")
    fx.trader("dan", USD=10_000)
    fx.order("dan SELL 0.01 EURUSD @ 1.05010 IOC")
    fx.follow("EURUSD")
    assert (fx.stored(stop)["status"], fx.position("ann", "EURUSD")) == ("FILLED", "flat")
    if terms:
        parked = parked if isinstance(parked, list) else [parked]
        assert {(one["status"], one["reason"]) for one in map(fx.stored, parked)} == {("CANCELLED", "funds_needed")}
    assert is_unpaid(fx)


def test_an_auction_fills_none_that_its_account_cannot_pay(fx, park):
    fx.trader("dan", USD=100_000)
    at(fx, "12:00", "1.10000")
    closing = fx.order("ann SELL 1 EURUSD @ 1.05000", reduce_only=True)
    park()
    fx.change("EURUSD", volatility_band=Decimal("0.01"), auction_seconds=60)
    fx.order("rich SELL 0.01 EURUSD @ 1.13000", self_trade_prevention="EXPIRE_MAKER")
    assert fx.refused("dan BUY 2 EURUSD MARKET") == "volatility_interruption"
    bid = fx.order("dan BUY 1 EURUSD @ 1.05000")
    at(fx, "12:05", "1.05000")
    clockwork.work()
    assert [fx.stored(order)["status"] for order in (closing, bid)] == ["CANCELLED", "OPEN"]
    assert fx.stored(closing)["reason"] == "unfillable"
    assert is_unpaid(fx)


def at(fx, time: str, mark: str) -> None:
    clock.stand(Day.moment(f"2026-11-23 {time}"))
    fx.mark("EURUSD", mark)
    fx.mark("GBPUSD", "1.25000")


# Gains of other positions


@pytest.fixture
def hedged(fx):
    """ann is also long a lot of GBPUSD: 12,000 lost here are gained there."""
    trade(fx, "ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    fx.mark("EURUSD", "0.98000")
    fx.mark("GBPUSD", "1.37000")
    fx.order("rich BUY 1 EURUSD @ 0.98000")
    return fx


@pytest.mark.parametrize("after", ["1.37000", "1.40000"])
def test_a_gain_pays_for_a_loss_before_the_fund_does(hedged, after):
    hedged.order("ann SELL 1 EURUSD @ 0.98000 IOC", reduce_only=True)
    assert (hedged.position("ann", "GBPUSD"), hedged.funds("ann", "USD")) == ("1 127000 2500/0", "0+0")
    assert hedged.last("ann", "GBPUSD").realized == 2_000
    assert is_unpaid(hedged)
    hedged.order(f"rich BUY 1 GBPUSD @ {after}")
    hedged.mark("GBPUSD", after)
    hedged.order(f"ann SELL 1 GBPUSD @ {after} IOC", reduce_only=True)
    assert hedged.funds("ann", "USD") == {"1.37000": "10000+0", "1.40000": "13000+0"}[after]


def test_what_the_gains_do_not_pay_the_fund_does(hedged):
    hedged.mark("GBPUSD", "1.26500")
    hedged.order("ann SELL 1 EURUSD @ 0.98000 IOC", reduce_only=True)
    assert (hedged.position("ann", "GBPUSD"), hedged.funds("fund", "USD")) == ("1 126500 2500/0", "49500+0")
    [shortfall] = Shortfall.objects.all()
    assert (shortfall.amount, shortfall.covered) == (500, 500)


def test_a_gain_in_another_currency_pays_at_its_rate(fx):
    trade(fx, "ann", "SELL", "rich", "1", "USDJPY", "150.000")
    fx.mark("EURUSD", "0.98000")
    fx.mark("USDJPY", "128.000")
    fx.order("rich BUY 1 EURUSD @ 0.98000")
    fx.order("ann SELL 1 EURUSD @ 0.98000 IOC", reduce_only=True)
    assert fx.last("ann", "USDJPY").realized == 2_000
    assert (fx.position("ann", "USDJPY").split()[1], is_unpaid(fx)) == ("-14744000", True)


def test_many_stops_that_take_back_funds_are_looked_for_one_at_a_time(fx, monkeypatch):
    """What was locked for one is not asked for again with the next: in a fall there may be hundreds."""
    looks, look = [], store.markets_of
    names = [f"t{number}" for number in range(8)]
    for name in names:
        fx.trader(name, USD=3_000)
        trade(fx, name, "BUY", "rich", "1", "EURUSD", "1.10000")
    fx.order("rich BUY 9 EURUSD @ 1.07500", self_trade_prevention="EXPIRE_MAKER")
    for name in names:
        fx.order(f"{name} SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.07500"), reduce_only=True)
        fx.order(f"{name} BUY 800 AAPL @ 1")
    monkeypatch.setattr(store, "markets_of", lambda cursor, account: looks.append(account) or look(cursor, account))
    fx.trader("dan", USD=10_000)
    fx.order("dan SELL 0.01 EURUSD @ 1.07500 IOC")
    for _ in names:
        fx.follow("EURUSD")
    assert [fx.position(name, "EURUSD") for name in names] == ["flat"] * len(names)
    assert len(looks) <= 3 * len(names)


def test_an_order_that_passes_many_over_is_decided_in_a_few_batches(fx, monkeypatch):
    """Who is passed over stays where an order is refused in the end, so each such order would have them all locked."""
    names = [f"t{number}" for number in range(16)]
    for name in names:
        fx.trader(name, USD=3_000)
        trade(fx, name, "BUY", "rich", "1", "EURUSD", "1.10000")
    makers = [fx.order(f"{name} SELL 1 EURUSD @ 1.07500", reduce_only=True) for name in names]
    for name in names:
        fx.order(f"{name} BUY 800 AAPL @ 1")
    batches, lock = [], Batch.lock
    monkeypatch.setattr(Batch, "lock", lambda batch, cursor: batches.append(batch) or lock(batch, cursor))
    fx.trader("dan", USD=1)
    assert fx.refused("dan BUY 1 EURUSD @ 1.07500") == "insufficient_margin"
    assert len(batches) <= 5
    assert {fx.stored(maker)["status"] for maker in makers} == {"OPEN"}
    assert fx.order("rich BUY 1 EURUSD @ 1.07500")["status"] == "OPEN"
    assert {fx.stored(maker)["status"] for maker in makers} == {"CANCELLED"}
    assert is_unpaid(fx)


def test_a_stop_may_meet_any_number_of_orders_that_are_taken_out(fx, monkeypatch):
    """One after the other, each in the place of the one before."""
    left, make_room = iter(range(1_500)), following._make_room
    monkeypatch.setattr(following, "_make_room", lambda *terms: next(left, None) is not None or make_room(*terms))
    fx.order("rich BUY 2 EURUSD @ 1.05000")
    stop = fx.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.05000"), reduce_only=True)
    fx.trader("dan", USD=10_000)
    fx.order("dan SELL 0.01 EURUSD @ 1.05000 IOC")
    for _ in range(8):
        fx.follow("EURUSD")
    assert fx.stored(stop)["status"] == "FILLED"


def test_what_is_due_in_another_market_is_done_as_soon(fx, monkeypatch):
    """The exit that is left of a list whose other one was taken back, where the stop's own market is not done."""
    exits = fx.oco("ann SELL 3 GBPUSD", profit="1.26000", stop="1.24000")
    assert [one["reserved"] for one in exits] == ["7560", "0"]
    fx.order("rich BUY 1 EURUSD @ 1.05000")
    fx.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.05000"), reduce_only=True)
    monkeypatch.setattr(following, "FOLLOWERS", 1)
    fx.trader("dan", USD=10_000)
    fx.order("dan SELL 0.01 EURUSD @ 1.05000 IOC")
    for _ in range(4):
        fx.follow("EURUSD")
    assert [fx.stored(one)["status"] for one in exits] == ["CANCELLED", "EXPIRED"]
    assert is_unpaid(fx)


def test_a_stop_that_is_refused_takes_nothing_back(fx):
    """5,000 of the account's funds are promised to be paid out: without them its orders are not enough."""
    withdrawals.request(account=fx.accounts["ann"], asset=fx.assets["USD"], amount=Decimal(5_000))
    parked = fx.order("ann BUY 2800 AAPL @ 1")
    stop = fx.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.04400"), reduce_only=True)
    fx.order("rich BUY 2 EURUSD @ 1.04400")
    fx.trader("dan", USD=10_000)
    fx.order("dan SELL 0.01 EURUSD @ 1.04400 IOC")
    fx.follow("EURUSD")
    assert (fx.stored(stop)["status"], fx.stored(stop)["reason"]) == ("REJECTED", "insufficient_margin")
    assert (fx.stored(parked)["status"], is_unpaid(fx)) == ("OPEN", True)
