"""A commit whose answer never comes, and what breaks around one: exactly one order, whatever the client is told."""

import psycopg2
import pytest
from django.db import connection

from accounts.ledger import Sheet
from exchange import reading, transaction
from exchange.models import Order
from exchange.sequencer import ATTEMPTS
from exchange.transaction import OutcomeUnknown
from marketdata import bulk
from tests.patience import PATIENCE_SECONDS
from tests.races.stage import COMMIT, HOLDING, words

pytestmark = pytest.mark.parametrize("stage", ["loop", "thread"], indirect=True)

LOST = psycopg2.OperationalError("the connection went away")


@pytest.fixture
def trader(stage):
    """A stage with one trader, and the sentence that she repeats."""
    stage.venue.trader("ann", USD=10_000)
    return stage


def place(stage, **terms) -> str:
    return words(stage.held.submit([stage.venue.command("ann BUY 5 AAPL @ 100", **terms)])[0].result(PATIENCE_SECONDS))


def break_commits(stage, monkeypatch, times: int, *, committed: bool):
    """The connection breaks `times` times around COMMIT: after the database has done it, or before it hears of it."""
    original, left = bulk.execute_prepared, [times]

    def breaking(cursor, statements):
        statements = list(statements)
        if not stage.held.writer.is_current() or COMMIT not in statements or not left[0]:
            return original(cursor, statements)
        left[0] -= 1
        end = statements.index(COMMIT)
        original(cursor, statements if committed else statements[:end])
        cursor.connection.close()
        raise LOST

    monkeypatch.setattr(bulk, "execute_prepared", breaking)


@pytest.mark.parametrize("client_order_id", ["mine", None])
@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_without_an_answer_is_looked_up(trader, monkeypatch, committed, client_order_id):
    break_commits(trader, monkeypatch, 1, committed=committed)
    assert place(trader, client_order_id=client_order_id) == "OPEN"
    assert Order.objects.count() == 1
    assert trader.venue.book() == "5@100 |"


@pytest.mark.parametrize("committed", [True, False])
def test_when_nobody_can_be_asked_the_outcome_is_unknown_and_repeating_is_safe(trader, monkeypatch, committed):
    break_commits(trader, monkeypatch, 1, committed=committed)
    with monkeypatch.context() as deaf:
        deaf.setattr(transaction, "_was_committed", lambda *_: (_ for _ in ()).throw(OutcomeUnknown()))
        assert place(trader, client_order_id="mine") == "outcome_unknown"
    assert Order.objects.count() == committed
    assert place(trader, client_order_id="mine") == ("replayed" if committed else "OPEN")
    assert Order.objects.count() == 1


def test_a_database_that_never_commits_is_a_refusal_with_nothing_done(trader, monkeypatch):
    break_commits(trader, monkeypatch, ATTEMPTS, committed=False)
    assert place(trader) == "not_accepting"
    assert Order.objects.count() == 0
    assert trader.venue.funds("ann", "USD") == "10000+0"


def test_an_error_after_the_commit_repeats_nothing(trader, monkeypatch):
    """Whatever fails when the views are brought up to date, the order is there once and is answered."""
    with monkeypatch.context() as broken:
        broken.setattr(reading, "apply", lambda delta: (_ for _ in ()).throw(LOST))
        broken.setattr(reading, "committed", lambda delta: (_ for _ in ()).throw(LOST))
        assert place(trader) == "OPEN"
    assert Order.objects.count() == 1
    assert trader.venue.book() == "5@100 |"


def test_nor_does_one_while_it_is_told(trader, monkeypatch):
    monkeypatch.setattr(Sheet, "published", lambda sheet: 1 / 0)
    command = trader.venue.command("ann BUY 5 AAPL @ 100")
    futures = trader.held.submit([command, command])
    assert [words(future.result(PATIENCE_SECONDS)) for future in futures] == ["OPEN", "OPEN"]
    assert place(trader) == "OPEN"
    assert Order.objects.count() == 3


@pytest.mark.parametrize("point", HOLDING)
def test_a_writer_whose_connection_is_cut_starts_again(trader, point):
    def cut():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
            assert cursor.rowcount == 1

    command = trader.venue.command("ann BUY 5 AAPL @ 100")
    assert trader.run(point, held=command, other=cut, guard=None) == ("OPEN", "done")
    assert Order.objects.count() == 1


@pytest.mark.parametrize("point", HOLDING)
def test_a_writer_that_stands_still_loses_its_locks_and_starts_again(trader, monkeypatch, point):
    monkeypatch.setattr(transaction, "SESSION", "SET idle_in_transaction_session_timeout = 300")
    trader.venue.trader("bob", AAPL=10)
    held, other = (trader.venue.command(sentence) for sentence in ("ann BUY 5 AAPL @ 100", "bob SELL 5 AAPL @ 100"))
    trader.start_new_connections()
    assert trader.run(point, held=held, other=other, guard=None) == ("FILLED", "OPEN")
