"""Orders, books, trades and fills over REST, as two people use them."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config import pagination
from config.paths import canonical
from marketdata import clock
from marketdata.models import Market, PriceSource, Quote
from tests.api.conftest import token_of

V1 = "/api/v1/"
ORDERS = V1 + "orders/"


def order(side="BUY", price="100", quantity="5", **terms):
    return {"symbol": "AAPL", "side": side, "price": price, "quantity": quantity, **terms}


def results(reply, name="id"):
    assert reply.status == 200, reply
    return [row[name] for row in reply.json["results"]]


def test_two_people_trade(api):
    bob = api.tokens["bob"]
    first = api("POST", ORDERS, order()).json
    assert (first["status"], first["reserved"], first["fills"]) == ("OPEN", "500.5", [])
    taken = api("POST", ORDERS, order("sell", "99.5", 2), token=bob).json
    assert (taken["status"], taken["average_price"], taken["fee"]) == ("FILLED", "100", "0.2")
    now = api("GET", f"{ORDERS}{first['id']}/").json
    assert (now["status"], now["filled_quantity"], now["remaining_quantity"]) == ("PARTIALLY_FILLED", "2", "3")
    (fill,) = now["fills"]
    assert (fill["role"], fill["price"], fill["fee"], fill["fee_asset"]) == ("MAKER", "100", "0.2", "USD")
    assert taken["fills"][0]["trade_id"] == fill["trade_id"]
    (trade,) = api("GET", V1 + "trades/?symbol=AAPL", token=None).json["results"]
    assert trade.keys() == {*"trade_id symbol price quantity side executed_at is_settled settled_at".split()}
    assert trade == api("GET", V1 + f"trades/{fill['trade_id']}/", token=None).json
    (own,) = api("GET", V1 + f"fills/?order={first['id']}").json["results"]
    assert own == {"order_id": first["id"], "symbol": "AAPL", "side": "BUY", **fill}
    assert results(api("GET", V1 + "fills/?symbol=BTC_USDT")) == []
    assert api("GET", V1 + "orderbook/AAPL/").json["bids"] == [["100", "3"]]
    market = api("GET", V1 + "markets/aaplusd/").json
    assert (market["symbol"], market["last_price"], market["min_quantity"]) == ("AAPL", "100", "1")


def test_amend_and_cancel(api):
    mine = api("POST", ORDERS, order()).json
    one = f"{ORDERS}{mine['id']}/"
    assert api("PUT", one, {"quantity": "4"}).json["quantity"] == "4"
    assert api("PATCH", one, {"price": 101}).json["price"] == "101"
    assert api("DELETE", one).json["status"] == "CANCELLED"
    for method, target, body in (("DELETE", one, None), ("POST", one + "cancel/", None), ("PUT", one, {"price": "99"})):
        reply = api(method, target, body)
        assert (reply.status, reply.code) == (409, "order_not_open")


def test_an_amendment_answers_with_earlier_fills(api):
    mine = api("POST", ORDERS, order()).json
    api("POST", ORDERS, order("SELL", "100", "2"), token=api.tokens["bob"])
    amended = api("PUT", f"{ORDERS}{mine['id']}/", {"quantity": "4"}).json
    assert [fill["quantity"] for fill in amended["fills"]] == ["2"]
    assert amended == api("GET", f"{ORDERS}{mine['id']}/").json


def test_another_users_order_is_not_there(api):
    one = f"{ORDERS}{api('POST', ORDERS, order()).json['id']}/"
    attempts = [
        ("GET", one, None),
        ("PUT", one, {"price": "99"}),
        ("DELETE", one, None),
        ("POST", one + "cancel/", None),
    ]
    replies = [api(*attempt, token=api.tokens["bob"]) for attempt in attempts]
    assert {(reply.status, reply.code) for reply in replies} == {(404, "not_found")}
    assert api("GET", one).json["status"] == "OPEN"
    assert results(api("GET", ORDERS, token=api.tokens["bob"])) == []


def test_cancel_all(api):
    coins = {"symbol": "BTC_USDT", "side": "BUY", "price": "10", "quantity": "1"}
    for body in (order(), order(price="99"), coins):
        assert api("POST", ORDERS, body).status == 201
    reply = api("DELETE", ORDERS + "?symbol=AAPL").json
    assert (reply["cancelled"], {one["status"] for one in reply["orders"]}) == (2, {"CANCELLED"})
    assert results(api("GET", ORDERS + "?status=ACTIVE"), "symbol") == ["BTC_USDT"]
    assert api("DELETE", ORDERS).json["cancelled"] == 1
    assert api("DELETE", ORDERS).json == {"cancelled": 0, "orders": []}


def test_what_was_done_in_a_market_that_is_not_active_any_more_is_found_and_cancelled_there(api):
    mine = [api("POST", ORDERS, body).json["id"] for body in (order(), order(price="101"))]
    api.venue.order("bob SELL 5 AAPL @ 101")
    api.venue.change("AAPL", is_active=False)
    assert results(api("GET", ORDERS + "?symbol=aapl")) == mine[::-1]
    assert results(api("GET", V1 + "fills/?symbol=AAPL"), "order_id") == mine[1:]
    assert results(api("GET", V1 + "positions/?symbol=AAPL")) == []
    assert [one["id"] for one in api("DELETE", ORDERS + "?symbol=AAPL").json["orders"]] == mine[:1]
    rested = api("POST", ORDERS, order(symbol="BTCUSDT", price="20000", quantity="0.01")).json["id"]
    api.venue.change("BTC_USDT", is_active=False)
    assert results(api("GET", ORDERS + "?symbol=btcusdt")) == [rested]
    assert [one["id"] for one in api("DELETE", ORDERS + "?symbol=BTCUSDT").json["orders"]] == [rested]
    for method, path in (("GET", V1 + "trades/"), ("GET", V1 + "orderbook/")):
        assert api(method, path + "?symbol=AAPL").code == "unknown_market", path
    for method, path in (("GET", ORDERS), ("GET", V1 + "fills/"), ("DELETE", ORDERS)):
        assert api(method, path + "?symbol=NOPE").code == "unknown_market", path


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("?symbl=AAPL", None, "symbl"),
        ("?Symbol=AAPL", None, "Symbol"),
        ("?symbol=", None, "symbol"),
        ("", {"symbol": "AAPL"}, "symbol"),
        ("?symbol=AAPL", {"symbol": "BTC_USDT"}, "symbol"),
    ],
)
def test_a_slip_does_not_cancel_all(api, query, body, field):
    placed = api("POST", ORDERS, order()).json["id"]
    reply = api("DELETE", ORDERS + query, body)
    assert (reply.status, reply.code, reply.json["errors"][0]["field"]) == (400, "invalid", field)
    assert results(api("GET", ORDERS + "?status=ACTIVE"), "id") == [placed]
    assert api("DELETE", ORDERS, {}).json["cancelled"] == 1


def test_a_batch_answers_each_in_order(api):
    bodies = [order(client_order_id="a"), order(price="0"), order("SELL", "100", "2"), order(client_order_id="a"), "x"]
    rows = api("POST", ORDERS + "batch/", {"orders": bodies}).json["results"]
    assert [row["status"] for row in rows] == [201, 400, 422, 200, 400]
    assert rows[0]["order"]["id"] == rows[3]["order"]["id"]
    assert [rows[index]["error"]["code"] for index in (1, 2, 4)] == ["invalid", "self_trade", "invalid"]
    full = [order(price="90", quantity=1)] * 100
    assert {row["status"] for row in api("POST", ORDERS + "batch/", {"orders": full}).json["results"]} == {201}


@pytest.fixture
def listed(api):
    """Four orders of ann's: a filled buy, an open buy, an open sell, a cancelled buy of bitcoin. Ids by letter."""
    bodies = {
        "a": order(client_order_id="a"),
        "b": order(price="95"),
        "c": order("SELL", "105"),
        "d": {"symbol": "BTC_USDT", "side": "BUY", "price": "10", "quantity": "1"},
    }
    api.ids = {name: api("POST", ORDERS, body).json["id"] for name, body in bodies.items()}
    api("POST", ORDERS, order("SELL"), token=api.tokens["bob"])
    api("DELETE", f"{ORDERS}{api.ids['d']}/")
    return api


#: (query, who is listed)
FILTERS = [
    ("", "dcba"),
    ("?symbol=AAPL", "cba"),
    ("?symbol=btcusdt", "d"),
    ("?side=buy", "dba"),
    ("?status=active", "cb"),
    ("?status=FILLED", "a"),
    ("?status=CANCELLED", "d"),
    ("?client_order_id=a", "a"),
    ("?symbol=AAPL&side=BUY&status=OPEN", "b"),
    ("?created_after=2000-01-01T00:00:00Z", "dcba"),
    ("?created_after=2999-01-01T00:00:00+00:00", ""),
    ("?symbol=&page_size=2", "dc"),
    ("?page_size=2&page=2", "ba"),
    ("?page_size=3&cursor=", "dcb"),
]


def test_filters(listed):
    for query, names in FILTERS:
        for path in (ORDERS, ORDERS + "list/", "/api/orders", "/api/trading/orders/"):
            assert results(listed("GET", path + query)) == [listed.ids[name] for name in names], (path, query)


def test_pages_and_cursors_link_on(listed):
    for first in ("/api/orders?page_size=3", "/api/orders?page_size=3&cursor="):
        page = listed("GET", first).json
        link = page["next"].removeprefix("http://testserver")
        assert link.startswith("/api/orders?")
        last = listed("GET", link).json
        found = [row["id"] for row in page["results"] + last["results"]]
        assert found == [listed.ids[name] for name in "dcba"] and last["next"] is None
    assert listed("GET", ORDERS + "?page_size=9999").json["count"] == 4
    assert listed("GET", ORDERS + "?page_size=").json["count"] == 4


#: (query, what of it is counted, the count, what `next` goes on by), where two are counted without being asked to
COUNTS = [
    ("page_size=1", "LIMIT 3", None, "cursor="),
    ("page_size=1&status=ACTIVE", "LIMIT 3", 2, "page=2"),
    ("page_size=3&side=BUY", "LIMIT 3", None, None),
    ("page_size=1&page=1", "all", 4, "page=2"),
    ("page_size=1&cursor=", "nothing", None, "cursor="),
]


@pytest.mark.parametrize(("query", "counted", "count", "following"), COUNTS)
def test_a_long_list_is_counted_only_for_who_asks_for_a_page(listed, monkeypatch, query, counted, count, following):
    """All that an account ever did, or the whole tape, for the newest page of it."""
    monkeypatch.setattr(pagination, "COUNTED", 2)
    with CaptureQueriesContext(connection) as asked:
        page = Client().get(f"{ORDERS}?{query}", headers={"authorization": f"Bearer {listed.tokens['ann']}"}).json()
    counts = [one["sql"] for one in asked if "COUNT(" in one["sql"]]
    limited = ["LIMIT 3" if "LIMIT 3" in sql else "all" for sql in counts]
    assert limited == ([] if counted == "nothing" else [counted])
    assert page["count"] == count
    assert following in page["next"] if following else page["next"] is None


def test_listed_orders_are_the_orders_that_were_answered(listed):
    for row in listed("GET", ORDERS).json["results"]:
        assert row == listed("GET", f"{ORDERS}{row['id']}/").json


def test_assets_and_markets_are_public(api):
    assert results(api("GET", V1 + "currencies/", token=None), "symbol") == ["AAPL", "BTC", "USD", "USDT"]
    assert api("GET", "/api/assets").json == api("GET", "/api/currencies").json
    assert results(api("GET", V1 + "markets/", token=None), "symbol") == ["AAPL", "BTC_USDT"]


def test_options_names_the_methods(api):
    for path in ("orders/", "orders/1/", "markets/", "wallet/"):
        reply = api("OPTIONS", V1 + path)
        assert reply.status == 200 and ", ".join(reply.json["methods"]) == reply.headers["allow"]


def test_a_superuser_without_an_account_gets_one(api):
    user = api.venue.accounts["ann"].user.__class__.objects.create_superuser("root", password="x")
    reply = api("GET", V1 + "wallet/", token=token_of(type("Holder", (), {"user": user})))
    assert (reply.status, reply.json) == (200, {"balances": []})


#: (path, canonical form)
PATHS = [
    ("/", "/"),
    ("/health", "/health/"),
    ("/health/ready/", "/health/ready/"),
    ("/admin", "/admin/"),
    ("/static/a.css", "/static/a.css"),
    ("/api", "/api/"),
    ("/api/orders", "/api/v1/orders/"),
    ("/api/v1/orders", "/api/v1/orders/"),
    ("/api/trading/orders/7/cancel", "/api/v1/orders/7/cancel/"),
    ("/api/v1/trading/wallet", "/api/v1/wallet/"),
    ("/api/v1", "/api/v1/"),
    ("/api/v1/docs/", "/api/v1/docs/"),
    ("/api/trading/markets", "/api/v1/trading/markets/"),
    ("/api/docs", "/api/docs/"),
    ("/api/schema/", "/api/schema/"),
]


@pytest.mark.parametrize(("path", "form"), PATHS)
def test_one_form_of_each_path(path, form):
    assert canonical(path) == form and canonical(form) == form


def test_pages(api):
    landing = api("GET", "/", token=None)
    assert landing.status == 200 and b"http://testserver/api/register/" in landing.body and b"AAPL" in landing.body
    assert b"https://" not in landing.body and b"src=" not in landing.body
    docs = api("GET", "/api/docs", token=None)
    assert docs.status == 200 and b"//cdn" not in docs.body and b"https://" not in docs.body
    script = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
    assert script.encode() in docs.body
    assert api("GET", "/nowhere", token=None).status == 404


def test_health(api, monkeypatch):
    assert api("GET", "/health", token=None).json == {"status": "ok"}
    checks = api("GET", "/health/ready", token=None).json["checks"]
    assert checks == {"database": "ok", "sequencer": "ok", "books": "ok", "feeds": "none", "redis": "ok"}
    source = PriceSource.objects.create(market=Market.objects.get(symbol="AAPL"), provider_symbol="AAPL@100")
    waiting = api("GET", "/health/ready", token=None)
    assert (waiting.status, waiting.json["checks"]["feeds"]) == (200, "1 of 1 stale")  # the venue trades on
    quotes = {"bid": 99, "ask": 101, "mid": 100, "quoted_at": clock.now(), "received_at": clock.now()}
    Quote.objects.create(market=source.market, stale_at=clock.now() + timedelta(minutes=1), **quotes)
    assert api("GET", "/health/ready", token=None).json["checks"]["feeds"] == "ok"
    monkeypatch.setattr("config.readiness.QUEUE_COMMANDS", -1)
    down = api("GET", "/health/ready/", token=None)
    assert (down.status, down.json["status"], down.headers["retry-after"]) == (503, "unavailable", "1")
