"""The sequencer: this process's one writer, through which every command goes.

Commands join a queue; the writer (see exchange.writers: in a server it works on the event loop, elsewhere on a thread)
takes whatever arrived while the last batch was committing (no timer) and settles it in one transaction (see
exchange.batch). Only after the commit are callers answered, views updated, and streams told. If more commands wait by
then, that is left until the next batch is on its way to the disk, when the interpreter has nothing else to do, or for
HOLD_SECONDS: answering at once would make the next batch wait for the answers.

When something fails
- a refusal answers its command and touches nobody else;
- a deadlock, a lost connection or a timeout discards the live books and tries the batch again, at most ATTEMPTS
  times, then answers 503;
- any other error discards them too and settles the batch's commands one at a time, so that one bad command cannot
  sink its neighbours;
- a COMMIT whose answer was lost and cannot be looked up in time is answered 503 and says so: the client finds out
  by client_order_id.
"""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import repeat, takewhile

from exchange import reading, transaction, writers
from exchange.batch import Batch, Outcome
from exchange.commands import Command, NotAccepting, Place, Refresh
from exchange.lists import Replace
from exchange.registry import Registry
from exchange.relay import Relay
from exchange.transaction import PASSING_ERRORS, OutcomeUnknown
from marketdata import hub, metrics
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

BATCH_COMMANDS = 256
ATTEMPTS = 3
PUBLISH_SECONDS = metrics.BATCH_SECONDS.labels("publish")
#: How long answers may wait for the next batch to be decided.
HOLD_SECONDS = 0.02
#: Commands waiting beyond this are refused at once: answering late is worse than answering no.
QUEUE_COMMANDS = 20_000
NO_DEADLINES = repeat(None)


class Waiting:
    """A command and who waits for its outcome: a thread's Future, or a Future of an event loop. `deadline`: until
    when it may be begun, if another process has passed it on (see exchange.relay). `is_alone`: it has been in a batch
    that failed, and is settled by itself.
    """

    __slots__ = ("command", "future", "loop", "deadline", "is_alone")

    def __init__(
        self, command: Command, future, loop: asyncio.AbstractEventLoop | None, deadline: float | None = None
    ):
        self.command, self.future, self.loop, self.deadline = command, future, loop, deadline
        self.is_alone = False

    def is_overdue(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


class Sequencer:
    """One queue, one writer, one connection. Started by the first command."""

    def __init__(self):
        self.registry = Registry()
        self._queue: deque[Waiting] = deque()
        self._lock = threading.Lock()
        self.writer: writers.ThreadWriter | writers.LoopWriter | None = None
        #: Where the next writer works; None for a thread of its own.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._extra_accounts: frozenset[int] = frozenset()
        self._scattered: frozenset[int] = frozenset()
        #: Markets where a batch has left something to do, as long as no command of the queue sees to it.
        self._unfinished: set[int] = set()
        self._held = Held()
        #: Passes coroutines' commands on to the processes that own their markets, where there are several.
        self.relay: Relay | None = None

    # Callers' side

    def submit(self, commands: Sequence[Command]) -> list[Future]:
        """Queue the commands side by side, in this order.

        Each future gets an outcome (a Refusal is a result, not an exception). Not on the writer's own loop: who waited
        there for the future would keep the writer from making it.
        """
        if self.loop is not None and asyncio._get_running_loop() is self.loop:
            raise RuntimeError("The writer works on this event loop; use submit_from_loop and await the future.")
        waiting = [Waiting(command, Future(), None) for command in commands]
        self._enqueue(waiting)
        return [one.future for one in waiting]

    def submit_from_loop(self, commands: Sequence[Command]) -> list[asyncio.Future]:
        """The same for a coroutine: futures of the running loop, woken once per batch."""
        return self.relay.submit(commands) if self.relay is not None else self.submit_here(commands)

    def submit_here(
        self, commands: Sequence[Command], deadlines: Iterable[float | None] = NO_DEADLINES
    ) -> list[asyncio.Future]:
        """The same, never passed on; what is not begun by its deadline is answered NotAccepting."""
        loop = asyncio.get_running_loop()
        pairs = zip(commands, deadlines, strict=False)
        waiting = [Waiting(command, loop.create_future(), loop, deadline) for command, deadline in pairs]
        self._enqueue(waiting)
        return [one.future for one in waiting]

    def _enqueue(self, waiting: list[Waiting]) -> None:
        with self._lock:
            if self._stopping:
                raise NotAccepting("The server is stopping.")
            if len(self._queue) > QUEUE_COMMANDS:
                raise NotAccepting("Too many commands are waiting; try again shortly.")
            if self.writer is None or not self.writer.is_alive():
                self.writer = writers.LoopWriter(self._run, self.loop) if self.loop else writers.ThreadWriter(self._run)
            self._queue.extend(waiting)
            self.writer.wake()

    def waiting_commands(self) -> int:
        return len(self._queue)

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Settle what is queued, then end the writer. New commands start a new one. Not on the writer's own loop."""
        with self._lock:
            self._stopping = True
            writer = self.writer
        if writer is not None and writer.is_alive() and not writer.is_current():
            writer.wake()
            writer.join(timeout_seconds)
        else:
            self._forget(writer)

    def _forget(self, writer: writers.ThreadWriter | writers.LoopWriter | None) -> None:
        """It has ended; until then nothing new is taken, because two writers must not share the books."""
        with self._lock:
            if self.writer is writer:
                self.writer, self._stopping = None, False

    # The writer

    def _run(self) -> None:
        with self._lock:  # whoever started the writer holds it until it has a name
            writer = self.writer
        try:
            while batch := self._take(writer):
                self._settle(batch)
        except BaseException:
            logger.exception("the sequencer died; the next command starts a new one")
            raise
        finally:
            self._held.release()
            self.registry.forget()
            self._unfinished.clear()  # the clockwork finds what is due
            transaction.close()
            self._forget(writer)

    def _take(self, writer: writers.ThreadWriter | writers.LoopWriter) -> list[Waiting]:
        while not self._queue and not self._stopping:
            writer.wait()
        batch = []
        with self._lock:
            while self._queue and len(batch) < BATCH_COMMANDS and self._may_join(batch):
                batch.append(self._queue.popleft())
        return batch

    def _may_join(self, batch: list[Waiting]) -> bool:
        """Whether the next command of the queue may be settled with these."""
        return not batch or not (batch[0].is_alone or self._queue[0].is_alone)

    def _take_late(self, waiting: list[Waiting], market_ids: set[int]) -> list[Command]:
        """Add the next orders of the queue to those that wait for this batch, as far as they are for these markets."""
        late = []
        with self._lock:
            while self._queue and len(waiting) < BATCH_COMMANDS and self._may_join(waiting):
                if not _is_for(self._queue[0].command, market_ids):
                    break
                late.append(self._queue.popleft())
                waiting.append(late[-1])
        return [one.command for one in late]

    def _settle(self, waiting: list[Waiting]) -> None:
        """Settle the batch; what it left undone goes back to the front of the queue."""
        cause = None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                done = self._attempt(waiting)
            except OutcomeUnknown as unknown:
                self.registry.forget()
                return self._give_up(waiting, unknown)
            except PASSING_ERRORS as error:
                self.registry.forget()
                metrics.BATCH_FAILURES.inc()
                logger.warning("attempt %d at %d commands failed: %s", attempt, len(waiting), _brief(error))
                cause = error.with_traceback(None)  # it leads back to the batch
                writers.sleep(0.05 * attempt)
            except Exception as error:
                self.registry.forget()
                return self._settle_apart(waiting, error)
            else:
                with self._lock:
                    self._queue.extendleft(reversed(waiting[done:]))
                    self._kick()
                return None
        refusal = NotAccepting("The database does not answer; nothing was done. Try again.")
        refusal.__cause__ = cause
        return self._give_up(waiting, refusal)

    def _give_up(self, waiting: list[Waiting], refusal: Refusal) -> None:
        """Answer all of a batch that failed. What is left of earlier ones stays to be done."""
        self._extra_accounts = self._scattered = frozenset()
        self._unfinished |= {one.command.market_id for one in waiting if type(one.command) is Refresh}
        self._answer([(one, refusal) for one in waiting])

    def _kick(self) -> None:
        """Have what a batch has left done first of all, even if nobody asks for anything: by a Refresh at the head of
        the queue. One that is there already will do; else each batch that comes again would add to them.
        """
        first = takewhile(lambda one: type(one.command) is Refresh, self._queue)
        left = self._unfinished - {one.command.market_id for one in first}
        self._queue.extendleft(Waiting(Refresh(one), Future(), None) for one in left)
        self._unfinished.clear()

    def _settle_apart(self, waiting: list[Waiting], error: Exception) -> None:
        """One of the commands breaks the batch: settle each by itself, so that only the bad one fails. They go back to
        the queue for it: what one of them leaves undone comes before the next. What an earlier batch asked this one to
        lock may be to blame as well, and is not asked of the next.
        """
        self._extra_accounts = self._scattered = frozenset()
        if len(waiting) == 1:
            logger.error("command failed: %r", waiting[0].command, exc_info=error)
            return self._answer([(waiting[0], error)])
        logger.warning("a batch of %d failed (%s); settling its commands one at a time", len(waiting), _brief(error))
        for one in waiting:
            one.is_alone = True
        with self._lock:
            self._queue.extendleft(reversed(waiting))
        return None

    def _attempt(self, waiting: list[Waiting]) -> int:
        """One transaction; answers the commands it decided and returns how many.

        Raises, with nothing answered, if it failed.
        """
        batch = Batch(
            self.registry,
            [one.command for one in waiting],
            self._extra_accounts,
            self._scattered,
            late=lambda market_ids: self._take_late(waiting, market_ids),
            is_overdue=lambda place: waiting[place].is_overdue(),
        )
        try:
            transaction.settle(batch, self._held.release)
        finally:
            self._held.release()
        # From here on everything is committed: an error may be logged, never retried.
        committed_at = time.time()
        self._extra_accounts, self._scattered = frozenset(batch.unlocked), frozenset(batch.unscattered)
        self._unfinished |= batch.unfinished
        self._update_views(batch)
        answers = list(zip(waiting, batch.outcomes, strict=False))
        self._held.hold(lambda: self._tell(batch, answers, committed_at))
        loop = waiting[0].loop
        if loop is None or not self._queue or not _call(loop, loop.call_later, HOLD_SECONDS, self._held.release):
            self._held.release()
        _count(batch, len(self._queue))
        return len(batch.outcomes)

    def _tell(self, batch: Batch, answers: list[tuple[Waiting, Outcome]], committed_at: float) -> None:
        """Answer the callers of a committed batch, and publish what it did. Never raises: all would be repeated."""
        try:
            with PUBLISH_SECONDS.time():
                self._answer(answers)
                events = batch.sheet.published()
                if batch.deltas or events:
                    books = [delta.message() for delta in batch.deltas]
                    hub.publish(books=books, accounts=events, committed_at=committed_at)
        except Exception:
            logger.exception("telling of a committed batch failed; streams catch up from the database")

    def _update_views(self, batch: Batch) -> None:
        """Bring the committed views up to the live books, which are what was just committed."""
        try:
            for delta in self.registry.take_deltas():
                reading.apply(delta, self.registry.books[delta.market_id].spec)
            for delta in batch.deltas:
                reading.committed(delta)
            for live in batch.books.values():
                reading.ensure(live)
        except Exception:
            logger.exception("updating the views failed; they load again when they are read")
            reading.forget()

    def _answer(self, outcomes: list[tuple[Waiting, Outcome]]) -> None:
        """Hand out the outcomes: threads one by one, each event loop all at once."""
        by_loop: dict[asyncio.AbstractEventLoop, list] = {}
        for one, outcome in outcomes:
            if one.loop is None:
                one.future.set_result(outcome)
            else:
                by_loop.setdefault(one.loop, []).append((one.future, outcome))
        for loop, answers in by_loop.items():
            _call(loop, _resolve, answers)


def _is_for(command: Command, market_ids: set[int]) -> bool:
    """Whether it concerns these markets alone. A Replace names an order that nobody has looked for yet."""
    return isinstance(command, Place) and not isinstance(command, Replace) and command.spec.id in market_ids


class Held:
    """What is to be told of the last batch: once, by whoever comes first."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tell: Callable[[], None] | None = None

    def hold(self, tell: Callable[[], None]) -> None:
        """Keep it until `release`. What was kept before must have been released."""
        self._tell = tell

    def release(self) -> None:
        with self._lock:
            tell, self._tell = self._tell, None
        if tell is not None:
            tell()


def _call(loop: asyncio.AbstractEventLoop, function: Callable, *arguments: object) -> bool:
    """Have the loop call the function; False when the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        logger.debug("the loop that asked is closed")
        return False
    return True


def _resolve(answers: list[tuple[asyncio.Future, Outcome]]) -> None:
    for future, outcome in answers:
        if not future.done():
            future.set_result(outcome)


def _count(batch: Batch, queued: int) -> None:
    """What Prometheus hears of a batch."""
    metrics.BATCH_COMMANDS.observe(len(batch.outcomes))
    metrics.TRADES.inc(len(batch.records.trades))
    metrics.QUEUE.set(queued)
    for kind, count in Counter(type(command).__name__.lower() for command in batch.commands).items():
        metrics.COMMANDS.labels(kind).inc(count)
    metrics.count_codes(outcome.code for outcome in batch.outcomes if isinstance(outcome, Refusal))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


sequencer = Sequencer()
