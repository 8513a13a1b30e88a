"""Runs the simulated markets: `step` moves simulated time by hand, as fast as the venue answers; `run` ties it to the
clock, each market for itself.

With `step`, the same seed, scenario, markets and state of the venue give the same tape. With `run` each market still
decides the same, as long as the venue answers in time; how the markets interleave is up to the machine.
"""

import asyncio
import logging
from collections.abc import Sequence

from django.db import DatabaseError, InterfaceError

from exchange.simulator.conductor import Conductor
from exchange.simulator.desk import Desk
from exchange.simulator.market import STEP_SECONDS, MarketRunner, Run, Tally
from exchange.simulator.scenario import Scenario
from exchange.simulator.timekeeping import SimulatedClock
from exchange.simulator.world import World
from marketdata.models import Market
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

#: How often `run` looks for markets that have appeared.
DIRECTORY_SECONDS = 5.0
#: A step that takes longer than this has lost its answer.
STEP_TIMEOUT_SECONDS = 60.0
LONGEST_BACK_OFF_SECONDS = 10.0


class Simulator:
    """The simulated market. `markets`: symbols, or None for every active spot market, new ones included.

    `clock`: for `step` only, the venue's clock follows the steps.
    """

    def __init__(
        self,
        seed: int,
        markets: Sequence[str] | None = None,
        speed: float = 1.0,
        scenario: Scenario | None = None,
        clock: SimulatedClock | None = None,
    ):
        self.speed = speed
        self.tally = Tally()
        self._chosen = None if markets is None else {symbol.upper() for symbol in markets}
        self._desk = Desk("simulator")
        self._world = World()
        self._run = Run(seed, self._desk, self._world, Conductor(scenario), self.tally, clock)
        self._runners: dict[str, MarketRunner] = {}
        self._steps = 0
        #: Set by `run` when every market that it found has been tried: where it trades, its first quotes stand.
        self.has_quoted = asyncio.Event()

    async def step(self, count: int = 1) -> None:
        """Advance every market by `count` steps, one market after the other, without sleeping."""
        symbols = await self._find_markets()
        for _ in range(count):
            self._steps += 1
            if self._run.clock is not None:
                self._run.clock.step(self._steps * STEP_SECONDS)
            for symbol in symbols:
                await self._runners[symbol].step()

    async def run(self) -> None:
        """Trade at `speed` times the pace of the clock until cancelled, whatever the venue or the database answers."""
        tasks: dict[str, asyncio.Task] = {}
        unquoted: set[str] = set()
        try:
            while True:
                for symbol in await self._find_markets_patiently():
                    if symbol not in tasks:
                        unquoted.add(symbol)
                        tasks[symbol] = asyncio.create_task(self._live(self._runners[symbol], unquoted))
                if not unquoted:
                    self.has_quoted.set()
                await asyncio.sleep(DIRECTORY_SECONDS)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Open what a scenario has halted and give the database connection back. `step` may be called again."""
        try:
            # On the desk's thread, where it comes after a halt that is just being made.
            await self._desk.do(self._run.conductor.restore)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("what the scenario has halted stays so: %s", _brief(error))
        finally:
            await self._desk.close()

    async def _find_markets(self) -> list[str]:
        symbols = await self._desk.do(self._symbols)
        for symbol in symbols:
            if symbol not in self._runners:
                self._runners[symbol] = MarketRunner(symbol=symbol, run=self._run)
                self._world.enter(self._runners[symbol])
        return symbols

    async def _find_markets_patiently(self) -> list[str]:
        try:
            return await self._find_markets()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("cannot look for markets: %s", _brief(error))
            return []

    def _symbols(self) -> list[str]:
        found = Market.objects.filter(is_active=True, kind=Market.Kind.SPOT)
        if self._chosen is not None:
            found = found.filter(symbol__in=self._chosen)
        rows = list(found.order_by("symbol").values_list("symbol", "base", "quote"))
        new = [symbol for symbol, _, _ in rows if symbol not in self._runners]
        if new:
            self._run.conductor.heal(new)
        self._world.relate(rows)
        return self._world.in_order([symbol for symbol, _, _ in rows])

    async def _live(self, runner: MarketRunner, unquoted: set[str]) -> None:
        """Step one market for ever, evenly, never hurrying after what was missed."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            due = loop.time() + STEP_SECONDS / self.speed
            try:
                async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                    await runner.step()
                failures = 0
            except Exception as error:
                failures += 1
                due += min(LONGEST_BACK_OFF_SECONDS, 2.0**failures / 4)
                _log(runner.symbol, error)
            unquoted.discard(runner.symbol)
            if not unquoted:
                self.has_quoted.set()
            await asyncio.sleep(max(0.0, due - loop.time()))


def _log(symbol: str, error: Exception) -> None:
    """Trouble that passes is one line; anything else is a bug and shows where."""
    if isinstance(error, Refusal | DatabaseError | InterfaceError | TimeoutError):
        logger.warning("simulated trading of %s pauses: %s", symbol, _brief(error))
    else:
        logger.error("simulated trading of %s failed", symbol, exc_info=error)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
