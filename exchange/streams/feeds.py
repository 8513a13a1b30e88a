"""A market's feed: its committed book and tape, told to local sockets at most every TICK_SECONDS, rendered once.

How it comes by them stands in exchange.streams.committed. Between two ticks it collects which levels changed; at a
tick members get one update from the sequence told last to the one reached, and whoever joins gets a snapshot at
exactly that sequence. So snapshot(n) + updates = snapshot(m) for every member, whenever it came; of what the hub lost
members only ever notice a delay. A book that is deeper than a snapshot is told as deep as that: what comes among its
levels from behind them is told with them, though nothing changed there.

Members that overflow are taken out, and join again with a snapshot when they have read what was queued. Known
limit: a level that came and went between two ticks may be told as removed though it was never told before.
"""

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from exchange.depth import Delta
from exchange.engine.book import BUY, SELL
from exchange.streams import queries
from exchange.streams.committed import CommittedMarket
from exchange.streams.outbox import Frame, Outbox
from marketdata import metrics
from marketdata.markets import MarketSpec
from marketdata.refusals import UnreadableMarket
from marketdata.threads import in_thread

SOCKET_LAG = metrics.LAG_SECONDS.labels("socket")
TICK_SECONDS = 0.1
#: Levels a side in a whole snapshot.
SNAPSHOT_LEVELS = 1_000


class Member(Protocol):
    """A socket that listens to a feed. `depth`: of snapshots, None for updates. `told_trade`: the last id it got."""

    outbox: Outbox
    depth: int | None
    told_trade: int


class MarketFeed(CommittedMarket):
    """One market's book and tape, and who listens to them in this process."""

    def __init__(self, spec: MarketSpec):
        super().__init__(spec)
        self.followers: set[Member] = set()
        self.watchers: dict[int, set[Member]] = {}
        self.tapes: set[Member] = set()
        #: Those that hear nothing until they have read what is queued; the feed lives on for them.
        self.behind: set[Member] = set()
        self._joining: dict[Member, int] = {}
        self._joining_tapes: dict[Member, int] = {}
        self._told = -1
        self._tick: asyncio.TimerHandle | None = None
        self._next_tick = 0.0
        self._snapshot: tuple[int, Frame] | None = None
        self._depth_levels: dict[int, tuple] = {}
        #: Up to where a snapshot reached at the last tick, by side; None: to the end. As BookView.coming gave it.
        self._last: dict[int, int | None] = {BUY: None, SELL: None}

    # Members

    async def join_book(self, member: Member) -> None:
        """Snapshot, then updates (or snapshots of `member.depth`). The first is not older than this call.
        Unavailable when none can be had.
        """
        self._joining[member] = await self.reach()
        self._schedule()

    async def join_tape(self, member: Member) -> None:
        """The last trades, then each as it happens."""
        self._joining_tapes[member] = await self.reach()
        self._schedule()

    def rejoin(self, member: Member) -> None:
        """A fresh snapshot for a member of the book."""
        self._remove_from_book(member)
        self.behind.discard(member)
        self._joining[member] = self.shown.sequence
        self._schedule()

    def leave(self, member: Member) -> None:
        self._remove_from_book(member)
        self.behind.discard(member)
        self.tapes.discard(member)
        self._joining_tapes.pop(member, None)

    def _remove_from_book(self, member: Member) -> None:
        self.followers.discard(member)
        self._joining.pop(member, None)
        for members in self.watchers.values():
            members.discard(member)

    def is_empty(self) -> bool:
        members = self.followers or self.tapes or any(self.watchers.values())
        return not (members or self.behind or self._joining or self._joining_tapes or self._arriving)

    def _begin_anew(self, spec: MarketSpec) -> None:
        for member in [*self.followers, *(m for members in self.watchers.values() for m in members)]:
            self.rejoin(member)
        super()._begin_anew(spec)
        self._told, self._snapshot, self._last = -1, None, {BUY: None, SELL: None}

    # Telling

    def _schedule(self) -> None:
        """A tick now, or TICK_SECONDS after the last one."""
        if self._tick is None:
            loop = asyncio.get_running_loop()
            self._tick = loop.call_at(max(loop.time(), self._next_tick), self.tell)

    def tell(self) -> None:
        """One tick: the update, snapshots of other depths, the trades; then those who join."""
        self._tick = None
        self._next_tick = asyncio.get_running_loop().time() + TICK_SECONDS
        if self.shown.sequence < 0:
            return
        if self.shown.sequence > self._told:
            self._tell_followers()
            self._tell_watchers()
            self._told, self._changed = self.shown.sequence, {}
            if self._waits_since:
                SOCKET_LAG.observe(max(0.0, time.time() - self._waits_since))
                self._waits_since = 0.0
        if self._new_trades:
            self._tell_tapes()
        if self._joining or self._joining_tapes:
            self._admit()

    def _tell_followers(self) -> None:
        coming = self._coming()
        if not self.followers:
            return
        changes = sorted((side, price, total) for (side, price), total in (coming | self._changed).items())
        content = {
            "type": "update",
            "symbol": self.spec.symbol,
            "first_sequence": self._told + 1,
            "sequence": self.shown.sequence,
            "bids": self.shown.texts(changes[::-1], BUY),
            "asks": self.shown.texts(changes, SELL),
        }
        if (auction := self.shown.auction()) is not None:
            content["auction"] = auction
        update = Frame(content)
        for member in [member for member in self.followers if not member.outbox.offer(update)]:
            self._drop_behind(member)

    def _coming(self) -> dict[tuple[int, int], int]:
        """Totals of levels that a snapshot now has and one at the last tick had not, by side and price."""
        found = {}
        for side, last in self._last.items():
            levels, self._last[side] = self.shown.coming(side, SNAPSHOT_LEVELS, last)
            found |= {(side, price): total for _, price, total in levels}
        return found

    def _tell_watchers(self) -> None:
        """Only depths whose levels changed, and only the newest snapshot for those that are slow."""
        for depth, members in self.watchers.items():
            book = self.shown.snapshot(depth)
            levels = levels_of(book)
            if not members or self._depth_levels.get(depth) == levels:
                continue
            self._depth_levels[depth] = levels
            message = Frame({"type": "snapshot", **book})
            for member in members:
                member.outbox.replace(message)

    def _tell_tapes(self) -> None:
        trades, self._new_trades = self._new_trades, []
        if not self.tapes:
            return
        message, last = self._tape(trades), trades[-1]["trade_id"]
        for member in list(self.tapes):
            if member.outbox.offer(message):
                member.told_trade = last
            else:
                self.tapes.discard(member)
                self._wait_for_tape(member)

    def _tape(self, trades: list[dict]) -> Frame:
        return Frame({"type": "trades", "symbol": self.spec.symbol, "sequence": self.shown.sequence, "trades": trades})

    def _drop_behind(self, member: Member) -> None:
        """It has more unread than its queue holds: one snapshot will do for all of that."""
        self.followers.discard(member)
        self.behind.add(member)
        member.outbox.clear()
        member.outbox.when_drained(lambda: self.rejoin(member))

    def _wait_for_tape(self, member: Member) -> None:
        self.behind.add(member)
        member.outbox.when_drained(lambda: self._rejoin_tape(member))

    def _rejoin_tape(self, member: Member) -> None:
        self.behind.discard(member)
        self._joining_tapes[member] = self.shown.sequence
        self._schedule()

    # Admitting

    def _admit(self) -> None:
        """Those whose sequence is reached; the others come when it is."""
        reached = self.shown.sequence
        for member in [member for member, sequence in self._joining.items() if sequence <= reached]:
            del self._joining[member]
            self._admit_to_book(member)
        for member in [member for member, sequence in self._joining_tapes.items() if sequence <= reached]:
            del self._joining_tapes[member]
            self._admit_to_tape(member)

    def _admit_to_book(self, member: Member) -> None:
        if member.depth is None:
            if member.outbox.offer(self._whole_snapshot()):
                self.followers.add(member)
            else:
                self._drop_behind(member)
            return
        book = self.shown.snapshot(member.depth)
        self.watchers.setdefault(member.depth, set()).add(member)
        self._depth_levels[member.depth] = levels_of(book)
        member.outbox.replace(Frame({"type": "snapshot", **book}))

    def _whole_snapshot(self) -> Frame:
        if self._snapshot is None or self._snapshot[0] != self.shown.sequence:
            self._snapshot = (self.shown.sequence, Frame({"type": "snapshot", **self.shown.snapshot(SNAPSHOT_LEVELS)}))
        return self._snapshot[1]

    def _admit_to_tape(self, member: Member) -> None:
        """The last trades that it does not have yet; a newcomer hears of an empty tape too."""
        trades = [trade for trade in self._recent if trade["trade_id"] > member.told_trade]
        if (trades or not member.told_trade) and not member.outbox.offer(self._tape(trades)):
            return self._wait_for_tape(member)
        member.told_trade = self.last_trade()
        self.tapes.add(member)


def levels_of(book: dict) -> tuple:
    """What a snapshot says beside its sequence: the same again is no news."""
    return book["bids"], book["asks"], book.get("auction")


class Feeds:
    """The feeds of this process, by market id; one exists while somebody listens."""

    def __init__(self, kind: type[MarketFeed]):
        self._kind = kind
        self.by_market: dict[int, MarketFeed] = {}

    def feed(self, spec: MarketSpec) -> MarketFeed:
        if spec.id not in self.by_market:
            self.by_market[spec.id] = self._kind(spec)
        return self.by_market[spec.id]

    def receive(self, delta: Delta) -> None:
        if delta.market_id in self.by_market:
            self.by_market[delta.market_id].receive(delta)

    async def check(self) -> None:
        """Compare every feed with the database; let go of those that nobody listens to. A market whose figures make no
        sense stays as it was, and keeps no other from being looked at.
        """
        for market_id in [market_id for market_id, feed in self.by_market.items() if feed.is_empty()]:
            del self.by_market[market_id]
        if self.by_market:
            heads = await in_thread(queries.market_heads, list(self.by_market))
            for market_id, (sequence, version) in heads.items():
                if market_id in self.by_market:
                    with suppress(UnreadableMarket):
                        await self.by_market[market_id].check(sequence, version)


feeds = Feeds(MarketFeed)
