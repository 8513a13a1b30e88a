"""Deferred settlement: binding at once, delivered later, reserved in between; average costs and audit follow."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts import holdings_proof, ledger, unsettled
from accounts.models import Account, Holding, Journal
from exchange import deferred
from exchange.commands import ExitsUndeliverable
from exchange.models import Settlement, Trade
from marketdata import clock
from tests.locks import waiting_for_locks
from tests.patience import PATIENCE_SECONDS, wait_until


@pytest.fixture
def later(day):
    """AAPL settles T+2; fees are 0.1 % for each side. It is Monday."""
    day.venue.change("AAPL", settlement_days=2)
    return day


def trade(day, quantity: int = 10, price: int = 100) -> int:
    day.venue.order(f"bob SELL {quantity} AAPL @ {price}")
    day.venue.order(f"ann BUY {quantity} AAPL @ {price}")
    return Trade.objects.latest("id").id


def both(day) -> tuple[str, ...]:
    return tuple(day.venue.funds(name, asset) for name in ("ann", "bob") for asset in ("USD", "AAPL"))


HELD = ("998999+1001", "10000+0", "1000000+0", "9990+10")
AFTER = ("998999+0", "10010+0", "1000999+0", "9990+0")


def test_both_legs_are_reserved_until_the_day(later):
    trade(later)
    assert both(later) == HELD
    assert (later.venue.fees("AAPL"), Journal.objects.filter(kind="TRADE").count()) == ("0", 0)
    later.check()
    later.at("2026-11-25 23:59:59")
    assert both(later) == HELD
    later.at("2026-11-26 00:00")
    assert both(later) == AFTER
    assert later.venue.fees("AAPL") == "2"
    later.at("2026-11-27 00:00")
    assert both(later) == AFTER


def test_with_a_calendar_it_is_due_at_the_close_of_the_nth_session(later):
    later.sessions(holidays={"2026-11-24": None})
    later.at("2026-11-23 15:00")
    trade(later)
    assert Settlement.objects.get().due_at == later.moment("2026-11-26 21:00")


def test_what_is_reserved_cannot_be_sold_again(later):
    trade(later)
    assert later.refused("bob SELL 9991 AAPL @ 100") == "insufficient_funds"
    assert later.refused("ann SELL 10001 AAPL @ 100") == "insufficient_funds"


def test_a_bracket_that_buys_is_refused_as_its_exits_would_have_nothing_to_sell(later):
    later.venue.trader("eve", USD=10_000)
    for entry in ("eve BUY 5 AAPL @ 100", "ann BUY 5 AAPL MARKET"):
        with pytest.raises(ExitsUndeliverable, match=r"T\+2.*an OCO once it has settled"):
            later.venue.bracket(entry, profit="105", stop="95")
    assert later.venue.funds("eve", "USD") == "10000+0"
    later.venue.change("AAPL", settlement_days=0)
    assert later.venue.bracket("eve BUY 5 AAPL @ 100", profit="105", stop="95")[0]["status"] == "OPEN"


def test_one_that_sells_buys_back_with_what_is_there(later):
    later.venue.order("bob BUY 5 AAPL @ 100")
    members = later.venue.bracket("ann SELL 5 AAPL @ 100", profit="95", stop="105")
    assert [later.status(order) for order in members] == ["FILLED 5/5", "OPEN 0/5", "PENDING 0/5"]


def test_a_market_order_reserves_its_leg_too(later):
    later.venue.order("bob SELL 10 AAPL @ 100")
    assert later.venue.order("ann BUY 10 AAPL MARKET")["status"] == "FILLED"
    assert both(later) == HELD


def test_an_order_below_its_limit_gets_the_difference_back_at_once(later):
    later.venue.order("bob SELL 10 AAPL @ 100")
    later.venue.order("ann BUY 10 AAPL @ 105")
    assert both(later) == HELD


def test_by_hand_it_settles_before_its_day_and_once(later):
    number = trade(later)
    deferred.settle(number, by_hand=True)
    assert both(later) == AFTER
    with pytest.raises(deferred.AlreadySettled):
        deferred.settle(number, by_hand=True)
    assert Settlement.objects.get().settled_at == clock.now()


def test_of_several_at_the_same_time_one_settles_it(later):
    number = trade(later)
    start = Barrier(4)

    def settle(_: int) -> str:
        start.wait()
        try:
            deferred.settle(number, by_hand=True)
        except deferred.AlreadySettled as refusal:
            return refusal.code
        finally:
            connection.close()
        return "settled"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(settle, range(4)))
    assert answers == [*["already_settled"] * 3, "settled"]
    assert both(later) == AFTER


def test_a_trade_that_settled_at_once_cannot_be_settled(day):
    number = trade(day)
    with pytest.raises(deferred.NotDeferred):
        deferred.settle(number)


@pytest.mark.parametrize("when", ["before", "just then"])
def test_a_blocked_account_is_an_operators_case_and_nothing_is_lost(later, monkeypatch, when):
    number = trade(later)
    ann = Account.objects.filter(pk=later.venue.accounts["ann"].id)
    if when == "before":
        ann.update(is_active=False)
    else:  # the settlement is under way, and waits for the account
        of = ledger.fee_account
        monkeypatch.setattr(ledger, "fee_account", lambda market: ann.update(is_active=False) and of(market))
    later.at("2026-11-26 00:00")
    row = Settlement.objects.get()
    assert (row.settled_at, "not active" in row.error) == (None, True)
    assert both(later) == HELD
    later.check()
    deferred.settle(number, by_hand=True)
    assert both(later) == AFTER
    assert Settlement.objects.get().error == ""


def test_a_rebate_waits_for_settlement_as_well(later):
    later.venue.change("AAPL", maker_fee="-0.0005", taker_fee="0.001")
    number = trade(later)
    later.check()
    deferred.settle(number)
    assert later.venue.funds("bob", "USD") == "1001000.5+0"
    assert later.venue.fees("AAPL") == "0.5"


def test_average_costs_count_from_settlement_on(later):
    first, second = trade(later, 10, 100), trade(later, 10, 110)
    later.venue.order("ann SELL 5 AAPL @ 110")
    later.venue.order("cid BUY 5 AAPL @ 110")
    deferred.settle(second)
    deferred.settle(Trade.objects.latest("id").id)
    deferred.settle(first)
    assert list(holdings_proof.differences()) == []


def test_a_settlement_that_comes_while_holdings_are_rebuilt_does_not_undo_that(later, monkeypatch):
    first, second = trade(later), trade(later)
    deferred.settle(first)
    Holding.objects.update(cost=1)
    decimals = holdings_proof._decimals

    def meanwhile() -> dict[int, int]:
        settling.append(pool.submit(settle))
        wait_until(waiting_for_locks, "the settlement to wait for the rebuild")
        return decimals()

    def settle() -> None:
        try:
            deferred.settle(second)
        finally:
            connection.close()

    settling = []
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(holdings_proof, "_decimals", meanwhile)
        holdings_proof.rebuild()
        settling[0].result(PATIENCE_SECONDS)
    assert list(holdings_proof.differences()) == []


def test_what_is_to_come_and_to_go(later):
    trade(later)
    usd, aapl = (later.venue.assets[symbol].id for symbol in ("USD", "AAPL"))
    buyer, seller = (unsettled.both_ways(later.venue.accounts[name].id) for name in ("ann", "bob"))
    assert (buyer[aapl], buyer[usd]) == ({"to_receive": 10, "to_deliver": 0}, {"to_receive": 0, "to_deliver": 1001})
    assert (seller[usd], seller[aapl]) == ({"to_receive": 999, "to_deliver": 0}, {"to_receive": 0, "to_deliver": 10})


def test_only_a_spot_market_settles_later(later):
    with pytest.raises(ValidationError):
        later.venue.market("AAPL_M", base="AAPL", quote="USD", kind="MARGIN", settlement_days=1)


@pytest.mark.parametrize(
    ("holidays", "due"),
    [
        # Closed for more than a month: the days count on after it.
        ([date(2026, 11, 24) + timedelta(days=n) for n in range(40)], "2027-01-05 21:00"),
        # No session lies ahead at all: two weekdays, as without a calendar.
        ([date(2026, 11, 24) + timedelta(days=n) for n in range(400)], "2026-11-26 00:00"),
    ],
)
def test_a_long_closure_holds_up_no_trade(later, holidays, due):
    later.sessions(holidays=dict.fromkeys(holidays))
    later.at("2026-11-23 15:00")
    trade(later)
    assert Settlement.objects.get().due_at == later.moment(due)
