"""After the storm: what the database says against what the clients were told, and what the auditors say."""

from collections.abc import Sequence

import psycopg2
import psycopg2.extras

from benchmarks.server import PrivateVenue
from tests.chaos.record import OrderRecord

COLUMNS = "id, account_id, client_order_id, price, quantity, filled_quantity, status"


def contradictions(url: str, records: Sequence[OrderRecord]) -> list[str]:
    """Orders lost, doubled, changed or never asked for. No client may have a request under way."""
    with (
        psycopg2.connect(url) as connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(f"SELECT {COLUMNS} FROM exchange_order")
        rows = cursor.fetchall()
        cursor.execute("SELECT trade_id, order_id, price, quantity FROM exchange_fill")
        fills = {(row["order_id"], row["trade_id"]): (row["price"], row["quantity"]) for row in cursor.fetchall()}
    connection.close()
    found, stored = [], {}
    for row in rows:
        name = (row["account_id"], row["client_order_id"])
        if name in stored:
            found.append(f"DOUBLED {name}: {stored[name]['id']} and {row['id']}")
        stored[name] = row
    for record in records:
        found += record.contradictions(stored.pop((record.account, record.client_order_id), None))
        found += _lost_fills(record, fills)
    found += [f"UNASKED {name}: order {row['id']}" for name, row in stored.items()]
    return found


def _lost_fills(record: OrderRecord, fills: dict) -> list[str]:
    """Executions that the client was told of, and that are not in the database like that."""
    if record.told is None:
        return []
    found = []
    for fill in record.told["fills"] or []:
        stored = fills.get((record.told["id"], fill["trade_id"]))
        if stored is None or tuple(map(float, stored)) != (float(fill["price"]), float(fill["quantity"])):
            found.append(f"LOST FILL {fill} of order {record.told['id']}: stored {stored}")
    return found


def deadlocks(url: str) -> int:
    """How many PostgreSQL has had to break up in this database."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            return cursor.fetchone()[0]
    finally:
        connection.close()


def auditors(venue: PrivateVenue) -> list[str]:
    """What `manage.py audit` and `manage.py replay` have to say; nothing if they are content."""
    found = []
    for command in ("audit", "replay"):
        answer = venue.manage(command)
        if answer.returncode:
            found.append(
                f"manage.py {command} ended with {answer.returncode}:\n{answer.stdout[-4000:]}{answer.stderr[-2000:]}"
            )
    return found
