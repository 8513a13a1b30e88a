"""The journal goes only once it was proved; replay, audit and sleeping processes go on from the checkpoint."""

from datetime import timedelta
from itertools import count, islice
from threading import Event, Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from exchange import checkpoints
from exchange.audit.replay import levels, replay
from exchange.models import BookCheckpoint, BookCommand
from exchange.retention import journal, running
from exchange.sequencer import Sequencer, sequencer
from exchange.simulator.observation import observe
from marketdata import clock
from marketdata.markets import by_symbol
from marketdata.models import Market
from tests.audit import sessions
from tests.patience import PATIENCE_SECONDS
from tests.retention.history import days_ago, replays, trade_for_long, violations

TABLES = ("exchange_bookcommand", "exchange_bookcheckpoint")
OPEN_HISTORY, CLOSE_HISTORY = (
    ";".join(f"ALTER TABLE {table} {word} TRIGGER USER" for table in TABLES) for word in ("DISABLE", "ENABLE")
)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def first_kept(symbol: str = "AAPL") -> int:
    return BookCommand.objects.filter(market__symbol=symbol).order_by("sequence").first().sequence


@pytest.mark.parametrize("step", [7, 500_000])
def test_what_is_old_goes_and_everything_still_holds(venue, monkeypatch, step):
    monkeypatch.setattr(journal, "CHECKPOINT_COMMANDS", step)
    trade_for_long(venue)
    heads = dict(Market.objects.values_list("symbol", "sequence"))
    old = older_than(90)
    before = {symbol: (replay(by_symbol(symbol).id).state_hash) for symbol in heads}
    call_command("prune", "journal", "--yes")
    assert violations() == {}
    assert replays() == {symbol: (old[symbol], heads[symbol], "") for symbol in heads}
    assert {symbol: replay(by_symbol(symbol).id).state_hash for symbol in heads} == before
    assert {symbol: first_kept(symbol) for symbol in heads} == {symbol: rows + 1 for symbol, rows in old.items()}
    assert BookCheckpoint.objects.count() == 2, "one a market: those before it are gone"
    assert BookCheckpoint.objects.filter(orders=[]).count() == 0, "orders rest over it"
    sessions.random_session(venue, seed=9, commands=60)
    assert violations() == {} and all(not difference for *_, difference in replays().values())


def older_than(days: int) -> dict[str, int]:
    """Commands of each market; all of a session are of about the same moment."""
    rows = BookCommand.objects.filter(created_at__lt=clock.now() - timedelta(days=days))
    return {market.symbol: rows.filter(market=market).count() for market in Market.objects.all()}


def test_a_second_run_finds_nothing_and_a_later_one_goes_on_from_the_checkpoint(venue, settings, capsys):
    trade_for_long(venue)
    call_command("prune", "journal", "--yes")
    rows, checkpoints = BookCommand.objects.count(), list(BookCheckpoint.objects.values_list("sequence", flat=True))
    call_command("prune", "journal", "--yes")
    assert capsys.readouterr().out.rstrip().endswith(" 0")
    assert BookCommand.objects.count() == rows
    assert list(BookCheckpoint.objects.values_list("sequence", flat=True)) == checkpoints
    settings.KEEP_JOURNAL_DAYS = 1
    with days_ago(-30):
        call_command("prune", "journal", "--yes")
    assert BookCommand.objects.count() == 0
    assert violations() == {} and all(begins == until for begins, until, _ in replays().values())
    venue.order("ann BUY 1 AAPL @ 99")
    assert violations() == {} and replays()["AAPL"][2] == ""


def test_a_process_that_slept_loads_its_book_anew(venue):
    with days_ago(200):
        sessions.something_of_everything(venue)
    live = sequencer.registry.books[by_symbol("AAPL").id]
    asleep, book = live.sequence, venue.book()
    with days_ago(150):
        _elsewhere(venue)
    call_command("prune", "journal", "--yes")
    assert BookCommand.objects.filter(market__symbol="AAPL").count() == 0
    order = venue.order("ann BUY 1 AAPL @ 96")
    fresh = sequencer.registry.books[by_symbol("AAPL").id]
    assert order["status"] == "OPEN" and fresh is not live and fresh.sequence > asleep + 1
    assert venue.book() != book and violations() == {} and replays()["AAPL"][2] == ""


def _elsewhere(venue) -> None:
    """What another process would do meanwhile: this one's books do not hear of it."""
    other, cancelled = Sequencer(), venue.command("cyd BUY 2 AAPL @ 95")
    futures = other.submit([cancelled, venue.command("cyd BUY 3 AAPL @ 95")])
    outcomes = [future.result(PATIENCE_SECONDS) for future in futures]
    other.stop()
    assert [outcome["status"] for outcome in outcomes] == ["OPEN", "OPEN"]


def test_the_database_keeps_what_no_checkpoint_covers(venue):
    trade_for_long(venue, commands=40)
    everything = "DELETE FROM exchange_bookcommand"
    for statement in (everything, "UPDATE exchange_bookcommand SET order_id = 1"):
        with pytest.raises(DatabaseError), transaction.atomic():
            execute(statement)
    call_command("prune", "journal", "--yes")
    last = BookCheckpoint.objects.get(market__symbol="AAPL").sequence
    for statement in (
        f"DELETE FROM exchange_bookcommand WHERE sequence = {last + 1}",
        "DELETE FROM exchange_bookcheckpoint",
        "UPDATE exchange_bookcheckpoint SET state_hash = ''",
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            execute(statement)


def test_a_journal_that_differs_from_the_trades_stays(venue, capsys):
    trade_for_long(venue, commands=60)
    rows = BookCommand.objects.count()
    execute("ALTER TABLE exchange_trade DISABLE TRIGGER USER")
    execute("UPDATE exchange_trade SET quantity = quantity + 1 WHERE id = (SELECT min(id) FROM exchange_trade)")
    execute("ALTER TABLE exchange_trade ENABLE TRIGGER USER")
    with pytest.raises(CommandError, match="differs from the trades at sequence"):
        call_command("prune", "--yes")
    assert BookCommand.objects.count() == rows and not BookCheckpoint.objects.exists()


def test_a_checkpoint_that_would_be_another_book_is_not_kept(venue, monkeypatch):
    trade_for_long(venue, commands=60)
    rows = BookCommand.objects.count()
    written = checkpoints.order_rows
    monkeypatch.setattr(checkpoints, "order_rows", lambda live: [{**row, "fee": "7"} for row in written(live)])
    with pytest.raises(CommandError, match="does not make the book that it is of.*replayed fee .*, stored"):
        call_command("prune", "--yes")
    monkeypatch.setattr(checkpoints, "order_rows", lambda live: written(live)[:-1])
    with pytest.raises(CommandError, match="does not make the book that it is of: its orders hash to"):
        call_command("prune", "--yes")
    assert BookCommand.objects.count() == rows and not BookCheckpoint.objects.exists()


#: what is done behind the venue's back after pruning | the check or the words of the replay that must name it
TAMPERED = [
    ("DELETE FROM exchange_bookcommand WHERE sequence = {first}", "journal_gap_free", "the journal ends at"),
    ("UPDATE exchange_bookcheckpoint SET orders = '[]'", "order_in_journal_once", "the checkpoint is no book"),
    ("UPDATE exchange_bookcheckpoint SET sequence = sequence - 1", "journal_gap_free", "no such row"),
    ("UPDATE exchange_bookcheckpoint SET orders = jsonb_set(orders, '{{0,price}}', '\"1\"')",
     "orders_have_the_journals_terms", "the checkpoint is no book"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "check", "words"), TAMPERED)
def test_what_is_done_to_what_is_left_is_found(venue, statement, check, words):
    with days_ago(200):
        sessions.something_of_everything(venue)
    venue.order("ann BUY 1 AAPL @ 96.5")
    venue.order("ann BUY 1 BTC_USDT @ 60000")
    call_command("prune", "journal", "--yes")
    assert violations() == {}
    execute(f"{OPEN_HISTORY}; {statement.format(first=first_kept())}; {CLOSE_HISTORY}")
    assert check in violations()
    assert words in replays()["AAPL"][2]


def test_a_checkpoint_is_what_the_book_was(venue, capsys):
    with days_ago(200):
        sessions.something_of_everything(venue)
        then = levels(replay(by_symbol("AAPL").id).live)
        last = Market.objects.get(symbol="AAPL").sequence
    venue.order("dan SELL 2 AAPL MARKET")
    call_command("prune", "journal", "--yes")
    assert levels(replay(by_symbol("AAPL").id, until=last).live) == then
    with pytest.raises(CommandError, match=f"kept from sequence {last} on") as error:
        call_command("replay", "AAPL", "--until", str(last - 1))
    assert error.value.returncode == 2
    capsys.readouterr()
    call_command("replay", "AAPL")
    assert f"from its checkpoint at {last:,}" in capsys.readouterr().out
    assert observe("AAPL").trades == 1


def test_interrupted_anywhere_it_goes_on_the_next_time(venue, monkeypatch):
    monkeypatch.setattr(journal, "CHECKPOINT_COMMANDS", 40)
    monkeypatch.setattr(journal, "walk", lambda bounds, delete: running.walk(bounds, delete, rows=9))
    trade_for_long(venue)
    old, stops = sum(older_than(90).values()), 0
    cutoff = clock.now() - timedelta(days=90)
    for stop in count(1):
        went = list(islice(journal.prune(cutoff), stop))
        assert violations() == {} and all(not difference for *_, difference in replays().values())
        if not went:
            break
        stops += 1
    assert stops > 2 and sum(older_than(90).values()) == 0 < old


def test_orders_flow_while_it_goes(venue, monkeypatch, caplog):
    monkeypatch.setattr(journal, "CHECKPOINT_COMMANDS", 30)
    trade_for_long(venue)
    done, placed = Event(), []

    def trade() -> None:
        while not done.is_set() or len(placed) < 20:
            order = venue.order("ann BUY 1 AAPL @ 98")
            placed.append(order["status"])
            if order["status"] == "OPEN":
                venue.cancel("ann", order)

    trader = Thread(target=trade)
    trader.start()
    try:
        call_command("prune", "--yes")
    finally:
        done.set()
        trader.join(PATIENCE_SECONDS)
    assert len(placed) >= 20 and "failed" not in caplog.text
    assert violations() == {} and all(not difference for *_, difference in replays().values())
