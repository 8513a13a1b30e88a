"""The doors of trading: see marketdata.api.doors for how they are entered, config.urls for where they stand."""

from orjson import Fragment
from rest_framework.exceptions import APIException, ValidationError

from exchange import barrier, orders, resent, validation
from exchange.api.serializers import AmendRequest, BatchRequest, BookQuery, CancelAllQuery, OrderRequest
from exchange.commands import Place, Replay, UnknownOrder
from exchange.orders import Placed
from marketdata.api.acceptor import accept, read_query
from marketdata.api.doors import Answer, Call, Door
from marketdata.api.fields import MAX_ID
from marketdata.api.problems import problem_of
from marketdata.markets import by_symbol, id_of
from marketdata.refusals import Refusal


def place_command(account_id: int, body: object) -> Place | Replay:
    """The sequencer's command for a request body, or the Replay of what it would refuse by now; ValidationError or a
    Refusal. Sockets place through this too.
    """
    terms = accept(OrderRequest, body)
    terms = {name: value for name, value in terms.items() if value is not None}
    return resent.or_replay(validation.place_command, account_id=account_id, **terms)


def amend_command(account_id: int, order_id: int, body: object) -> dict:
    """The arguments of `orders.amend` for a request body."""
    terms = accept(AmendRequest, body)
    return {
        "account_id": account_id,
        "order_id": known_id(order_id),
        "price": terms.get("price"),
        "quantity": terms.get("quantity"),
    }


def known_id(order_id: int) -> int:
    """An id that may exist; UnknownOrder for numbers that no order can have."""
    if not 0 < order_id <= MAX_ID:
        raise UnknownOrder(f"You have no order {order_id}.")
    return order_id


# Placing


def _prepare_place(call: Call) -> Place | Replay:
    return place_command(call.principal.account_id, call.body)


def answer_placed(call: Call, placed: Placed) -> Answer:
    if placed.replayed:
        return Answer(200, placed.order, {"Idempotent-Replayed": "true"})
    return Answer(201, placed.order)


place = Door(_prepare_place, orders.place, orders.place_async, answer_placed)


# Placing many


def _prepare_batch(call: Call) -> list[Place | Replay | Exception]:
    return [_place_or_refusal(call, body) for body in accept(BatchRequest, call.body)["orders"]]


def _place_or_refusal(call: Call, body: dict) -> Place | Replay | Exception:
    try:
        return place_command(call.principal.account_id, body)
    except (Refusal, APIException) as refusal:
        return refusal


def _answer_batch(call: Call, outcomes: list[Placed | Exception]) -> Answer:
    return Answer(200, {"results": [_one_result(call, outcome) for outcome in outcomes]})


def _one_result(call: Call, outcome: Placed | Exception) -> dict:
    if isinstance(outcome, Exception):
        problem = problem_of(outcome, call.request_id)
        return {"status": problem.status, "error": problem.body}
    answer = answer_placed(call, outcome)
    return {"status": answer.status, "order": answer.payload}


place_batch = Door(_prepare_batch, orders.place_many, orders.place_many_async, _answer_batch)


# Amending and cancelling


def _prepare_amend(call: Call) -> dict:
    return amend_command(call.principal.account_id, call.arguments["order_id"], call.body)


def _prepare_cancel(call: Call) -> dict:
    return {"account_id": call.principal.account_id, "order_id": known_id(call.arguments["order_id"])}


def _prepare_cancel_all(call: Call) -> dict:
    """Only what plainly asks for all cancels all: a misspelt or empty `symbol`, or one in the body, is refused."""
    if call.body:
        raise ValidationError({"symbol": ["Name the market in the query: DELETE orders/?symbol=…"]})
    symbol = accept(CancelAllQuery, call.query.dict()).get("symbol")
    return {"account_id": call.principal.account_id, "market_id": id_of(symbol) if symbol else None}


def _answer_order(call: Call, order: dict) -> Answer:
    return Answer(200, order)


def _answer_cancelled(call: Call, cancelled: list[dict]) -> Answer:
    return Answer(200, {"cancelled": len(cancelled), "orders": cancelled})


amend = Door(
    _prepare_amend, lambda terms: orders.amend(**terms), lambda terms: orders.amend_async(**terms), _answer_order
)
cancel = Door(
    _prepare_cancel,
    lambda terms: orders.cancel(**terms),
    lambda terms: orders.cancel_async(**terms),
    _answer_order,
    takes_body=False,
)
cancel_all = Door(
    _prepare_cancel_all,
    lambda terms: orders.cancel_all(**terms),
    lambda terms: orders.cancel_all_async(**terms),
    _answer_cancelled,
)


# The book


def _prepare_book(call: Call) -> tuple:
    query = (
        {"symbol": call.arguments["symbol"]} if "symbol" in call.arguments else {"symbol": call.query.get("symbol", "")}
    )
    query["depth"] = call.query.get("depth", "")
    wanted = read_query(BookQuery, query)
    return by_symbol(wanted["symbol"]), wanted["depth"]


def _snapshot(wanted: tuple) -> dict:
    spec, depth = wanted
    return barrier.view(spec).snapshot(depth)


async def _snapshot_async(wanted: tuple) -> Fragment:
    spec, depth = wanted
    return (await barrier.view_from_loop(spec)).rendered(depth)


def _answer_book(call: Call, snapshot: dict | Fragment) -> Answer:
    return Answer(200, snapshot)


book = Door(_prepare_book, _snapshot, _snapshot_async, _answer_book, takes_body=False)
