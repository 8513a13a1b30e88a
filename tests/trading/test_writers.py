"""The writer on an event loop: the same answers, and neither it nor the loop ever waits for the other in vain."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import psycopg2
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections

from accounts import ledger
from config import logs
from exchange import batch, orders, writers
from exchange.sequencer import NotAccepting, sequencer
from exchange.writers import LoopWriter, ThreadWriter
from marketdata import bulk
from marketdata.models import Market
from marketdata.refusals import Refusal
from tests.loop_thread import LoopThread
from tests.patience import PATIENCE_SECONDS, wait_until


@pytest.fixture
def loop(venue):
    """The loop that the writer works on."""
    with LoopThread() as running:
        sequencer.loop = running.loop
        try:
            yield running
        finally:
            sequencer.stop()
            sequencer.loop = None


@pytest.fixture
def ann(venue, loop):
    venue.trader("ann", USD=10_000, AAPL=100)
    return venue


def submit(venue, sentence: str, **terms):
    return sequencer.submit([venue.command(sentence, **terms)])[0]


@contextmanager
def stranger():
    """Another session of the database, in a transaction."""
    other = psycopg2.connect(**(connection.get_connection_params() | {"cursor_factory": None}))
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.close()


@contextmanager
def locked_market():
    with stranger() as cursor:
        cursor.execute("SELECT 1 FROM marketdata_market WHERE symbol = 'AAPL' FOR UPDATE")
        yield


def is_connected(cursor, pid: int) -> bool:
    cursor.connection.rollback()  # what a transaction has seen of the activity it keeps
    cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
    return cursor.rowcount > 0


def backend_of_the_writer(loop) -> int:
    return loop.call(lambda: sequencer.writer._connection.info.backend_pid)


def test_it_works_in_the_thread_of_the_loop(ann, loop, monkeypatch):
    seen, attempt = [], sequencer._attempt

    def observed(waiting):
        seen.append((threading.get_ident(), sequencer.writer.is_current(), writers.current() is sequencer.writer))
        return attempt(waiting)

    monkeypatch.setattr(sequencer, "_attempt", observed)
    assert ann.order("ann BUY 5 AAPL @ 100")["status"] == "OPEN"
    assert set(seen) == {(loop.call(threading.get_ident), True, True)}
    assert isinstance(sequencer.writer, LoopWriter) and not sequencer.writer.is_current() and writers.current() is None


def observe(loop, monkeypatch, observer) -> None:
    """Have the observer called with the name and arguments of what the loop is asked to watch, before it does."""

    def observed(name: str, method: Callable, *arguments: object, **options: object) -> object:
        observer(name, *arguments)
        return method(*arguments, **options)

    for name in ("add_reader", "remove_reader", "add_writer", "remove_writer", "call_later", "call_at"):
        monkeypatch.setattr(loop.loop, name, partial(observed, name, getattr(loop.loop, name)))


def test_it_asks_nothing_of_the_loop_on_its_own_stack(ann, loop, monkeypatch):
    """That lies where frames of the loop lay, into which libuv points: the process ended by SIGSEGV, now and then."""
    asked = []
    observe(loop, monkeypatch, lambda name, *_: asked.append((name, writers.current() is not None)))
    ann.order("ann BUY 1 AAPL @ 90")
    with stranger() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend_of_the_writer(loop)])
    ann.order("ann BUY 1 AAPL @ 90")
    assert {name for name, _ in asked} >= {"add_reader", "remove_reader", "call_later"}
    assert [name for name, is_on_its_stack in asked if is_on_its_stack] == []


@pytest.mark.parametrize("statement", ["a lock", "COMMIT"])
@pytest.mark.parametrize("method", ["add_reader", "call_later"])
def test_a_wait_that_the_loop_cannot_keep_is_a_broken_connection(ann, loop, monkeypatch, method, statement):
    """A COMMIT whose answer nobody can hear may have taken effect: it is looked up, not carried out again."""
    ann.order("ann BUY 1 AAPL @ 90")
    failures, execute = [], bulk.execute_prepared

    def executed(cursor, statements):
        if (statement != "COMMIT" or ("COMMIT", []) in statements) and failures == []:
            failures.append(OSError("no such file"))
            statements = [("SELECT pg_sleep(0.05)", []), *statements]
        return execute(cursor, statements)

    def fail_once(name: str, *arguments: object) -> None:
        is_the_writers = any(LoopWriter.__name__ in getattr(one, "__qualname__", "") for one in arguments)
        if name == method and is_the_writers and failures and failures[-1]:
            failures.append(None)
            raise failures[0]

    monkeypatch.setattr(bulk, "execute_prepared", executed)
    observe(loop, monkeypatch, fail_once)
    monkeypatch.setattr(writers, "STAY_SECONDS", 0)
    commands = [ann.command("ann BUY 1 AAPL @ 90") for _ in range(2)]
    outcomes = [future.result(PATIENCE_SECONDS) for future in sequencer.submit(commands)]
    assert [outcome["status"] for outcome in outcomes] == ["OPEN", "OPEN"] and len(failures) == 2
    assert ann.book() == "3@90 |"


def test_what_is_placed_on_the_loop_and_from_threads_is_settled_together(ann, loop):
    ann.trader("bob", USD=10_000)

    async def place(sentence: str) -> dict:
        return await sequencer.submit_from_loop([ann.command(sentence)])[0]

    threads = [submit(ann, "ann SELL 1 AAPL @ 100") for _ in range(20)]

    async def many() -> list[dict]:
        return await asyncio.gather(*(place("bob BUY 1 AAPL @ 100") for _ in range(20)))

    answers = loop.run(many())
    assert all(future.result(PATIENCE_SECONDS)["id"] for future in threads)
    assert {answer["status"] for answer in answers} <= {"OPEN", "FILLED"}
    assert (ann.funds("bob", "AAPL"), ann.book()) == ("20+0", "|")


def test_the_loop_goes_on_while_the_writer_waits_for_a_lock(ann, loop):
    ann.order("ann BUY 1 AAPL @ 90")
    with locked_market():
        future = submit(ann, "ann BUY 5 AAPL @ 100")
        for _ in range(10):
            loop.run(asyncio.sleep(0.01))
        assert not future.done()
    assert future.result(PATIENCE_SECONDS)["status"] == "OPEN"


def test_long_work_gives_the_loop_its_turns(ann, loop, monkeypatch):
    ann.order("ann BUY 1 AAPL @ 90")
    seen, place = [], batch.Batch._place

    def placing(self, command):
        seen.append("order")
        loop.loop.call_soon(seen.append, "turn")
        return place(self, command)

    monkeypatch.setattr(batch.Batch, "_place", placing)
    commands = [ann.command("ann BUY 1 AAPL @ 80") for _ in range(3)]
    for turn_seconds, expected in ((0, ["order", "turn"] * 3), (60, ["order"] * 3 + ["turn"] * 3)):
        monkeypatch.setattr(writers, "TURN_SECONDS", turn_seconds)
        seen.clear()
        for future in sequencer.submit(commands):
            future.result(PATIENCE_SECONDS)
        loop.run(asyncio.sleep(0))
        assert seen == expected


def test_it_stays_for_the_answer_that_comes_at_once(ann, loop, monkeypatch):
    """The locks, which are asked for at once while the book is as the writer left it; but not the commit."""
    for _ in range(2):
        ann.order("ann BUY 1 AAPL @ 90")
    stays, wait_for = [], LoopWriter.wait_for

    def observed(writer, *arguments):
        stays.append(writer.is_staying)
        return wait_for(writer, *arguments)

    monkeypatch.setattr(LoopWriter, "wait_for", observed)
    ann.order("ann BUY 1 AAPL @ 90")
    assert stays == [True, False]


def test_it_stays_no_longer_than_that():
    here, there = socket.socketpair()
    with here, there:
        assert not writers._answers_soon(here.fileno())
        there.send(b"the answer")
        assert writers._answers_soon(here.fileno())


@pytest.mark.parametrize("is_in_use", [False, True])
def test_a_connection_that_is_cut_is_replaced(ann, loop, is_in_use):
    ann.order("ann BUY 1 AAPL @ 90")
    pid = backend_of_the_writer(loop)
    with stranger() as cursor:
        if is_in_use:
            with locked_market():
                future = submit(ann, "ann BUY 5 AAPL @ 100")
                loop.run(asyncio.sleep(0.1))
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        else:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            future = submit(ann, "ann BUY 5 AAPL @ 100")
    assert future.result(PATIENCE_SECONDS)["status"] == "OPEN"
    assert backend_of_the_writer(loop) != pid


def test_a_database_that_says_nothing_is_given_up(ann, loop, monkeypatch):
    ann.order("ann BUY 1 AAPL @ 90")
    with monkeypatch.context() as impatient, locked_market():
        impatient.setattr(writers, "SILENCE_SECONDS", 0.1)
        refusal = submit(ann, "ann BUY 5 AAPL @ 100").result(PATIENCE_SECONDS)
    assert isinstance(refusal, Refusal) and refusal.code == "not_accepting"
    assert ann.order("ann BUY 5 AAPL @ 100")["status"] == "OPEN"
    assert ann.book() == "5@100 1@90 |"


def test_a_new_market_needs_its_accounts(ann, loop, monkeypatch):
    """They are made by the ORM, beside the loop; nothing of that stays open."""
    ann.order("ann BUY 1 AAPL @ 90")
    market, seen, fee_account = Market.objects.get(symbol="AAPL"), [], ledger.fee_account
    sequencer.registry._fees.clear()

    def observed(market_id):
        seen.append((threading.get_ident() == loop.call(threading.get_ident), connection.connection is not None))
        return fee_account(market_id)

    monkeypatch.setattr(ledger, "fee_account", observed)
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"
    assert seen == [(False, False)] and market.id in sequencer.registry._fees


def test_what_fails_beside_the_loop_fails_its_commands_alone(ann, loop, monkeypatch):
    def fail(market_id):
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "fee_account", fail)
        assert isinstance(submit(ann, "ann BUY 1 AAPL @ 90").result(PATIENCE_SECONDS), ZeroDivisionError)
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"


def test_a_database_that_does_not_answer_the_door_is_given_up(ann, loop, monkeypatch):
    """`connect_timeout` means nothing to a client library that does not block."""
    terms = connection.get_connection_params()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = terms | {"host": "127.0.0.1", "port": silent.getsockname()[1], "connect_timeout": "1"}
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(type(connections[DEFAULT_DB_ALIAS]), "get_connection_params", lambda _: away)
            refusal = submit(ann, "ann BUY 1 AAPL @ 90").result(PATIENCE_SECONDS)
    assert isinstance(refusal, Refusal) and refusal.code == "not_accepting"
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"


def test_while_a_writer_has_not_ended_no_other_takes_its_place(ann, loop):
    ann.order("ann BUY 1 AAPL @ 90")
    with locked_market():
        future = submit(ann, "ann BUY 5 AAPL @ 100")
        sequencer.stop(0.05)
        with pytest.raises(NotAccepting):
            submit(ann, "ann BUY 1 AAPL @ 80")
    assert future.result(PATIENCE_SECONDS)["status"] == "OPEN"
    wait_until(lambda: sequencer.writer is None, "the writer's end")
    assert ann.order("ann BUY 1 AAPL @ 80")["status"] == "OPEN"


def test_after_its_loop_a_thread_takes_over(ann):
    with LoopThread() as short:
        sequencer.loop = short.loop
        ann.order("ann BUY 1 AAPL @ 90")
        abandoned = sequencer.writer
    abandoned.disconnect()  # a process that ends would
    sequencer.loop = None
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"
    assert isinstance(sequencer.writer, ThreadWriter)


def test_stopping_settles_what_is_queued_and_ends_the_writer(ann, loop):
    ann.order("ann BUY 1 AAPL @ 90")
    with stranger() as cursor:
        pid = backend_of_the_writer(loop)
        first = sequencer.writer
        futures = [submit(ann, "ann BUY 1 AAPL @ 90") for _ in range(5)]
        sequencer.stop()
        assert all(future.done() for future in futures) and not first.is_alive()
        wait_until(lambda: not is_connected(cursor, pid), "the end of the writer's connection")
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"
    assert sequencer.writer is not first
    sequencer.stop()
    sequencer.loop = None
    assert ann.order("ann BUY 1 AAPL @ 90")["status"] == "OPEN"
    assert isinstance(sequencer.writer, ThreadWriter)


def test_waiting_on_its_own_loop_is_an_error_at_once(ann, loop):
    command = ann.command("ann BUY 1 AAPL @ 90")

    async def on_the_loop() -> None:
        orders.place(command)

    with pytest.raises(RuntimeError, match="submit_from_loop"):
        loop.run(on_the_loop())
    assert ann.book() == "|"


def test_its_log_lines_bear_its_name(ann, loop, monkeypatch):
    records, attempt = [], sequencer._attempt

    def observed(waiting):
        record = logging.makeLogRecord({"msg": "a batch"})
        records.append((logs.Origin().filter(record), record.origin, record.request_id))
        return attempt(waiting)

    monkeypatch.setattr(sequencer, "_attempt", observed)
    ann.order("ann BUY 1 AAPL @ 90")
    assert records == [(True, "sequencer", "")]
