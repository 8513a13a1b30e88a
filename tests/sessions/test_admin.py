"""The operators' pages for calendars, fee tiers, settlements and the kill switch."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import FeeRate, FeeTier
from exchange import deferred, fee_tiers
from exchange.models import Settlement, Trade
from marketdata import clock, markets
from marketdata.models import Holiday, Market, TradingCalendar, TradingHours
from tests.admin.conftest import clerk, no_old_figures, operator

__all__ = ["clerk", "no_old_figures", "operator"]


def url(model, page: str, *arguments) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


@pytest.fixture
def traders(venue):
    venue.trader("ann", USD=100_000)
    venue.trader("bob", AAPL=1_000)
    return venue


def test_a_calendar_is_set_up_on_one_page_and_its_markets_notice(venue, operator):
    form = {
        "name": "Frankfurt", "time_zone": "Europe/Berlin",
        "hours-TOTAL_FORMS": 1, "hours-INITIAL_FORMS": 0, "hours-0-weekday": 0, "hours-0-opens": "09:00",
        "hours-0-closes": "17:30", "hours-0-pre_open": "08:00", "hours-0-closing": "17:25",
        "holidays-TOTAL_FORMS": 1, "holidays-INITIAL_FORMS": 0, "holidays-0-day": "2026-12-25",
    }  # fmt: skip
    assert operator.post(url(TradingCalendar, "add"), form).status_code == 302
    calendar = TradingCalendar.objects.get()
    assert (TradingHours.objects.count(), Holiday.objects.count()) == (1, 1)
    venue.change("AAPL", calendar=calendar)
    before = Market.objects.get(symbol="AAPL").version
    assert operator.get(url(TradingCalendar, "change", calendar.pk)).status_code == 200
    assert b"AAPL" in operator.get(url(TradingCalendar, "changelist")).content
    Holiday.objects.all().delete()
    Holiday.objects.create(calendar=calendar, day="2026-12-24", closes_early="14:00")
    assert Market.objects.get(symbol="AAPL").version > before


def test_the_new_hours_are_read_when_they_are_committed(venue, operator, monkeypatch):
    uncommitted = []
    monkeypatch.setattr(markets, "forget", lambda: uncommitted.append(connection.in_atomic_block))
    calendar = TradingCalendar.objects.create(name="days")
    calendar.hours.create(weekday=0, opens="09:00", closes="17:00")
    form = {"name": "days", "time_zone": "UTC", "holidays-TOTAL_FORMS": 0, "holidays-INITIAL_FORMS": 0}
    form |= {"hours-TOTAL_FORMS": 1, "hours-INITIAL_FORMS": 1, "hours-0-id": calendar.hours.get().pk}
    form |= {"hours-0-calendar": calendar.pk, "hours-0-weekday": 0, "hours-0-opens": "10:00", "hours-0-closes": "17:00"}
    assert operator.post(url(TradingCalendar, "change", calendar.pk), form).status_code == 302
    assert uncommitted == [False]


@pytest.mark.parametrize(
    "wrong",
    [{"time_zone": "Europe/Nowhere"}, {"hours-0-opens": "18:00"}, {"hours-0-pre_open": "10:00"},
     {"hours-0-closing": "08:30"}, {"hours-TOTAL_FORMS": 0}, {"hours-0-DELETE": "on"}],
)  # fmt: skip
def test_hours_that_make_no_session_are_refused(venue, operator, wrong):
    form = {
        "name": "Frankfurt", "time_zone": "Europe/Berlin", "hours-TOTAL_FORMS": 1, "hours-INITIAL_FORMS": 0,
        "hours-0-weekday": 0, "hours-0-opens": "09:00", "hours-0-closes": "17:30",
        "holidays-TOTAL_FORMS": 0, "holidays-INITIAL_FORMS": 0,
    }  # fmt: skip
    assert operator.post(url(TradingCalendar, "add"), {**form, **wrong}).status_code == 200
    assert not TradingCalendar.objects.exists()


def test_the_last_hours_of_a_calendar_stay(venue, operator):
    calendar = TradingCalendar.objects.create(name="days")
    hours = [calendar.hours.create(weekday=weekday, opens="09:00", closes="17:00") for weekday in (0, 1)]
    form = {"name": "days", "time_zone": "UTC", "holidays-TOTAL_FORMS": 0, "holidays-INITIAL_FORMS": 0}
    form |= {"hours-TOTAL_FORMS": 2, "hours-INITIAL_FORMS": 2}
    for number, row in enumerate(hours):
        form |= {f"hours-{number}-id": row.pk, f"hours-{number}-calendar": calendar.pk}
        form |= {f"hours-{number}-weekday": number, f"hours-{number}-opens": "09:00", f"hours-{number}-closes": "17:00"}
    page = url(TradingCalendar, "change", calendar.pk)
    refused = operator.post(page, {**form, "hours-0-DELETE": "on", "hours-1-DELETE": "on"})
    assert refused.status_code == 200 and "at least one weekday" in refused.content.decode()
    assert operator.post(page, {**form, "hours-0-DELETE": "on"}).status_code == 302
    assert list(calendar.hours.values_list("weekday", flat=True)) == [1]


def test_a_tier_that_promises_too_much_is_refused(traders, operator):
    usd = traders.assets["USD"].pk
    form = {"quote": usd, "min_volume": "100", "maker_fee": "-0.0005", "taker_fee": "0.0007"}
    assert operator.post(url(FeeTier, "add"), {**form, "maker_fee": "-0.002"}).status_code == 200
    assert operator.post(url(FeeTier, "add"), form).status_code == 302
    traders.order("bob SELL 10 AAPL @ 100")
    traders.order("ann BUY 10 AAPL @ 100")
    fee_tiers.assign(clock.now() + timedelta(seconds=1))
    rate = FeeRate.objects.first()
    for page in (url(FeeTier, "changelist"), url(FeeTier, "change", rate.tier_id), url(FeeRate, "changelist"),
                 url(FeeRate, "change", rate.pk)):  # fmt: skip
        assert operator.get(page).status_code == 200


def test_a_trade_is_settled_by_an_operator_with_the_right_to(traders, operator, clerk):
    traders.change("AAPL", settlement_days=2)
    traders.order("bob SELL 10 AAPL @ 100")
    traders.order("ann BUY 10 AAPL @ 100")
    number = Trade.objects.get().id
    Settlement.objects.update(error="Account 1 is not active; an operator must decide.")
    found = operator.get(url(Settlement, "changelist"), {"state": "failed"})
    assert b"is not active" in found.content
    page = f"/admin/exchange/settlement/{number}/settle/"
    assert clerk("exchange.view_settlement").post(page, {"reason": "paid"}).status_code == 403
    assert operator.post(page, {"reason": ""}).status_code == 400
    assert operator.post(page, {"reason": "paid"}).status_code == 302
    assert traders.funds("ann", "AAPL") == "10+0"
    assert operator.post(page, {"reason": "paid"}).status_code == 400
    assert operator.get(url(Settlement, "change", number)).status_code == 200
    with pytest.raises(deferred.AlreadySettled):
        deferred.settle(number)


def test_an_account_is_stopped_and_resumed(traders, operator):
    account = traders.accounts["ann"]
    order = traders.order("ann BUY 1 AAPL @ 100")
    assert operator.post(f"/admin/accounts/account/{account.pk}/stop/", {"reason": "fire"}).status_code == 302
    assert traders.stored(order)["status"] == "CANCELLED"
    assert traders.refused("ann BUY 1 AAPL @ 100") == "account_inactive"
    assert b"pulled by operator" in operator.get(url(type(account), "change", account.pk)).content
    assert operator.post(f"/admin/accounts/account/{account.pk}/resume/", {"reason": "out"}).status_code == 302
    assert traders.order("ann BUY 1 AAPL @ 100")["status"] == "OPEN"


def test_the_whole_venue_goes_cancel_only_and_opens_again(traders, operator):
    traders.change("BTC_USDT", status="CLOSED")
    for page, status in (("cancel-only-all", "CANCEL_ONLY"), ("halt-all", "HALTED"), ("reopen-all", "OPEN")):
        assert operator.get(f"/admin/marketdata/market/{page}/").status_code == 200
        assert operator.post(f"/admin/marketdata/market/{page}/", {"reason": "fire"}).status_code == 302
        statuses = dict(Market.objects.values_list("symbol", "status"))
        assert statuses == {"AAPL": status, "BTC_USDT": "CLOSED"}


def test_a_markets_rules_are_edited_and_its_phase_is_shown(traders, operator):
    market = Market.objects.get(symbol="AAPL")
    page = operator.get(url(Market, "change", market.pk))
    assert all(text in page.content for text in (b"volatility_band", b"CONTINUOUS", b"settlement_days"))
    market.volatility_band = Decimal("0.02")
    market.save(update_fields=["volatility_band"])
    assert Market.objects.get(pk=market.pk).volatility_band == Decimal("0.02")
