"""Every operators' page opens, shows exact numbers, finds by index, and never offers to delete history."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, Balance, Entry, Journal, User
from exchange import dashboard
from exchange.ids import IdStock
from exchange.models import Fill, Order, Trade
from exchange.sequencer import sequencer
from marketdata import clock, units
from marketdata.models import Asset, ExternalCandle, Market, PriceSource, Quote
from tests.audit import sessions
from tests.candles.sessions import trade

MODELS = [Asset, Market, User, Account, Balance, Journal, Entry, Order, Trade, Fill]
READ_ONLY = [Balance, Journal, Entry, Order, Trade, Fill]


def url(model, page: str, *arguments) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def text(response) -> str:
    return response.content.decode()


def test_every_page_opens_and_none_can_delete(venue, operator):
    sessions.something_of_everything(venue)
    for model in MODELS:
        row = model.objects.order_by("-pk").first()
        for page in (url(model, "changelist"), url(model, "change", row.pk), url(model, "history", row.pk)):
            answer = operator.get(page)
            assert answer.status_code == 200, page
            assert "/delete/" not in text(answer) and "delete_selected" not in text(answer), page
        assert operator.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_history_can_neither_be_added_nor_changed(venue, operator, model):
    sessions.something_of_everything(venue)
    row = model.objects.order_by("-pk").first()
    assert operator.get(url(model, "add")).status_code == 403
    assert operator.post(url(model, "change", row.pk), {"amount": "1"}).status_code == 403
    assert 'name="_save"' not in text(operator.get(url(model, "change", row.pk)))


def test_an_address_that_names_no_row_is_not_found(venue, operator):
    """On every action of a single row, and on the page of the row itself, which goes back to the list."""
    asked = 0
    for model, page in admin.site._registry.items():
        base = url(model, "changelist")
        for name in {*getattr(page, "actions_detail", ()), *getattr(page, "actions_row", ())}:
            action = getattr(page, name)
            for object_id in ("abc", "1.5", "999999", "9" * 30):
                assert operator.get(f"{base}{object_id}/{action.url_path}").status_code == 404, (model, name)
                asked += 1
        for object_id in ("abc", "9" * 30):
            assert operator.get(f"{base}{object_id}/change/").status_code in (302, 404), model
    assert asked > 40


ADDED = {
    "accounts/feetier": ("quote",),
    "accounts/competition": ("starting_asset", "markets", "starts_at"),
    "marketdata/market": ("base", "quote", "calendar", "is_active"),
    "marketdata/contract": ("market", "settlement", "rollover_time", "tiers"),
    "marketdata/pricesource": ("market", "provider", "spread"),
}


@pytest.mark.parametrize("page", ADDED)
def test_what_cannot_be_in_a_field_is_told_on_the_page(venue, operator, page):
    """Sent with the form, and named by the address of the page."""
    address = f"/admin/{page}/add/"
    for value in ("abc", "\x00", "-1", "½", "9" * 30):
        for field in ADDED[page]:
            assert operator.get(address, {field: value}).status_code == 200, (field, value)
            answer = operator.post(address, {field: value})
            told = answer.status_code == 200 and "Please correct the errors below." in text(answer)
            assert told, (field, value, answer)


ROWS = {
    "accounts/competition": {
        "name": "Class 7b", "starts_at_0": "2026-08-05", "starts_at_1": "09:00", "ends_at_0": "2026-08-05",
        "ends_at_1": "10:00", "starting_amount": "1000", "starting_asset": "USD", "markets": "AAPL",
    },
    "accounts/feetier": {"quote": "USD", "min_volume": "100", "maker_fee": "0.0005", "taker_fee": "0.0007"},
    "marketdata/pricesource": {
        "market": "AAPL", "provider": "ALLTICK", "provider_symbol": "AAPL.US", "spread": "0.001", "band": "0.2",
    },
    "marketdata/tradingcalendar": {
        "name": "School", "time_zone": "UTC", "hours-TOTAL_FORMS": 1, "hours-INITIAL_FORMS": 0, "hours-0-weekday": 0,
        "hours-0-opens": "09:00", "hours-0-closes": "17:00", "holidays-TOTAL_FORMS": 0, "holidays-INITIAL_FORMS": 0,
    },
}  # fmt: skip
FRACTION = "must be above 0 and below 1"


@pytest.mark.parametrize(
    ("page", "wrong", "words"),
    [
        ("accounts/competition", {"ends_at_1": "09:00"}, "Must be later than it starts"),
        ("accounts/competition", {"starting_amount": "0"}, "Must be above 0"),
        ("accounts/feetier", {"min_volume": "0"}, "Must be above 0"),
        ("accounts/feetier", {"maker_fee": "-1"}, "must be above -1 and below 1"),
        ("accounts/feetier", {"taker_fee": "-0.1"}, "must be at least 0 and below 1"),
        ("marketdata/pricesource", {"spread": "1"}, "must be at least 0 and below 1"),
        ("marketdata/pricesource", {"band": "0"}, FRACTION),
        ("marketdata/pricesource", {"band": "7"}, FRACTION),
        ("marketdata/tradingcalendar", {"hours-0-closes": "09:00"}, "Must be later than it opens"),
        ("marketdata/tradingcalendar", {"hours-0-pre_open": "09:00"}, "Must be earlier than it opens"),
        ("marketdata/tradingcalendar", {"hours-0-closing": "08:00"}, "between opening and closing time"),
        ("marketdata/tradingcalendar", {"hours-0-opens": ""}, "required"),
    ],
)
def test_a_rule_of_the_database_is_told_by_the_field_that_breaks_it(venue, operator, page, wrong, words):
    keys = {"USD": venue.assets["USD"].pk, "AAPL": Market.objects.get(symbol="AAPL").pk}
    form = {name: keys.get(value, value) for name, value in ROWS[page].items()}
    answer = operator.post(f"/admin/{page}/add/", {**form, **wrong})
    assert answer.status_code == 200 and words in text(answer) and "Constraint" not in text(answer)
    assert operator.post(f"/admin/{page}/add/", form).status_code == 302


def test_secrets_and_events_have_no_page(venue):
    shown = {model._meta.label for model in admin.site._registry}
    assert not {label for label in shown if "Token" in label or "Event" in label or "Idempotent" in label}


def test_outside_prices_have_their_pages(venue, operator):
    """A source can be edited, and removed; what the feed and the import wrote can only be looked at."""
    market = Market.objects.get(symbol="AAPL")
    moment = datetime(2026, 8, 5, tzinfo=UTC)
    form = {"market": market.pk, "provider": "ALLTICK", "provider_symbol": "AAPL.US", "spread": "0.001", "band": "0.2",
            "is_active": "on"}  # fmt: skip
    assert operator.post(url(PriceSource, "add"), form).status_code == 302
    source = PriceSource.objects.get()
    assert operator.post(url(PriceSource, "change", source.pk), {**form, "spread": "0.002"}).status_code == 302
    assert PriceSource.objects.get().spread == Decimal("0.002")
    assert operator.post(url(PriceSource, "change", source.pk), {**form, "band": "7"}).status_code == 200
    prices = {"open": 1, "high": 3, "low": 1, "close": 2}
    bar = ExternalCandle.objects.create(market=market, source="mine", interval="1d", open_time=moment, **prices)
    times = {"quoted_at": moment, "received_at": moment, "stale_at": moment}
    quote = Quote.objects.create(market=market, bid=Decimal("1.5"), ask=2, mid=Decimal("1.75"), **times)
    for row, shown in ((source, "AAPL.US"), (bar, "mine"), (quote, "stale")):
        for page in (url(type(row), "changelist"), url(type(row), "change", row.pk)):
            assert shown in text(operator.get(page)), page
    for row in (bar, quote):
        assert operator.get(url(type(row), "add")).status_code == 403
        assert operator.post(url(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403
    assert operator.post(url(PriceSource, "delete", source.pk), {"post": "yes"}).status_code == 302
    assert not PriceSource.objects.exists()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_any_search_is_answered(venue, operator, model):
    venue.trader("ann", USD=100)
    for term in ("1", "ann", "AAPL", "99999999999999999999999", "%", "\x00", "½", "' OR 1=1 --"):
        assert operator.get(url(model, "changelist"), {"q": term}).status_code == 200, term


def test_searches_find(venue, operator):
    sessions.something_of_everything(venue)
    ann = venue.accounts["ann"]
    found = operator.get(url(Balance, "changelist"), {"q": "ann"}).context["cl"].queryset
    assert set(found) == set(ann.balances.all())
    entries = operator.get(url(Entry, "changelist"), {"q": str(ann.id)}).context["cl"].queryset
    assert entries.filter(account=ann).count() == Entry.objects.filter(account=ann).count() > 0
    resting = operator.get(url(Order, "changelist"), {"state": "open"}).context["cl"].queryset
    assert resting.count() == Order.objects.filter(status__in=Order.ACTIVE).count() > 0


def test_numbers_are_plain(venue, operator):
    sessions.something_of_everything(venue)
    for model in (Balance, Entry, Journal, Order, Trade, Fill, Market, Account):
        row = model.objects.order_by("-pk").first()
        for page in (url(model, "changelist"), url(model, "change", row.pk)):
            shown = text(operator.get(page))
            assert not re.search(r"\d\.\d*0{7}\b|\dE[-+]\d", shown), page


@pytest.mark.parametrize("model", [Entry, Journal, Order, Trade, Fill], ids=lambda model: model.__name__)
def test_lists_that_grow_are_neither_counted_nor_asked_row_by_row(venue, operator, model):
    sessions.something_of_everything(venue)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        operator.get(url(model, "changelist"))
    table = model._meta.db_table
    sql = [query["sql"] for query in queries.captured_queries]
    assert not [one for one in sql if "COUNT(" in one and table in one]
    assert len([one for one in sql if table in one]) == 1
    assert len(sql) < 12


# The front page


def test_the_front_page_tells_how_the_venue_stands(venue, operator):
    sessions.something_of_everything(venue)
    venue.change("BTC_USDT", status="HALTED")
    page = text(operator.get("/admin/"))
    assert operator.get("/admin/").status_code == 200
    for words in ("Open orders", "Trades, 24 h", "1 open", "not open: BTC_USDT", "Halted", "Last audit"):
        assert words in page, words
    assert f">{Trade.objects.count()}<" in page


def test_the_front_page_counts_trades_whose_ids_a_process_took_long_before(venue, operator, monkeypatch):
    """Another process traded elsewhere meanwhile: its trades have higher ids and are older."""
    sessions.fund(venue)
    started = datetime(2030, 5, 15, 12, tzinfo=UTC)
    clock.stand(started)
    trade(venue, 100)
    with monkeypatch.context() as other:
        other.setattr(sequencer.registry, "ids", IdStock())
        trade(venue, 60_000, symbol="BTC_USDT")
    clock.stand(started + timedelta(hours=30))
    trade(venue, 100, 7)
    first, other, last = Trade.objects.order_by("executed_at", "id")
    assert first.id < last.id < other.id
    page = text(operator.get("/admin/"))
    assert ">1<" in page and "7 AAPL" in page and "700 USD" in page


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("107391.2369745", "107391.24"), ("0.000001234567891", "0.0000012345679"), ("123456789012.5", "123456789012"),
     ("1.5", "1.5"), ("0", "0")],
)  # fmt: skip
def test_the_front_page_shortens_sums(exact, shown):
    assert units.plain(dashboard._short(Decimal(exact))) == shown


def test_the_front_page_of_an_empty_venue(transactional_db, client):
    client.force_login(User.objects.create_superuser("operator", password="correct-horse-battery"))
    assert "No markets yet." in text(client.get("/admin/"))


def test_the_front_page_shows_a_clerk_only_what_they_may_see(venue, clerk):
    sessions.fund(venue)
    page = text(clerk("exchange.view_order").get("/admin/"))
    assert "Open orders" in page
    assert "Users" not in page and "Trades, 24 h" not in page and "BTC_USDT" not in page


def test_strangers_see_nothing(venue, client):
    assert client.get("/admin/").status_code == 302
    for forged in (r'"abcdefgh\000"', r'"abcdefgh\377"', "a" * 5000):  # whatever byte, as an octal number
        assert client.get("/admin/", headers={"cookie": f"sessionid={forged}"}).status_code == 302, forged
    client.force_login(venue.trader("ann").user)
    assert client.get("/admin/").status_code == 302
