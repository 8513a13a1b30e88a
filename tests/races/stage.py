"""Two writers on one database, the first of them stopped at a chosen point while the second acts.

Two `Sequencer` objects are what two server processes are to the database: each has its writer, its connection, its
books. The first works on an event loop, as a server's does, or on a thread, as the second. `POINTS` are the moments of
the first one's transaction at which it can be held; `Stage.run` holds it there, starts the other, checks that the other
waits exactly if it must, and lets go.
"""

import math
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from django.db import connection, connections, transaction

from exchange import store
from exchange.books import LiveBook
from exchange.commands import Command, Refresh, Replay
from exchange.sequencer import Sequencer, Waiting
from marketdata import bulk, markets
from marketdata.models import Market
from marketdata.refusals import Refusal
from tests.locks import waiting_for_locks
from tests.loop_thread import LoopThread
from tests.patience import PATIENCE_SECONDS, wait_until

COMMIT = ("COMMIT", [])


def before(original, gate, arguments, options):
    gate.wait()
    return original(*arguments, **options)


def after(original, gate, arguments, options):
    result = original(*arguments, **options)
    gate.wait()
    return result


def before_commit(original, gate, arguments, options):
    """Everything is written, but not committed."""
    cursor, statements = arguments
    end = list(statements).index(COMMIT)
    original(cursor, statements[:end])
    gate.wait()
    return original(cursor, statements[end:])


#: Where the first writer can be stopped: a function of its transaction, and on which side of it. A writer whose books
#: were moved by others locks markets and accounts in turn, else all at once.
POINTS = {
    "before it locks": (store, "begin", before),
    "before it locks at once": (store, "open_accounts", before),
    "holding the market": (store, "begin", after),
    "holding the accounts": (store, "open_accounts", after),
    "holding all at once": (store, "open_accounts", after),
    "before it writes": (bulk, "execute_prepared", before),
    "before its commit": (bulk, "execute_prepared", before_commit),
    "after its commit": (bulk, "execute_prepared", after),
}
ORDER = list(POINTS)
#: From which point on the first one holds what the second needs.
GUARDS = {"market": ORDER.index("holding the market"), "accounts": ORDER.index("holding the accounts")}
LAST_HELD = ORDER.index("before its commit")
#: Points at which the first one has locks.
HOLDING = ("holding the market", "holding the accounts", "holding all at once", "before its commit")
IN_TURN = ("before it locks", "holding the market", "holding the accounts")


def first_one(point: str, guard: str) -> str:
    """Whose effect comes first if the first writer is stopped there: "held" or "other"."""
    return "held" if ORDER.index(point) >= GUARDS[guard] else "other"


@dataclass
class Gate:
    """Stops one thread once."""

    reached: threading.Event
    go: threading.Event

    def wait(self) -> None:
        self.reached.set()
        assert self.go.wait(PATIENCE_SECONDS), "nobody opened the gate"


class Stage:
    """Made by the fixture of the same name; `held` and `other` are the two writers."""

    def __init__(self, venue, monkeypatch, *, on_loop: bool):
        self.venue, self.monkeypatch = venue, monkeypatch
        self.held, self.other = Sequencer(), Sequencer()
        self._loop = LoopThread() if on_loop else None
        self.held.loop = self._loop and self._loop.loop
        self._helpers = ThreadPoolExecutor(2)

    def close(self) -> None:
        self.held.stop()
        self.other.stop()
        self._helpers.shutdown()
        if self._loop is not None:
            self._loop.stop()

    def run(
        self,
        point: str,
        *,
        held: Command,
        other: Command | Callable,
        guard: str | None,
        too_long: bool = False,
        symbols: Collection[str] = (),
    ) -> tuple[str, str]:
        """Both outcomes in words, the held one's first. Without a guard the other ends first, come what may. A writer
        that is held `too_long` is held beyond its command's deadline. `symbols`: the markets that play a part, if not
        all do.
        """
        self._warm(symbols)
        moved = self.held.registry._moved
        if point in IN_TURN:
            moved.update(self.held.registry.books)
        else:
            moved.clear()  # a book that was only loaded counts as moved
        gate = self._gate(point)
        first = Future()
        waiting = Waiting(held, first, None, math.inf)
        self.held._enqueue([waiting])
        assert gate.reached.wait(PATIENCE_SECONDS), f"the writer never came to the point {point!r}"
        second = self._start(other)
        if guard is not None and GUARDS[guard] <= ORDER.index(point) <= LAST_HELD:
            wait_until(lambda: waiting_for_locks() > 0, "the other writer to wait for a lock")
            assert not second.done()
        else:
            second.result(PATIENCE_SECONDS)
        if too_long:
            waiting.deadline = -math.inf
        gate.go.set()
        return words(first.result(PATIENCE_SECONDS)), words(second.result(PATIENCE_SECONDS))

    def _start(self, other: Command | Callable) -> Future:
        if callable(other):
            return self._helpers.submit(self._in_thread, other)
        return self.other.submit([other])[0]

    def start_new_connections(self) -> None:
        """The writers' next transactions are on new connections, with new settings."""
        self.held.stop()
        self.other.stop()

    @staticmethod
    def _in_thread(action: Callable):
        try:
            return action()
        except Refusal as refusal:
            return refusal
        finally:
            connections.close_all()

    def _gate(self, point: str) -> Gate:
        module, name, stop = POINTS[point]
        original, gate = getattr(module, name), Gate(threading.Event(), threading.Event())

        def gated(*arguments, **options):
            is_mine = self.held.writer.is_current() and not gate.reached.is_set()
            if module is bulk:
                is_mine = is_mine and COMMIT in arguments[1]
            elif name == "open_accounts":
                is_mine = is_mine and ("begin_markets" in options) == (point not in IN_TURN)
            if is_mine:
                return stop(original, gate, arguments, options)
            return original(*arguments, **options)

        self.monkeypatch.setattr(module, name, gated)
        return gate

    def _warm(self, symbols: Collection[str] = ()) -> None:
        """Both writers have these books, or all, as processes that have been running for a while."""
        shown = Market.objects.filter(symbol__in=symbols) if symbols else Market.objects.all()
        for writer in (self.held, self.other):
            for future in writer.submit([Refresh(market.id) for market in shown]):
                future.result(PATIENCE_SECONDS)

    def books_agree(self) -> bool:
        """Both writers, brought up to date, have the book that the database has; in every market."""
        self._warm()
        for market in Market.objects.all():
            fresh = LiveBook(markets.load_spec(market.id), 0)
            with transaction.atomic(), connection.cursor() as cursor:
                fresh.load(cursor, 0, None)
            books = [writer.registry.books[market.id].book for writer in (self.held, self.other)]
            if len({book.state_hash() for book in [fresh.book, *books]}) != 1:
                return False
        return True


def words(outcome) -> str:
    """An outcome as one word: an order's status, a refusal's code, "replayed", "done"."""
    if isinstance(outcome, Refusal):
        return outcome.code
    if isinstance(outcome, Exception):
        raise outcome
    if isinstance(outcome, Replay):
        return "replayed"
    if isinstance(outcome, dict):
        return outcome["status"]
    if isinstance(outcome, list):
        return f"{len(outcome)} cancelled"
    return "done"
