"""Cancelling what an account has open when its socket ends, for those who asked for it.

The commands that the socket had sent before are waited for first, so that none of them outlives it. Tasks are kept
here, because the socket that began them is gone.

While the database is away it is tried again, for TRY_SECONDS. By then the account may trade through another socket: so
what was placed later than GRACE after this one's end stays. What was placed before goes, amended since or not.
GRACE is for clocks of several hosts that differ.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from exchange import orders
from exchange.transaction import PASSING_ERRORS
from marketdata import clock
from marketdata.refusals import Unavailable

logger = logging.getLogger(__name__)

TRY_SECONDS = 60.0
PAUSE_SECONDS = 0.5
GRACE = timedelta(seconds=1)
#: How long a server that stops waits for those that it has not been able to carry out.
STOP_SECONDS = 10.0

_tasks: set[asyncio.Task] = set()


def cancel_all(account_id: int, pending: Iterable[asyncio.Task]) -> None:
    """Begin it; in an event loop."""
    task = asyncio.create_task(_cancel_all(account_id, list(pending)), name=f"last wish of {account_id}")
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _cancel_all(account_id: int, pending: list[asyncio.Task]) -> None:
    if pending:
        await asyncio.wait(pending)
    limit, deadline = clock.now() + GRACE, time.monotonic() + TRY_SECONDS
    placed_before = None  # whatever the clocks say, as long as nobody can have come back
    while not await _is_done(account_id, placed_before, is_last=time.monotonic() > deadline):
        placed_before = limit
        await asyncio.sleep(PAUSE_SECONDS)


async def _is_done(account_id: int, placed_before: datetime | None, *, is_last: bool) -> bool:
    """Try it; True as well when it is tried no more."""
    try:
        await orders.cancel_all_async(account_id=account_id, placed_before=placed_before)
    except (Unavailable, *PASSING_ERRORS) as error:
        if is_last:
            logger.error("the orders of account %s stay after its socket ended: %s", account_id, error)
        return is_last
    except Exception:  # a bug would break the batch again and again, and have every book loaded anew each time
        logger.exception("the orders of account %s stay after its socket ended", account_id)
    return True


async def finish() -> None:
    """Wait for those under way, but not for long: when the server stops."""
    if not _tasks:
        return
    _, left = await asyncio.wait(set(_tasks), timeout=STOP_SECONDS)
    for task in left:
        logger.error("the %s stays undone: the server stops", task.get_name())
        task.cancel()  # or it would begin a new writer, once the matcher has ended
    await asyncio.gather(*left, return_exceptions=True)
