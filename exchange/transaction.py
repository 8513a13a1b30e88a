"""The writer's connection, and how one batch becomes one transaction on it.

BEGIN and COMMIT travel with the first and last statements of a batch, so that most batches are two round trips: lock
and read, write and commit. Where another process moves the books too, markets and accounts are locked in one each. A
connection that saw an error is closed, never used again; closing it rolls back.

A COMMIT whose answer was lost is looked up by the rows that it would have left. PostgreSQL's own memory of the
transaction's id only tells when it is no longer under way: a crash forgets ids that were not yet on disk and gives
them to others.
"""

import time
from collections.abc import Callable

import psycopg2
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from psycopg2.errors import ReadOnlySqlTransaction

from exchange import writers
from exchange.batch import Batch
from marketdata import bulk, metrics
from marketdata.refusals import Unavailable

RESOLVE_SECONDS = 5.0
STATEMENT_TIMEOUT_MS = 30_000
#: A process that stops in the middle of a transaction loses its locks after this, so that it cannot stop the others.
PAUSE_TIMEOUT_MS = 5_000
#: Plans are made once and kept, often while tables are still empty: so each of them goes by the indexes from the start,
#: whatever the statistics say on that day.
SESSION = f"""
SET statement_timeout = {STATEMENT_TIMEOUT_MS};
SET idle_in_transaction_session_timeout = {PAUSE_TIMEOUT_MS};
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_bitmapscan = off;
SET enable_material = off;
SET enable_memoize = off;
SET max_parallel_workers_per_gather = 0;
SET jit = off
"""

LOCK_SECONDS, DECIDE_SECONDS, COMMIT_SECONDS = (
    metrics.BATCH_SECONDS.labels(stage) for stage in ("lock", "decide", "commit")
)

#: A deadlock, a timeout, a connection that is gone, a database that is read-only for now: nobody's command is to blame.
PASSING_ERRORS = (
    OperationalError, InterfaceError, psycopg2.OperationalError, psycopg2.InterfaceError, ReadOnlySqlTransaction,
)  # fmt: skip
DATABASE_ERRORS = (DatabaseError, InterfaceError, psycopg2.Error)


class OutcomeUnknown(Unavailable):
    """The connection broke while committing, and the database could not be asked what became of it."""

    code, title = "outcome_unknown", "Outcome unknown"

    def __init__(self):
        super().__init__(
            "The outcome is unknown; look the order up by its client_order_id, or repeat the request with it."
        )


def settle(batch: Batch, meanwhile: Callable[[], None]) -> None:
    """Lock, decide, write, commit. After an exception nothing was committed, unless it is OutcomeUnknown.

    `meanwhile` is called when all that is left to do is the database's: what it starts has the interpreter for itself
    then.
    """
    try:
        cursor = _cursor()
        with LOCK_SECONDS.time():
            batch.lock(cursor)
        with DECIDE_SECONDS.time():
            batch.decide()
            statements = batch.statements(cursor)
        writers.meanwhile(meanwhile)
    except BaseException:
        close()
        raise
    try:
        with COMMIT_SECONDS.time():
            _commit(cursor, batch, statements)
    except PASSING_ERRORS as error:
        close()
        if not (statements and _was_committed(batch)):
            raise error
    except BaseException:
        close()
        raise


def _commit(cursor, batch: Batch, statements: list[bulk.Statement]) -> None:
    """Write and commit in one round trip, and bring the next batch's ids."""
    ids = batch.registry.ids
    order = ids.order()
    bulk.execute_prepared(cursor, [*statements, ("COMMIT", []), *order])
    if order:
        ids.receive(cursor.fetchall())


def _cursor():
    """A cursor of psycopg2's own: Django's wrappers cost more than some statements, and would begin by themselves."""
    if (writer := writers.current()) is not None:
        if not writer.is_connected():
            writer.cursor().execute(SESSION)
        return writer.cursor()
    if connection.connection is None:
        connection.ensure_connection()
        with connection.connection.cursor() as cursor:
            cursor.execute(SESSION)
    return connection.connection.cursor()


def close() -> None:
    """Drop the connection, whatever state it is in; what it had not committed is gone."""
    if (writer := writers.current()) is not None:
        writer.disconnect()
    try:
        connection.close()
    except DATABASE_ERRORS:
        connection.connection = None


def _was_committed(batch: Batch) -> bool:
    """Whether a transaction took effect; OutcomeUnknown when the database cannot tell within RESOLVE_SECONDS."""
    deadline = time.monotonic() + RESOLVE_SECONDS
    while time.monotonic() < deadline:
        try:
            cursor = _cursor()
            # In this order: what is no longer under way cannot appear after we looked.
            if not _is_under_way(cursor, batch.sheet.transaction_id):
                bulk.execute(cursor, [batch.records.evidence()])
                return cursor.fetchone() is not None
        except DATABASE_ERRORS:
            close()
        writers.sleep(0.1)
    raise OutcomeUnknown


def _is_under_way(cursor, transaction_id: str) -> bool:
    """Whether the backend of a broken connection may still be at work on the transaction."""
    try:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
    except psycopg2.DataError:
        return False  # a crash took the id back, and nobody has got it since
    return cursor.fetchone()[0] == "in progress"
