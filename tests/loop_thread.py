"""An event loop that runs in a thread of its own, as a server's does."""

import asyncio
import threading
from collections.abc import Callable

import uvloop

STOP_SECONDS = 10


class LoopThread:
    """Runs from the start on; a context manager, or `stop` it."""

    def __init__(self):
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop")
        self._thread.start()

    def call(self, function: Callable, *arguments: object) -> object:
        """What it returns when it is called on the loop."""

        async def call() -> object:
            return function(*arguments)

        return self.run(call())

    def run(self, coroutine) -> object:
        """What the coroutine returns when it is run on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(STOP_SECONDS)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_SECONDS)
        self.loop.close()

    def __enter__(self) -> "LoopThread":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
