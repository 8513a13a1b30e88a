"""The prices of all markets together, for the sockets of /ws/prices/.

One feed for the whole process listens to every active market. At most every TICK_SECONDS it collects what changed,
renders it once, and gives the same bytes to all. A socket is admitted when every market has reached the sequence that
the database had when it connected; from then on no price it hears is older than one it heard. A socket that cannot keep
up loses what waits, and gets all prices when it has read the rest.
"""

import asyncio
from typing import Protocol

from exchange.streams.feeds import TICK_SECONDS
from exchange.streams.outbox import Frame, Outbox
from exchange.streams.ticker_feeds import TickerFeed, ticker_feeds
from marketdata import markets
from marketdata.markets import MarketSpec
from marketdata.threads import in_thread

SHOWN = ("last", "bid", "ask", "change_percent", "updated_at")


class Member(Protocol):
    """A socket that listens."""

    outbox: Outbox


class PriceFeed:
    """The prices as told last, and who listens. Belongs to the event loop."""

    def __init__(self):
        self.members: set[Member] = set()
        self._joining: dict[Member, dict[TickerFeed, int]] = {}
        self._behind: set[Member] = set()
        self._arriving = 0
        self._feeds: dict[int, TickerFeed] = {}
        self._changed: set[TickerFeed] = set()
        self._told: dict[str, dict] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._next_tick = 0.0

    # Members

    async def join(self, member: Member) -> None:
        """All prices, not older than this call, then those that change. Unavailable when they cannot be had."""
        self._arriving += 1
        try:
            needed = await self._watch(await in_thread(markets.active))
        finally:
            self._arriving -= 1
        if member not in self._behind:
            self.members.discard(member)
            self._joining[member] = needed
        self._schedule()

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self._behind.discard(member)
        self._joining.pop(member, None)
        if not (self.members or self._joining or self._behind or self._arriving):
            self.forget()

    def forget(self) -> None:
        """Stop listening to the markets."""
        for feed in self._feeds.values():
            feed.listeners.discard(self._hear)
        if self._tick is not None:
            self._tick.cancel()
        self._tick, self._next_tick = None, 0.0
        self._feeds.clear()
        self._changed.clear()
        self._told.clear()

    async def _watch(self, specs: list[MarketSpec]) -> dict[TickerFeed, int]:
        """Listen to these markets; returns how far each has to come."""
        found = [ticker_feeds.feed(spec) for spec in specs]
        for feed in found:
            self._feeds[feed.spec.id] = feed
            feed.listeners.add(self._hear)
        needed = await ticker_feeds.reach(found)
        self._changed.update(needed)
        return needed

    # Ticks

    def _hear(self, feed: TickerFeed) -> None:
        self._changed.add(feed)
        self._schedule()

    def _schedule(self) -> None:
        if self._tick is None:
            loop = asyncio.get_running_loop()
            self._tick = loop.call_at(max(loop.time(), self._next_tick), self._tell)

    def _tell(self) -> None:
        self._tick = None
        self._next_tick = asyncio.get_running_loop().time() + TICK_SECONDS
        fresh = self._collect()
        if fresh and self.members:
            message = _frame(fresh)
            for member in [member for member in self.members if not member.outbox.offer(message)]:
                self._drop_behind(member)
        self._admit()

    def _collect(self) -> dict[str, dict]:
        """The prices that differ from those told last; they are told now."""
        changed, self._changed = self._changed, set()
        fresh = {}
        for feed in changed:
            if feed.shown.sequence < 0 or feed.spec.id not in self._feeds:
                continue
            ticker, known = feed.ticker(), self._told.get(feed.spec.symbol)
            if known is not None and known["sequence"] > ticker["sequence"]:
                continue
            if known is None or any(known[name] != ticker[name] for name in SHOWN):
                fresh[feed.spec.symbol] = {name: ticker[name] for name in ("sequence", *SHOWN)}
        self._told.update(fresh)
        return fresh

    def _admit(self) -> None:
        ready = [
            member
            for member, needed in self._joining.items()
            if all(self._has(feed, sequence) for feed, sequence in needed.items())
        ]
        if not ready:
            return
        message = _frame(self._told)
        for member in ready:
            del self._joining[member]
            if member.outbox.offer(message):
                self.members.add(member)
            else:
                self._drop_behind(member)

    def _has(self, feed: TickerFeed, sequence: int) -> bool:
        """Whether that market's price is there, as new as this; nobody waits for one that was taken off the list."""
        if feed.spec.id not in self._feeds:
            return True
        return feed.spec.symbol in self._told and feed.shown.sequence >= sequence

    def _drop_behind(self, member: Member) -> None:
        self.members.discard(member)
        self._behind.add(member)
        member.outbox.clear()
        member.outbox.when_drained(lambda: self._rejoin(member))

    def _rejoin(self, member: Member) -> None:
        self._behind.discard(member)
        self._joining[member] = {}
        self._schedule()

    # The safety net

    async def check(self) -> None:
        """Take up markets that are new, let go of those that are gone."""
        if not self._feeds:
            return
        active = {spec.id: spec for spec in await in_thread(markets.active)}
        if not self._feeds:
            return  # the last member left meanwhile
        if added := [spec for market_id, spec in active.items() if market_id not in self._feeds]:
            await self._watch(added)
        gone = [market_id for market_id in self._feeds if market_id not in active]
        for market_id in gone:
            feed = self._feeds.pop(market_id)
            feed.listeners.discard(self._hear)
            self._told.pop(feed.spec.symbol, None)
        if added or gone:
            self._schedule()


def _frame(prices: dict[str, dict]) -> dict:
    return Frame({"type": "prices", "prices": prices})


price_feed = PriceFeed()
