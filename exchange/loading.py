"""A market's live orders as the database has them: those that rest, in queue order, and those that wait."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from sys import intern

from exchange.engine.book import BUY, SELL
from exchange.engine.triggers import FALLING, RISING
from exchange.live import LiveOrder, SpecialOrder, Status, held, new_order
from exchange.models import ListRole, OrderType
from exchange.waiting import ARM, END_UNFILLED, EXITS, TRIGGER, WaitingRoom
from marketdata import bulk, clock, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import MarketSpec

SIDES = {"BUY": BUY, "SELL": SELL}
STATUSES = {status.value: status for status in Status}
MEMO_SIZE = 1 << 16
#: Read at once: between the parts a server's other work has its turn.
PART = 500

#: A reader that fails leaves its cursor open until the transaction ends, so each has a name of its own.
_cursors = count(1)

LIVE_ORDERS = """
SELECT id, account_id, side, price::text, quantity::text, filled_quantity::text, client_order_id, type, time_in_force,
post_only, self_trade_prevention, maker_rate::text, taker_rate::text, filled_notional::text, fee::text, status,
priority, created_at, updated_at, stop_price, trail_amount, trail_percent, triggered_at, displayed_quantity,
visible_quantity, place, expires_at, list_id, list_kind, list_role, waits_for_id, reserved::text, reduce_only,
margin_per_lot::text FROM
{rows} WHERE market_id = %s AND status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED') ORDER BY priority, place, id
"""
#: What has become of the members of lists.
MEMBERS = """
SELECT list_id, id, list_role, filled_quantity > 0, status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED'),
reason = 'other_leg' FROM exchange_order WHERE list_id = ANY(%s)
"""
TAKE_PROFITS = (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)


def direction_of(type: str, side: int) -> int:
    """Whether a triggered order goes when the price rises or when it falls to its stop.

    A stop follows the market (a buy goes when it rises), a profit is taken against it.
    """
    follows = RISING if side == BUY else FALLING
    return -follows if type in TAKE_PROFITS else follows


@dataclass(frozen=True, slots=True)
class Kept:
    """What a book is loaded from; by default what the database says now.

    rows: of orders, as a table with its parameters; session: the row of an exchange.phases.State; due: what is next
    for orders that wait.
    """

    rows: bulk.Statement = ("exchange_order", [])
    session: dict | None = None
    due: dict[int, tuple[str, str]] | None = None


def session(cursor, spec: MarketSpec) -> dict | None:
    """Where the market stands in its session now."""
    cursor.execute("SELECT session::json FROM marketdata_market WHERE id = %s", [spec.id])
    return cursor.fetchone()[0]


class _Memo(dict):
    """A function's answers, so that a book of a million orders converts each of its few prices once. Asked by the
    text of the number, which is cheaper to make and to look up than the number.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Decimal], int]):
        self._function = function

    def __missing__(self, text: str) -> int:
        if len(self) >= MEMO_SIZE:
            self.clear()
        answer = self[text] = self._function(Decimal(text))
        return answer


class _Reader:
    """Makes orders of a market's rows."""

    def __init__(self, spec: MarketSpec):
        self.spec = spec
        self.ticks, self.lots = _Memo(spec.ticks), _Memo(spec.lots)
        self.money = _Memo(lambda amount: units.to_units(amount, spec.quote_decimals))
        self.rate = _Memo(lambda rate: units.to_units(rate, RATE_DECIMALS))
        self.margin = _Memo(lambda amount: units.to_units(amount, spec.contract.settlement_decimals))

    def order(self, row: tuple) -> LiveOrder:
        quantity = self.lots[row[4]]
        order = new_order(
            id=row[0],
            account=row[1],
            side=SIDES[row[2]],
            price=None if row[3] is None else self.ticks[row[3]],
            quantity=quantity,
            client_order_id=row[6],
            type=intern(row[7]),
            time_in_force=intern(row[8]),
            post_only=row[9],
            prevention=intern(row[10]),
            budget=None,
            maker_rate=self.rate[row[11]],
            taker_rate=self.rate[row[12]],
            created_at=row[17],
            more=_more(self.spec, row),
            reduce_only=row[32],
            margin_per_lot=None if row[33] is None else self.margin[row[33]],
        )
        order.remaining = quantity - self.lots[row[5]]
        order.filled_notional, order.fee = self.money[row[13]], self.money[row[14]]
        order.status, order.priority, order.updated_at = STATUSES[row[15]], row[16], row[18]
        if isinstance(order, SpecialOrder):
            _restore_more(self.spec, order, row)
        return order


def live_orders(cursor, spec: MarketSpec, rows: bulk.Statement = ("exchange_order", [])):
    """Each live order of a market, those that rest in queue order. For use in a transaction.

    They come in parts: a million whole rows would be a gigabyte in the client library.
    """
    source, parameters = rows
    name, read = f"live_orders_{next(_cursors)}", _Reader(spec).order
    cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {LIVE_ORDERS.format(rows=source)}", [*parameters, spec.id])
    while some := _next_part(cursor, name):
        yield from map(read, some)
    cursor.execute(f"CLOSE {name}")


def _next_part(cursor, name: str) -> list[tuple]:
    cursor.execute(f"FETCH {PART} FROM {name}")
    return cursor.fetchall()


def _more(spec: MarketSpec, row: tuple) -> dict | None:
    """The terms of a special order; None for a plain one."""
    stop, amount, percent, triggered_at, displayed, _, place, expires_at, list_id, kind, role, waits_for, _ = row[19:32]
    if stop is None and displayed is None and expires_at is None and list_id is None:
        return None
    is_triggered = row[7] not in (OrderType.LIMIT, OrderType.MARKET)
    return {
        "stop": None if stop is None else spec.ticks(stop),
        "direction": direction_of(row[7], SIDES[row[2]]) if is_triggered else 0,
        "trail": 0 if amount is None else spec.ticks(amount),
        "trail_rate": 0 if percent is None else units.to_units(percent, RATE_DECIMALS - 2),
        "triggered_at": triggered_at,
        "display": 0 if displayed is None else spec.lots(displayed),
        "place": place,
        "expires_at": None if expires_at is None else clock.text(expires_at),
        "list_id": list_id,
        "list_kind": kind,
        "list_role": role,
        "waits_for": waits_for,
    }


def _restore_more(spec: MarketSpec, order: SpecialOrder, row: tuple) -> None:
    """What follows from the rest: the hidden lots, and what another leg holds in this one's stead."""
    visible, reserved = row[24], row[31]
    if visible is not None:
        order.hidden = order.remaining - spec.lots(visible)
        order.remaining -= order.hidden
    if order.status == Status.PENDING and order.list_role == ListRole.STOP_LOSS and order.waits_for is None:
        order.shared = held(spec, order) - units.to_units(Decimal(reserved), spec.reserve_decimals(order.side))


def make_due(cursor, waiting: WaitingRoom) -> None:
    """What a batch had left for the next one: those that were triggered, and lists of which a member has ended."""
    triggered = [order for order in waiting.orders.values() if order.triggered_at is not None]
    triggered.sort(key=lambda o: (o.triggered_at, -o.direction, o.direction * o.stop, o.id))
    for order in triggered:
        waiting.due[order.id] = TRIGGER
        if (other := waiting.rival(order)) is not None:
            waiting.end(other.id)  # before, because the stop needs what that one holds
    if not waiting.lists:
        return
    cursor.execute(MEMBERS, [list(waiting.lists)])
    for list_id, order_id, role, is_filled, is_live, was_other in cursor.fetchall():
        members = waiting.lists[list_id]
        if role in EXITS and (is_filled or not is_live) and not was_other:
            if (other := members.get(EXITS[role])) is not None:
                waiting.end(other.id)
        elif role not in EXITS and not is_live:
            for leg, step in ((ListRole.TAKE_PROFIT, TRIGGER), (ListRole.STOP_LOSS, ARM)):
                if (exit := members.get(leg)) is not None and exit.waits_for == order_id:
                    waiting.due[exit.id] = step if is_filled else END_UNFILLED
