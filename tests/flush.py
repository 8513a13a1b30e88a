"""Emptying the database between tests that commit, and filling it with what many of them begin with.

Django's own flush truncates every table and makes content types and permissions anew, which takes longer than most
tests. Here the few rows that a test leaves are deleted, which takes a tenth of truncating: no files are made, and no
session's plans are thrown away. What migrations leave behind (content types, permissions) stays. What this process
remembers of the rows goes with them.
"""

from collections.abc import Callable
from io import StringIO

from django.db import connections, transaction
from django.test import TransactionTestCase

from accounts import authentication
from exchange import barrier, fee_tiers, limits, reading, tickers
from exchange.sequencer import sequencer
from marketdata import clock, hub, markets, marks, threads, throttling

KEPT = {"django_migrations", "django_content_type", "auth_permission"}
#: Deleting looks at each row that was ever there: a table that has grown to this is truncated.
LARGE_BYTES = 500_000
TOUCHED = """
SELECT relname, pg_relation_size(oid) > %s OR NOT current_setting('is_superuser')::boolean
FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s) AND pg_relation_size(oid) > 0
"""
#: Trades and entries are never deleted, which a trigger holds; only a superuser may do without triggers.
WITHOUT_TRIGGERS = "SET LOCAL session_replication_role = replica"
#: What was made in an empty database, by who made it.
_made: dict[Callable[[], object], dict[str, str]] = {}


def forget_everything() -> None:
    """Stop this process's threads and drop what it remembers of a database that is about to be emptied."""
    sequencer.stop()
    barrier.stop()
    threads.stop()
    hub.flush()
    for memory in (reading, markets, marks, authentication, fee_tiers.rates, limits.ratios, tickers.board):
        memory.forget()
    throttling.windows.clear()
    clock.stand(None)


def empty(alias: str = "default") -> None:
    """Every row of every table but KEPT goes. Ids go on, so that nothing remembered of one test fits the next."""
    with connections[alias].cursor() as cursor:
        cursor.execute(TOUCHED, [LARGE_BYTES, sorted(KEPT)])
        tables = cursor.fetchall()
        if large := [f'"{table}"' for table, is_large in tables if is_large]:
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        if deletions := [f'DELETE FROM "{table}"' for table, is_large in tables if not is_large]:
            cursor.execute("; ".join(["BEGIN", WITHOUT_TRIGGERS, *deletions, "COMMIT"]))


def begin_with(make: Callable[[], object]) -> None:
    """Fill the empty database with what `make` leaves in it: called once, its rows are put back from then on. They have
    the same ids each time, so that nothing that was remembered of them may outlive a test.
    """
    if make in _made and may_do_without_triggers():
        put_back(_made[make])
    else:
        make()
        _made[make] = copy_of_everything()


def copy_of_everything() -> dict[str, str]:
    """The rows of every table but KEPT, as COPY writes them."""
    rows = {}
    with connections["default"].cursor() as cursor:
        cursor.execute(TOUCHED, [LARGE_BYTES, sorted(KEPT)])
        for table, _ in cursor.fetchall():
            cursor.copy_expert(f'COPY "{table}" TO STDOUT', written := StringIO())
            if text := written.getvalue():
                rows[table] = text
    return rows


def may_do_without_triggers() -> bool:
    """Whether the tests' role is a superuser, which putting rows back takes."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser')::boolean")
        return cursor.fetchone()[0]


def put_back(rows: dict[str, str]) -> None:
    """What copy_of_everything answered, into an empty database. Their ids are behind the sequences, and free."""
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute(WITHOUT_TRIGGERS)
        for table, text in rows.items():
            cursor.copy_expert(f'COPY "{table}" FROM STDIN', StringIO(text))


def instead_of_flush(test_case: TransactionTestCase) -> None:
    """What TransactionTestCase does after a test, whether that began with a `venue` or with rows of its own."""
    forget_everything()
    for alias in test_case._databases_names(include_mirrors=False):
        empty(alias)


TransactionTestCase._fixture_teardown = instead_of_flush
