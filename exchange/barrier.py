"""Reading a book, never older than the database.

A read first asks the database for the market's sequence, so that whoever got the answer to a command sees its
effect in the next read, whichever process serves it. All reads that wait at the same time share one query; a view
that is behind is brought up by the sequencer, on the same path as any other catching up.

Threads are served by a thread of its own. Coroutines are served in their event loop, over a connection that the loop
watches: waking a thread and getting the interpreter back from it costs more than all else that a read does.
"""

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future
from weakref import WeakKeyDictionary

import psycopg2
from django.db import DatabaseError, InterfaceError, connection
from psycopg2.extensions import POLL_OK, POLL_READ

from exchange.commands import Refresh
from exchange.depth import BookView
from exchange.reading import views
from exchange.sequencer import sequencer
from marketdata.markets import MarketSpec
from marketdata.refusals import Refusal, Unavailable

logger = logging.getLogger(__name__)

SEQUENCES = "SELECT id, sequence FROM marketdata_market WHERE id = ANY(%s)"
ANSWER_SECONDS = 30


class NoAnswer(Unavailable):
    """The database could not be asked how far the market is."""

    def __init__(self):
        super().__init__("The database does not answer; try again.")


class _ThreadReader:
    """The thread that asks the database how far the markets are, once for all threads that wait."""

    def __init__(self):
        self._waiting: deque[tuple[int, Future]] = deque()
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def pass_for(self, market_id: int) -> Future:
        """A future of the market's view, as new as this call or newer."""
        future = Future()
        with self._arrived:
            if self._thread is None or not self._thread.is_alive():
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name="book-reader", daemon=True)
                self._thread.start()
            self._waiting.append((market_id, future))
            self._arrived.notify()
        return future

    def stop(self) -> None:
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
            thread = self._thread
        if thread is not None:
            thread.join(5)

    def _run(self) -> None:
        try:
            while True:
                with self._arrived:
                    while not self._waiting and not self._stopping:
                        self._arrived.wait()
                    if self._stopping and not self._waiting:
                        self._thread = None  # whoever comes while it ends needs another one
                        return
                    waiters = list(self._waiting)
                    self._waiting.clear()
                self._serve(waiters)
        finally:
            connection.close()

    def _serve(self, waiters: list[tuple[int, Future]]) -> None:
        try:
            sequences = self._sequences({market_id for market_id, _ in waiters})
            behind = [market_id for market_id, sequence in sequences.items() if _is_behind(market_id, sequence)]
            outcomes = {one: sequencer.submit([Refresh(one)])[0].result(ANSWER_SECONDS) for one in behind}
        except TimeoutError:
            _fail(waiters, NoAnswer())
        except Exception as error:
            _fail(waiters, error)
        else:
            _deliver(waiters, sequences, outcomes)

    def _sequences(self, market_ids: set[int]) -> dict[int, int]:
        for attempt in (1, 2):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(SEQUENCES, [list(market_ids)])
                    return dict(cursor.fetchall())
            except (DatabaseError, InterfaceError):
                connection.close()
                if attempt == 2:
                    raise NoAnswer from None


class _LoopReader:
    """The same for the coroutines of one event loop: what arrives while one question is under way is asked next."""

    def __init__(self):
        self._waiting: list[tuple[int, asyncio.Future]] = []
        self._task: asyncio.Task | None = None
        self._connection = None

    def pass_for(self, market_id: int) -> asyncio.Future:
        """A future of the market's view, as new as this call or newer."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((market_id, future))
        if self._task is None:
            self._task = loop.create_task(self._run(), name="book-reader")
        return future

    def close(self) -> None:
        """Drop the connection; the next read makes a new one."""
        database, self._connection = self._connection, None
        if database is not None:
            database.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiters, self._waiting = self._waiting, []
                await self._serve(waiters)
        finally:
            self._task = None

    async def _serve(self, waiters: list[tuple[int, asyncio.Future]]) -> None:
        try:
            sequences = await self._sequences({market_id for market_id, _ in waiters})
            behind = [market_id for market_id, sequence in sequences.items() if _is_behind(market_id, sequence)]
            refreshed = sequencer.submit_from_loop([Refresh(market_id) for market_id in behind]) if behind else []
            outcomes = {market_id: await future for market_id, future in zip(behind, refreshed, strict=True)}
        except Exception as error:
            _fail(waiters, error)
        else:
            _deliver(waiters, sequences, outcomes)

    async def _sequences(self, market_ids: set[int]) -> dict[int, int]:
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._ask(list(market_ids))
            except (psycopg2.Error, OSError) as error:  # TimeoutError is an OSError: silence is waited for once
                self.close()
                if attempt == 2 or isinstance(error, TimeoutError):
                    raise NoAnswer from None

    async def _ask(self, market_ids: list[int]) -> dict[int, int]:
        if self._connection is None:
            terms = connection.get_connection_params() | {"async_": True}
            # It looks the host's name up, which may take long.
            self._connection = await asyncio.to_thread(psycopg2.connect, **terms)
            await self._settled()
        with self._connection.cursor() as cursor:
            cursor.execute(SEQUENCES, [market_ids])
            await self._settled()
            return dict(cursor.fetchall())

    async def _settled(self) -> None:
        """Wait until the connection has done what it was asked for, with the loop watching its socket."""
        loop = asyncio.get_running_loop()
        while (state := self._connection.poll()) != POLL_OK:
            socket, ready = self._connection.fileno(), loop.create_future()
            watch, leave = (
                (loop.add_reader, loop.remove_reader)
                if state == POLL_READ
                else (loop.add_writer, loop.remove_writer)
            )
            watch(socket, _wake, ready)
            try:
                await ready
            finally:
                leave(socket)


def _wake(ready: asyncio.Future) -> None:
    if not ready.done():
        ready.set_result(None)


def _is_behind(market_id: int, sequence: int) -> bool:
    view = views.get(market_id)
    return view is None or view.sequence < sequence


def _deliver(waiters: list, sequences: dict[int, int], outcomes: dict[int, object]) -> None:
    """Each its market's view; the refusal to refresh that market; None if there is none, or it cannot be loaded."""
    for market_id, future in waiters:
        outcome = outcomes.get(market_id)
        if isinstance(outcome, Refusal):
            _fail([(market_id, future)], outcome)
        elif not future.done():
            is_there = market_id in sequences and not isinstance(outcome, Exception)  # the sequencer has logged that
            future.set_result(views.get(market_id) if is_there else None)


def _fail(waiters: list, error: Exception) -> None:
    if not isinstance(error, Refusal):
        logger.error("reading the books failed", exc_info=error)
    for _, future in waiters:
        if not future.done():
            future.set_exception(error)


_thread_reader = _ThreadReader()
_loop_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopReader] = WeakKeyDictionary()


def pass_for(market_id: int) -> Future:
    """A future of the market's view for a thread; of None when there is no such market, or its book cannot be loaded.
    """
    return _thread_reader.pass_for(market_id)


def pass_for_loop(market_id: int) -> asyncio.Future:
    """The same for a coroutine of the running loop."""
    loop = asyncio.get_running_loop()
    reader = _loop_readers.get(loop)
    if reader is None:
        reader = _loop_readers[loop] = _LoopReader()
    return reader.pass_for(market_id)


def stop() -> None:
    """End the thread and drop the connections; the next read starts anew."""
    _thread_reader.stop()
    for reader in list(_loop_readers.values()):
        reader.close()


def view(spec: MarketSpec) -> BookView:
    """The market's committed book, at least as new as this call. Unavailable when there is none to be had."""
    return _there(answer_of(pass_for(spec.id)), spec)


def answer_of(future: Future) -> BookView | None:
    """What it comes to; NoAnswer when that takes too long."""
    try:
        return future.result(ANSWER_SECONDS)
    except TimeoutError:
        raise NoAnswer from None


async def view_from_loop(spec: MarketSpec) -> BookView:
    """The same for a coroutine."""
    return _there(await pass_for_loop(spec.id), spec)


def _there(found: BookView | None, spec: MarketSpec) -> BookView:
    """None comes of a market that is gone, or whose figures or orders make no sense."""
    if found is None:
        raise Unavailable(f"The book of {spec.symbol} cannot be read now; try again.")
    return found
