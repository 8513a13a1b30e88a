"""Emptying the database between tests that commit: only the tables that have rows, in one statement.

Django's own flush truncates every table and makes content types and permissions anew, which takes longer than most
tests. What migrations leave behind (content types, permissions) stays.
"""

from django.db import connections
from django.test import TransactionTestCase

KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def empty(alias: str = "default") -> None:
    """TRUNCATE all tables with rows in them. Ids go on, so that nothing remembered of one test fits the next."""
    with connections[alias].cursor() as cursor:
        tables = [table for table in connections[alias].introspection.table_names(cursor) if table not in KEPT]
        checks = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM \"{table}\")" for table in tables)
        cursor.execute(checks)
        filled = ", ".join(f'"{table}"' for (table,) in cursor.fetchall())
        if filled:
            cursor.execute(f"TRUNCATE {filled} CASCADE")


def instead_of_flush(test_case: TransactionTestCase) -> None:
    """What TransactionTestCase does after a test."""
    for alias in test_case._databases_names(include_mirrors=False):
        empty(alias)


TransactionTestCase._fixture_teardown = instead_of_flush
