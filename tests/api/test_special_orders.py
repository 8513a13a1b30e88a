"""Triggered orders, icebergs and lists over REST."""

import pytest
from django.db import OperationalError

from exchange import orders

ORDERS, LISTS = "/api/orders/", "/api/orders/lists/"


@pytest.fixture
def traded(api):
    """AAPL was traded at 100; bob bids at 99 and asks 101."""
    venue = api.venue
    venue.order("bob SELL 1 AAPL @ 100")
    venue.order("ann BUY 1 AAPL @ 100")
    venue.order("bob BUY 5 AAPL @ 99")
    venue.order("bob SELL 5 AAPL @ 101")
    return api


def order(**terms) -> dict:
    return {"symbol": "AAPL", "side": "SELL", "quantity": "1", **terms}


@pytest.mark.parametrize(
    ("terms", "shown"),
    [
        ({"type": "stop_loss", "stop_price": "95"}, {"status": "PENDING", "stop_price": "95", "price": "85.5"}),
        ({"type": "STOP_LIMIT", "stop_price": 95, "price": 94}, {"status": "PENDING", "price": "94"}),
        ({"type": "TAKE_PROFIT", "stop_price": "105"}, {"status": "PENDING", "stop_price": "105"}),
        ({"type": "TAKE_PROFIT_LIMIT", "stop_price": "105", "price": "104"}, {"status": "PENDING"}),
        ({"type": "TRAILING_STOP", "trail_amount": "4"}, {"stop_price": "96", "trail_amount": "4"}),
        ({"type": "TRAILING_STOP", "trail_percent": "2.5"}, {"stop_price": "97.5", "trail_percent": "2.5"}),
        ({"price": "105", "time_in_force": "GTD", "expires_at": "2100-01-01T00:00:00Z"},
         {"status": "OPEN", "expires_at": "2100-01-01T00:00:00.000000Z"}),
    ],
)  # fmt: skip
def test_placed_and_read(traded, terms, shown):
    placed = traded("POST", ORDERS, order(**terms))
    assert placed.status == 201, placed.json
    assert {name: placed.json[name] for name in shown} == shown
    assert traded("GET", f"{ORDERS}{placed.json['id']}/").json == placed.json


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"type": "STOP_LOSS", "stop_price": "101"}, 422, "stop_would_trigger"),
        ({"type": "TRAILING_STOP", "trail_percent": "0"}, 400, "invalid"),
        ({"type": "TRAILING_STOP", "trail_percent": "100"}, 422, "bad_trail"),
        ({"type": "TRAILING_STOP"}, 400, "invalid"),
        ({"type": "STOP_LIMIT", "stop_price": "95"}, 400, "invalid"),
        ({"price": "105", "time_in_force": "GTD"}, 400, "invalid"),
        ({"price": "105", "time_in_force": "GTD", "expires_at": "2000-01-01T00:00:00Z"}, 422, "expiry_in_past"),
        ({"price": "105", "expires_at": "tomorrow"}, 400, "invalid"),
    ],
)
def test_refused(traded, terms, status, code):
    reply = traded("POST", ORDERS, order(**terms))
    assert (reply.status, reply.json["code"]) == (status, code)


def test_an_expiry_needs_the_time_in_force_that_goes_with_it(traded):
    reply = traded("POST", ORDERS, order(price="105", expires_at="2100-01-01T00:00:00Z"))
    assert (reply.status, reply.json["detail"]) == (400, "expires_at is for time_in_force GTD.")


def oco(**terms) -> dict:
    return {
        "kind": "oco", "symbol": "AAPL", "side": "sell", "quantity": "1", "take_profit_price": "105",
        "stop_price": "95", **terms,
    }  # fmt: skip


def test_a_list_is_placed_read_and_cancelled(traded):
    placed = traded("POST", LISTS, oco(client_order_id="both"))
    assert placed.status == 201, placed.json
    assert [(one["list_role"], one["status"]) for one in placed.json["orders"]] == [
        ("TAKE_PROFIT", "OPEN"), ("STOP_LOSS", "PENDING"),
    ]  # fmt: skip
    again = traded("POST", LISTS, oco(client_order_id="both"))
    assert (again.status, again.headers["idempotent-replayed"], again.json) == (200, "true", placed.json)
    one = f"{LISTS}{placed.json['list_id']}/"
    assert traded("GET", one).json == placed.json
    assert traded("GET", LISTS).json["results"] == [placed.json]
    cancelled = traded("DELETE", one)
    assert (cancelled.status, cancelled.json["status"]) == (200, "DONE")
    assert traded("GET", one, token=traded.tokens["bob"]).status == 404


@pytest.mark.parametrize(
    ("terms", "statuses"),
    [
        ({"type": "MARKET"}, ["FILLED", "OPEN", "PENDING"]),
        ({"price": "100", "time_in_force": "IOC"}, ["EXPIRED"] * 3),
        ({"price": "100"}, ["OPEN", "PENDING", "PENDING"]),
    ],
)
def test_the_answer_to_a_bracket_tells_what_became_of_its_exits(traded, terms, statuses):
    placed = traded("POST", LISTS, oco(kind="BRACKET", side="BUY", **terms)).json
    assert [(one["list_role"], one["status"]) for one in placed["orders"]] == list(
        zip(["ENTRY", "TAKE_PROFIT", "STOP_LOSS"], statuses, strict=True)
    )
    assert traded("GET", f"{LISTS}{placed['list_id']}/").json == placed


def test_a_bracket_whose_exits_cannot_be_read_back_is_placed_all_the_same(traded, monkeypatch):
    def cut(list_id):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(orders, "stored_list", cut)
    placed = traded("POST", LISTS, oco(kind="BRACKET", side="BUY", type="MARKET"))
    assert (placed.status, [one["status"] for one in placed.json["orders"]]) == (201, ["FILLED", "PENDING", "PENDING"])


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"stop_price": "101"}, 422, "stop_would_trigger"),
        ({"take_profit_price": "99"}, 422, "would_take"),
        ({"price": "100"}, 400, "invalid"),
        ({"kind": "BRACKET", "side": "BUY"}, 400, "invalid"),
        ({"kind": "BRACKET", "side": "BUY", "price": "99", "stop_price": "100"}, 422, "stop_would_trigger"),
        ({"kind": "BRACKET", "side": "BUY", "price": "94", "stop_price": "95"}, 422, "bad_list_prices"),
        ({"kind": "TRIO"}, 400, "invalid"),
    ],
)
def test_lists_refused(traded, terms, status, code):
    reply = traded("POST", LISTS, oco(**terms))
    assert (reply.status, reply.json["code"]) == (status, code), reply.json


def test_replace(traded):
    old = traded("POST", ORDERS, order(price="105")).json
    path = f"{ORDERS}{old['id']}/replace/"
    new = traded("POST", path, order(price="104", client_order_id="new"))
    assert (new.status, new.json["price"], new.json["status"]) == (201, "104", "OPEN")
    assert traded("GET", f"{ORDERS}{old['id']}/").json["status"] == "CANCELLED"
    assert traded("POST", path, order(price="104", client_order_id="new")).headers["idempotent-replayed"] == "true"
    assert traded("POST", path, order(price="103")).json["code"] == "order_not_open"
