"""The feed: follows the providers of all active price sources and keeps their markets' quotes.

`run` is a background task of every server process; the one that holds the advisory lock does the work, the others
wait. It never raises: a provider that fails is tried again with growing pauses, a missing key is said once, and what
nobody foresaw is logged and counted. Operators' changes to price sources are noticed within RELOAD_SECONDS.

Invariants: nothing reaches a quote but through `marketdata.gate`; each dropped tick and each recovery is counted;
quotes go stale by the clock, whatever the provider does. `status` is about this process.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet

from marketdata import followers, gate, leadership, metrics, providers, quotes
from marketdata.models import PriceSource
from marketdata.providers.limits import Clock
from marketdata.providers.protocol import PriceProvider

logger = logging.getLogger(__name__)

#: Below 2^31: "feed" in ASCII.
LOCK = 0x66656564
IDLE_SECONDS = 5.0
RELOAD_SECONDS = 5.0
FLUSH_SECONDS = 0.5

Make = Callable[[str, Clock], PriceProvider]


@dataclass(frozen=True, slots=True)
class Directory:
    """What the database says is to be followed, and the last quotes of it."""

    sources: tuple[gate.Source, ...]
    last: dict[int, gate.Believed]


class Supervisor:
    """Follows every provider that has sources, while this process leads."""

    def __init__(self, *, leader: leadership.Leadership, clock: Clock, make: Make, random: random.Random):
        self.followers: dict[str, followers.Follower] = {}
        self.stale_noted = 0
        self.written = 0
        self._leader = leader
        self._clock = clock
        self._make = make
        self._random = random
        self._pending: dict[int, followers.News] = {}

    async def run(self) -> None:
        """Until nothing is to be followed any more. Lost when the lock is; database errors are the caller's."""
        try:
            while await self._reload():
                for _ in range(round(RELOAD_SECONDS / FLUSH_SECONDS)):
                    await self._clock.sleep(FLUSH_SECONDS)
                    await self.flush()
        finally:
            await asyncio.gather(*(follower.stop() for follower in self.followers.values()), return_exceptions=True)

    async def flush(self) -> None:
        """Write what is new, and note what has become stale."""
        pending, self._pending = self._pending, {}
        self.written += await self._leader.do(quotes.write, list(pending.values()))
        self.stale_noted += len(await self._leader.do(quotes.mark_stale))

    async def _reload(self) -> bool:
        """Start, stop and restart followers as the sources say. False when there are none."""
        directory = await self._leader.do(load)
        metrics.STALE_FEEDS.set((await self._leader.do(freshness))[0])
        by_provider: dict[str, list[gate.Source]] = {}
        for source in directory.sources:
            by_provider.setdefault(source.provider, []).append(source)
        for name in self.followers.keys() - by_provider.keys():
            await self.followers.pop(name).stop()
        for name, sources in by_provider.items():
            await self._follow(name, tuple(sources), directory.last)
        followed = {source.market_id for source in directory.sources}
        self._pending = {market_id: news for market_id, news in self._pending.items() if market_id in followed}
        return bool(directory.sources)

    async def _follow(self, name: str, sources: tuple[gate.Source, ...], last: dict[int, gate.Believed]) -> None:
        follower = self.followers.get(name)
        if follower is None:
            follower = self.followers[name] = followers.Follower(
                name=name, make=self._make, clock=self._clock, random=self._random, publish=self._publish
            )
        if follower.sources != sources:
            await follower.follow(sources, last)

    def _publish(self, news: followers.News) -> None:
        self._pending[news[0]] = news

    def status(self) -> dict[str, dict]:
        """By provider."""
        return {name: follower.status() for name, follower in self.followers.items()}


def active_sources() -> QuerySet[PriceSource]:
    return PriceSource.objects.filter(is_active=True, market__is_active=True)


def has_sources() -> bool:
    return active_sources().exists()


def freshness() -> tuple[int, int]:
    """How many sources are without a fresh quote, those that never had one included, and how many sources there are."""
    market_ids = active_sources().values_list("market_id", flat=True)
    fresh = sum(not quote.is_stale for quote in quotes.latest(market_ids).values())
    return len(market_ids) - fresh, len(market_ids)


def load() -> Directory:
    """Active sources of active markets, in order of market."""
    rows = active_sources().select_related("market")
    sources = tuple(
        gate.Source(
            market_id=row.market_id,
            symbol=row.market.symbol,
            provider=row.provider,
            provider_symbol=row.provider_symbol,
            spread=row.spread,
            band=row.band,
            tick_size=row.market.tick_size,
        )
        for row in rows.order_by("market_id")
    )
    stored = quotes.latest([source.market_id for source in sources])
    believed = {
        market_id: gate.Believed(quote.bid, quote.ask, quote.mid, quote.quoted_at, quote.received_at)
        for market_id, quote in stored.items()
        if any(source.market_id == market_id and source.provider == quote.provider for source in sources)
    }
    return Directory(sources, believed)


class Feed:
    """This process's part in the feed."""

    def __init__(self, *, clock: Clock | None = None, make: Make = providers.make, seed: int | None = None):
        self.state = "stopped"
        self.failures = 0
        self.supervisor: Supervisor | None = None
        self._clock = clock or Clock()
        self._make = make
        self._random = random.Random(seed)

    async def run(self) -> None:
        """For ever, whatever fails, until cancelled."""
        leader = leadership.Leadership(LOCK, "feed")
        try:
            while True:
                await self._turn(leader)
                await self._clock.sleep(IDLE_SECONDS)
        finally:
            self.state = "stopped"
            await leader.close()

    async def _turn(self, leader: leadership.Leadership) -> None:
        """Follow the providers as long as there is something to follow and the lock holds."""
        try:
            if not await leader.ask(has_sources):
                self.state = "idle"
            elif not await leader.take():
                self.state = "waiting"
            else:
                self.state = "leading"
                self.supervisor = Supervisor(leader=leader, clock=self._clock, make=self._make, random=self._random)
                await self.supervisor.run()
        except leadership.Lost:
            self.failures += 1
            logger.warning("the feed lost its database session and starts again")
        except (DatabaseError, InterfaceError) as error:
            self.failures += 1
            logger.warning("the feed waits for the database: %s", type(error).__name__)
        except Exception:
            self.failures += 1
            logger.exception("the feed failed and starts again")

    def status(self) -> dict:
        """State of this process's feed, and by provider: state, symbols, ticks, dropped by reason, recoveries …"""
        supervisor = self.supervisor
        return {
            "state": self.state,
            "failures": self.failures,
            "quotes_written": supervisor.written if supervisor else 0,
            "stale_noted": supervisor.stale_noted if supervisor else 0,
            "providers": supervisor.status() if supervisor else {},
        }


_feed: Feed | None = None


async def run() -> None:
    """The background task of a server process: for ever, whatever fails, until cancelled."""
    global _feed
    _feed = Feed()
    await _feed.run()


def status() -> dict:
    """See Feed.status; `stopped` where `run` does not run."""
    return _feed.status() if _feed else Feed().status()
