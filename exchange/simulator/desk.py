"""One thread with one database connection, for coroutines that must not block their event loop.

The simulator takes one connection however many markets it runs, instead of one for each thread of a pool.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import InterfaceError, OperationalError, connection


class Desk:
    """`await desk.do(function, …)` runs it on the desk's thread, one at a time, in the order they came."""

    def __init__(self, name: str):
        self._name = name
        self._executor: ThreadPoolExecutor | None = None

    async def do(self, function: Callable, *args, **kwargs):
        """The function's answer. A broken connection is closed, so that the next call gets a new one."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _call, function, args, kwargs)

    async def close(self) -> None:
        """Close connection and thread; a later `do` opens both again."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            closed = asyncio.get_running_loop().run_in_executor(executor, _disconnect)
            executor.shutdown(wait=False)
            await closed


def _call(function: Callable, args: tuple, kwargs: dict):
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        connection.close()
        raise


def _disconnect() -> None:
    connection.close()  # looked up here, because each thread has its own
