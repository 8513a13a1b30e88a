"""What the writer's statements cost does not grow with history, because no kept plan reads a whole table.

Plans are made on an empty venue here, as on the first day of a real one: that is when the planner would rather scan.
"""

import psycopg2
import pytest
from django.db import connection

from exchange import transaction
from marketdata import bulk


@pytest.fixture
def statements(venue):
    """All that the writer sent while orders rested, traded, were amended and cancelled."""
    venue.trader("ann", USD=100_000)
    venue.trader("bob", AAPL=1_000)
    order = venue.order("ann BUY 5 AAPL @ 100")
    venue.order("bob SELL 3 AAPL @ 100")
    venue.amend("ann", order, quantity=4)
    venue.cancel("ann", order)
    return sorted({text for known in bulk._prepared.values() for text in known})


def test_no_kept_plan_reads_a_whole_table(statements):
    tables = ("accounts_", "exchange_", "marketdata_candle")
    with psycopg2.connect(**connection.get_connection_params()) as link, link.cursor() as cursor:
        cursor.execute(transaction.SESSION)
        plans = {text: plan(cursor, f"p{number}", text) for number, text in enumerate(statements)}
    assert len(plans) > 10
    scans = [
        line
        for lines in plans.values()
        for line in lines
        if "Seq Scan" in line and any(table in line for table in tables)
    ]
    assert scans == []


def plan(cursor, name: str, text: str) -> list[str]:
    """The lines of the generic plan of one statement."""
    cursor.execute(f"PREPARE {name} AS {bulk._numbered(text)}")
    nothing = ", ".join(["NULL"] * text.count("%s"))
    cursor.execute(f"EXPLAIN EXECUTE {name}" + (f" ({nothing})" if nothing else ""))
    return [line for (line,) in cursor.fetchall()]
