"""Where the sequencer's work is done: on the server's event loop or, where there is none, on a thread of its own.

A server's threads share one interpreter, and handing it over costs: beside a busy loop a writer thread settled an
eighth fewer orders a second than one that runs on the loop itself (64 connections). So there the writer is a greenlet:
a stack of its own in the loop's thread, which hands the loop back whenever it waits for the database, and after
TURN_SECONDS if it says that it may (`breathe`). The work is the same code: to it, a call that waits takes long.

Invariants: one writer works at a time for its sequencer; nothing is lost that came before `wake`; a greenlet never
holds a threading lock while it waits, because whoever wants it on the loop would stop the thread that could release it.
A greenlet asks nothing of the loop but `call_soon`. Greenlets have the thread's one stack in turns: while the writer
works, its stack lies where frames of the loop lay, and libuv keeps pointers into those. What watches a socket or a
clock is therefore begun and ended on the loop's side of the hand-over; done on the writer's, it wrote through such
pointers into memory that was no longer theirs, and ended the process.
"""

import asyncio
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
from django.db import DEFAULT_DB_ALIAS, connections
from greenlet import getcurrent, greenlet
from psycopg2.extensions import POLL_OK, POLL_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as PlainCursor
from psycopg2.extras import register_default_jsonb

#: How long the loop's other callbacks may be kept waiting by a long batch.
TURN_SECONDS = 0.02
#: How long a writer that is `staying` keeps the loop for an answer before it hands it back.
STAY_SECONDS = 0.002
#: A database that says nothing for this long is taken for gone; longer than any statement but a chain of them may take.
SILENCE_SECONDS = 60.0
#: How long a step of connecting may take where the database's URL does not say (`connect_timeout`).
CONNECT_SECONDS = 10.0


class ThreadWriter:
    """Does the work on a thread of its own."""

    def __init__(self, work: Callable[[], None]):
        self._called = threading.Event()
        self._thread = threading.Thread(target=work, name="sequencer", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Whether it is the writer who asks."""
        return threading.current_thread() is self._thread

    def wake(self) -> None:
        """There is something to do; from any thread."""
        self._called.set()

    def wait(self) -> None:
        """Until somebody calls `wake`, or has since the last time. For the writer."""
        self._called.wait()
        self._called.clear()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the work."""
        self._thread.join(timeout_seconds)


class LoopWriter:
    """Does the work in a greenlet of the event loop, on a database connection of its own."""

    def __init__(self, work: Callable[[], None], loop: asyncio.AbstractEventLoop):
        self._work, self._loop = work, loop
        self._greenlet: greenlet | None = None
        self._thread_id: int | None = None
        self._connection: Connection | None = None
        self._is_idle = self._is_called = False
        self.is_staying = False
        self._ended = threading.Event()
        self._resumed_at = 0.0
        loop.call_soon_threadsafe(self._begin)

    def is_alive(self) -> bool:
        return not (self._ended.is_set() or self._loop.is_closed())

    def is_current(self) -> bool:
        return getcurrent() is self._greenlet

    def wake(self) -> None:
        if threading.get_ident() != self._thread_id:
            self._loop.call_soon_threadsafe(self._resume_idle)
        elif self._is_idle and not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._resume_idle)

    def wait(self) -> None:
        self._is_idle = True
        self._hand_back()

    def join(self, timeout_seconds: float) -> None:
        """Not on the loop, which has to go on for it."""
        self._ended.wait(timeout_seconds)

    # For the work

    def cursor(self) -> PlainCursor:
        """A cursor whose `execute` hands the loop back until the answer is there."""
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.cursor()

    def is_connected(self) -> bool:
        return self._connection is not None

    def disconnect(self) -> None:
        """Drop the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def sleep(self, seconds: float) -> None:
        self._hand_back(lambda: self._loop.call_later(seconds, self._resume))

    def breathe(self) -> None:
        """Let the loop's other callbacks run if they have waited for long."""
        if time.monotonic() - self._resumed_at > TURN_SECONDS:
            self._loop.call_soon(self._resume)
            self._hand_back()

    def meanwhile(self, function: Callable[[], None]) -> None:
        """Have the loop call it as soon as it is handed back."""
        self._loop.call_soon(function)

    def call(self, function: Callable, *arguments: object) -> object:
        """What the function returns, or raises, on a thread and on database connections that end with it."""

        def work() -> object:
            try:
                return function(*arguments)
            finally:
                connections.close_all()

        task = self._loop.create_task(asyncio.to_thread(work))
        task.add_done_callback(lambda _: self._resume())
        self._hand_back()
        return task.result()

    def wait_for(self, connection: Connection, seconds: float | None = None) -> None:
        """Until what was asked of the database is answered. Its error, if it is one; OperationalError if it says
        nothing for so long.
        """
        while (state := connection.poll()) != POLL_OK:
            if not (self.is_staying and state == POLL_READ and _answers_soon(connection.fileno())):
                self._wait_until_ready(connection.fileno(), state == POLL_READ, seconds or SILENCE_SECONDS)

    def _connect(self) -> Connection:
        django = connections[DEFAULT_DB_ALIAS]
        terms = django.get_connection_params() | {"cursor_factory": _Cursor, "async_": True}
        connection = self.call(lambda: psycopg2.connect(**terms))  # looks the host's name up, which may take long
        self.wait_for(connection, float(terms.get("connect_timeout") or CONNECT_SECONDS))
        # What Django does to its own connections.
        register_default_jsonb(connection, loads=str)
        connection.cursor().execute("SELECT set_config('TimeZone', %s, false)", [django.timezone_name])
        if role := django.settings_dict["OPTIONS"].get("assume_role"):
            connection.cursor().execute("SELECT set_config('role', %s, false)", [role])
        return connection

    def _wait_until_ready(self, file: int, is_reading: bool, seconds: float) -> None:
        loop = self._loop
        start, stop = (loop.add_reader, loop.remove_reader) if is_reading else (loop.add_writer, loop.remove_writer)
        silence: asyncio.TimerHandle | None = None

        def begin() -> None:
            nonlocal silence
            silence = loop.call_later(seconds, end, False)
            try:
                start(file, end, True)
            except BaseException:
                silence.cancel()
                raise

        def end(has_answered: bool) -> None:
            silence.cancel()
            stop(file)
            self._resume(has_answered)

        try:
            has_answered = self._hand_back(begin)
        except Exception as error:  # what was asked may be done all the same
            raise psycopg2.OperationalError(f"the loop cannot wait for the database: {error!r}") from error
        if not has_answered:
            raise psycopg2.OperationalError(f"the database has said nothing for {seconds:.0f} seconds")

    # Greenlets

    def _begin(self) -> None:
        self._thread_id = threading.get_ident()
        self._greenlet = greenlet(self._run)
        self._greenlet.writer = self
        self._resume()

    def _run(self, _: bool) -> None:
        asyncio._set_running_loop(None)
        try:
            self._work()
        finally:
            self._ended.set()
            asyncio._set_running_loop(self._loop)

    def _resume(self, value: bool = True) -> None:
        """On the loop: let the writer go on until it waits again, and begin what it then waits for."""
        begin = self._greenlet.switch(value)
        while begin is not None:
            try:
                begin()
                begin = None
            except Exception as error:  # the writer's, who would wait for ever
                begin = self._greenlet.throw(error)

    def _resume_idle(self) -> None:
        self._is_called = False
        if self._is_idle:
            self._is_idle = False
            self._resume()

    def _hand_back(self, begin: Callable[[], object] | None = None) -> bool:
        """In the greenlet: give the loop its thread back until `_resume`; with what value that was called. `begin` is
        called by the loop's side.
        """
        # While the writer works the loop does not: Django asks for that before it closes a connection, say.
        asyncio._set_running_loop(self._loop)
        try:
            return self._greenlet.parent.switch(begin)
        finally:
            asyncio._set_running_loop(None)
            self._resumed_at = time.monotonic()


class _Cursor(PlainCursor):
    """Of a LoopWriter's connection."""

    def execute(self, *arguments) -> None:
        super().execute(*arguments)
        current().wait_for(self.connection)


def _answers_soon(file: int) -> bool:
    watched = select.poll()
    watched.register(file, select.POLLIN)
    return bool(watched.poll(1000 * STAY_SECONDS))


def current() -> LoopWriter | None:
    """The writer on whose greenlet this is called; None on any other stack."""
    return getattr(getcurrent(), "writer", None)


def call(function: Callable, *arguments: object) -> object:
    """For the ORM, which knows nothing of greenlets: the loop goes on, and the function finds a connection of its own.
    On a thread it is simply called.
    """
    if (writer := current()) is not None:
        return writer.call(function, *arguments)
    return function(*arguments)


def sleep(seconds: float) -> None:
    """Wait, on whatever this is called."""
    if (writer := current()) is not None:
        writer.sleep(seconds)
    else:
        time.sleep(seconds)


def breathe() -> None:
    """To be called now and then during long work: on a loop, others get a turn."""
    if (writer := current()) is not None:
        writer.breathe()


@contextmanager
def staying() -> Iterator[None]:
    """For an answer that the database has at once, and for which all who wait for the writer wait: a loop that was
    given back for it would first serve its readers, and orders would starve beside them.
    """
    writer = current()
    if writer is not None:
        writer.is_staying = True
    try:
        yield
    finally:
        if writer is not None:
            writer.is_staying = False


def meanwhile(function: Callable[[], None]) -> None:
    """Have it called while the writer waits for what it is about to ask of the database; before that, on a thread."""
    if (writer := current()) is not None:
        writer.meanwhile(function)
    else:
        function()
