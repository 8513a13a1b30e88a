"""The lean way and the stock way give the same answer: one table of requests, run both ways."""

import re
import time
from types import SimpleNamespace

from django.db import OperationalError
from rest_framework_simplejwt.tokens import AccessToken

from accounts import api_keys, authentication
from accounts.models import User
from exchange import orders
from marketdata import throttling
from marketdata.throttling import windows

RELEVANT = (
    "content-type", "allow", "vary", "retry-after", "ratelimit-policy", "ratelimit", "idempotent-replayed",
    "www-authenticate",
    "cache-control", "content-security-policy", "x-frame-options", "x-content-type-options", "referrer-policy",
    "cross-origin-opener-policy", "strict-transport-security",
)  # fmt: skip
ORDER = {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"}
ORDERS, BATCH, BOOK = "/api/v1/orders/", "/api/v1/orders/batch/", "/api/v1/orderbook/"
MINE, THEIRS = "{mine}", "{theirs}"


def order(**terms):
    return {name: value for name, value in {**ORDER, **terms}.items() if value is not ...}


#: name: (method, target, body, headers and other terms of the request, status)
CASES = {
    "place": ("POST", ORDERS, order(), {}, 201),
    "place, other forms": ("POST", "/api/orders", order(side="sell", type="limit", price=101.5, quantity=3), {}, 201),
    "place under trading": ("POST", "/api/trading/orders", order(), {}, 201),
    "place with all fields": (
        "POST", ORDERS,
        order(type="LIMIT", time_in_force="gtc", post_only=True, self_trade_prevention="expire_both", price=100),
        {}, 201,
    ),
    "place by amount": ("POST", ORDERS, order(type="MARKET", price=..., quantity=..., quote_quantity="500"), {}, 422),
    "exponent": ("POST", ORDERS, order(price="1e2"), {}, 201),
    "number": ("POST", ORDERS, b'{"symbol":"AAPL","side":"BUY","price":100.00,"quantity":5.0}', {}, 201),
    "chunks": (
        "POST", ORDERS, None, {"chunks": [b'{"symbol":"AAPL","side":"BUY",', b'"price":"100","quantity":"5"}']}, 201,
    ),
    "other content type": ("POST", ORDERS, order(), {"headers": {"Content-Type": "text/plain"}}, 415),
    "content type with charset": (
        "POST", ORDERS, order(), {"headers": {"Content-Type": "Application/JSON; charset=utf-8"}}, 201,
    ),
    "no body": ("POST", ORDERS, None, {}, 400),
    "empty object": ("POST", ORDERS, {}, {}, 400),
    "a list": ("POST", ORDERS, [1], {}, 400),
    "null": ("POST", ORDERS, b"null", {}, 400),
    "broken JSON": ("POST", ORDERS, b'{"symbol": ', {}, 400),
    "name twice": ("POST", ORDERS, b'{"symbol":"AAPL","side":"BUY","side":"SELL","price":"1","quantity":"1"}', {}, 400),
    "NaN": ("POST", ORDERS, b'{"symbol":"AAPL","side":"BUY","price":NaN,"quantity":1}', {}, 400),
    "NUL": ("POST", ORDERS, b'{"symbol":"AA\\u0000PL","side":"BUY","price":1,"quantity":1}', {}, 400),
    "typo": ("POST", ORDERS, order(quantty="5"), {}, 400),
    "unknown market": ("POST", ORDERS, order(symbol="NOPE"), {}, 404),
    "off tick": ("POST", ORDERS, order(price="100.001"), {}, 422),
    "too expensive": ("POST", ORDERS, order(quantity="1000000"), {}, 422),
    "huge": ("POST", ORDERS, order(quantity="1" + "0" * 30), {}, 422),
    "no token": ("POST", ORDERS, order(), {"token": None}, 401),
    "bad token": ("POST", ORDERS, order(), {"token": "nonsense"}, 401),
    "other scheme": ("POST", ORDERS, order(), {"token": None, "headers": {"Authorization": "Basic YTpi"}}, 401),
    "too large": ("POST", ORDERS, b" " * 1_000_001, {}, 413),
    "too large in chunks": ("POST", ORDERS, None, {"chunks": [b" " * 300_000] * 4}, 413),
    "own request id": ("POST", ORDERS, order(), {"headers": {"X-Request-ID": "mine-7"}}, 201),
    "foreign host": ("POST", ORDERS, order(), {"headers": {"Host": "elsewhere.example"}}, 400),
    "Accept html": ("POST", ORDERS, order(), {"headers": {"Accept": "text/html"}}, 201),
    "batch": (
        "POST", BATCH, {"orders": [order(), order(price="0"), order(symbol="NOPE"), 7, order(side="SELL")]}, {}, 200,
    ),
    "empty batch": ("POST", BATCH, {"orders": []}, {}, 400),
    "large batch": ("POST", BATCH, {"orders": [order()] * 101}, {}, 400),
    "amend": ("PUT", f"/api/v1/orders/{MINE}/", {"quantity": "3"}, {}, 200),
    "amend partly": ("PATCH", f"/api/orders/{MINE}", {"price": "99"}, {}, 200),
    "amend nothing": ("PUT", f"/api/v1/orders/{MINE}/", {}, {}, 400),
    "amend another's": ("PUT", f"/api/v1/orders/{THEIRS}/", {"quantity": "3"}, {}, 404),
    "cancel": ("DELETE", f"/api/v1/orders/{MINE}/", None, {}, 200),
    "cancel with a body": ("DELETE", f"/api/v1/orders/{MINE}/", b"not json", {}, 200),
    "cancel by POST": ("POST", f"/api/orders/{MINE}/cancel", None, {}, 200),
    "cancel another's": ("DELETE", f"/api/v1/orders/{THEIRS}/", None, {}, 404),
    "cancel one that cannot be": ("DELETE", f"/api/v1/orders/{2**70}/", None, {}, 404),
    "cancel zero": ("DELETE", "/api/v1/orders/0/", None, {}, 404),
    "book": ("GET", f"{BOOK}?symbol=AAPL", None, {"token": None}, 200),
    "book by path": ("GET", "/api/orderbook/aaplusd?depth=1", None, {}, 200),
    "book, bad token": ("GET", f"{BOOK}?symbol=AAPL", None, {"token": "nonsense"}, 401),
    "book without symbol": ("GET", BOOK, None, {}, 400),
    "book too deep": ("GET", f"{BOOK}?symbol=AAPL&depth=1001", None, {}, 400),
    "book of nothing": ("GET", f"{BOOK}NO%20PE/", None, {}, 404),
}  # fmt: skip

#: Requests about which something is unusual, and which therefore never take the lean way.
STOCK_ONLY = {
    "other content type", "no token", "bad token", "other scheme", "foreign host", "book, bad token",
}  # fmt: skip


def exchange(api, case) -> tuple:
    """The case's answer on a book with one own and one foreign order, with what differs from time to time taken out."""
    method, target, body, terms, _ = case
    api.venue.order("ann BUY 9 AAPL @ 98")
    mine, theirs = api.venue.order("ann BUY 9 AAPL @ 98"), api.venue.order("bob BUY 2 AAPL @ 97")
    target = target.format(mine=mine["id"], theirs=theirs["id"])
    reply = api(method, target, body, **terms)
    for account in api.venue.accounts.values():
        orders.cancel_all(account_id=account.id)
    text = re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", reply.body.decode())
    text = re.sub(r'("id"|"sequence"|"request_id"|"trade_id"):("[^"]*"|\d+)', r"\1:<number>", text)
    text = re.sub(rf"(order |orders/)({mine['id']}|{theirs['id']})\b", r"\1<id>", text)
    headers = {name: re.sub(r"[rt]=\d+", "", reply.headers[name]) for name in RELEVANT if name in reply.headers}
    return reply.status, headers, text


def test_one_answer(api, settings):
    different = {}
    for name, case in CASES.items():
        settings.LEAN, api.stock_requests = True, 0
        lean, went_stock = exchange(api, case), api.stock_requests > 0
        settings.LEAN = False
        stock = exchange(api, case)
        if lean != stock or lean[0] != case[-1] or went_stock != (name in STOCK_ONLY):
            different[name] = (case[-1], went_stock, lean, stock)
    assert not different


def test_throttled_both_ways(api, settings, monkeypatch):
    settings.RATE_LIMIT_USER = "3/60"
    monkeypatch.setattr(throttling, "time", SimpleNamespace(monotonic=lambda: 0.0))  # a busy machine takes seconds
    answers = []
    for settings.LEAN in (True, False):
        windows.clear()
        *_, last = [api("POST", ORDERS, order()) for _ in range(4)]
        answers.append((last.status, last.code, last.headers["ratelimit"], last.headers["retry-after"]))
    assert answers[0] == answers[1] == (429, "throttled", '"default";r=0;t=60', "60")


def test_callers_who_cannot_be_looked_up_both_ways(api, settings, monkeypatch, caplog):
    """The database is away, and no cache knows the token or the key. The log has a line of each."""

    def lose(*arguments):
        raise OperationalError("::1 refused it\n\tIs the server running?\n127.0.0.1 has too many clients already\n")

    token = str(AccessToken.for_user(User.objects.get(username="ann")))
    signed = {"X-API-KEY": "k", "X-API-TIMESTAMP": str(int(time.time() * 1000)), "X-API-SIGN": "s"}
    monkeypatch.setattr(authentication, "_main_account", lose)
    monkeypatch.setattr(api_keys, "_load", lose)
    for settings.LEAN in (True, False):
        for terms in ({"token": token}, {"token": None, "headers": signed}):
            reply = api("POST", ORDERS, order(), **terms)
            assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "1"), terms
    told = [record.getMessage() for record in caplog.records if record.name == "marketdata.api.problems"]
    reasons = ": ::1 refused it; 127.0.0.1 has too many clients already"
    assert len(told) == 4 and all(line.endswith(reasons) for line in told)


def test_replay_both_ways(api, settings):
    body = order(client_order_id="one")
    first = api("POST", ORDERS, body)
    for settings.LEAN in (True, False):
        again = api("POST", ORDERS, body)
        assert (again.status, again.headers["idempotent-replayed"], again.json["id"]) == (200, "true", first.json["id"])
        assert api("POST", ORDERS, order(client_order_id="one", quantity="6")).code == "client_order_id_reused"


def test_origin_goes_the_stock_way(api, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://page.example"]
    reply = api("GET", f"{BOOK}?symbol=AAPL", headers={"Origin": "https://page.example"})
    assert reply.headers["access-control-allow-origin"] == "https://page.example" and api.stock_requests == 1


def test_a_page_may_ask_before_it_sends_its_headers(api, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://page.example"]
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    reply = api("OPTIONS", ORDERS, headers=asking, token=None)
    allowed = set(reply.headers["access-control-allow-headers"].split(", "))
    assert reply.status == 200 and {"authorization", "content-type", "idempotency-key"} <= allowed


def test_behind_tls_only_https_is_lean(api, settings):
    settings.BEHIND_TLS = True
    api("GET", f"{BOOK}?symbol=AAPL", headers={"X-Forwarded-Proto": "https"})
    assert api.stock_requests == 0
    api("GET", f"{BOOK}?symbol=AAPL")
    assert api.stock_requests == 1
