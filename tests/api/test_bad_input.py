"""What bad input gets: the right status and code, nothing half done. Requests in, answers out."""

from decimal import Decimal

import pytest

from accounts.models import Balance
from exchange.models import Order

ORDER = {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"}
ORDERS = "/api/v1/orders/"
HUGE = "1" + "0" * 30


def order(**terms):
    return {name: value for name, value in {**ORDER, **terms}.items() if value is not ...}


def raw(price: str, quantity: str = "5") -> bytes:
    return f'{{"symbol":"AAPL","side":"BUY","price":{price},"quantity":{quantity}}}'.encode()


#: (body, status, code, the first error's field and code)
BODIES = [
    (b"", 400, "invalid", ("symbol", "required")),
    (b"{", 400, "malformed_json", None),
    (b"{'symbol': 1}", 400, "malformed_json", None),
    (b"\xff\xfe", 400, "malformed_json", None),
    (b'{"a":' * 100_000, 400, "malformed_json", None),
    (b"[]" * 2, 400, "malformed_json", None),
    (b'{"price": 1' + b"0" * 5000 + b"}", 400, "malformed_json", None),
    (raw("1e99999999999999999999"), 400, "malformed_json", None),
    (raw("NaN"), 400, "malformed_json", None),
    (raw("Infinity"), 400, "malformed_json", None),
    (raw("-Infinity"), 400, "malformed_json", None),
    (b'{"symbol":"AAPL","symbol":"AAPL"}', 400, "malformed_json", None),
    (b'{"symbol":"\\ud800","side":"BUY","price":1,"quantity":1}', 400, "malformed_json", None),
    (b'{"\\u0000":1}', 400, "malformed_json", None),
    (b'"text"', 400, "invalid", ("", "invalid")),
    (b"[]", 400, "invalid", ("", "invalid")),
    (order(symbol=...), 400, "invalid", ("symbol", "required")),
    (order(symbol=5), 400, "invalid", ("symbol", "invalid")),
    (order(symbol=["AAPL"]), 400, "invalid", ("symbol", "invalid")),
    (order(symbol=""), 400, "invalid", ("symbol", "blank")),
    (order(symbol=None), 400, "invalid", ("symbol", "null")),
    (order(symbol="A" * 33), 400, "invalid", ("symbol", "max_length")),
    (order(symbol="NOPE"), 404, "unknown_market", None),
    (order(side="HOLD"), 400, "invalid", ("side", "invalid_choice")),
    (order(side=1), 400, "invalid", ("side", "invalid_choice")),
    (order(side={}), 400, "invalid", ("side", "invalid_choice")),
    (order(type="STOP"), 400, "invalid", ("type", "invalid_choice")),
    (order(stop_price="90"), 400, "invalid", ("stop_price", "invalid")),
    (order(price=...), 400, "invalid", ("price", "invalid")),
    (order(price=None), 400, "invalid", ("price", "invalid")),
    (order(quantity=...), 400, "invalid", ("quantity", "invalid")),
    (order(price="abc"), 400, "invalid", ("price", "invalid_number")),
    (order(price=""), 400, "invalid", ("price", "invalid_number")),
    (order(price=" 100"), 400, "invalid", ("price", "invalid_number")),
    (order(price="1_000"), 400, "invalid", ("price", "invalid_number")),
    (order(price="1,5"), 400, "invalid", ("price", "invalid_number")),
    (order(price="١٠٠"), 400, "invalid", ("price", "invalid_number")),
    (order(price="NaN"), 400, "invalid", ("price", "invalid_number")),
    (order(price="Infinity"), 400, "invalid", ("price", "invalid_number")),
    (order(price="0x64"), 400, "invalid", ("price", "invalid_number")),
    (order(price=True), 400, "invalid", ("price", "invalid_number")),
    (order(price=["100"]), 400, "invalid", ("price", "invalid_number")),
    (order(price="1e999"), 400, "invalid", ("price", "number_too_long")),
    (order(price="1e-999"), 400, "invalid", ("price", "number_too_long")),
    (order(price="9" * 61), 400, "invalid", ("price", "invalid_number")),
    (raw("9" * 70), 400, "invalid", ("price", "number_too_long")),
    (order(price="0"), 400, "invalid", ("price", "must_be_positive")),
    (order(price="-0"), 400, "invalid", ("price", "must_be_positive")),
    (order(price="-100"), 400, "invalid", ("price", "must_be_positive")),
    (raw("-1"), 400, "invalid", ("price", "must_be_positive")),
    (order(quantity="-1"), 400, "invalid", ("quantity", "must_be_positive")),
    (order(quantity=0), 400, "invalid", ("quantity", "must_be_positive")),
    (order(price="100.001"), 422, "bad_tick_size", None),
    (order(price="100." + "0" * 30 + "1"), 422, "bad_tick_size", None),
    (raw("100.000000000000000000001"), 422, "bad_tick_size", None),
    (order(quantity="1.5"), 422, "bad_lot_size", None),
    (order(quantity=HUGE), 422, "quantity_out_of_range", None),
    (raw("100", HUGE), 422, "quantity_out_of_range", None),
    (order(price=HUGE), 422, "quantity_out_of_range", None),
    (order(price="200"), 422, "price_out_of_band", None),
    (order(quantity="999999"), 422, "insufficient_funds", None),
    (order(type="MARKET", price=...), 422, "no_liquidity", None),
    (order(type="MARKET"), 400, "invalid", ("price", "invalid")),
    (order(type="MARKET", price=..., quantity=...), 400, "invalid", ("quantity", "invalid")),
    (order(type="MARKET", price=..., post_only=True), 400, "invalid", ("post_only", "invalid")),
    (order(quote_quantity="5"), 400, "invalid", ("quote_quantity", "invalid")),
    (order(post_only="maybe"), 400, "invalid", ("post_only", "invalid")),
    (order(post_only=1), 400, "invalid", ("post_only", "invalid")),
    (order(time_in_force="GTX"), 400, "invalid", ("time_in_force", "invalid_choice")),
    (order(time_in_force="FOK"), 422, "cannot_fill", None),
    (order(self_trade_prevention="NONE"), 400, "invalid", ("self_trade_prevention", "invalid_choice")),
    (order(client_order_id=""), 400, "invalid", ("client_order_id", "blank")),
    (order(client_order_id="x" * 65), 400, "invalid", ("client_order_id", "max_length")),
    (order(client_order_id="a\nb"), 400, "invalid", ("client_order_id", "not_printable")),
    (order(client_order_id=7), 400, "invalid", ("client_order_id", "invalid")),
    (order(quantiy="5"), 400, "invalid", ("quantiy", "unknown_field")),
    (order(account_id=1), 400, "invalid", ("account_id", "unknown_field")),
]


def test_every_bad_body_is_refused_and_leaves_nothing(api):
    api.venue.change("AAPL", reference_price=Decimal(100), max_quantity=Decimal(1_000_000))
    before = list(Balance.objects.order_by("pk").values())
    wrong = []
    for body, status, code, first in BODIES:
        reply = api("POST", ORDERS, body)
        problem = reply.json
        errors = problem.get("errors") or [{}]
        found = (errors[0].get("field"), errors[0].get("code")) if first else None
        if (reply.status, problem.get("code"), found) != (status, code, first):
            wrong.append((body if len(str(body)) < 200 else "…", reply.status, problem))
    assert not wrong, "\n".join(map(str, wrong))
    assert not Order.objects.exists() and list(Balance.objects.order_by("pk").values()) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("POST", ORDERS, b"[]", "Must be a JSON object: {…}."),
        ("GET", ORDERS + "?page=2", None, "There is no such page: the last one has a `next` of null."),
        ("GET", "/api/v1/portfolio/history/?interval=5m", None, "interval: Must be one of 1h, 1d."),
    ],
)
def test_a_detail_says_what_would_do(api, method, path, body, detail):
    assert api(method, path, body).json["detail"] == detail


def test_a_problem_says_everything(api):
    reply = api("POST", ORDERS, order(quantiy="5", price="0"), headers={"X-Request-ID": "mine-1"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] == "mine-1"
    assert reply.json == {
        "type": "/api/docs/#invalid",
        "title": "Malformed request",
        "status": 400,
        "detail": "price: Must be above zero.",
        "code": "invalid",
        "errors": [
            {"field": "price", "code": "must_be_positive", "detail": "Must be above zero."},
            {"field": "quantiy", "code": "unknown_field", "detail": "Unknown field. Did you mean quantity?"},
        ],
        "request_id": "mine-1",
    }


def test_a_strange_request_id_is_replaced(api):
    for sent in ("a b", "x" * 65, "é", ""):
        assert api("GET", "/api/v1/markets/", headers={"X-Request-ID": sent}).headers["x-request-id"] != sent


def test_the_band_names_price_and_range(api):
    api.venue.change("AAPL", reference_price=Decimal(100))
    detail = api("POST", ORDERS, order(price="150")).json["detail"]
    assert "market price of AAPL is 100" in detail and "90 to 110" in detail


def test_halted_and_cancel_only(api):
    mine = api("POST", ORDERS, ORDER).json["id"]
    for state, placing, cancelling in (("HALTED", "market_halted", 422), ("CLOSED", "market_closed", 200)):
        api.venue.change("AAPL", status=state)
        assert api("POST", ORDERS, ORDER).code == placing
        assert api("PUT", f"{ORDERS}{mine}/", {"quantity": "4"}).status == 422
        assert api("DELETE", f"{ORDERS}{mine}/").status == cancelling


#: What stands for the list of a batch, and the code of what is wrong with it.
BATCHES = [
    (None, "null"),
    ("orders", "not_a_list"),
    ({"0": ORDER}, "not_a_list"),
    ([], "min_length"),
    ([ORDER] * 101, "max_length"),
]


@pytest.mark.parametrize("orders, code", BATCHES)
def test_a_batch_is_a_list_of_some_orders(api, orders, code):
    reply = api("POST", "/api/v1/orders/batch/", {"orders": orders})
    assert (reply.status, reply.json["errors"][0]["field"], reply.json["errors"][0]["code"]) == (400, "orders", code)
    assert not Order.objects.exists()


#: (method, target, body, status, code)
ROUTES = [
    ("GET", "/api/v1/nothing/", None, 404, "not_found"),
    ("GET", "/api/", None, 404, "not_found"),
    ("POST", "/api/v2/orders/", ORDER, 404, "not_found"),
    ("GET", "/api/trading/markets", None, 404, "not_found"),
    ("DELETE", "/api/v1/markets/", None, 405, "method_not_allowed"),
    ("PUT", "/api/v1/orders/", ORDER, 405, "method_not_allowed"),
    ("POST", "/api/v1/orders/list/", ORDER, 405, "method_not_allowed"),
    ("GET", "/api/v1/orders/999/", None, 404, "not_found"),
    ("GET", f"/api/v1/orders/{HUGE}/", None, 404, "not_found"),
    ("GET", "/api/v1/orders/x/", None, 404, "not_found"),
    ("GET", "/api/v1/orders/?symbol=NOPE", None, 404, "unknown_market"),
    ("GET", "/api/v1/orders/?side=up", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?status=gone", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?created_after=yesterday", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?created_after=0001-01-01T00:00:00%2B23:59", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page=2", None, 404, "not_found"),
    ("GET", f"/api/v1/orders/?page={HUGE}", None, 404, "not_found"),
    ("GET", f"/api/v1/orders/?page={'9' * 5000}", None, 404, "not_found"),
    ("GET", "/api/v1/ledger/?page=99", None, 404, "not_found"),
    *(
        ("GET", f"/api/v1/{path}?page={page}", None, 400, "invalid")
        for path in ("orders/", "ledger/", "markets/", "tickers/", "holdings/", "positions/")
        for page in ("0", "-1", "abc", "1.5", "1_0", "%D9%A1")
    ),
    ("GET", "/api/v1/orders/?cursor=nonsense", None, 400, "invalid"),
    ("DELETE", "/api/v1/orders/?symbol=NOPE", None, 404, "unknown_market"),
    ("GET", "/api/v1/fills/?order=x", None, 400, "invalid"),
    ("GET", f"/api/v1/fills/?order={HUGE}", None, 400, "invalid"),
    ("GET", "/api/v1/trades/0/", None, 404, "not_found"),
    ("GET", f"/api/v1/trades/{HUGE}/", None, 404, "not_found"),
    ("GET", "/api/v1/trades/?symbol=%00", None, 400, "invalid"),
    ("GET", "/api/v1/markets/NOPE/", None, 404, "unknown_market"),
    ("GET", "/api/v1/markets/%00/", None, 404, "unknown_market"),
    ("GET", "/api/v1/orderbook/?symbol=AAPL&depth=0", None, 400, "invalid"),
    ("GET", "/api/v1/orderbook/?symbol=AAPL&depth=1e3", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page_size=0", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page_size=-1&cursor=", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page_size=abc", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page_size=1_0", None, 400, "invalid"),
    ("GET", "/api/v1/orders/?page_size=%D9%A5", None, 400, "invalid"),
    ("GET", "/api/v1/orders/lists/?page_size=0", None, 400, "invalid"),
    ("GET", "/api/v1/ledger/?page_size=1.5", None, 400, "invalid"),
    ("GET", "/api/v1/fills/?page_size=ten", None, 400, "invalid"),
    ("GET", "/api/v1/tickers/?page_size=0", None, 400, "invalid"),
    ("GET", "/api/v1/markets/?page_size=0", None, 400, "invalid"),
    ("GET", "/api/v1/trades/?symbol=AAPL&page_size=0", None, 400, "invalid"),
    ("GET", f"/api/v1/events/?after={HUGE}", None, 400, "invalid"),
    ("GET", "/api/v1/events/?after=-1", None, 400, "invalid"),
    ("POST", "/api/v1/wallet/", {"asset": "USD", "amount": "0"}, 400, "invalid"),
    ("POST", "/api/v1/wallet/", {"asset": "USD", "amount": "NaN"}, 400, "invalid"),
    ("POST", "/api/v1/wallet/", {"asset": "USD", "amount": HUGE}, 422, "faucet_limit"),
    ("POST", "/api/v1/wallet/withdraw/", {"asset": "USD", "amount": HUGE}, 400, "invalid"),
    ("POST", "/api/v1/wallet/", {"asset": "USD", "amount": "0.000000001"}, 400, "invalid"),
    ("POST", "/api/v1/wallet/", {"asset": "NOPE", "amount": "1"}, 404, "not_found"),
    ("POST", "/api/v1/wallet/", {"asset": "USD", "amount": "10000001"}, 422, "faucet_limit"),
    ("POST", "/api/v1/wallet/withdraw/", {"asset": "USD", "amount": "10000001"}, 422, "insufficient_funds"),
    ("POST", "/api/v1/register/", {"username": "ann b", "password": "correct-horse-battery"}, 400, "invalid"),
    ("POST", "/api/v1/register/", {"username": "x", "password": "short"}, 400, "invalid"),
    ("POST", "/api/v1/register/", {"username": "ANN", "password": "correct-horse-battery"}, 409, "username_taken"),
    ("POST", "/api/v1/register/", {"username": "x", "password": "x" * 300}, 400, "invalid"),
    ("POST", "/api/v1/register/", {"username": "x", "password": "y" * 20, "is_staff": True}, 400, "invalid"),
    (
        "POST",
        "/api/v1/register/",
        {"username": "x", "password": "correct-horse-battery", "email": "no"},
        400,
        "invalid",
    ),
    ("POST", "/api/v1/token/refresh/", {"refresh": "nonsense"}, 401, "token_invalid"),
    ("POST", "/api/v1/token/blacklist/", {}, 400, "invalid"),
]


def test_every_route_refuses_what_it_cannot_take(api):
    replies = [(case, api(*case[:3])) for case in ROUTES]
    wrong = [(case, reply) for case, reply in replies if (reply.status, reply.json.get("code")) != case[3:]]
    assert not wrong, "\n".join(map(str, wrong))
    assert all("ratelimit" in reply.headers for _, reply in replies)


def test_a_page_that_is_none_is_named(api):
    (error,) = api("GET", "/api/v1/orders/?page=abc").json["errors"]
    assert error == {"field": "page", "code": "invalid", "detail": "Must be a whole number above zero."}
    assert [api("GET", f"/api/v1/orders/?page={page}").status for page in ("", "1", "01", "last")] == [200] * 4


def test_a_batch_of_ten_thousand(api):
    reply = api("POST", "/api/v1/orders/batch/", {"orders": [{"symbol": "AAPL"}] * 10_000})
    assert (reply.status, reply.json["errors"][0]["field"]) == (400, "orders")
    assert not Order.objects.exists()


def test_ten_megabytes(api, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://page.example"]
    for terms in ({"body": b"x" * 10_000_000}, {"chunks": [b"x" * 100_000] * 100}):
        for origin, may_read in ((None, None), ("https://page.example", "https://page.example"), ("https://x.y", None)):
            reply = api("POST", ORDERS, **terms, headers={"Origin": origin} if origin else {})
            assert (reply.status, reply.code, reply.headers["connection"]) == (413, "body_too_large", "close")
            assert reply.headers.get("access-control-allow-origin") == may_read


def test_too_large_without_the_asgi_door(api, client):
    """Under another server the middleware holds the limit, by the header."""
    reply = client.post(ORDERS, b"x" * 1_000_001, content_type="application/json")
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")


def test_a_bug_leaks_nothing(api, monkeypatch, caplog):
    def broken(**_):
        raise RuntimeError("the secret sauce")

    monkeypatch.setattr("exchange.validation.place_command", broken)
    for headers in ({}, {"Origin": "https://page.example"}):
        reply = api("POST", ORDERS, ORDER, headers={**headers, "X-Request-ID": "bug-1"})
        assert (reply.status, reply.code) == (500, "internal_error")
        assert b"sauce" not in reply.body and b"bug-1" in reply.body
    assert caplog.text.count("request bug-1 failed") == 2
