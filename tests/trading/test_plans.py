"""What the writer's statements cost does not grow with history or with other people's rows.

Plans are made on an empty venue here, as on the first day of a real one: that is when the planner would rather scan.
"""

import psycopg2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import FeeRate, FeeTier
from exchange import clockwork, fee_tiers, store, transaction
from marketdata import bulk, clock, markets


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


PAST_AND_OTHERS = """
INSERT INTO exchange_order (id, account_id, market_id, side, type, time_in_force, post_only, self_trade_prevention,
    price, quantity, filled_quantity, filled_notional, fee, reserved, maker_rate, taker_rate, status, reason, priority,
    created_at, updated_at, reduce_only)
SELECT nextval('exchange_order_id_seq'), who.account_id, %(market)s, 'BUY', 'LIMIT', 'GTC', FALSE, 'EXPIRE_TAKER',
    1, 1, 0, 0, 0, 0, 0, 0, who.status, '', 0, now(), now(), FALSE
FROM generate_series(1, 20000) AS n, (VALUES (%(ann)s, 'CANCELLED'), (%(bob)s, 'OPEN')) AS who(account_id, status)
"""


def test_what_an_account_has_open_is_found_among_all_that_it_has_had_and_others_have(venue):
    """She has most of the orders, and one of the open ones: a cancel-all holds the writer up for one look at an index.
    """
    ann, bob = venue.trader("ann", USD=1_000), venue.trader("bob", USD=1_000)
    venue.order("ann BUY 1 AAPL @ 100")
    market = markets.by_symbol("AAPL").id
    with connection.cursor() as cursor:
        cursor.execute(PAST_AND_OTHERS, {"market": market, "ann": ann.id, "bob": bob.id})
        cursor.execute("VACUUM ANALYZE exchange_order")
    with psycopg2.connect(**connection.get_connection_params()) as link, link.cursor() as cursor:
        cursor.execute(transaction.SESSION)
        cursor.execute(f"EXPLAIN {store.MARKETS_OF}", [ann.id])
        found = [line for (line,) in cursor.fetchall()]
        assert store.markets_of(cursor, ann.id) == [market]
    assert [line.split()[-6] for line in found if " on exchange_order" in line] == ["order_live_of_account"], found


def lines(plans: dict[str, list[str]]) -> list[str]:
    return [line for each in plans.values() for line in each]


def plan(cursor, name: str, text: str) -> list[str]:
    """The lines of the generic plan of one statement."""
    cursor.execute(f"PREPARE {name} AS {bulk._numbered(text)}")
    nothing = ", ".join(["NULL"] * text.count("%s"))
    cursor.execute(f"EXPLAIN EXECUTE {name}" + (f" ({nothing})" if nothing else ""))
    return [line for (line,) in cursor.fetchall()]


def test_the_clockwork_looks_for_triggered_orders_by_their_own_index(venue):
    """However many orders there were and wait: the planner knows them all here."""
    ann, bob = venue.trader("ann", USD=1_000), venue.trader("bob", USD=1_000)
    market = markets.by_symbol("AAPL").id
    with connection.cursor() as cursor:
        cursor.execute(PAST_AND_OTHERS, {"market": market, "ann": ann.id, "bob": bob.id})
        cursor.execute("UPDATE exchange_order SET status = 'PENDING' WHERE status = 'OPEN' AND id % 2 = 0")
        cursor.execute("ANALYZE exchange_order")
        cursor.execute("EXPLAIN " + clockwork.TRIGGERED, ["CONTINUOUS"] * 2)
        found = "\n".join(line for (line,) in cursor.fetchall())
    assert "order_due_in_market" in found and "Seq Scan on exchange_order" not in found, found


def test_the_clockwork_looks_for_the_members_of_lists_that_live(venue):
    """Not for those of all lists that ever were."""
    ann, bob = venue.trader("ann", USD=1_000), venue.trader("bob", USD=1_000)
    with connection.cursor() as cursor:
        cursor.execute(PAST_AND_OTHERS, {"market": markets.by_symbol("AAPL").id, "ann": ann.id, "bob": bob.id})
        cursor.execute("UPDATE exchange_order SET list_id = id / 2, list_role = 'STOP_LOSS' WHERE id % 40 < 2")
        cursor.execute("ANALYZE exchange_order")
        cursor.execute("EXPLAIN " + clockwork.IN_LISTS)
        found = "\n".join(line for (line,) in cursor.fetchall())
    assert "order_live_of_list" in found and "order_of_list" in found, found
    assert "Seq Scan on exchange_order" not in found, found


PAST_FILLS = """
INSERT INTO exchange_fill (id, trade_id, order_id, account_id, market_id, side, role, price, quantity, fee, executed_at)
SELECT n, n, n, %(ann)s, %(market)s, 'BUY', 'TAKER', 1, 1, 0, now() - (20000 - n) * interval '1 hour'
FROM generate_series(1, 20000) AS n
"""


def test_tiers_are_assigned_from_the_fills_of_their_days(venue):
    """Not from all that ever were: fills have no index by time."""
    ann = venue.trader("ann", USD=1_000)
    FeeTier.objects.create(quote=venue.assets["USD"], min_volume=1, maker_fee=0, taker_fee=0)
    with connection.cursor() as cursor:
        cursor.execute(PAST_FILLS, {"market": markets.by_symbol("AAPL").id, "ann": ann.id})
        cursor.execute("ANALYZE exchange_fill")
        with CaptureQueriesContext(connection) as asked:
            assert fee_tiers.assign(clock.now()) == 1
        statement = next(one["sql"] for one in asked if "INSERT INTO accounts_feerate" in one["sql"])
        cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + statement)
        found = "\n".join(line for (line,) in cursor.fetchall())
    assert FeeRate.objects.get().volume == fee_tiers.VOLUME_DAYS * 24
    assert "exchange_fill_pkey" in found and "Seq Scan on exchange_fill" not in found, found
