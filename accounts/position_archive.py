"""Putting closed positions away, so that the table which the matcher and the risk monitor work on stays small.

A row moves in one statement: it is in one of the two tables at any time, and nothing that it earned or paid is lost.
"""

from datetime import datetime

from django.db import connection

from marketdata import clock

#: Rows moved in one transaction.
CHUNK = 1_000

MOVE = """
WITH old AS (
    SELECT id FROM accounts_position WHERE closed_at < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM accounts_position p USING old WHERE p.id = old.id
    RETURNING p.id, p.account_id, p.market_id, p.realized_quote, p.realized, p.fees, p.financing, p.opened_at,
              p.closed_at
)
INSERT INTO accounts_archivedposition (id, account_id, market_id, realized_quote, realized, fees, financing, opened_at,
                                       closed_at, archived_at)
SELECT gone.*, %s FROM gone
"""


def archive(*, closed_before: datetime) -> int:
    """Put away what was closed before then; how many positions that were. Safe beside trading, and twice at once."""
    moved, chunk = 0, CHUNK
    while chunk == CHUNK:
        with connection.cursor() as cursor:
            cursor.execute(MOVE, [closed_before, CHUNK, clock.now()])
            chunk = cursor.rowcount
        moved += chunk
    return moved
