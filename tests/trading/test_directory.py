"""The directory of markets: it reads what is new and keeps the rest, and notices every change that counts."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata import markets
from marketdata.models import Market, TradingCalendar
from marketdata.refusals import UnknownMarket


@pytest.fixture(autouse=True)
def short_memory(monkeypatch):
    """The cache is too old each time somebody looks."""
    monkeypatch.setattr(markets, "CACHE_SECONDS", 0)


def edited(market: Market) -> None:
    market.max_quantity = 77
    market.save()


def given_a_calendar(market: Market) -> None:
    market.calendar = TradingCalendar.objects.create(name="days")
    market.calendar.hours.create(weekday=0, opens="09:00", closes="17:00")
    market.save()


def given_other_days(market: Market) -> None:
    given_a_calendar(market)
    markets.active()
    market.calendar.save()


@pytest.mark.parametrize("change", [edited, given_a_calendar, given_other_days])
def test_it_reads_the_market_that_changed_and_keeps_the_others(venue, change):
    """What another process has changed, which nobody here was told of."""
    apple, bitcoin = (markets.by_symbol(symbol) for symbol in ("AAPL", "BTC_USDT"))
    change(Market.objects.get(symbol="AAPL"))
    found = markets.by_symbol("AAPL")
    assert found == markets.load_spec(apple.id) != apple
    assert markets.by_symbol("BTC_USDT") is bitcoin


def test_while_nothing_changes_it_asks_for_no_market(venue):
    before = markets.active()
    with CaptureQueriesContext(connection) as asked:
        assert [id(spec) for spec in markets.active()] == [id(spec) for spec in before]
    assert len(asked) == 2 and not any("tick_size" in query["sql"] for query in asked)


def test_markets_come_and_go(venue):
    markets.active()
    Market.objects.filter(symbol="AAPL").update(is_active=False)
    with pytest.raises(UnknownMarket):
        markets.by_symbol("AAPL")
    Market.objects.filter(symbol="AAPL").update(is_active=True)
    assert [spec.symbol for spec in markets.active()] == ["AAPL", "BTC_USDT"]


def test_what_was_forgotten_is_read_anew(venue):
    before = markets.by_symbol("AAPL")
    markets.forget()
    assert markets.by_symbol("AAPL") == before and markets.by_symbol("AAPL") is not before
