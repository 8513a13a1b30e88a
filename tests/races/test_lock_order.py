"""Markets before accounts, each by id: two writers, two markets and the same accounts never wait for each other in a
circle."""

import random
import threading
from decimal import Decimal

import pytest
from django.db import connection, connections

from accounts import transfers
from tests.patience import PATIENCE_SECONDS
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
