"""What runs beside the requests in a server process: the streams, the relay to the other processes, and the services of
which one process at a time does the work, such as price feeds, liquidation and, where it is on, the simulated market.
"""

import asyncio
import gc
import logging
import os
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from accounts import equity
from config import stock
from exchange import barrier, clockwork, closing, positions_engine
from exchange.relay import Relay
from exchange.sequencer import sequencer
from exchange.simulator.leader import run_as_leader
from exchange.streams import last_wishes, lifecycle
from marketdata import feed, metrics, threads

logger = logging.getLogger(__name__)

#: Fewer and smaller pauses: what was made while starting is never looked at again. Measured at 64 connections: p99 from
#: 60 to 20 ms.
GC_THRESHOLDS = (50_000, 50, 1000)

#: How long the first request waits for the simulator's first quotes, so that a market order finds somebody.
FIRST_QUOTES_SECONDS = 10.0

_tasks: list[asyncio.Task] = []


async def startup() -> None:
    """Start what runs in the background; called once, in the server's event loop."""
    await lifecycle.start()
    sequencer.loop = asyncio.get_running_loop()
    if (relay := _relay()) is not None:
        await relay.start()
        sequencer.relay = relay
    await closing.first_look()
    _tasks.append(asyncio.create_task(feed.run(), name="feed"))
    _tasks.append(asyncio.create_task(equity.run_snapshots(), name="equity"))
    _tasks.append(asyncio.create_task(closing.run(), name="competitions"))
    _tasks.append(asyncio.create_task(positions_engine.run_updater(), name="margin-updater"))
    _tasks.append(asyncio.create_task(positions_engine.run_engine(), name="positions-engine"))
    _tasks.append(asyncio.create_task(clockwork.run(), name="clockwork"))
    if settings.SIMULATOR:
        quoted = asyncio.Event()
        _tasks.append(asyncio.create_task(run_as_leader(quoted=quoted), name="simulator"))
        with suppress(TimeoutError):
            await asyncio.wait_for(quoted.wait(), FIRST_QUOTES_SECONDS)
    metrics.WORKERS.set(1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _relay() -> Relay | None:
    """How a child of a pool (config.worker_pool) passes commands on to its siblings; None for a process alone."""
    directory = os.environ.get("RELAY_DIRECTORY")
    if not directory:
        return None
    index, count = int(os.environ["WORKER_INDEX"]), int(os.environ["RELAY_PROCESSES"])
    return Relay(Path(directory), index, count, sequencer.submit_here)


async def shutdown() -> None:
    """Stop it: first what sends commands, then the matcher, so that nothing is left half done."""
    metrics.WORKERS.set(0)
    for task in _tasks:
        task.cancel()
    await asyncio.gather(*_tasks, return_exceptions=True)
    _tasks.clear()
    await last_wishes.finish()
    if sequencer.relay is not None:
        relay, sequencer.relay = sequencer.relay, None
        await relay.stop()
    sequencer.loop = None
    await asyncio.to_thread(sequencer.stop)
    await lifecycle.stop()
    await asyncio.to_thread(barrier.stop)
    await asyncio.to_thread(threads.stop)
    await asyncio.to_thread(positions_engine.stop_threads)
    await asyncio.to_thread(stock.requests.stop)


async def lifespan(scope, receive, send) -> None:
    """The ASGI lifespan protocol around the two."""
    await receive()
    try:
        await startup()
    except Exception as error:
        logger.exception("the background did not start")
        return await send({"type": "lifespan.startup.failed", "message": str(error)})
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await shutdown()
    await send({"type": "lifespan.shutdown.complete"})
