"""How tests wait for what must come: long, since a busy machine is no defect; one that passes never waits so long."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 60.0


async def soon(awaitable: Awaitable):
    """What it gives; TimeoutError once patience has run out."""
    return await asyncio.wait_for(awaitable, PATIENCE_SECONDS)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Look again and again, while the loop runs; AssertionError names what never came."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s in vain: {what}"
        await asyncio.sleep(0.0005)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """The same for code without a loop."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s in vain: {what}"
        time.sleep(0.01)
