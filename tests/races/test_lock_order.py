"""Markets before accounts, each by id: two writers, two markets and the same accounts never wait for each other in a
circle."""

import random
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection, connections, transaction

from accounts import transfers
from exchange import halts
from marketdata import clock
from marketdata.models import Market, TradingCalendar
from tests.locks import waiting_for_locks
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.races.stage import HOLDING, words

NAMES = ("ann", "bob", "cid", "dee")
SYMBOLS = ("AAPL", "MSFT")
GROUPS = 40


@pytest.fixture
def floor(stage):
    """Four traders with one purse of dollars each for two markets."""
    msft = stage.venue.assets["MSFT"] = type(stage.venue.assets["USD"]).objects.create(symbol="MSFT", name="MSFT")
    stage.venue.market("MSFT", base=msft.symbol, quote="USD")
    for name in NAMES:
        stage.venue.trader(name, USD=10_000, AAPL=100, MSFT=100)
    return stage


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("point", HOLDING)
def test_crosswise_markets_and_accounts(floor, point):
    """The held writer trades ann against bob on one market, the other bob against ann on the other one."""
    floor.venue.order("bob SELL 5 AAPL @ 100")
    floor.venue.order("ann SELL 5 MSFT @ 100")
    before = deadlocks()
    held, other = floor.venue.command("ann BUY 5 AAPL @ 100"), floor.venue.command("bob BUY 5 MSFT @ 100")
    assert floor.run(point, held=held, other=other, guard="accounts") == ("FILLED", "FILLED")
    assert deadlocks() == before


def test_two_writers_and_a_bank_at_full_speed(floor):
    before = deadlocks()
    work = [
        lambda: trade(floor, floor.held, seed=1),
        lambda: trade(floor, floor.other, seed=2),
        lambda: move_money(floor, seed=3),
    ]
    failures = []
    threads = [threading.Thread(target=_noting, args=(one, failures)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert deadlocks() == before


def trade(floor, writer, seed: int) -> None:
    """Groups of random orders on both markets, in any order within a group."""
    dice, answers = random.Random(seed), []
    for _ in range(GROUPS):
        group = [
            floor.venue.command(
                f"{dice.choice(NAMES)} {dice.choice(('BUY', 'SELL'))} {dice.randint(1, 9)}"
                f" {dice.choice(SYMBOLS)} @ {dice.randint(98, 102)}"
            )
            for _ in range(dice.randint(1, 12))
        ]
        answers += [words(future.result(PATIENCE_SECONDS)) for future in writer.submit(group)]
    assert {"OPEN", "FILLED"} <= set(answers)


def move_money(floor, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(GROUPS):
        account = floor.venue.accounts[dice.choice(NAMES)]
        transfers.deposit(account=account, asset=floor.venue.assets["USD"], amount=Decimal(dice.randint(1, 50)))


def _noting(work, failures: list) -> None:
    try:
        work()
    except Exception as error:
        failures.append(error)
    finally:
        connections.close_all()


@pytest.fixture
def followed(venue):
    """A calendar, its market MSFT, and AAPL, which has the lower id and comes last in the file."""
    venue.assets["MSFT"] = type(venue.assets["USD"]).objects.create(symbol="MSFT", name="MSFT")
    calendar = TradingCalendar.objects.create(name="hours")
    calendar.hours.create(weekday=0, opens="09:30", closes="16:00")
    second = venue.market("MSFT", base="MSFT", quote="USD", calendar=calendar)
    return calendar, venue.change("AAPL", max_open_orders=9), second


@pytest.mark.parametrize("who", ["calendar", "rule that halts the venue"])
def test_several_markets_are_locked_by_id(venue, followed, settings, who):
    calendar, first, second = followed
    settings.VENUE_HALT_MARKETS = 2
    venue.change("AAPL", calendar=calendar)
    if who != "calendar":
        Market.objects.update(status="HALTED", status_reason="by rule: it jumped")
    lock = calendar.changed if who == "calendar" else halts.watch
    thread = threading.Thread(target=_noting, args=(lock, []))
    with transaction.atomic():
        Market.objects.select_for_update(no_key=True).get(pk=first.pk)
        thread.start()
        wait_until(_somebody_waits, "it to wait for the first market")
        free = Market.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=second.pk)
        assert first.pk < second.pk and free.exists()
    thread.join()


def test_a_market_that_is_given_a_calendar_waits_for_its_edit(followed):
    """Else it would come with the hours from before, and not hear of the new ones."""
    calendar, first, _ = followed
    first.calendar = calendar
    thread = threading.Thread(target=_noting, args=(first.save, []))
    with transaction.atomic():
        calendar.changed()
        thread.start()
        wait_until(_somebody_waits, "the market to wait for the calendar")
        # Nor does it hold what the edit may come to want.
        assert Market.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=first.pk).exists()
    thread.join()
    assert Market.objects.get(pk=first.pk).calendar == calendar


@pytest.mark.parametrize("edit", ["hours", "name"])
def test_a_calendar_is_edited_while_its_market_changes_its_phase(stage, edit):
    """A row that is written twice has its foreign keys looked at when the batch commits, the calendar's too."""
    clock.stand(datetime(2026, 3, 16, 12, tzinfo=UTC))
    calendar = TradingCalendar.objects.create(name="hours")
    hours = calendar.hours.create(weekday=0, opens="09:30", closes="16:00")
    stage.venue.change("AAPL", calendar=calendar, reference_price=Decimal(100), volatility_band=Decimal("0.01"))
    stage.venue.trader("ann", AAPL=10)
    stage.venue.trader("bob", USD=10_000)
    stage.venue.order("ann SELL 5 AAPL @ 105")
    calendar.name = "other hours"
    command, save = stage.venue.command("bob BUY 5 AAPL @ 105"), {"hours": hours, "name": calendar}[edit].save
    said = stage.run("before its commit", held=command, other=save, guard="market", symbols=["AAPL"])
    assert (said, Market.objects.get(symbol="AAPL").session["phase"]) == (("OPEN", "done"), "AUCTION")


def _somebody_waits() -> bool:
    return waiting_for_locks() == 1
