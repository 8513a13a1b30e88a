"""The OpenAPI document: complete, valid, and true."""

import json
from decimal import Decimal

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator
from rest_framework.views import APIView

from accounts import transfers
from config import openapi, pagination, urls
from exchange.api import shapes
from marketdata.api.shapes import AssetShape, MarketShape
from marketdata.refusals import Refusal
from tests.api.test_trading import ORDERS, V1, order
from tests.margin.conftest import MarginVenue
from tests.margin.test_settlement import trade


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(document):
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid_and_made_without_a_warning(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


def test_every_route_is_in_it_once(document):
    routes = {f"/api/v1/{route.pattern}" for route in urls.api}
    written = {path.replace("{", "<").replace("}", ">") for path in document["paths"]}
    plain = {route.replace("<int:", "<").replace("<str:", "<") for route in routes}
    assert document["openapi"].startswith("3.1") and plain == written


def test_every_operation_says_what_it_answers_and_refuses(document):
    for name, operation in operations(document).items():
        assert operation["summary"], name
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good and {"400", "429"} <= operation["responses"].keys(), name
        assert all("content" in operation["responses"][status] for status in good), name


#: method and route | what it may answer besides success, 400, 404, 429 and 503
REFUSES = [
    ("get markets/", "401 403"),
    ("get orders/", "401 403"),
    ("get positions/", "401 403"),
    ("get events/", "401 403 410"),
    ("post positions/close/", "401 403 409 413 415 422"),
    ("post positions/{position_id}/exit/", "401 403 409 413 415 422"),
    ("post sim/fill/", "401 403 409 413 415 422"),
    ("put margin/leverage/", "401 403 409 413 415 422"),
    ("post margin/check/", "401 403 413 415 422"),
    ("post tickers/batch/", "401 403 413 415"),
    ("delete orders/{order_id}/", "401 403 409 422"),
    ("post token/", "401 413 415"),
    ("post token/refresh/", "401 413 415"),
    ("post register/", "409 413 415"),
]


@pytest.mark.parametrize(("name", "statuses"), REFUSES)
def test_what_an_operation_may_refuse(document, name, statuses):
    method, path = name.split()
    answers = document["paths"][V1 + path][method]["responses"]
    refusals = {status for status in answers if not status.startswith("2")}
    assert refusals - {"400", "404", "429", "503"} == set(statuses.split())


def test_every_code_of_a_refusal_is_named():
    assert [kind for kind in refusals() if f"`{kind.code}`" not in openapi.PROBLEMS[str(kind.status)]] == []


#: Whose refusals no client of REST gets to see.
ELSEWHERE = (
    "exchange.streams.", "exchange.simulator.", "exchange.demo", "accounts.admin", "accounts.money_admin", "tests.",
)  # fmt: skip


def refusals(kind=Refusal):
    """Those with a code of their own that a client may get to see."""
    for each in kind.__subclasses__():
        yield from refusals(each)
        is_seen = not each.__module__.startswith(ELSEWHERE) and each.code != "round_not_closed"  # an operator's
        if is_seen and "code" in vars(each):
            yield each


#: What is about an account; `me/` is about the user, `competitions/` about the entries of a user.
OF_ACCOUNTS = {
    "api-keys", "events", "fills", "holdings", "kill-switch", "ledger", "margin", "orders", "portfolio", "positions",
    "sim", "wallet",
}  # fmt: skip


def test_routes_about_an_account_take_its_header(document):
    takes = {True: set(), False: set()}
    for (_, path), operation in operations(document).items():
        names = [parameter["name"] for parameter in operation.get("parameters", [])]
        takes["X-Account" in names].add(path.removeprefix(V1).partition("/")[0])
    assert takes[True] == OF_ACCOUNTS and not takes[False] & OF_ACCOUNTS


def test_every_method_of_every_view_is_described(document):
    methods = {
        (method, path.replace("<int:", "{").replace("<str:", "{").replace(">", "}")) for path, method in handlers()
    }
    assert methods == operations(document).keys()


def handlers():
    for route in urls.api:
        view = route.callback.cls
        assert issubclass(view, APIView)
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(view, method) and method in view.http_method_names:
                yield f"/api/v1/{route.pattern}", method


def test_placing_has_examples(document):
    body = document["paths"][ORDERS]["post"]["requestBody"]["content"]["application/json"]
    assert {"LimitOrder", "MarketOrderByAmount"} <= body["examples"].keys()


def test_the_shapes_are_the_answers(api):
    """Every field of an answer is described, and nothing else is."""
    placed = api("POST", ORDERS, order()).json
    taken = api("POST", ORDERS, order("SELL"), token=api.tokens["bob"]).json
    answers = [
        (shapes.OrderShape, placed),
        (shapes.OrderFillShape, taken["fills"][0]),
        (shapes.FillShape, api("GET", V1 + "fills/").json["results"][0]),
        (shapes.TradeShape, api("GET", V1 + "trades/").json["results"][0]),
        (shapes.BookShape, api("GET", V1 + "orderbook/AAPL/").json),
        (MarketShape, api("GET", V1 + "markets/AAPL/").json),
        (AssetShape, api("GET", V1 + "assets/").json["results"][0]),
    ]
    for shape, answer in answers:
        fields = shape().fields
        always = {name for name, field in fields.items() if field.required}
        assert always <= answer.keys() <= fields.keys(), shape


# What a validator of OpenAPI 3.1 says


def wrong(document: dict, schema: dict, instance: object) -> list[str]:
    """What a schema of the document holds against it."""
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def test_null_is_said_as_openapi_3_1_says_it(document):
    assert '"nullable"' not in json.dumps(document, default=str)


def test_every_array_says_of_what(document):
    """Generators of clients leave out whole routes that take an array of they know not what."""
    assert [schema for schema in dicts(document) if "array" in schema.get("type", ()) and "items" not in schema] == []


def dicts(value: object):
    """All objects in a JSON document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from dicts(each)


LISTS = [
    "api-keys/", "assets/", "fills/", "holdings/", "ledger/", "ledger/?cursor=", "markets/", "orders/",
    "orders/?cursor=", "positions/?status=ALL", "tickers/", "trades/", "wallet/withdrawals/",
]  # fmt: skip


@pytest.fixture
def busy(api):
    """Three of everything, where somebody can have that."""
    usd, ann = api.venue.assets["USD"], api.venue.accounts["ann"]
    for number in range(3):
        api("POST", ORDERS, order())
        api("POST", ORDERS, order("SELL"), token=api.tokens["bob"])
        api("POST", V1 + "api-keys/", {"name": f"key {number}"})
        api("POST", V1 + "wallet/withdraw/", {"amount": "1"})
        transfers.deposit(account=ann, asset=usd, amount=Decimal(1))
    trade(MarginVenue(api.venue), "ann", "BUY", "bob", "0.1", "EURUSD", "1.10000")
    return api


def test_lists_are_as_described(busy, document, monkeypatch):
    """On the first page, in the middle and at the end; with links, a count and neither."""
    monkeypatch.setattr(pagination, "COUNTED", 2)
    errors = {}
    for target in LISTS:
        path, _, query = target.partition("?")
        answer = document["paths"][V1 + path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        pages, following = [], f"{V1}{path}?{query and query + '&'}page_size=1"
        while following and len(pages) < 3:
            pages.append(busy("GET", following).json)
            following = (pages[-1]["next"] or "").removeprefix("http://testserver")
        assert len(pages) > 1 or path in ("holdings/", "positions/")
        assert pages[0]["results"], target
        errors[target] = [error for page in pages for error in wrong(document, answer, page)]
    assert errors == dict.fromkeys(LISTS, [])


def test_the_statement_says_how_far_it_counts(document):
    assert f"at most {pagination.COUNTED:,}" in document["paths"][V1 + "ledger/"]["get"]["description"]


def test_prices_that_nobody_looks_at_may_be_anything(document):
    terms = {"symbol": "EURUSD", "side": "BUY", "quantity": "1"}
    body = document["paths"][V1 + "sim/fill/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for price in (None, "1.1", 1.1, "at best", [], {}, True):
        assert wrong(document, body, {**terms, "price": price}) == []
