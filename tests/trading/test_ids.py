"""Ids come in blocks: unique, ascending with time in a market, and one value of a sequence for many of them."""

from importlib import import_module

import pytest
from django.db import connection

from exchange import ids
from exchange.models import Trade


@pytest.mark.django_db
@pytest.mark.parametrize("accounts", ["of today", "of before the squashed migrations, whose exchange never came"])
def test_the_sequences_count_up_by_whole_blocks(accounts):
    with connection.cursor() as cursor:
        if accounts != "of today":
            squashed = import_module("exchange.migrations.0001_squashed_0012_lists_alive")
            before = "ALTER SEQUENCE accounts_journal_id_seq INCREMENT BY 1;"
            cursor.execute(squashed.BACKWARD + before + squashed.FORWARD)
        cursor.execute("SELECT increment_by FROM pg_sequences WHERE sequencename = ANY(%s)", [list(ids.SEQUENCES)])
        assert cursor.fetchall() == [(ids.BLOCK,)] * len(ids.SEQUENCES)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 15, 16, 17, 64, 65, 1000])
def test_what_is_taken_was_never_taken_before(count):
    stocks, seen = [ids.IdStock(), ids.IdStock()], set()
    with connection.cursor() as cursor:
        for stock in stocks * 3:
            taken = stock.take(cursor, ids.ORDER, count)
            assert len(taken) == count and taken == sorted(taken) and not seen & set(taken)
            seen |= set(taken)
            for statement, values in stock.order():
                cursor.execute(statement, values)
                stock.receive(cursor.fetchall())


def test_trades_of_a_market_ascend_with_time(venue):
    venue.trader("ann", USD=1_000_000)
    venue.trader("bob", AAPL=1_000)
    for _ in range(70):
        venue.order("ann BUY 1 AAPL @ 100")
        venue.order("bob SELL 1 AAPL @ 100")
    trades = list(Trade.objects.order_by("sequence").values_list("id", flat=True))
    assert len(trades) == 70 and trades == sorted(trades)
