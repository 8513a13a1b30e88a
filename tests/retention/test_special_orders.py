"""The journal goes under orders that are more than plain: what waits, hides, belongs together or ends in time goes on
as if nothing had gone.
"""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from exchange import clockwork
from exchange.models import BookCheckpoint, BookCommand
from marketdata import clock
from tests.retention.history import days_ago, replays, violations
from tests.sessions.conftest import day
from tests.trading.test_triggers import state

__all__ = ["day"]


@pytest.fixture
def old(venue):
    """A market at 100, with five levels of a dollar on each side; `prune()` takes its journal from under it."""
    for name in ("mia", "ann", "bob", "zoe", "pat"):
        venue.trader(name, USD=1_000_000, AAPL=10_000)
    for step in range(1, 6):
        venue.order(f"mia BUY 5 AAPL @ {100 - step}")
        venue.order(f"mia SELL 5 AAPL @ {100 + step}")
    venue.order("mia SELL 1 AAPL @ 100")
    venue.order("bob BUY 1 AAPL @ 100")
    return venue


def prune() -> None:
    """All of the journal so far goes; what is left is its checkpoint."""
    with days_ago(-300):
        call_command("prune", "journal", "--yes")
    assert not BookCommand.objects.exists() and BookCheckpoint.objects.exists()
    holds()


def holds() -> None:
    assert violations() == {}
    assert all(not difference for *_, difference in replays().values()), replays()


def test_triggers(old):
    stop = old.order("ann SELL 4 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
    limit = old.order("ann BUY 2 AAPL @ 104", type="STOP_LIMIT", stop_price=Decimal(103))
    trailing = old.order("ann SELL 1 AAPL", type="TRAILING_STOP", trail_amount=Decimal(2))
    percent = old.order("ann SELL 1 AAPL", type="TRAILING_STOP", trail_percent=Decimal("3.5"))
    profit = old.order("ann SELL 3 AAPL", type="TAKE_PROFIT", stop_price=Decimal(102))
    old.order("bob BUY 6 AAPL @ 102")  # triggers the profit, which falls through the tighter of the trailing stops
    prune()
    assert (state(old, profit), state(old, trailing)) == ("FILLED 3", "FILLED 1")
    assert (state(old, percent), old.stored(percent)["stop_price"]) == ("PENDING 0", "98.43")
    old.order("bob BUY 9 AAPL @ 103")
    holds()
    assert state(old, limit).startswith(("FILLED", "OPEN", "PARTIALLY_FILLED"))
    assert (state(old, percent), old.stored(percent)["stop_price"]) == ("PENDING 0", "100.36")
    old.order("bob SELL 25 AAPL @ 97")
    holds()
    assert {state(old, order).split()[0] for order in (stop, trailing, percent)} <= {"FILLED", "EXPIRED"}


@pytest.mark.parametrize("moment", ["whole", "entry rests", "entry filled in part", "exits live"])
def test_lists(old, moment):
    members = old.bracket("ann BUY 6 AAPL @ 99.5", profit="103.5", stop=97)
    pair = old.oco("bob SELL 10 AAPL", profit=104, stop=96)
    if moment != "whole":
        prune()
    if moment in ("entry filled in part", "exits live"):
        old.order("zoe SELL 2 AAPL @ 99.5")
        prune()
    old.order("pat SELL 6 AAPL @ 99.5")
    if moment == "exits live":
        prune()
    holds()
    assert [state(old, order).split()[0] for order in members] == ["FILLED", "OPEN", "PENDING"]
    old.order("zoe BUY 30 AAPL @ 103.5")
    holds()
    assert [state(old, order).split()[0] for order in members] == ["FILLED", "FILLED", "EXPIRED"]
    old.order("pat SELL 50 AAPL @ 95")
    prune()
    assert "EXPIRED 0 other_leg" in [state(old, order) for order in pair]


def test_a_stop_that_needs_less_than_its_take_profit_order(old):
    profit, stop = old.oco("ann BUY 10 AAPL", profit=98, stop=102, stop_limit=95)
    members = old.bracket("bob SELL 5 AAPL @ 99", profit=98, stop=102, stop_limit=95)
    assert [state(old, order) for order in members] == ["FILLED 5", "OPEN 0", "PENDING 0"]
    assert [old.stored(order)["reserved"] for order in (stop, members[2])] == ["0", "0"]
    holds()
    prune()
    old.cancel("ann", profit)
    assert state(old, stop) == "EXPIRED 0 other_leg"
    holds()
    prune()


def test_journals_of_before_say_that_it_shares_more_than_it_needs(old):
    old.oco("ann BUY 10 AAPL", profit=98, stop=102, stop_limit=95)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE exchange_bookcommand DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE exchange_bookcommand SET command = jsonb_set(command::jsonb, '{more,shared}', '98098000000')::json"
            " WHERE command->'more'->>'shared' IS NOT NULL"
        )
        assert cursor.rowcount == 1
        cursor.execute("ALTER TABLE exchange_bookcommand ENABLE TRIGGER USER")
    holds()
    prune()


def test_icebergs_and_ends_in_time(old):
    iceberg = old.order("ann SELL 20 AAPL @ 100.5", displayed_quantity=Decimal(3))
    old.order("mia SELL 2 AAPL @ 100.5")
    dated = old.order("ann BUY 1 AAPL @ 94", time_in_force="GTD", expires_at=clock.now() + timedelta(hours=1))
    old.order("bob BUY 4 AAPL @ 100.5")
    prune()
    filled = Decimal(old.stored(iceberg)["filled_quantity"])
    old.order("bob BUY 9 AAPL @ 100.5")
    assert Decimal(old.stored(iceberg)["filled_quantity"]) > filled
    holds()
    clock.shift(7_200)
    try:
        old.order("bob BUY 1 AAPL @ 94")
    finally:
        clock.shift(0)
    assert state(old, dated).startswith("EXPIRED 0")
    holds()


def test_a_session_and_its_auction(day):
    day.sessions()
    day.at("2026-11-23 14:05")  # 9:05 in New York: orders are collected
    for sentence in ("ann BUY 5 AAPL @ 101", "bob SELL 8 AAPL @ 99", "cid BUY 2 AAPL @ 100 POST"):
        day.venue.order(sentence)
    clock.stand(None)
    prune()
    assert day.phase() == "PRE_OPEN" and day.venue.book() != ""
    day.at("2026-11-23 14:31")
    assert day.phase() == "CONTINUOUS"
    clockwork.work()
    day.check()
    clock.stand(None)
    prune()
    assert day.phase() == "CONTINUOUS"
    day.check()
