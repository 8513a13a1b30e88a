"""Reading a book, never older than the database.

A read first asks the database for the market's sequence, so that whoever got the answer to a command sees its
effect in the next read, whichever process serves it. All reads that wait at the same time share one query; a view
that is behind is brought up by the sequencer, on the same path as any other catching up.
"""

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future

from django.db import DatabaseError, InterfaceError, connection

from exchange.commands import Refresh
from exchange.depth import BookView
from exchange.reading import views
from exchange.sequencer import sequencer
from marketdata.markets import MarketSpec
from marketdata.refusals import Refusal, Unavailable

logger = logging.getLogger(__name__)


class _Barrier:
    """The thread that asks the database how far the markets are, once for everyone who waits."""

    def __init__(self):
        self._waiting: deque[tuple[int, object, asyncio.AbstractEventLoop | None]] = deque()
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def pass_for(self, market_id: int) -> Future:
        future = Future()
        self._enqueue((market_id, future, None))
        return future

    def pass_for_loop(self, market_id: int) -> asyncio.Future:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._enqueue((market_id, future, loop))
        return future

    def _enqueue(self, waiter) -> None:
        with self._arrived:
            if self._thread is None or not self._thread.is_alive():
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name="book-reader", daemon=True)
                self._thread.start()
            self._waiting.append(waiter)
            self._arrived.notify()

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
                        return
                    waiters = list(self._waiting)
                    self._waiting.clear()
                self._serve(waiters)
        finally:
            connection.close()

    def _serve(self, waiters: list) -> None:
        try:
            sequences = self._sequences({market_id for market_id, _, _ in waiters})
            for market_id in sequences:
                self._refresh(market_id, sequences[market_id])
            results = {market_id: views.get(market_id) for market_id in sequences}
        except Refusal as refusal:
            results = {market_id: refusal for market_id, _, _ in waiters}
        except Exception as error:
            logger.exception("reading the books failed")
            results = {market_id: error for market_id, _, _ in waiters}
        _deliver(waiters, results)

    def _sequences(self, market_ids: set[int]) -> dict[int, int]:
        for attempt in (1, 2):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT id, sequence FROM marketdata_market WHERE id = ANY(%s)", [list(market_ids)])
                    return dict(cursor.fetchall())
            except (DatabaseError, InterfaceError):
                connection.close()
                if attempt == 2:
                    raise Unavailable("The database does not answer; try again.") from None

    def _refresh(self, market_id: int, sequence: int) -> None:
        view = views.get(market_id)
        if view is not None and view.sequence >= sequence:
            return
        outcome = sequencer.submit([Refresh(market_id)])[0].result(timeout=30)
        if isinstance(outcome, Exception):
            raise outcome


def _deliver(waiters: list, results: dict) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list] = {}
    for market_id, future, loop in waiters:
        if loop is None:
            _set(future, results.get(market_id))
        else:
            by_loop.setdefault(loop, []).append((future, results.get(market_id)))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(lambda answers=answers: [_set(future, result) for future, result in answers])
        except RuntimeError:
            logger.debug("the loop that asked is closed")


def _set(future, result) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


barrier = _Barrier()


def view(spec: MarketSpec) -> BookView:
    """The market's committed book, at least as new as this call."""
    return barrier.pass_for(spec.id).result(timeout=30)


async def view_from_loop(spec: MarketSpec) -> BookView:
    """The same for a coroutine."""
    return await barrier.pass_for_loop(spec.id)
