"""Several reads that must agree with each other: all of them see the database as it stood at one moment."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def one_moment(*, writes: bool = False) -> Iterator[None]:
    """Reads inside see the moment of the first of them; within a transaction, what that sees. `writes`: rows are made
    of what was read; in a table without foreign keys, or a row that others have changed since is an error.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if not connection.savepoint_ids:
            mode = "READ WRITE" if writes else "READ ONLY"
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, {mode}")
        yield
