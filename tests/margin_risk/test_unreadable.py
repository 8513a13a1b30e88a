"""A market whose figures make no sense (edited past the checks, or by an older version): all others go on."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command

from accounts import withdrawals
from accounts.financing_models import FinancingCharge, Rollover
from exchange import clockwork, financing, kill_switch, orders, reach
from exchange.commands import Cancel, CancelAll, Refresh
from exchange.sequencer import sequencer
from marketdata import clock, markets
from marketdata.models import Market
from marketdata.refusals import Refusal, UnreadableMarket
from tests.patience import PATIENCE_SECONDS

BAD, GOOD = "EURUSD", "GBPUSD"


def change(tick: str, *, is_told: bool = True) -> None:
    """By SQL, so that nothing looks at it. `is_told`: no cache remembers the market as it was."""
    row = Market.objects.get(symbol=BAD)
    Market.objects.filter(pk=row.pk).update(tick_size=Decimal(tick), version=row.version + 1)
    if is_told:
        markets.forget()


@pytest.fixture
def broken(venue):
    """Ann and rich hold something in it, and both have orders elsewhere."""
    venue.trade("ann", "BUY", "rich", "0.1", BAD, "1.10000")
    venue.trade("ann", "BUY", "rich", "0.1", GOOD, "1.25000")
    venue.orders = [venue.order(f"{name} SELL 0.1 {GOOD} @ 1.25000") for name in ("rich", "ann")]
    venue.orders.append(venue.order(f"ann BUY 0.1 {BAD} @ 1.09000"))
    change("0.000000000000000001")
    yield venue
    change("0.00001")
    clock.stand(None)
    venue.mark(BAD, "1.10000")
    venue.order(f"ann SELL 0.1 {BAD} @ 1.2")
    assert venue.is_sound()


def test_others_trade_even_with_those_who_hold_something_there(broken):
    assert broken.order(f"bob BUY 0.2 {GOOD} @ 1.25000")["status"] == "FILLED"
    assert [broken.stored(order)["status"] for order in broken.orders] == ["FILLED", "FILLED", "OPEN"]
    assert broken.position("ann", GOOD) == "flat"


def test_who_holds_something_there_spends_nothing_and_may_cancel(broken):
    assert broken.refused(f"ann BUY 0.1 {GOOD} @ 1.20000") == "market_unreadable"
    with pytest.raises(Refusal, match="nobody knows what it may spend"):
        withdrawals.request(account=broken.accounts["ann"], asset=broken.assets["USD"], amount=Decimal(1))
    assert broken.cancel("ann", broken.orders[1])["status"] == "CANCELLED"


def test_who_holds_nothing_elsewhere_spends_nothing_either(broken):
    broken.order(f"bob BUY 0.2 {GOOD} @ 1.25000")
    with pytest.raises(Refusal, match="nobody knows what it may spend"):
        withdrawals.request(account=broken.accounts["ann"], asset=broken.assets["USD"], amount=Decimal(1))


def test_commands_there_are_refused_and_leave_all_other_books_as_they_are(broken):
    ann = broken.accounts["ann"].id
    good, bad = (Market.objects.get(symbol=symbol).id for symbol in (GOOD, BAD))
    broken.order(f"bob BUY 0.1 {GOOD} @ 1.20000")
    book = sequencer.registry.books[good]
    work = [Cancel(ann, broken.orders[2]["id"]), CancelAll(ann, bad), Refresh(bad), Refresh(good)]
    outcomes = [future.result(PATIENCE_SECONDS) for future in sequencer.submit(work)]
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["market_unreadable"] * 2 + [{}] * 2
    assert sequencer.registry.books[good] is book


def test_commands_there_are_done_as_soon_as_it_is_mended(broken):
    sequencer.registry.forget()
    markets.active()
    change("0.00001", is_told=False)
    assert broken.cancel("ann", broken.orders[2])["status"] == "CANCELLED"


def test_cancelling_all_cancels_what_can_be(broken):
    ann = broken.accounts["ann"].id
    assert [order["id"] for order in orders.cancel_all(account_id=ann)] == [broken.orders[1]["id"]]


def test_its_positions_are_known_for_unreadable_without_asking(broken, django_assert_num_queries):
    bad = Market.objects.get(symbol=BAD).id
    markets.active()
    with django_assert_num_queries(0), pytest.raises(UnreadableMarket, match=f"The figures of {BAD} make no sense"):
        markets.by_id(bad)


def test_the_kill_switch_cancels_all_that_can_be(broken):
    ann = broken.accounts["ann"].id
    assert kill_switch.pull(account_id=ann, by="OWNER") == 1
    assert [broken.stored(order)["status"] for order in broken.orders] == ["OPEN", "CANCELLED", "OPEN"]
    kill_switch.reset(account_id=ann, by="OWNER")


def test_others_are_liquidated(broken):
    broken.trader("cal", USD=1_000_000)
    broken.cancel("rich", broken.orders[0])
    broken.cancel("ann", broken.orders[1])
    broken.trade("bob", "BUY", "cal", "2", GOOD, "1.25000")
    broken.order(f"cal BUY 2 {GOOD} @ 1.20000")
    broken.mark(GOOD, "1.20000")
    broken.watch()
    assert broken.liquidations("bob") == ["CLOSED 0/1"] and not broken.liquidations("ann")


def test_an_order_there_keeps_nobody_from_being_liquidated(broken):
    change("0.00001")
    waiting = broken.order(f"bob BUY 0.1 {BAD} @ 1.05000")
    change("0.000000000000000001")
    broken.cancel("rich", broken.orders[0])
    broken.cancel("ann", broken.orders[1])
    broken.trader("cal", USD=1_000_000)
    broken.trade("bob", "BUY", "cal", "2", GOOD, "1.25000")
    broken.order(f"cal BUY 2 {GOOD} @ 1.21000")
    broken.mark(GOOD, "1.21000")
    broken.watch()
    assert broken.liquidations("bob") == ["RESTORED 0/1"]
    assert broken.stored(waiting)["status"] == "OPEN"


def test_others_are_charged_for_their_nights(broken):
    clock.stand(clock.now() + timedelta(days=3))
    broken.mark(GOOD, "1.25000")
    financing.post_due()
    charged = FinancingCharge.objects.values_list("rollover__market__symbol", flat=True)
    assert set(charged) == {GOOD}


def test_the_clockwork_sees_to_others(broken):
    ends = clock.now() + timedelta(seconds=60)
    order = broken.order(f"bob BUY 0.1 {GOOD} @ 1.20000", time_in_force="GTD", expires_at=ends)
    clock.stand(ends)
    assert clockwork.look() == 1
    assert broken.stored(order)["status"] == "EXPIRED"


def test_replay_names_it_and_goes_on(broken, capsys):
    sequencer.stop()
    with pytest.raises(SystemExit):
        call_command("replay")
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "not replayed: The figures of EURUSD make no sense" in rows[BAD]
    assert all("same" in rows[symbol] for symbol in (GOOD, "USDJPY", "AAPL"))


def test_a_stop_of_who_holds_something_there_ends_and_the_market_goes_on(broken):
    """Nobody knows what its account may spend; whoever trades at its price is not concerned."""
    change("0.00001")
    for order, name in zip(broken.orders[:2], ("rich", "ann"), strict=True):
        broken.cancel(name, order)
    stop = broken.order(f"ann SELL 0.1 {GOOD}", type="STOP_LOSS", stop_price=Decimal("1.24"), reduce_only=True)
    broken.order(f"rich BUY 0.2 {GOOD} @ 1.24000")
    change("0.000000000000000001")
    assert broken.order(f"bob SELL 0.01 {GOOD} @ 1.24000 IOC")["status"] == "FILLED"
    assert (broken.stored(stop)["status"], broken.stored(stop)["reason"]) == ("REJECTED", "market_unreadable")
    assert broken.order(f"bob SELL 0.01 {GOOD} @ 1.24000 IOC")["status"] == "FILLED"


@pytest.fixture
def parked(venue):
    """Ann, long a lot elsewhere, has set aside there what a loss of 6,000 would cost."""
    for symbol in (BAD, GOOD):
        venue.change(symbol, price_band=None)
    venue.insure(50_000)
    venue.order(f"ann BUY 3 {BAD} @ 1.00000")
    venue.trade("ann", "BUY", "rich", "1", GOOD, "1.25000")
    venue.order(f"rich BUY 2 {GOOD} @ 1.19000")
    yield venue
    change("0.00001")
    assert venue.is_sound()


def test_a_stop_that_needs_the_funds_of_orders_there_ends_and_all_others_go_on(parked):
    stop = parked.order(f"ann SELL 1 {GOOD}", type="STOP_LOSS", stop_price=Decimal("1.19"), reduce_only=True)
    change("0.000000000000000001")
    assert parked.order(f"bob SELL 0.01 {GOOD} @ 1.19000 IOC")["status"] == "FILLED"
    parked.follow(GOOD)
    assert (parked.stored(stop)["status"], parked.stored(stop)["reason"]) == ("REJECTED", "market_unreadable")
    assert parked.order(f"bob SELL 0.01 {GOOD} @ 1.19000 IOC")["status"] == "FILLED"
    assert parked.order("bob BUY 1 AAPL @ 1")["status"] == "OPEN"


def test_nor_does_a_liquidation_that_needs_them_close(parked):
    change("0.000000000000000001")
    parked.mark(GOOD, "1.15000")
    parked.watch()
    assert (parked.liquidations("ann"), parked.funds("fund", "USD")) == (["UNFILLED 0/1"], "50000+0")
    assert parked.order("bob BUY 1 AAPL @ 1")["status"] == "OPEN"


def test_financing_that_needs_them_is_charged_with_that_of_others(parked):
    parked.terms(GOOD, financing_long_rate=Decimal(9), financing_short_rate=Decimal(9))
    change("0.000000000000000001")
    clock.stand(clock.now() + timedelta(days=3))
    parked.mark(GOOD, "1.25000")
    assert financing.post_due() > 0
    assert not Rollover.objects.filter(market__symbol=GOOD, posted_at=None).exists()


def test_who_holds_nothing_but_there_spends_nothing_either(venue):
    venue.trade("ann", "BUY", "rich", "0.1", BAD, "1.10000")
    change("0.000000000000000001")
    with pytest.raises(Refusal, match="nobody knows what it may spend"):
        withdrawals.request(account=venue.accounts["ann"], asset=venue.assets["USD"], amount=Decimal(9_000))
    assert venue.refused("ann BUY 1 AAPL @ 1") == "market_unreadable"
    change("0.00001")


def test_a_batch_that_fails_takes_nobody_with_it_for_long(parked, monkeypatch):
    """What was to be locked beside it may be to blame, and is not asked of the batches of others."""

    def fail(*terms):
        raise ValueError("not to be locked")

    parked.order(f"ann SELL 1 {GOOD}", type="STOP_LOSS", stop_price=Decimal("1.19"), reduce_only=True)
    monkeypatch.setattr(reach, "gathered", fail)
    commands = [parked.command(one) for one in (f"bob SELL 0.01 {GOOD} @ 1.19000 IOC", "bob BUY 1 AAPL @ 1")]
    assert [future.result(PATIENCE_SECONDS)["status"] for future in sequencer.submit(commands)] == ["FILLED", "OPEN"]
    monkeypatch.undo()
    parked.follow(GOOD)
    parked.follow(GOOD)
    assert parked.position("ann", GOOD) == "flat"
