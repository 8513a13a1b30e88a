"""The same request again is answered with the first order, whatever an operator has made of the market since."""

from decimal import Decimal

import pytest

from tests.api.test_special_orders import LISTS, ORDERS, oco, order, traded

__all__ = ["traded"]

CHANGES = {
    "min_quantity": ({"min_quantity": Decimal(3)}, "quantity_out_of_range"),
    "max_quantity": ({"max_quantity": Decimal(1)}, "quantity_out_of_range"),
    "min_notional": ({"min_notional": Decimal(100_000)}, "below_min_notional"),
    "is_active": ({"is_active": False}, "unknown_market"),
    "status": ({"status": "CLOSED"}, "market_closed"),
}
#: What is sent, by the door: the path, and a body of two shares.
REQUESTS = {
    "order": (ORDERS, order(price="105", quantity="2", client_order_id="one")),
    "stop": (ORDERS, order(type="STOP_LOSS", stop_price="95", quantity="2", client_order_id="one")),
    "OCO": (LISTS, oco(quantity="2", client_order_id="one")),
    "bracket": (LISTS, oco(kind="BRACKET", side="BUY", price="98", quantity="2", client_order_id="one")),
    "replace": (ORDERS + "{old}/replace/", order(price="104", quantity="2", client_order_id="one")),
}


@pytest.fixture(params=[True, False], ids=["lean", "stock"])
def both(traded, settings, request):
    settings.LEAN = request.param
    return traded


def changed(venue, change: str) -> str:
    """An operator's edit; what it makes of new orders."""
    fields, code = CHANGES[change]
    venue.change("AAPL", **fields)
    return code


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("door", REQUESTS)
def test_sent_again(both, door, change):
    path, body = REQUESTS[door]
    path = path.format(old=both("POST", ORDERS, order(price="105")).json["id"])
    first = both("POST", path, body)
    assert first.status == 201, first.json
    code = changed(both.venue, change)
    again = both("POST", path, body)
    assert (again.status, again.headers.get("idempotent-replayed"), again.json) == (200, "true", first.json)
    assert both("POST", path, body | {"client_order_id": "two"}).code in (code, "order_not_open"), "no new one is taken"


@pytest.mark.parametrize("change", CHANGES)
def test_sent_again_among_others(both, change):
    known, new = REQUESTS["order"][1], order(price="105", quantity="2")
    first = both("POST", ORDERS, known).json
    code = changed(both.venue, change)
    batch = {"orders": [new, known, {**known, "client_order_id": "two"}]}
    results = both("POST", ORDERS + "batch/", batch).json["results"]
    assert [one.get("order") or one["error"]["code"] for one in results] == [code, first, code]
    assert [one["status"] for one in results][1] == 200


@pytest.mark.parametrize("other", [{"quantity": "1"}, {"price": "104"}, {"symbol": "BTCUSDT"}, {"side": "BUY"}])
def test_another_request_under_the_name_is_no_replay(both, other):
    first = both("POST", ORDERS, REQUESTS["order"][1])
    for symbol in ("AAPL", "BTC_USDT"):
        both.venue.change(symbol, min_quantity=Decimal(3))
    reply = both("POST", ORDERS, REQUESTS["order"][1] | other)
    assert (first.status, reply.status, reply.code) == (201, 422, "quantity_out_of_range")


def test_nor_is_that_of_another_account(both):
    both("POST", ORDERS, REQUESTS["order"][1])
    changed(both.venue, "min_quantity")
    assert both("POST", ORDERS, REQUESTS["order"][1], token=both.tokens["bob"]).code == "quantity_out_of_range"
