"""Where a moment lies among the ids of fills: they have no index by time, but their ids grow with it.

Those of trades do not: a process takes them ahead (exchange.ids), and may use them long after another has used higher
ones in other markets.
"""

from datetime import datetime


def first_fill_since(cursor, since: datetime) -> int:
    """An id below which every fill is older, by bisection over the primary key. A few from there on are older too."""
    cursor.execute("SELECT COALESCE(min(id), 1), COALESCE(max(id), 0) + 1 FROM exchange_fill")
    low, high = cursor.fetchone()
    while low < high:
        middle = (low + high) // 2
        # A minute's slack: batches of several markets take their ids and their moments side by side.
        cursor.execute(
            "SELECT executed_at >= %s::timestamptz - interval '1 minute' FROM exchange_fill WHERE id >= %s"
            " ORDER BY id LIMIT 1",
            [since, middle],
        )
        row = cursor.fetchone()
        if row is None or row[0]:
            high = middle
        else:
            low = middle + 1
    return low
