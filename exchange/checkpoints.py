"""Checkpoints: books as the journal made them, kept as what the order table said then of the open orders.

A checkpoint is loaded by the same query that loads a book when a process starts, and written by the same columns that
settle a batch: what an order is needs no second definition. Replay, the auditor and the journal's retention begin at
the newest one.
"""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b

import orjson

from exchange import loading, special_orders, store
from exchange.books import LiveBook
from exchange.engine.book import BUY, SELL
from marketdata import bulk, clock

#: The orders of a checkpoint as rows of exchange_order.
ROWS = """
(SELECT o.* FROM exchange_bookcheckpoint c, jsonb_populate_recordset(NULL::exchange_order, c.orders) o
WHERE c.market_id = %s AND c.sequence = %s) AS exchange_order
"""
NEWEST = """
SELECT sequence, state_hash, last_price, last_trade_id, session::json, due::json FROM exchange_bookcheckpoint
WHERE market_id = %s AND (%s::bigint IS NULL OR sequence <= %s) ORDER BY sequence DESC LIMIT 1
"""
INSERT = """
INSERT INTO exchange_bookcheckpoint
    (market_id, sequence, state_hash, last_price, last_trade_id, orders, session, due, taken_at)
VALUES (%s, %s, %s, %s, COALESCE(
    (SELECT id FROM exchange_trade WHERE market_id = %s AND sequence <= %s ORDER BY id DESC LIMIT 1), 0),
    %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


#: What the table has of itself for orders that are not special.
DEFAULTS = {"place": 0}


class NotKept(Exception):
    """What a replay would have to begin with is not there any more."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a replay begins; sequence 0 is the empty book."""

    sequence: int = 0
    state_hash: str = ""
    last_price: Decimal | None = None
    last_trade_id: int = 0
    session: dict | None = None
    due: list[list] | None = None


def newest(cursor, market_id: int, until: int | None = None) -> Checkpoint:
    """The market's last checkpoint (up to that sequence)."""
    cursor.execute(NEWEST, [market_id, until, until])
    row = cursor.fetchone()
    return Checkpoint(*row) if row else Checkpoint()


def load(cursor, live: LiveBook, found: Checkpoint) -> None:
    """Bring a fresh book to the checkpoint. ValueError when what was kept is not the book that it says."""
    if not found.sequence:
        return
    kept = loading.Kept(
        rows=(ROWS, [live.spec.id, found.sequence]),
        session=found.session,
        due={order_id: (kind, reason) for order_id, kind, reason in found.due},
    )
    live.load(cursor, found.sequence, found.last_price, kept=kept)
    if state_hash(live) != found.state_hash:
        raise ValueError(f"its orders hash to {state_hash(live)}, not to {found.state_hash}")


def write(cursor, live: LiveBook) -> int:
    """Keep the book as it is now; returns how many orders are in it."""
    rows = order_rows(live)
    place = [live.spec.id, live.sequence]
    due = [[order_id, *step] for order_id, step in live.waiting.due.items()]
    written = [orjson.dumps(each).decode() for each in (rows, live.session.row(), due)]
    cursor.execute(INSERT, [*place, state_hash(live), live.last_price, *place, *written, clock.now()])
    return len(rows)


def state_hash(live: LiveBook) -> str:
    """The book's own hash; with what waits beside it, where something does."""
    book = live.book.state_hash()
    if not live.waiting.orders:
        return book
    return blake2b(f"{book} {live.waiting.rows()}".encode(), digest_size=16).hexdigest()


def order_rows(live: LiveBook) -> list[dict]:
    """The orders that rest or wait as rows of exchange_order."""
    resting = [order for side in (BUY, SELL) for order in live.book.reachable(-side, price=None)]
    pairs = [(live, order) for order in (*resting, *live.waiting.orders.values())]
    if not pairs:
        return []
    rows = {row["id"]: {**DEFAULTS, **row} for row in _as_rows(store.order_columns(pairs))}
    for terms in _as_rows(special_orders.columns(pairs)):
        rows[terms["id"]].update(terms)
    return list(rows.values())


def _as_rows(columns: list[bulk.Column]) -> list[dict]:
    names = [name for name, _, _ in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*(values for *_, values in columns), strict=True)]
