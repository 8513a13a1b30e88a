"""The two background services of margin markets. Each runs in every server process, and as a command of its own; of all
processes on a database, the one that holds its advisory lock works and the others wait.

- The margin updater keeps the marks (exchange.mark_keeper), moves the house's quotes with them (house_quotes), and
  shows them to stop orders that wait for them (mark_triggers).
- The positions engine watches every account under those marks (exchange.risk), liquidates (exchange.liquidation), and
  posts financing (exchange.financing).

Where both run in one process, the engine hears of new marks at once; else it looks every ENGINE_SECONDS. The quotes
are moved before the engine is told, so that no liquidation trades with quotes of the mark before (unless their market
does not answer).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from django.db import DatabaseError, InterfaceError

from exchange import financing, liquidation, mark_triggers, risk_stop
from exchange.commands import Place
from exchange.house_quotes import House
from exchange.mark_keeper import MarkKeeper
from exchange.risk import Monitor
from exchange.risk_index import Key
from exchange.risk_models import Liquidation
from exchange.risk_reading import Purse
from marketdata import hub
from marketdata.leadership import Leadership, Lost
from marketdata.models import Contract
from marketdata.refusals import Unavailable

logger = logging.getLogger(__name__)

#: Below 2^31, so that pg_locks shows them whole in objid: "mark" and "risk".
UPDATER_LOCK, ENGINE_LOCK = 0x6D61726B, 0x7269736B
UPDATER_SECONDS = 0.2
ENGINE_SECONDS = 0.25
#: Without any margin market, or while another process leads.
IDLE_SECONDS = 3.0
HOUSE_KEEPING_SECONDS = 30.0
#: An account of which nothing could be closed waits so long.
RETRY_SECONDS = 2.0
#: Liquidations under way side by side.
SIDE_BY_SIDE = 64

#: Stands in the text of events that tell of a position. An account looked at by mistake costs that look, no more.
POSITION_EVENT = '"type":"position"'

Say = Callable[[str], None] | None

#: Set by this process's updater when there are new marks.
_marked: asyncio.Event | None = None


async def run_updater(say: Say = None) -> None:
    """The margin updater: for ever, whatever fails, until cancelled. `say` is told when it begins to work or to wait.
    """
    await _lead(UPDATER_LOCK, "margin-updater", _update, say)


async def run_engine(say: Say = None) -> None:
    """The positions engine: for ever, whatever fails, until cancelled. `say` is told when it begins to work or to wait.
    """
    await _lead(ENGINE_LOCK, "positions-engine", _watch, say)


async def _lead(lock: int, name: str, work: Callable[[Leadership], Awaitable], say: Say) -> None:
    leader, said = Leadership(lock, name), None

    def tell(text: str) -> None:
        nonlocal said
        if say is not None and text != said:
            with suppress(OSError):  # whoever read it is gone; the lock may be held by now, and has to be of use
                say(text)
        said = text

    try:
        while True:
            try:
                if not await leader.ask(_has_contracts):
                    tell("waiting: there is no active margin market")
                elif not await leader.take():
                    tell("waiting: another process on this database does it (a server, or this command)")
                else:
                    tell("working: any other process on this database waits")
                    await work(leader)
            except (Lost, DatabaseError, InterfaceError, Unavailable) as error:
                logger.warning("the %s waits for the database: %s", name, type(error).__name__)
            except Exception:
                logger.exception("the %s failed and starts again", name)
            await asyncio.sleep(IDLE_SECONDS)
    finally:
        await leader.close()


def _has_contracts() -> bool:
    return Contract.objects.filter(market__is_active=True).exists()


# The updater


async def _update(leader: Leadership) -> None:
    keeper, house = MarkKeeper(), House()
    try:
        while True:
            changed = await leader.do(keeper.step)
            await leader.do(house.read, keeper)
            await house.quote()
            specs = {market_id: terms.spec for market_id, terms in keeper.terms.items()}
            await mark_triggers.tell(await leader.do(mark_triggers.due, specs, changed))
            if changed and _marked is not None:
                _marked.set()
            await asyncio.sleep(UPDATER_SECONDS)
    finally:
        house.close()


# The engine


async def _watch(leader: Leadership) -> None:
    global _marked
    _marked = asyncio.Event()
    engine = Engine()
    await leader.do(liquidation.close_interrupted)
    hub.on_accounts(engine.hear)
    house_keeping = asyncio.create_task(_keep_house(), name="financing")
    try:
        while True:
            await engine.step(leader)
            await engine.look_after(leader)
            try:
                async with asyncio.timeout(ENGINE_SECONDS):
                    await _marked.wait()
            except TimeoutError:
                pass
            _marked.clear()
    finally:
        _marked = None
        hub.forget_accounts(engine.hear)
        house_keeping.cancel()
        await asyncio.gather(house_keeping, return_exceptions=True)
        await engine.close()


class Engine:
    """The monitor, and the liquidations that it has begun. Belongs to one event loop."""

    def __init__(self):
        self.monitor = Monitor()
        self._dirty: set[int] = set()
        self._tasks: dict[Key, asyncio.Task] = {}
        self._turns = asyncio.Semaphore(SIDE_BY_SIDE)
        self._has_ended = False
        #: Liquidations that an error has ended, and nobody has kept that yet.
        self._failed: set[int] = set()
        self._unsure: dict[Key, Place] = {}

    def hear(self, accounts: list[tuple[int, str]]) -> None:
        """What the hub heard: whose positions or balances have changed."""
        for account_id, events in accounts:
            if self.monitor.knows(account_id) or POSITION_EVENT in events:
                self._dirty.add(account_id)

    async def step(self, leader: Leadership) -> None:
        """One look at everything; begins what must be begun, and does not wait for its end."""
        dirty, self._dirty = self._dirty, set()
        try:
            verdict = await leader.do(self.monitor.step, dirty)
            if verdict.liquidate:
                self._begin(verdict.liquidate, await leader.do(liquidation.begin, verdict.liquidate))
            await leader.do(self.monitor.tell, verdict)
        except BaseException:
            self._dirty |= dirty
            raise
        self._dirty |= await leader.do(self.monitor.check)

    def _begin(self, purses: list[Purse], begun: dict[Key, int]) -> None:
        for purse in purses:
            self.monitor.under_way.add(purse.key)
            self._tasks[purse.key] = asyncio.create_task(self._liquidate(purse, begun[purse.key]))

    async def look_after(self, leader: Leadership) -> None:
        """After liquidations: did one fail? Was there one that nobody could cover?"""
        failed, self._failed = self._failed, set()
        if failed:
            await leader.do(liquidation.close_interrupted, failed)
        has_ended, self._has_ended = self._has_ended, False
        if has_ended:
            await leader.do(risk_stop.check)

    async def finished(self) -> None:
        """Wait for the liquidations that are under way now."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _liquidate(self, purse: Purse, liquidation_id: int) -> None:
        outcome = None
        try:
            async with self._turns:
                outcome = await liquidation.liquidate(purse, liquidation_id, self._unsure)
        except Exception as error:
            logger.error("liquidation %d failed and is tried again", liquidation_id, exc_info=error)
            self._failed.add(liquidation_id)
        finally:
            self._tasks.pop(purse.key, None)
            self._has_ended = True
            self._dirty.add(purse.key.account_id)
            if outcome in (Liquidation.Outcome.RESTORED, Liquidation.Outcome.CLOSED):
                self.monitor.under_way.discard(purse.key)
            else:
                loop = asyncio.get_running_loop()
                loop.call_later(RETRY_SECONDS, self.monitor.under_way.discard, purse.key)


async def _keep_house() -> None:
    """Now and then: post the financing that is due, and look for losses that nobody covered. What fails is tried again.
    """
    while True:
        for work in (financing.post_due, risk_stop.check):
            try:
                await financing.in_thread(work)
            except Exception:
                logger.exception("%s failed; it is tried again", work.__qualname__)
        await asyncio.sleep(HOUSE_KEEPING_SECONDS)


def stop_threads() -> None:
    """End the threads of liquidations and financing; the next work starts new ones."""
    liquidation.stop_threads()
    financing.stop_threads()
