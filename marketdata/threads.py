"""Threads of this process that may use the ORM on behalf of coroutines, each with its own database connection that it
keeps.

A coroutine must not touch the ORM; it asks `in_thread` instead. Pools are small on purpose: what waits here is a
look-up that no cache knew, never the hot path. Connections are checked before use, as Django does at the start of a
request.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from weakref import WeakSet

from django.db import close_old_connections, connections

LOOKUP_THREADS = 4


class Pool:
    """A few threads that stay, and their connections."""

    def __init__(self, size: int, name: str):
        self._size, self._name = size, name
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._connections: WeakSet = WeakSet()

    async def run(self, function: Callable, *args, **kwargs):
        """Await the plain function's result (or exception) from one of the threads."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads(), lambda: context.run(self._call, function, args, kwargs))

    def start(self, function: Callable) -> None:
        """Let one of the threads call the function, which deals with its own errors; nobody waits for it."""
        self._threads().submit(self._call, function, (), {})

    def stop(self) -> None:
        """End the threads and close their connections; the next call starts new ones."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)
        while self._connections:
            connection = self._connections.pop()
            connection.inc_thread_sharing()
            connection.close()
            connection.dec_thread_sharing()

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
            return self._executor

    def _call(self, function: Callable, args: tuple, kwargs: dict):
        close_old_connections()
        with self._lock:
            self._connections.update(connections.all(initialized_only=True))
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()
            with self._lock:
                self._connections.update(connections.all(initialized_only=True))


lookups = Pool(LOOKUP_THREADS, "lookup")
in_thread = lookups.run


def stop() -> None:
    """End the look-up threads."""
    lookups.stop()
