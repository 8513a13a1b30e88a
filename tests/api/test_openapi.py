"""The OpenAPI document: complete, valid, and true."""

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from rest_framework.views import APIView

from config import urls
from exchange.api import shapes
from marketdata.api.shapes import AssetShape, MarketShape
from tests.api.test_trading import ORDERS, V1, order


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
