"""Starting and stopping what the streams of a server process need: the hub, the safety net, the watch over slow
sockets.

`start` and `stop` belong into the server's lifespan. Servers without one (daphne by itself, runserver) start
with their first socket.
"""

import asyncio
import logging

from exchange import reading
from exchange.depth import Delta
from exchange.streams import outbox
from exchange.streams.account_feeds import account_feeds
from exchange.streams.feeds import feeds
from exchange.streams.margin_feed import margin_feed
from exchange.streams.price_feed import price_feed
from exchange.streams.ticker_feeds import ticker_feeds
from marketdata import hub

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

_tasks: set[asyncio.Task] = set()
_starting: asyncio.Future | None = None


async def start() -> None:
    """Listen to what is committed, wherever it is. Again is harmless."""
    hub.on_books(_hear_books)
    hub.on_accounts(account_feeds.receive)
    is_first = not hub.is_running()
    await hub.start()
    if is_first:
        works = (("stream-check", _check_for_ever), ("slow-sockets", outbox.watch), ("margin-feed", margin_feed.run))
        for name, work in works:
            task = asyncio.create_task(work(), name=name)
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)


async def ensure_started() -> None:
    """For sockets of servers that have no lifespan: start with the first of them."""
    global _starting
    if hub.is_running() and _starting is None:
        return
    if _starting is None:
        _starting = asyncio.ensure_future(start())
        _starting.add_done_callback(_started)
    await asyncio.shield(_starting)


def _started(_: asyncio.Future) -> None:
    global _starting
    _starting = None


async def stop() -> None:
    """Leave the hub and end the tasks."""
    for task in list(_tasks):
        task.cancel()
    await asyncio.gather(*_tasks, return_exceptions=True)
    await hub.stop()
    forget()


def forget() -> None:
    """Let go of all markets: nobody listens any more."""
    feeds.by_market.clear()
    price_feed.forget()
    ticker_feeds.by_market.clear()


def _hear_books(messages: list[list]) -> None:
    """Committed batches of some process: first for this process's views, which reads answer from, then for the
    feeds.
    """
    for message in messages:
        delta = Delta(*message)
        if not delta.whole:
            reading.apply(delta)
            feeds.receive(delta)
            ticker_feeds.receive(delta)


async def _check_for_ever() -> None:
    """The safety net: compare every feed with the database, because the hub may have lost something."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        for part in (feeds, ticker_feeds, price_feed, account_feeds):
            try:
                await part.check()
            except Exception as error:
                logger.warning("comparing the streams with the database failed: %r", error)
