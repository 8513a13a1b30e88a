"""Cancelling what an account has open when its socket ends, for those who asked for it.

The commands that the socket had sent before are waited for first, so that none of them outlives it. Tasks are kept
here, because the socket that began them is gone.
"""

import asyncio
import logging
from collections.abc import Iterable

from exchange import orders
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

_tasks: set[asyncio.Task] = set()


def cancel_all(account_id: int, pending: Iterable[asyncio.Task]) -> None:
    """Begin it; in an event loop."""
    task = asyncio.create_task(_cancel_all(account_id, list(pending)), name=f"last wish of {account_id}")
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _cancel_all(account_id: int, pending: list[asyncio.Task]) -> None:
    if pending:
        await asyncio.wait(pending)
    try:
        await orders.cancel_all_async(account_id=account_id)
    except Refusal as refusal:
        logger.warning("the orders of account %s stay after its socket ended: %s", account_id, refusal.detail)
    except Exception:
        logger.exception("the orders of account %s stay after its socket ended", account_id)


async def finish() -> None:
    """Wait for those under way: when the server stops."""
    if _tasks:
        await asyncio.wait(set(_tasks))
