"""The market journal: what is old enough goes, once it was proved and the book that it makes is kept.

For each market the journal is replayed from its last checkpoint to the newest command that is old enough, or at most
CHECKPOINT_COMMANDS further; every match must be the stored trade. The book then becomes the next checkpoint, which must
make the same book when it is loaded again; the rows up to it go, and the checkpoints before it. The database refuses to
delete any row that no checkpoint covers.

A process whose book is older than what is kept loads it anew (exchange.registry). Known limit: a checkpoint is one row
that holds all open orders of its market, about 600 bytes each before compression.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from django.db import connection

from exchange import checkpoints
from exchange.audit import replay, snapshot
from exchange.books import LiveBook
from exchange.retention.running import batch, walk
from marketdata import markets
from marketdata.models import Market

CHECKPOINT_COMMANDS = 500_000

#: By sequence, as the clock may have jumped: nothing goes that comes after a young command.
FIRST_YOUNG = """
SELECT sequence FROM exchange_bookcommand WHERE market_id = %s AND sequence > %s AND created_at >= %s
ORDER BY sequence LIMIT 1
"""
BOUNDS = "SELECT min(sequence), max(sequence) FROM exchange_bookcommand WHERE market_id = %s"
DELETE = "DELETE FROM exchange_bookcommand WHERE market_id = %s AND sequence BETWEEN %s AND %s"
DELETE_OLDER = "DELETE FROM exchange_bookcheckpoint WHERE market_id = %s AND sequence < %s"


class NotProved(Exception):
    """The journal does not make the stored trades, or its checkpoint not the same book: nothing of it may go."""


def old_rows(cursor, cutoff: datetime) -> int:
    """How many rows may go."""
    found = (_old(cursor, market_id, cutoff) for market_id in Market.objects.values_list("id", flat=True))
    return sum(max(0, last - first + 1) for first, last in found)


def _old(cursor, market_id: int, cutoff: datetime) -> tuple[int, int]:
    """The first row that is there, and the last that may go; the last is lower where none may."""
    cursor.execute(BOUNDS, [market_id])
    first, last = cursor.fetchone()
    if first is None:
        return 1, 0
    cursor.execute(FIRST_YOUNG, [market_id, first - 1, cutoff])
    young = cursor.fetchone()
    return first, last if young is None else young[0] - 1


def prune(cutoff: datetime) -> Iterator[int]:
    """Market by market; yields how many rows went at a time. NotProved ends it."""
    for market_id in Market.objects.order_by("id").values_list("id", flat=True):
        while True:
            with connection.cursor() as cursor:
                first, last = _old(cursor, market_id, cutoff)
                kept = checkpoints.newest(cursor, market_id).sequence
            if last < first:
                break
            if last > kept:
                kept = _prove(market_id, min(last, kept + CHECKPOINT_COMMANDS))
            yield from walk((first, min(last, kept)), partial(_delete, market_id))
        with batch() as cursor:
            cursor.execute(DELETE_OLDER, [market_id, kept])


def _delete(market_id: int, cursor, low: int, high: int) -> int:
    cursor.execute(DELETE, [market_id, low, high])
    return cursor.rowcount


def _prove(market_id: int, until: int) -> int:
    """Replay up to there and keep the book as a checkpoint; returns its sequence."""
    with snapshot() as cursor:
        live = LiveBook(markets.load_spec(market_id), fees=0)
        result = replay.Replayed(live.spec.symbol, until, live)
        difference = replay.feed(cursor, result, market_id)
    if difference is not None:
        raise NotProved(
            f"{live.spec.symbol}: the journal differs from the trades at sequence {difference.sequence}:"
            f" {difference.text}. Nothing of it was deleted; `manage.py replay {live.spec.symbol}` says the same."
        )
    with batch() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # a large book is rendered here for long
        checkpoints.write(cursor, live)
        _prove_kept(cursor, result)
    return until


def _prove_kept(cursor, result: replay.Replayed) -> None:
    """Load the checkpoint that was just written: once the rows before it are gone it is all that tells of them."""
    kept = LiveBook(result.live.spec, fees=0)
    try:
        checkpoints.load(cursor, kept, checkpoints.newest(cursor, kept.spec.id, result.until))
        difference = replay.first_order_that_differs(result, kept)
    except ValueError as error:
        difference = replay.Difference(result.until, str(error))
    if difference is not None:
        raise NotProved(
            f"{result.symbol}: a checkpoint at sequence {result.until} does not make the book that it is of:"
            f" {difference.text}. Nothing of the journal was deleted."
        )
