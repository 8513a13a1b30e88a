"""Of all server processes on one database, one simulates: whoever holds the simulator's advisory lock."""

import asyncio
import logging

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError

from exchange.simulator import scenario as scenario_files
from exchange.simulator.runner import Simulator
from exchange.simulator.scenario import ScenarioError
from marketdata.leadership import Leadership

logger = logging.getLogger(__name__)

#: Below 2^31, so that pg_locks shows it whole in objid.
LOCK = 0x73696D75
RETRY_SECONDS = 5.0


async def run_as_leader(*, quoted: asyncio.Event | None = None) -> None:
    """Simulate while this process is the one that may, wait while it is not; for ever, whatever fails.

    Returns at once when SIMULATOR is off. `quoted` is set when the first quotes stand in the books, or none are to be
    expected of this process soon.
    """
    if not settings.SIMULATOR:
        return
    leadership, quoted = Leadership(LOCK, "simulator-leader"), quoted or asyncio.Event()
    try:
        while True:
            try:
                if await leadership.take():
                    await _simulate_while_leading(leadership, quoted)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the simulator waits for the database: %s", type(error).__name__)
            except ImproperlyConfigured as error:
                logger.error("no simulated market: %s", error)
                return
            except Exception:
                logger.exception("the simulator failed and starts again")
            quoted.set()
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        quoted.set()
        await leadership.close()


def from_settings() -> Simulator:
    """All markets simulated as SIMULATOR_SEED, SIMULATOR_SPEED and SIMULATOR_SCENARIO want it. ImproperlyConfigured."""
    if settings.SIMULATOR_SPEED <= 0:
        raise ImproperlyConfigured("SIMULATOR_SPEED must be above 0")
    try:
        scenario = scenario_files.load(settings.SIMULATOR_SCENARIO) if settings.SIMULATOR_SCENARIO else None
    except ScenarioError as error:
        raise ImproperlyConfigured(f"SIMULATOR_SCENARIO is not playable:\n{error}") from None
    return Simulator(settings.SIMULATOR_SEED, speed=settings.SIMULATOR_SPEED, scenario=scenario)


async def _simulate_while_leading(leadership: Leadership, quoted: asyncio.Event) -> None:
    simulator = from_settings()
    simulator.has_quoted = quoted
    task = asyncio.create_task(simulator.run(), name="simulator")
    try:
        while not task.done() and await leadership.holds():
            await asyncio.wait({task}, timeout=RETRY_SECONDS)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
