"""Margin calls and liquidations, from the mark to the last cent: 100,000 euros a contract, 2 % of margin."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import OperationalError

from accounts.models import Shortfall
from exchange import commands, liquidation, orders, risk_reading, risk_stop
from exchange.commands import NotAccepting, PositionMoved
from exchange.models import MarginCall, Order, RiskStop
from exchange.risk_models import Liquidation
from exchange.transaction import OutcomeUnknown
from marketdata import clock
from marketdata.models import Asset, Contract, Mark, Market


def short(event: dict) -> str:
    return f"{event['type']} {event['equity']}/{event['used']} {event['level']}"


def test_an_account_is_called_once_and_told_when_it_is_over(venue):
    venue.trade("ann", "BUY", "rich", "2", "EURUSD", "1.10000")  # margin 4,400 of 10,000
    for mark in ("1.10000", "1.07201", "1.07200", "1.07190", "1.07310", "1.07311", "1.07420"):
        venue.mark("EURUSD", mark)
        venue.watch()
    assert [short(event) for event in venue.heard("ann", "margin_call", "margin_call_cleared")] == [
        "margin_call 4400/4400 100",
        "margin_call_cleared 4622/4400 105.0454",
    ]
    assert MarginCall.objects.get().cleared_at is not None
    assert venue.liquidations("ann") == []


def test_a_call_ends_with_the_position(venue):
    venue.trade("ann", "BUY", "rich", "2", "EURUSD", "1.10000")
    venue.mark("EURUSD", "1.07200")
    venue.watch()
    venue.trade("ann", "SELL", "rich", "2", "EURUSD", "1.07200")
    venue.watch()
    called = venue.heard("ann", "margin_call", "margin_call_cleared")
    assert [event["type"] for event in called] == ["margin_call", "margin_call_cleared"]


def test_a_part_is_closed_where_that_restores_the_level(venue):
    venue.terms("EURUSD", max_leverage=100)  # maintenance 0.5 %: the level decides
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")  # margin 4,400
    venue.mark("EURUSD", "1.08051")
    venue.watch()
    assert venue.liquidations("ann") == []
    venue.order("rich BUY 10 EURUSD @ 1.08049")
    venue.mark("EURUSD", "1.08049")  # equity 2,196: below half of 4,400
    venue.watch()
    # 2,196 carry 1.99 contracts' margin
    assert venue.position("ann", "EURUSD").startswith("1.99 218900 ")
    assert venue.liquidations("ann") == ["RESTORED 0/1"]
    assert [event["outcome"] for event in venue.heard("ann", "liquidation")] == ["UNDER_WAY", "RESTORED"]
    venue.watch()
    assert venue.liquidations("ann") == ["RESTORED 0/1"]
    venue.mark("EURUSD", "1.07000")  # what is left falls, too: it is looked after as before
    venue.watch()
    assert venue.liquidations("ann") == ["RESTORED 0/1", "RESTORED 0/1"]
    assert venue.is_sound()


@pytest.mark.parametrize(
    ("side", "mark", "last", "beyond", "left"),
    [("BUY", "1.08000", "1.06920", "1.06919", "3 "), ("SELL", "1.12000", "1.13120", "1.13121", "-3 ")],
)
def test_longs_are_sold_and_shorts_bought_back_no_further_from_the_mark_than_may_be(
    venue, side, mark, last, beyond, left
):
    venue.terms("EURUSD", liquidation_band=Decimal("0.01"))
    venue.trade("ann", side, "rich", "4", "EURUSD", "1.10000")
    venue.order(f"rich {side} 1 EURUSD @ {last}")
    venue.order(f"rich {side} 9 EURUSD @ {beyond}")
    venue.mark("EURUSD", mark)
    venue.watch()
    assert venue.position("ann", "EURUSD").startswith(left)
    assert venue.liquidations("ann")[0].startswith("UNFILLED ")
    assert venue.is_sound()


@pytest.mark.parametrize("decimals", [2, 8])
def test_it_comes_in_time_whatever_the_decimals_of_what_is_settled_in(venue, decimals):
    """100,000 won-dollars at 2 %: at 1,203 won some 1,930 of the 10,000 are left, at 1,192 less than maintenance."""
    dollars = Asset.objects.create(symbol="USDC", name="USDC", kind="CRYPTO", decimals=decimals)
    won = Asset.objects.create(symbol="KRW", name="KRW", kind="FIAT", decimals=8)
    venue.assets |= {"USDC": dollars, "KRW": won}
    venue.contract("USDCKRW", "USDC", "KRW", "0.01", settlement=dollars)
    venue.change("USDCKRW", price_band=None)
    venue.mark("USDCKRW", "1300.00")
    for name, amount in (("ann", 10_000), ("rich", 1_000_000)):
        venue.trader(name, USDC=amount)
    venue.trade("ann", "BUY", "rich", "1", "USDCKRW", "1300.00")
    outcomes = []
    for mark in ("1203.00", "1192.00"):
        venue.order(f"rich BUY 1 USDCKRW @ {mark}", self_trade_prevention="EXPIRE_MAKER")
        venue.mark("USDCKRW", mark)
        venue.watch()
        outcomes.append(venue.liquidations("ann"))
    assert outcomes == [[], ["RESTORED 0/1"]]
    assert venue.is_sound()


def test_open_orders_go_first_and_may_be_enough_to_go(venue):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("ann BUY 0.1 EURUSD @ 1.00000")
    venue.order("ann SELL 0.1 GBPUSD @ 1.30000")
    venue.order("rich BUY 10 EURUSD @ 1.07900")
    venue.mark("EURUSD", "1.07900")
    venue.watch()
    assert venue.liquidations("ann")[0].split()[1].startswith("2/")
    small = [event["order"] for event in venue.heard("ann", "order") if event["order"]["quantity"] == "0.1"]
    assert [order["status"] for order in small] == ["OPEN", "OPEN", "CANCELLED", "CANCELLED"]
    assert venue.is_sound()


def test_the_largest_loss_goes_first(venue):
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    venue.trade("ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    venue.order("rich BUY 10 EURUSD @ 1.09500")
    venue.order("rich BUY 10 GBPUSD @ 1.18000")
    venue.mark("EURUSD", "1.09500")
    venue.mark("GBPUSD", "1.17600")
    venue.watch()
    assert venue.position("ann", "EURUSD") != "flat"
    assert venue.position("ann", "GBPUSD") in {"flat"} or float(venue.position("ann", "GBPUSD").split()[0]) < 1
    assert venue.is_sound()


def test_what_the_account_cannot_pay_comes_from_the_insurance_fund(venue):
    venue.insure(5_000)
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07000")
    venue.mark("EURUSD", "1.07000")  # 12,000 lost, 10,000 there
    venue.watch()
    assert venue.position("ann", "EURUSD") == "flat"
    assert (venue.funds("ann", "USD"), venue.funds("fund", "USD")) == ("0+0", "3000+0")
    assert venue.liquidations("ann") == ["CLOSED 0/1"]
    assert not RiskStop.objects.exists() and not Contract.objects.filter(is_reduce_only=True).exists()
    assert venue.is_sound()


def test_an_empty_fund_stops_new_risk_until_an_operator_opens_it_again(venue):
    venue.insure(500)
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.trade("bob", "BUY", "rich", "1", "GBPUSD", "1.25000")
    venue.order("rich BUY 10 EURUSD @ 1.07000")
    venue.mark("EURUSD", "1.07000")
    venue.watch()
    assert Shortfall.objects.get().uncovered == 1_500
    assert RiskStop.objects.get().uncovered == 1_500
    assert venue.refused("bob BUY 1 GBPUSD @ 1.25000") == "reduce_only"
    venue.order("rich BUY 1 GBPUSD @ 1.25000", reduce_only=True)
    venue.order("bob SELL 1 GBPUSD @ 1.25000 IOC", reduce_only=True)
    assert venue.position("bob", "GBPUSD") == "flat"
    for symbol in ("EURUSD", "GBPUSD"):
        venue.terms(symbol, is_reduce_only=False)
    venue.watch()
    assert venue.order("bob BUY 0.1 GBPUSD @ 1.25000")["status"] == "OPEN"
    assert venue.is_sound()


def test_a_stop_reaches_every_contract_and_nothing_but_its_switch(venue, monkeypatch):
    """One whose terms are refused by now stops nobody else's stop, and an edit of the meantime stays."""
    Contract.objects.filter(market__symbol="GBPUSD").update(rollover_zone="Mars/Olympus")
    save = Contract.save

    def save_later(self, *args, **kwargs) -> None:
        Contract.objects.filter(pk=self.pk).update(max_leverage=7)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Contract, "save", save_later)
    market = fall_short(venue)
    assert [stop.symbols for stop in risk_stop.check()] == ["EURUSD, GBPUSD, USDJPY, EURGBP"]
    assert set(Contract.objects.values_list("is_reduce_only", "max_leverage")) == {(True, 7)}
    assert set(Market.objects.filter(kind="MARGIN").values_list("version", flat=True)) == {market.version + 1}


def fall_short(venue) -> Market:
    market, dollars = Market.objects.get(symbol="EURUSD"), venue.assets["USD"]
    Shortfall.objects.create(
        account=venue.accounts["ann"], market=market, asset=dollars, amount=5, covered=0, uncovered=5,
        created_at=clock.now(),
    )  # fmt: skip
    return market


def test_two_that_look_at_once_stop_once(venue, monkeypatch):
    """What an operator has opened after the first of them stays open."""
    fall_short(venue)
    stop = risk_stop._stop

    def stop_late(*args):
        monkeypatch.setattr(risk_stop, "_stop", stop)
        assert len(risk_stop.check()) == 1  # the other one, meanwhile
        Contract.objects.update(is_reduce_only=False)
        return stop(*args)

    monkeypatch.setattr(risk_stop, "_stop", stop_late)
    assert (risk_stop.check(), RiskStop.objects.count()) == ([], 1)
    assert not Contract.objects.filter(is_reduce_only=True).exists()


def test_a_stale_mark_liquidates_nobody(venue):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07000")
    venue.mark("EURUSD", "1.07500", max_age_seconds=0)
    venue.watch()
    assert venue.liquidations("ann") == []
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    assert len(venue.liquidations("ann")) == 1


SHUT = {
    "hours": lambda venue, is_shut: venue.terms("EURUSD", hours=[["SUN 17:00", "FRI 17:00"]] if is_shut else []),
    "halted": lambda venue, is_shut: venue.change("EURUSD", status="HALTED" if is_shut else "OPEN"),
}


@pytest.mark.parametrize("shut", SHUT)
def test_nothing_is_begun_where_nothing_can_be_closed(venue, shut):
    """A halted market was tried every two seconds, with two events each time; outside its hours it traded."""
    clock.stand(datetime(2026, 3, 21, 12, tzinfo=UTC))  # a Saturday
    venue.mark("EURUSD", "1.10000")
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07000")
    SHUT[shut](venue, True)
    venue.mark("EURUSD", "1.07500")
    for _ in range(3):
        venue.watch()
        venue.engine.monitor.under_way.clear()  # it is tried again
    assert venue.liquidations("ann") == []
    assert len(venue.heard("ann", "margin_call")) == 1
    SHUT[shut](venue, False)
    venue.watch()
    assert len(venue.liquidations("ann")) == 1


@pytest.mark.parametrize("shut", SHUT)
def test_orders_go_although_no_position_can_be_closed(venue, shut):
    """Once: one that fills meanwhile would open more, or spend what the positions need."""
    clock.stand(datetime(2026, 3, 21, 12, tzinfo=UTC))
    venue.mark("EURUSD", "1.10000")
    venue.mark("GBPUSD", "1.25000")
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    resting = venue.order("ann BUY 0.1 GBPUSD @ 1.20000")
    SHUT[shut](venue, True)
    venue.mark("EURUSD", "1.07500")
    for _ in range(3):
        venue.watch()
        venue.engine.monitor.under_way.clear()
    assert [venue.stored(resting)[name] for name in ("status", "reason")] == ["CANCELLED", "liquidation"]
    assert [told.split("/")[0] for told in venue.liquidations("ann")] == ["UNFILLED 1"]
    assert venue.position("ann", "EURUSD") != "flat"
    assert venue.is_sound()


def test_one_market_that_is_shut_keeps_no_other_position_open(venue):
    venue.trade("ann", "BUY", "rich", "3", "EURUSD", "1.10000")
    venue.trade("ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    venue.order("rich BUY 10 GBPUSD @ 1.24000")
    venue.change("EURUSD", status="HALTED")
    venue.mark("EURUSD", "1.07000")
    venue.mark("GBPUSD", "1.24000")
    venue.watch()
    assert venue.position("ann", "GBPUSD") == "flat"
    assert venue.position("ann", "EURUSD").startswith("3 ")
    assert venue.is_sound()


def test_one_session_that_makes_no_sense_keeps_no_other_market_from_it(venue):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    found = Market.objects.filter(symbol="GBPUSD")
    found.update(session={"phases": "CONTINUOUS"})  # by SQL
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    found.update(session=None)
    assert len(venue.liquidations("ann")) == 1


def test_nobody_is_sold_further_from_the_mark_than_the_contract_allows(venue):
    venue.terms("EURUSD", liquidation_band="0.01")
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.change("EURUSD", price_band=None)
    venue.order("rich BUY 10 EURUSD @ 1.06000")
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    assert venue.position("ann", "EURUSD").startswith("4 ")
    assert venue.liquidations("ann") == ["UNFILLED 0/1"]
    venue.watch()  # not again at once
    assert venue.liquidations("ann") == ["UNFILLED 0/1"]


def test_a_book_of_very_many_small_orders_keeps_nobody_in_a_position(venue, monkeypatch):
    """One order that would meet too many of them is refused, so it is for less, and another follows."""
    monkeypatch.setattr(commands, "MOST_FILLS", 3)
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    for _ in range(8):
        venue.order("rich BUY 0.5 EURUSD @ 1.07500")
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    [outcome] = venue.liquidations("ann")
    assert outcome.startswith(("RESTORED", "CLOSED"))
    assert venue.is_sound()


def test_an_account_that_a_user_can_no_longer_use_is_liquidated_too(venue):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    user = venue.accounts["ann"].user
    user.is_active = False
    user.save()
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    assert venue.liquidations("ann") in (["RESTORED 0/1"], ["CLOSED 0/1"])


@pytest.mark.parametrize("symbol", ["USDJPY", "EURGBP"])
def test_a_loss_in_another_currency_counts_at_its_rate(venue, symbol):
    """4 contracts lose what 10,000 dollars can't carry, whichever currency the loss is in."""
    price, lower = {"USDJPY": ("150.000", "147.000"), "EURGBP": ("0.88000", "0.86400")}[symbol]
    venue.trade("ann", "BUY", "rich", "4", symbol, price)
    venue.order(f"rich BUY 10 {symbol} @ {lower}")
    venue.mark(symbol, lower)
    venue.watch()
    assert len(venue.liquidations("ann")) == 1
    assert venue.is_sound()


def lose_answers(monkeypatch, fate: str) -> None:
    """The first closing order gets no answer: it was done, is on its way still, or was never begun."""
    place, lost = orders.place_async, []

    async def losing(command):
        if not command.is_liquidation or lost:
            return await place(command)
        lost.append(asyncio.create_task(place(command)) if fate != "never" else None)
        if fate == "done":
            await lost[0]
        await asyncio.sleep(0)  # what is on its way has been submitted
        raise NotAccepting("Nothing was done.") if fate == "never" else OutcomeUnknown()

    monkeypatch.setattr(orders, "place_async", losing)


@pytest.mark.parametrize(("fate", "tries"), [("done", 1), ("on its way", 1), ("never", 2)])
def test_a_lost_answer_closes_nothing_twice_and_no_other_market(venue, monkeypatch, fate, tries):
    for symbol in ("EURUSD", "GBPUSD"):
        venue.terms(symbol, max_leverage=100)
    venue.trade("ann", "BUY", "rich", "3.5", "EURUSD", "1.10000")
    venue.trade("ann", "BUY", "rich", "0.4", "GBPUSD", "1.25000")
    venue.order("rich BUY 10 EURUSD @ 1.07700")
    venue.order("rich BUY 10 GBPUSD @ 1.25000")
    venue.mark("EURUSD", "1.07700")
    lose_answers(monkeypatch, fate)
    venue.watch()
    assert venue.liquidations("ann") == [f"RESTORED 0/{tries}"]
    [order] = Order.objects.filter(account=venue.accounts["ann"], client_order_id__startswith="liquidation-")
    assert order.market.symbol == "EURUSD" and 0 < order.filled_quantity < 3
    assert venue.position("ann", "GBPUSD").startswith("0.4 ")
    assert venue.is_sound()


@pytest.mark.parametrize("is_late", [True, False])
def test_what_a_process_that_is_gone_had_under_way_closes_nothing_more(venue, settings, monkeypatch, is_late):
    """Two decide for one loss, and neither knows of the other: whichever comes second finds another position."""
    settings.STOP_OUT_LEVEL = "0.9"  # so that less than half is closed, and it would be there to be closed again
    venue.terms("EURUSD", max_leverage=100)
    venue.trade("ann", "BUY", "rich", "3.5", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.08080")
    venue.mark("EURUSD", "1.08080")
    [purse] = risk_reading.purses([venue.accounts["ann"].pk])
    gone, place = liquidation.next_order(purse.key, purse, ()), orders.place_async

    async def after_the_other(command):
        monkeypatch.undo()
        await place(gone)
        return await place(command)

    if not is_late:
        monkeypatch.setattr(orders, "place_async", after_the_other)
    venue.watch()
    if is_late:
        with pytest.raises(PositionMoved):
            orders.place(gone)
    assert venue.liquidations("ann") == ["RESTORED 0/1"]
    [order] = Order.objects.filter(account=purse.key.account_id, side="SELL")
    assert 0 < order.filled_quantity < 1
    assert venue.is_sound()


@pytest.mark.parametrize("is_late", [True, False])
def test_where_a_market_does_not_tell_the_next_liquidation_asks_before_it_orders(venue, monkeypatch, is_late):
    venue.terms("EURUSD", max_leverage=100)
    venue.trade("ann", "BUY", "rich", "3.5", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07600")
    venue.mark("EURUSD", "1.07600")
    place, lost = orders.place_async, []

    async def losing(command):
        if lost or not command.is_liquidation:
            return await place(command)
        lost.append(command)
        raise OutcomeUnknown()

    async def silent(_):
        return False

    monkeypatch.setattr(orders, "place_async", losing)
    with monkeypatch.context() as patch:
        patch.setattr(liquidation, "ASK_AT_MOST_SECONDS", 0.1)
        patch.setattr(liquidation, "_was_locked", silent)
        for _ in range(2):
            venue.watch()
            venue.engine.monitor.under_way.clear()
    assert venue.liquidations("ann") == ["UNFILLED 0/1", "UNFILLED 0/0"]
    if is_late:
        venue.run(place(lost[0]))
    venue.watch()
    assert venue.liquidations("ann")[2:] == ([] if is_late else ["RESTORED 0/1"])
    [order] = Order.objects.filter(account=venue.accounts["ann"], client_order_id__startswith="liquidation-")
    assert 0 < order.filled_quantity < 3 and (order.client_order_id == lost[0].client_order_id) == is_late


@pytest.mark.parametrize(("step", "after"), [("next_order", "CLOSED 0/1"), ("_end", None)])
def test_one_that_an_error_ended_is_not_left_under_way(venue, monkeypatch, step, after):
    """As where its thread loses its session: at the last step the account may be restored, and nobody comes again."""

    def broken(*_):
        raise OperationalError("the connection is gone")

    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    venue.mark("EURUSD", "1.07500")
    with monkeypatch.context() as gone:
        gone.setattr(liquidation, step, broken)
        venue.watch()
    assert venue.liquidations("ann") == ["UNFILLED 0/0"]
    assert Liquidation.objects.get().ended_at is not None
    venue.engine.monitor.under_way.clear()
    venue.watch()
    assert venue.liquidations("ann")[1:] == ([after] if after else [])


def test_the_names_of_closing_orders_cannot_be_taken_before(venue):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    venue.mark("EURUSD", "1.07500")
    venue.watch()
    [name] = Order.objects.filter(client_order_id__isnull=False).values_list("client_order_id", flat=True)
    prefix, _, secret = name.rpartition("-")
    assert prefix.startswith("liquidation-") and len(secret) == 16 and len(name) <= 64


def test_an_account_of_which_nobody_knows_what_it_has_keeps_no_other_from_being_liquidated(venue, caplog):
    """Nothing tells what ann's yen are worth any more."""
    venue.contract("GBPJPY", "GBP", "JPY", "0.001")
    venue.mark("GBPJPY", "190.000")
    venue.trade("ann", "BUY", "rich", "0.1", "GBPJPY", "190.000")
    for name in ("ann", "bob"):
        venue.trade(name, "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    venue.watch()
    Mark.objects.exclude(market__symbol__in=("EURUSD", "GBPJPY")).delete()
    venue.mark("EURUSD", "1.07500")
    for _ in range(2):
        venue.watch()
    assert (len(venue.liquidations("bob")), venue.liquidations("ann")) == (1, [])
    assert [record.args[0] for record in caplog.records if record.name == "exchange.risk"] == [venue.accounts["ann"].id]
    venue.mark("USDJPY", "150.000")
    venue.order("rich BUY 10 EURUSD @ 1.07500")
    venue.watch()
    assert len(venue.liquidations("ann")) == 1
