"""The right of one process, of all on a database, to do a thing: a PostgreSQL advisory lock.

The lock belongs to a session of its own, which one thread keeps, so it falls free the moment its process dies,
whatever the way. Work given to `do` runs on that very session: who has lost the lock can't write either.
Known limit: behind a pooler that hands sessions around, session locks mean nothing; connect the servers directly.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from marketdata.refusals import Unavailable

logger = logging.getLogger(__name__)


class Lost(Exception):
    """The session broke, and the lock with it."""


class Taken(Exception):
    """Another session has the lock."""


@contextmanager
def alone(number: int, session: BaseDatabaseWrapper = connection, *, waits: bool = True) -> Iterator[None]:
    """Hold the advisory lock meanwhile. Who comes later waits for its end, or gets Taken. For work without a thread."""
    with session.cursor() as cursor:
        if waits:
            cursor.execute("SELECT pg_advisory_lock(%s)", [number])
        else:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
            if not cursor.fetchone()[0]:
                raise Taken
    try:
        yield
    finally:
        # Who is cut off has no lock left, and tells what cut it off.
        with suppress(DatabaseError, InterfaceError), session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


class Leadership:
    """One advisory lock (`number` below 2^31), and the thread whose session holds it."""

    def __init__(self, number: int, name: str):
        self._number = number
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._session: int | None = None

    async def take(self) -> bool:
        """Whether this process has the lock now; returns at once."""
        return await self._in_thread(self._ask, self._take)

    async def holds(self) -> bool:
        """Whether it still has the lock, asked of the server: a session that broke has lost it."""
        try:
            return await self.do(_alive)
        except Lost:
            return False

    async def do(self, function: Callable, *args):
        """Call the plain function on the lock's session. Lost when there is no such session any more."""
        return await self._in_thread(self._do, function, args)

    async def ask(self, function: Callable, *args):
        """Call the plain function in the thread, with or without the lock."""
        return await self._in_thread(self._ask, function, *args)

    async def close(self) -> None:
        """Give the lock up and end the thread; who asks next gets it."""
        try:
            await self._in_thread(self._give_up)
        finally:
            self._executor.shutdown(wait=False)

    async def _in_thread(self, function: Callable, *args):
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    def _take(self) -> bool:
        if self._session is not None and self._session == self._backend():
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s), pg_backend_pid()", [self._number])
            taken, backend = cursor.fetchone()
        self._session = backend if taken else None
        return taken

    def _backend(self) -> int | None:
        """The process id of this thread's open session, asked of the client library, not of the server."""
        return connection.connection.info.backend_pid if connection.connection is not None else None

    def _do(self, function: Callable, args: tuple):
        if self._session is None or self._session != self._backend():
            raise Lost
        try:
            return function(*args)
        except (DatabaseError, InterfaceError) as error:
            if connection.is_usable():
                raise
            self._leave()
            raise Lost from error

    def _ask(self, function: Callable, *args):
        try:
            return function(*args)
        except (DatabaseError, InterfaceError):
            if not connection.is_usable():
                self._leave()
            raise

    def _give_up(self) -> None:
        """Unlock before parting: the server notices a closed session only some moments later."""
        try:
            if self._session is not None and self._session == self._backend():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [self._number])
        except (DatabaseError, InterfaceError):
            pass  # the session is broken, and the lock with it
        finally:
            self._leave()

    def _leave(self) -> None:
        self._session = None
        connection.close()


async def repeat(number: int, name: str, work: Callable[[], object], seconds: float) -> None:
    """Do the work again and again, so many seconds apart, while this process is the one that may; for ever, whatever
    fails.
    """
    leadership = Leadership(number, name)
    try:
        while True:
            try:
                if await leadership.take():
                    await leadership.do(work)
            except (Lost, DatabaseError, InterfaceError, Unavailable) as error:
                logger.warning("%s: waits for the database: %s", name, type(error).__name__)
            except Exception:
                logger.exception("%s: failed and goes on", name)
            await asyncio.sleep(seconds)
    finally:
        await leadership.close()


def _alive() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT TRUE")
        return cursor.fetchone()[0]
