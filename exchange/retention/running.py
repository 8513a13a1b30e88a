"""How rows go: in small batches with rests between them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction

BATCH_ROWS = 5_000
#: A batch that has to wait for a lock gives up: whoever trades comes first.
SESSION = "SET LOCAL lock_timeout = '2s'"


@contextmanager
def batch() -> Iterator:
    """A cursor in a short transaction of its own; afterwards a rest as long as that took."""
    started = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SESSION)
        yield cursor
    rest(time.perf_counter() - started)


def rest(seconds: float) -> None:
    """Leave the disk to others for as long."""
    time.sleep(seconds)


def walk(key_range: tuple[int, int], delete: Callable, rows: int = BATCH_ROWS) -> Iterator[int]:
    """Delete by windows of a whole-numbered key, first to last (both included): `delete(cursor, low, high)` for each;
    yields how many rows went.
    """
    low, last = key_range
    while low <= last:
        high = min(last, low + rows - 1)
        with batch() as cursor:
            went = delete(cursor, low, high)
        yield went
        low = high + 1
