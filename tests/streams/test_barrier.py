"""Reading behind the barrier: from threads and from coroutines, with the database gone in between."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest
from django.db import connection
from django.db.models import F

from exchange import barrier
from exchange.reading import forget
from exchange.sequencer import Sequencer, sequencer
from exchange.tickers import board
from marketdata import markets
from marketdata.markets import by_symbol
from marketdata.models import Market
from marketdata.refusals import Unavailable
from tests.patience import PATIENCE_SECONDS

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT id, sequence%%'
"""


@pytest.fixture
def traders(venue):
    venue.trader("ann", USD=10_000)
    venue.trader("bob", AAPL=100)
    return venue


def cut_readers() -> int:
    with connection.cursor() as cursor:
        cursor.execute(CUT)
        return cursor.fetchone()[0]


def test_many_coroutines_read_what_is_committed(traders):
    traders.order("ann BUY 5 AAPL @ 100")
    spec = by_symbol("AAPL")

    async def read() -> list[int]:
        views = await asyncio.gather(*[barrier.view_from_loop(spec) for _ in range(50)])
        return [view.sequence for view in views]

    assert asyncio.run(read()) == [1] * 50
    traders.order("bob SELL 2 AAPL @ 100")
    assert asyncio.run(read()) == [2] * 50


def test_a_cut_connection_is_made_anew(traders):
    traders.order("ann BUY 5 AAPL @ 100")
    spec = by_symbol("AAPL")

    async def read_cut_read() -> list[int]:
        before = await barrier.view_from_loop(spec)
        assert await asyncio.to_thread(barrier.view, spec)
        assert cut_readers() == 2
        connection.close()  # a coroutine has one of its own
        after = await barrier.view_from_loop(spec)
        in_thread = await asyncio.to_thread(barrier.view, spec)
        return [before.sequence, after.sequence, in_thread.sequence]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        assert asyncio.run(read_cut_read()) == [1, 1, 1]


def test_the_hosts_name_is_not_looked_up_on_the_loop(venue, monkeypatch):
    spec, connect, threads = by_symbol("AAPL"), psycopg2.connect, []

    def noting(**terms):
        if terms.get("async_"):
            threads.append(threading.get_ident())
        return connect(**terms)

    monkeypatch.setattr(psycopg2, "connect", noting)
    asyncio.run(barrier.view_from_loop(spec))
    assert threads and threading.get_ident() not in threads


def test_a_database_that_is_gone_is_said_so(venue, monkeypatch):
    spec = by_symbol("AAPL")
    gone = {**connection.get_connection_params(), "port": 1}
    monkeypatch.setattr(type(connection._connections[connection._alias]), "get_connection_params", lambda self: gone)
    with pytest.raises(barrier.NoAnswer):
        asyncio.run(barrier.view_from_loop(spec))


def test_a_database_that_says_nothing_is_waited_for_once(venue, monkeypatch):
    spec, asked = by_symbol("AAPL"), []

    async def silent(reader, market_ids):
        asked.append(market_ids)
        await asyncio.sleep(PATIENCE_SECONDS)

    monkeypatch.setattr(barrier, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(barrier._LoopReader, "_ask", silent)
    monkeypatch.setattr(barrier, "pass_for", lambda market_id: Future())
    with pytest.raises(barrier.NoAnswer):
        asyncio.run(barrier.view_from_loop(spec))
    assert asked == [[spec.id]]
    for read in (barrier.view, lambda spec: board.read([spec])):
        with pytest.raises(barrier.NoAnswer):
            read(spec)


def test_a_book_that_cannot_be_loaded_is_no_other_readers_matter(traders):
    """Its tick was edited past the checks: an order rests between two of them. Both are asked for in one round."""
    traders.order("ann BUY 5 AAPL @ 100.01")
    traders.market("AAPL_TOO", base="AAPL", quote="USD", tick_size=Decimal("0.01"))
    bad, good = (by_symbol(symbol).id for symbol in ("AAPL", "AAPL_TOO"))
    rows, tick = Market.objects.filter(pk=bad), by_symbol("AAPL").tick_size

    async def read_both() -> list:
        return await asyncio.gather(*map(barrier.pass_for_loop, (bad, good)), return_exceptions=True)

    def read_both_in_a_thread() -> list:
        waiters = [(bad, Future()), (good, Future())]
        barrier._ThreadReader()._serve(waiters)
        return [future.exception() or future.result() for _, future in waiters]

    try:
        rows.update(tick_size=Decimal("0.1"), version=F("version") + 1)
        for read in (lambda: asyncio.run(read_both()), read_both_in_a_thread):
            sequencer.stop()
            forget()
            nothing, view = read()
            assert nothing is None and view.sequence == 0
    finally:
        rows.update(tick_size=tick, version=F("version") + 1)
        markets.forget()


def test_an_unknown_market_has_no_view(venue):
    async def read():
        return await barrier.pass_for_loop(999_999)

    assert asyncio.run(read()) is None
    assert barrier.pass_for(999_999).result(PATIENCE_SECONDS) is None
    gone = replace(by_symbol("AAPL"), id=999_999)
    for view in (barrier.view, lambda spec: asyncio.run(barrier.view_from_loop(spec))):
        with pytest.raises(Unavailable):
            view(gone)


def test_whoever_reads_while_the_thread_ends_is_served_by_the_next_one(venue, monkeypatch):
    ending, goes_on, end = threading.Event(), threading.Event(), barrier._ThreadReader._run

    def run_and_linger(reader):
        end(reader)
        ending.set()
        goes_on.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(barrier._ThreadReader, "_run", run_and_linger)
    reader = barrier._ThreadReader()
    reader.pass_for(999_999).result(PATIENCE_SECONDS)
    with ThreadPoolExecutor() as others:
        stopping = others.submit(reader.stop)
        assert ending.wait(PATIENCE_SECONDS)
        try:
            assert reader.pass_for(999_999).result(PATIENCE_SECONDS) is None
        finally:
            goes_on.set()
        stopping.result(PATIENCE_SECONDS)
        reader.stop()


def test_what_another_process_committed_is_seen_at_once(traders, monkeypatch):
    """The other one has books and views of its own, and its message has not come yet."""
    traders.order("ann BUY 5 AAPL @ 100")
    spec = by_symbol("AAPL")
    assert barrier.view(spec).sequence == 1
    other = Sequencer()

    def place_elsewhere(sentence: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(other, "_update_views", lambda batch: None)
            assert other.submit([traders.command(sentence)])[0].result(PATIENCE_SECONDS)["status"] == "FILLED"

    try:
        place_elsewhere("bob SELL 2 AAPL @ 100")
        assert barrier.view(spec).snapshot(5)["bids"] == [["100", "3"]]
        place_elsewhere("bob SELL 1 AAPL @ 100")
        assert asyncio.run(barrier.view_from_loop(spec)).snapshot(5)["bids"] == [["100", "2"]]
    finally:
        other.stop()


def test_a_cold_book_and_its_view_are_made_of_one_look_at_the_market(venue, monkeypatch):
    """Whoever asks for hundreds of them after a start waits for each look; one more is before the lock."""
    spec, looks, load_spec = by_symbol("AAPL"), [], markets.load_spec
    monkeypatch.setattr(markets, "load_spec", lambda market_id: looks.append(market_id) or load_spec(market_id))
    assert barrier.view(spec).sequence == 0
    assert looks == [spec.id] * 2
