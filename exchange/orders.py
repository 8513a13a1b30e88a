"""The one door to the venue: `place`, `amend`, `cancel`, `cancel_all`. Whoever trades, trades through these.

Each comes in two forms that do the same: a plain one for threads (views, commands, the admin), and one ending in
`_async` for coroutines. Answers are order objects as in the contract, after the commit; refusals are raised.
`place_many` answers each order by itself.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import InterfaceError, OperationalError
from django.db.models import Prefetch

from exchange import commands as c
from exchange.commands import Amend, Cancel, CancelAll, Command, OrderNotOpen, Place, Replay, UnknownOrder
from exchange.lists import PlaceList
from exchange.models import Fill, Order
from exchange.rendering import order_row
from exchange.sequencer import sequencer
from exchange.transaction import OutcomeUnknown
from marketdata.refusals import Malformed, Refusal, UnreadableMarket
from marketdata.threads import in_thread

#: Then a thread gives up; what it asked for may be done all the same.
WAIT_SECONDS = 60
#: What `order_row` reads of the market.
WITH_ORDER = ("market__base", "market__quote", "market__contract")


@dataclass(frozen=True, slots=True)
class Placed:
    """An accepted order. `replayed`: it was placed before under the same client_order_id.

    `order` is how it stands now.
    """

    order: dict
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class PlacedList:
    """An accepted list: its orders, the first one first."""

    orders: list[dict]
    replayed: bool = False


def place(command: Place | Replay) -> Placed:
    """Place one order (see exchange.validation.place_command)."""
    return _raise(place_many([command])[0])


async def place_async(command: Place | Replay) -> Placed:
    outcome = command if isinstance(command, Replay) else await sequencer.submit_from_loop([command])[0]
    return _raise(await _placed_async(outcome) if isinstance(outcome, Replay) else _placed(outcome))


def place_many(commands: Sequence[Place | Replay | Refusal]) -> list[Placed | Exception]:
    """Place several side by side, in this order; what was refused or answered already (a Refusal from validation, a
    Replay from exchange.resent) stays where it is.
    """
    answers = iter(_wait_for(sequencer.submit([command for command in commands if isinstance(command, Place)])))
    outcomes = [next(answers) if isinstance(one, Place) else one for one in commands]
    return [_placed(outcome) for outcome in outcomes]


async def place_many_async(commands: Sequence[Place | Replay | Refusal]) -> list[Placed | Exception]:
    futures = iter(sequencer.submit_from_loop([command for command in commands if isinstance(command, Place)]))
    outcomes = [await next(futures) if isinstance(one, Place) else one for one in commands]
    return [await _placed_async(outcome) if isinstance(outcome, Replay) else _placed(outcome) for outcome in outcomes]


def place_list(command: PlaceList | Replay) -> PlacedList:
    """Place all orders of a list, or none (see exchange.lists.list_command)."""
    return _placed_list(command if isinstance(command, Replay) else _result(command))


async def place_list_async(command: PlaceList | Replay) -> PlacedList:
    outcome = command if isinstance(command, Replay) else await _result_async(command)
    return await in_thread(_placed_list, outcome)


def cancel_list(*, account_id: int, list_id: int) -> list[dict]:
    """Take out whatever of the list is left; the order objects of all its members."""
    if not stored_list(list_id, account_id):
        raise UnknownOrder(f"You have no list {list_id}.")
    # The exits before the entry, which would bring them to life.
    live = Order.objects.filter(list_id=list_id, account_id=account_id, status__in=Order.LIVE).order_by("-pk")
    ids = list(live.values_list("pk", flat=True))
    for outcome in _wait_for(sequencer.submit([Cancel(account_id, order_id) for order_id in ids])):
        if isinstance(outcome, Exception) and not isinstance(outcome, OrderNotOpen):
            raise outcome
    return stored_list(list_id, account_id)


def stored_list(list_id: int, account_id: int | None = None) -> list[dict]:
    """The orders of a list as they stand in the database, its first order first."""
    rows = Order.objects.filter(list_id=list_id)
    if account_id is not None:
        rows = rows.filter(account_id=account_id)
    return [order_row(order, order.fills.all()) for order in with_fills(rows.order_by("pk"))]


def amend(*, account_id: int, order_id: int, price: Decimal | None, quantity: Decimal | None) -> dict:
    """Give an open order new terms.

    A smaller quantity at the same price keeps its place in the queue, anything else goes to the back.
    """
    return _with_fills(_result(_amendment(account_id, order_id, price, quantity)))


async def amend_async(*, account_id: int, order_id: int, price: Decimal | None, quantity: Decimal | None) -> dict:
    return await _with_fills_async(await _result_async(_amendment(account_id, order_id, price, quantity)))


def cancel(*, account_id: int | None, order_id: int, reason: str = "") -> dict:
    """Take an open order out. `account_id` None is the venue or an operator, with a `reason` for the order's owner.
    UnknownOrder (404) or OrderNotOpen (409) otherwise.
    """
    return _with_fills(_result(Cancel(account_id, order_id, reason)))


async def cancel_async(*, account_id: int | None, order_id: int, reason: str = "") -> dict:
    return await _with_fills_async(await _result_async(Cancel(account_id, order_id, reason)))


class TakenOut(NamedTuple):
    """What became of orders that the venue takes out."""

    #: how many are cancelled by this; the others were no longer open, or are in a market whose figures make no sense
    cancelled: int
    #: why such a market's orders stay: nothing can be cancelled there, and nothing trades
    unreadable: UnreadableMarket | None


def cancel_these(order_ids: Sequence[int], *, reason: str) -> TakenOut:
    """Take open orders out for the venue, whoever's they are; one that is filled meanwhile, or goes with another of its
    list, is passed over. Of very many a part at a time, between which others have their turn. Anything else that went
    wrong is raised once all were tried.
    """
    cancelled, unreadable, wrong = 0, None, None
    for first in range(0, len(order_ids), c.CANCELLED_AT_ONCE):
        part = [Cancel(None, order_id, reason) for order_id in order_ids[first : first + c.CANCELLED_AT_ONCE]]
        futures = sequencer.submit(part)
        for outcome in _wait_for(futures):
            if isinstance(outcome, UnreadableMarket):
                unreadable = outcome
            elif not isinstance(outcome, Exception):
                cancelled += 1
            elif not isinstance(outcome, OrderNotOpen):
                wrong = outcome
        if not all(future.done() for future in futures):  # nor would the next part be answered
            break
    if wrong is not None:
        raise wrong
    return TakenOut(cancelled, unreadable)


def cancel_all(*, account_id: int, market_id: int | None = None, reason: str = "") -> list[dict]:
    """Take all open orders of the account out; their order objects. Of very many a part at a time, between which others
    have their turn.
    """
    cancelled = []
    while True:
        part = _result(CancelAll(account_id, market_id, reason))
        cancelled += [_with_fills(order) for order in part]
        if len(part) < c.CANCELLED_AT_ONCE:
            return cancelled


async def cancel_all_async(
    *, account_id: int, market_id: int | None = None, placed_before: datetime | None = None
) -> list[dict]:
    cancelled = []
    while True:
        part = await _result_async(CancelAll(account_id, market_id, placed_before=placed_before))
        cancelled += [await _with_fills_async(order) for order in part]
        if len(part) < c.CANCELLED_AT_ONCE:
            return cancelled


def stored(order_id: int, account_id: int | None = None) -> dict:
    """An order with its fills as it stands in the database; UnknownOrder when there is none (of that account)."""
    rows = with_fills(Order.objects.filter(pk=order_id))
    order = rows.first() if account_id is None else rows.filter(account_id=account_id).first()
    if order is None:
        raise UnknownOrder(f"You have no order {order_id}.")
    return order_row(order, order.fills.all())


def with_fills(orders):
    """A queryset of orders with all that `order_row` reads."""
    fills = Fill.objects.order_by("trade_id")
    return orders.select_related(*WITH_ORDER).prefetch_related(Prefetch("fills", fills))


def _amendment(account_id, order_id, price, quantity) -> Amend:
    if price is None and quantity is None:
        raise Malformed("Give a new price, a new quantity, or both.")
    return Amend(account_id, order_id, price, quantity)


def _result(command: Command):
    return _raise(_wait_for(sequencer.submit([command]))[0])


def _wait_for(futures: Sequence[Future]) -> list:
    """The outcomes of commands, all waited for together; OutcomeUnknown is one, too."""
    end, outcomes = time.monotonic() + WAIT_SECONDS, []
    for future in futures:
        try:
            outcomes.append(future.result(max(0, end - time.monotonic())))
        except TimeoutError:
            outcomes.append(OutcomeUnknown())
    return outcomes


async def _result_async(command: Command):
    return _raise(await sequencer.submit_from_loop([command])[0])


def _raise(outcome):
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _placed_list(outcome) -> PlacedList:
    if isinstance(outcome, Replay):
        return PlacedList(stored_list(outcome.order_id), replayed=True)
    first = outcome[0]
    if first["status"] == Order.Status.OPEN:
        return PlacedList(outcome)
    # The answer was made before what follows from it: a first order that has traded or ended has changed the others
    # since, in the same transaction.
    try:
        return PlacedList(stored_list(first["id"]))
    except (OperationalError, InterfaceError):  # it is placed all the same, and must not be tried again
        return PlacedList(outcome)


def _placed(outcome) -> Placed | Exception:
    if isinstance(outcome, Replay):
        return Placed(stored(outcome.order_id), replayed=True)
    return outcome if isinstance(outcome, Exception) else Placed(outcome)


async def _placed_async(outcome: Replay) -> Placed:
    return await in_thread(_placed, outcome)


def _with_fills(order: dict) -> dict:
    """The matcher does not keep an order's earlier fills.

    Where there are some, the answer is read from the database.
    """
    return stored(order["id"]) if order["fills"] is None else order


async def _with_fills_async(order: dict) -> dict:
    if order["fills"] is None:
        return await in_thread(stored, order["id"])
    return order
