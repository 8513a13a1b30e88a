"""Where a moment lies among the ids of trades or fills: neither has an index by time, but their ids grow with it."""

from datetime import datetime

TRADES, FILLS = "exchange_trade", "exchange_fill"


def first_id_since(cursor, table: str, since: datetime) -> int:
    """An id below which every row is older, by bisection over the primary key. A few rows from there on are older too.
    """
    cursor.execute(f"SELECT COALESCE(min(id), 1), COALESCE(max(id), 0) + 1 FROM {table}")
    low, high = cursor.fetchone()
    while low < high:
        middle = (low + high) // 2
        # A minute's slack: batches of several markets take their ids and their moments side by side.
        cursor.execute(
            f"SELECT executed_at >= %s::timestamptz - interval '1 minute' FROM {table} WHERE id >= %s"
            " ORDER BY id LIMIT 1",
            [since, middle],
        )
        row = cursor.fetchone()
        if row is None or row[0]:
            high = middle
        else:
            low = middle + 1
    return low
