"""What the writer's statements cost does not grow with history or with other people's rows.

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


@pytest.fixture
def plans(statements):
    with psycopg2.connect(**connection.get_connection_params()) as link, link.cursor() as cursor:
        cursor.execute(transaction.SESSION)
        found = {text: plan(cursor, f"p{number}", text) for number, text in enumerate(statements)}
    assert len(found) > 10
    return found


def test_no_kept_plan_reads_a_whole_table(plans):
    tables = ("accounts_", "exchange_", "marketdata_candle")
    scans = [line for line in lines(plans) if "Seq Scan" in line and any(table in line for table in tables)]
    assert scans == []


def test_no_kept_plan_collects_rows_before_it_joins_them(plans):
    """An asset's balances are as many as its owners: a batch looks up its own accounts', one by one."""
    assert [line for line in lines(plans) if "Materialize" in line or "Bitmap" in line or "balance_asset" in line] == []


def lines(plans: dict[str, list[str]]) -> list[str]:
    return [line for each in plans.values() for line in each]


def plan(cursor, name: str, text: str) -> list[str]:
    """The lines of the generic plan of one statement."""
    cursor.execute(f"PREPARE {name} AS {bulk._numbered(text)}")
    nothing = ", ".join(["NULL"] * text.count("%s"))
    cursor.execute(f"EXPLAIN EXECUTE {name}" + (f" ({nothing})" if nothing else ""))
    return [line for (line,) in cursor.fetchall()]
