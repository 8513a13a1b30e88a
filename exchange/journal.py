"""The market journal: each command that changed a book, in ticks and lots, under its market sequence.

A row holds all that the engine needs to do the command again, so that a process that is behind, a crash recovery
and `replay` all feed the same rows to the same code. Rows are written in the transaction that settled them, under
the market's lock: the sequence has no gap.
"""

import json
from collections.abc import Iterator
from datetime import datetime

import orjson

from exchange.live import LiveOrder, SpecialOrder, new_order
from exchange.models import BookCommand
from marketdata import bulk, clock

Kind = BookCommand.Kind
#: Rows read at a time when a book catches up.
CHUNK_ROWS = 5_000

#: What a SpecialOrder is placed with.
TERMS = (
    "stop", "direction", "trail", "trail_rate", "display", "expires_at", "list_id", "list_kind", "list_role",
    "waits_for", "shared",
)  # fmt: skip

NOTHING: dict = {}

#: (sequence, kind, order id, command, created at)
Row = tuple[int, str, int, dict, datetime]


class JournalGone(Exception):
    """The journal is not kept from there on: what is older than a checkpoint may be deleted (exchange.retention)."""


def place_row(order: LiveOrder, budget: int | None) -> dict:
    """The command that places this order.

    Called before it meets the book, when `quantity` is still what was asked for.
    """
    row = {
        "account": order.account,
        "side": order.side,
        "price": order.price,
        "quantity": order.quantity,
        "budget": budget,
        "client_order_id": order.client_order_id,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "post_only": order.post_only,
        "prevention": order.prevention,
        "maker_rate": order.maker_rate,
        "taker_rate": order.taker_rate,
    }
    if order.margin_per_lot is not None:
        row |= {"reduce_only": order.reduce_only, "margin_per_lot": order.margin_per_lot}
    if isinstance(order, SpecialOrder):
        row["more"] = {name: value for name in TERMS if (value := getattr(order, name))}
    return row


def order_of(order_id: int, command: dict, created_at: datetime) -> LiveOrder:
    """The order that a PLACE row brings in."""
    return new_order(id=order_id, created_at=created_at, **command)


def amend_row(price: int, quantity: int, order: LiveOrder) -> dict:
    row = {"price": price, "quantity": quantity, "prevention": order.prevention}
    if order.margin_per_lot is not None:
        row["margin_per_lot"] = order.margin_per_lot
    return row


def read(cursor, market_id: int, after: int, until: int | None = None) -> Iterator[Row]:
    """The rows with a sequence above `after` (and at most `until`), in order, a chunk at a time."""
    while True:
        cursor.execute(
            "SELECT sequence, kind, order_id, command::text, created_at FROM exchange_bookcommand"
            " WHERE market_id = %s AND sequence > %s AND (%s::bigint IS NULL OR sequence <= %s)"
            " ORDER BY sequence LIMIT %s",
            [market_id, after, until, until, CHUNK_ROWS],
        )
        rows = cursor.fetchall()
        for sequence, kind, order_id, command, created_at in rows:
            yield sequence, kind, order_id, _read(command), created_at
        if len(rows) < CHUNK_ROWS:
            return
        after = rows[-1][0]


def insert(rows: list[tuple[int, int, str, int, dict, datetime]]) -> bulk.Statement:
    """The statement that appends (market, sequence, kind, order id, command, created at) rows."""
    markets, sequences, kinds, orders, commands, moments = zip(*rows, strict=True)
    return bulk.insert(
        "exchange_bookcommand",
        [
            ("market_id", "bigint", markets),
            ("sequence", "bigint", sequences),
            ("kind", "varchar", kinds),
            ("order_id", "bigint", orders),
            ("command", "json", [_written(command) for command in commands]),
            ("created_at", "timestamptz", list(map(clock.text, moments))),
        ],
    )


def _written(command: dict) -> str:
    try:
        return orjson.dumps(command).decode()
    except TypeError:  # orjson ends at 64 bits; lots of a ten-to-the-minus-eighteenth, and funds in such units, do not
        return json.dumps(command)


def _read(text: str) -> dict:
    """Where orjson has made a float of a whole number (a command has no others), the slower reader keeps it."""
    command = orjson.loads(text)
    is_wide = float in map(type, command.values()) or float in map(type, command.get("more", NOTHING).values())
    return json.loads(text) if is_wide else command
