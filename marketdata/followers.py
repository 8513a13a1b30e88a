"""Following one provider: streaming where the plan allows it, polling where not, and coming back after every failure.

Invariant: a follower never raises and never gives up; whatever a provider does ends in a pause and another attempt.
Failures are counted by kind, and each return of good ticks after one is counted as a recovery.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime, timedelta

from marketdata import clock as venue_clock
from marketdata import gate, quotes
from marketdata.providers.limits import BackOff, Clock
from marketdata.providers.protocol import (
    Disconnected,
    KeyMissing,
    KeyRefused,
    NotInPlan,
    PriceProvider,
    ProviderError,
    RateLimited,
    Rejected,
    Tick,
)

logger = logging.getLogger(__name__)

#: A connection that lived so long was a good one: the next pause is short again.
STABLE_SECONDS = 30.0
#: Nothing but an operator's change will help.
HOPELESS_SECONDS = 300.0
#: After a stream was not to be had, poll for so long before asking for it again.
POLLING_SECONDS = 900.0
#: A connection that brought no tick for so long is made anew.
TICKLESS_SECONDS = 600.0
#: Polled prices are stale when two polls in a row have failed.
POLLS_UNTIL_STALE = 2.5

#: (market id, provider, price, stale at)
News = tuple[int, str, gate.Believed, datetime]


class _Connection:
    """One set of symbols that share a stream or a poll: how it stands."""

    def __init__(self, symbols: list[str], back_off: BackOff):
        self.symbols = symbols
        self.back_off = back_off
        self.state = "connecting"
        self.poll_until: datetime | None = None
        self.stale_seconds = quotes.stale_seconds()
        self.has_failed = False


class Follower:
    """All sources of one provider."""

    def __init__(
        self,
        *,
        name: str,
        make: Callable[[str, Clock], PriceProvider],
        clock: Clock,
        random: random.Random,
        publish: Callable[[News], None],
    ):
        self.sources: tuple[gate.Source, ...] | None = None
        self.counters: Counter = Counter()
        self.dropped: Counter = Counter()
        self._name = name
        self._make = make
        self._clock = clock
        self._random = random
        self._publish = publish
        self._provider: PriceProvider | None = None
        self._gates: dict[str, list[gate.Gate]] = {}
        self._connections: list[_Connection] = []
        self._tasks: list[asyncio.Task] = []
        self._is_keyless = False
        self._last_tick_at: datetime | None = None

    async def follow(self, sources: tuple[gate.Source, ...], last: dict[int, gate.Believed]) -> None:
        """Follow these from now on. Markets that stay keep their gates; the provider keeps its limits."""
        await self._cancel()
        known = {kept.source: kept for gates in self._gates.values() for kept in gates}
        self.sources, self._gates = sources, {}
        for source in sources:
            one = known.get(source) or gate.Gate(source, last.get(source.market_id))
            self._gates.setdefault(source.provider_symbol, []).append(one)
        if self._provider is None and not self._open():
            return
        for symbols in self._provider.groups(list(self._gates)):
            connection = _Connection(symbols, BackOff(random=self._random))
            self._connections.append(connection)
            self._tasks.append(asyncio.create_task(self._keep(connection), name=f"feed {self._name}"))

    async def stop(self) -> None:
        await self._cancel()
        if self._provider is not None:
            await self._provider.close()
            self._provider = None

    async def _cancel(self) -> None:
        tasks, self._tasks, self._connections = self._tasks, [], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self) -> bool:
        """Make the provider; what it lacks is said once."""
        try:
            self._provider = self._make(self._name, self._clock)
        except KeyMissing as error:
            if not self._is_keyless:
                logger.warning("no prices from %s: %s", self._name, error)
            self._is_keyless = True
            return False
        except Exception:
            self.counters["failures"] += 1
            logger.exception("no prices from %s", self._name)
            return False
        return True

    async def _keep(self, connection: _Connection) -> None:
        """Stream or poll for ever."""
        while True:
            began = self._clock.now()
            try:
                await self._attend(connection)
            except Exception as error:
                if (self._clock.now() - began).total_seconds() >= STABLE_SECONDS:
                    connection.back_off.reset()
                pause = self._pause_after(connection, error)
                connection.has_failed = True
            await self._clock.sleep(pause)

    async def _attend(self, connection: _Connection) -> None:
        """One connection's life, which always ends by an exception."""
        symbols = [symbol for group in self._provider.groups(connection.symbols) for symbol in group]
        if not symbols:
            raise Rejected(f"none of the symbols is known: {', '.join(connection.symbols)[:200]}")
        if connection.poll_until is not None and self._clock.now() < connection.poll_until:
            await self._poll(connection, symbols)
        connection.poll_until, connection.stale_seconds = None, quotes.stale_seconds()
        async with aclosing(self._provider.stream(symbols)) as ticks:
            while True:
                tick = await self._next(ticks)
                connection.state = "live"
                self._take(connection, tick)

    async def _next(self, ticks: AsyncIterator[Tick]) -> Tick:
        """Disconnected after TICKLESS_SECONDS: heartbeats alone don't show that a subscription still stands."""
        try:
            return await self._clock.wait_for(anext(ticks), TICKLESS_SECONDS)
        except TimeoutError:
            raise Disconnected(f"no tick in {TICKLESS_SECONDS:.0f} s") from None
        except StopAsyncIteration:
            raise Disconnected("the stream ended") from None

    async def _poll(self, connection: _Connection, symbols: list[str]) -> None:
        """Ask again and again, at the pace the plan sustains, until it is time to try a stream."""
        pause = self._provider.poll_seconds(symbols)
        connection.stale_seconds = max(quotes.stale_seconds(), pause * POLLS_UNTIL_STALE)
        while self._clock.now() < connection.poll_until:
            for tick in await self._provider.quotes(symbols):
                connection.state = "polling"
                self._take(connection, tick)
            await self._clock.sleep(pause)

    def _pause_after(self, connection: _Connection, error: Exception) -> float:
        """Count the failure, and how long to wait before the next attempt, in seconds."""
        kind = error.kind if isinstance(error, ProviderError) else "failures"
        self.counters[kind] += 1
        was_polling = connection.poll_until is not None
        # What it was trying again after, if no tick has come since.
        is_other = connection.state not in ("connecting", "live", "polling", kind)
        connection.state = kind
        if isinstance(error, NotInPlan | Rejected) and not was_polling:
            logger.info("%s is polled: %s", self._name, error)
            connection.poll_until = self._clock.now() + timedelta(seconds=POLLING_SECONDS)
            return 0.0
        if not isinstance(error, ProviderError):
            logger.error("following %s failed", self._name, exc_info=error)
        elif connection.back_off.failures == 0 or is_other:
            logger.warning("%s: %s; trying again", self._name, error)
        pause = connection.back_off.next_seconds()
        if isinstance(error, RateLimited):
            return max(error.wait_seconds, 0.0)
        return HOPELESS_SECONDS if isinstance(error, KeyRefused | NotInPlan | Rejected) else pause

    def _take(self, connection: _Connection, tick: Tick) -> None:
        """Through the gates of the markets that follow the symbol."""
        gates = self._gates.get(tick.symbol)
        if gates is None:
            self.counters["unasked_symbol"] += 1
            return
        now = self._clock.now()
        for one in gates:
            found = one.check(tick, now)
            if isinstance(found, str):
                self.dropped[found] += 1
                continue
            self.counters["ticks"] += 1
            self._last_tick_at = now
            if connection.has_failed:
                connection.has_failed = False
                self.counters["recoveries"] += 1
            stale_at = found.quoted_at + timedelta(seconds=connection.stale_seconds)
            self._publish((one.source.market_id, self._name, found, stale_at))

    def status(self) -> dict:
        """State (`live`, `polling`, `connecting`, `no_key`, `stopped`, or the last failure's kind), and counters."""
        states = sorted({connection.state for connection in self._connections})
        return {
            "state": ", ".join(states) or ("no_key" if self._is_keyless else "stopped"),
            "symbols": len(self._gates),
            "last_tick_at": venue_clock.text(self._last_tick_at) if self._last_tick_at else None,
            "dropped": dict(self.dropped),
            "ticks": self.counters["ticks"],
            "recoveries": self.counters["recoveries"],
            "failures": {kind: count for kind, count in self.counters.items() if kind not in {"ticks", "recoveries"}},
            "provider": dict(self._provider.counters) if self._provider else {},
        }
