"""A market's feed: its committed book and tape, told to local sockets at most every TICK_SECONDS, rendered once.

The feed keeps a book of its own (`shown`), which it moves only by committed deltas in sequence. Between two
ticks it collects which levels changed; at a tick members get one update from the sequence told last to the one
reached, and whoever joins gets a snapshot at exactly that sequence. So snapshot(n) + updates = snapshot(m) for
every member, whenever it came.

Deltas come through the hub, which may lose or swap them. One that does not connect is held until those before
it have come. Whatever is known to exist (a held delta, a read by the database, a socket that joins) is wanted;
when it does not arrive within PATIENCE_SECONDS the feed takes the process's view through the barrier instead,
and tells the difference. Members only ever notice a delay.

Members that overflow are taken out, and join again with a snapshot when they have read what was queued. Known
limit: a level that came and went between two ticks may be told as removed though it was never told before.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Protocol

from exchange import barrier
from exchange.depth import BookView, Delta
from exchange.engine.book import BUY, SELL
from exchange.streams import queries
from exchange.streams.outbox import Frame, Outbox
from marketdata import hub, markets, metrics
from marketdata.markets import MarketSpec
from marketdata.refusals import Unavailable
from marketdata.threads import in_thread

logger = logging.getLogger(__name__)

SOCKET_LAG = metrics.LAG_SECONDS.labels("socket")
TICK_SECONDS = 0.1
PATIENCE_SECONDS = 0.25
#: Levels a side in a whole snapshot.
SNAPSHOT_LEVELS = 1_000
#: Deltas held while those before them are missing.
HELD_DELTAS = 1_000


class Member(Protocol):
    """A socket that listens to a feed. `depth`: of snapshots, None for updates. `told_trade`: the last id it got."""

    outbox: Outbox
    depth: int | None
    told_trade: int


class MarketFeed:
    """One market's book and tape in this process. Belongs to the event loop."""

    def __init__(self, spec: MarketSpec):
        self.spec = spec
        self.shown = BookView(spec)
        self.followers: set[Member] = set()
        self.watchers: dict[int, set[Member]] = {}
        self.tapes: set[Member] = set()
        #: Those that hear nothing until they have read what is queued; the feed lives on for them.
        self.behind: set[Member] = set()
        self._arriving = 0
        self._joining: dict[Member, int] = {}
        self._joining_tapes: dict[Member, int] = {}
        self._changed: dict[tuple[int, int], int] = {}
        self._told = -1
        self._recent: deque[dict] = deque(maxlen=queries.TAPE_TRADES)
        self._new_trades: list[dict] = []
        self._held: dict[int, Delta] = {}
        self._wanted = -1
        self._catching_up: asyncio.Task | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._next_tick = 0.0
        #: When the oldest of what is not told yet was committed.
        self._waits_since = 0.0
        self._snapshot: tuple[int, dict] | None = None
        self._depth_levels: dict[int, tuple] = {}

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

    async def reach(self) -> int:
        """How far the database is now; the feed will be there soon. Unavailable when that cannot be known."""
        self._arriving += 1
        try:
            sequence = (await _view(self.spec)).sequence
            if self.shown.sequence < 0:
                await asyncio.shield(self._catch_up_once())
        finally:
            self._arriving -= 1
        self.want(sequence)
        return sequence

    # Deltas

    def receive(self, delta: Delta) -> None:
        """A committed batch, from the hub."""
        if delta.sequence <= self.shown.sequence or self.shown.sequence < 0:
            return
        if not self._take(delta):
            if len(self._held) < HELD_DELTAS:
                self._held[delta.first_sequence] = delta
            self.want(delta.sequence)
            return
        while self._held and (follower := self._held.pop(self.shown.sequence + 1, None)):
            self._take(follower)
        self._schedule()

    def _take(self, delta: Delta) -> bool:
        if delta.whole or not self.shown.apply(delta):
            return False
        self._waits_since = self._waits_since or hub.committed_at()
        for side, price, total in delta.changes:
            self._changed[side, price] = total
        self._add_trades(delta.trades)
        return True

    def _add_trades(self, trades: list[dict]) -> None:
        last = self.last_trade()
        fresh = [trade for trade in trades if trade["trade_id"] > last]
        self._recent.extend(fresh)
        self._new_trades.extend(fresh)

    def last_trade(self) -> int:
        """The id of the last trade, 0 if there was none."""
        return self._recent[-1]["trade_id"] if self._recent else 0

    # Catching up

    def want(self, sequence: int) -> None:
        """Something up to this sequence exists; if it has not come soon, fetch it."""
        if sequence <= max(self._wanted, self.shown.sequence):
            return
        self._wanted = sequence
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._insist, sequence)

    def _insist(self, sequence: int) -> None:
        if self.shown.sequence < sequence and not self.is_empty():
            self._catch_up_once()

    def _catch_up_once(self) -> asyncio.Task:
        """The one catching up that is under way, begun if there is none."""
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())
            self._catching_up.add_done_callback(self._caught_up)
        return self._catching_up

    def _caught_up(self, task: asyncio.Task) -> None:
        self._catching_up, self._wanted = None, -1
        if not task.cancelled() and (error := task.exception()):
            logger.warning("%s: catching up failed (%r)", self.spec.symbol, error)

    async def _catch_up(self) -> None:
        """Take the process's view, and the trades up to it; members are told the difference at the next tick."""
        view = await _view(self.spec)
        session = view.session
        sequence, levels = view.levels()
        await self._reach_figures(sequence)
        if self.shown.sequence < 0:
            trades = await in_thread(queries.last_trades, self.spec.id, sequence)
        else:
            trades = await in_thread(queries.trades_between, self.spec.id, self.last_trade(), sequence)
        if sequence <= self.shown.sequence:
            return
        self._adopt(sequence, levels, session)
        self._add_trades(trades)
        for first in sorted(self._held):
            self._take_held(first)
        self._schedule()

    async def _reach_figures(self, sequence: int) -> None:
        """For a feed that tells more than the book: have that as new as this, before the book is taken."""

    def _adopt(self, sequence: int, levels: list[tuple[int, int, int]], session: dict | None) -> None:
        before = {(side, price): total for side, price, total in self.shown.levels()[1]}
        after = {(side, price): total for side, price, total in levels}
        self.shown.apply(Delta(self.spec.id, self.spec.symbol, 0, sequence, levels, whole=True, session=session))
        self._changed.update((key, 0) for key in before if key not in after)
        self._changed.update((key, total) for key, total in after.items() if before.get(key) != total)

    def _take_held(self, first: int) -> None:
        delta = self._held.pop(first)
        if delta.sequence > self.shown.sequence and not self._take(delta):
            self._held[first] = delta
            self.want(delta.sequence)

    async def check(self, sequence: int, version: int) -> None:
        """The market's row, as read lately: notice what did not arrive, and new filters."""
        if version != self.spec.version:
            await self._change_filters(version)
        self.want(sequence)

    async def _change_filters(self, version: int) -> None:
        """Tick and lot can only change while nothing was ever traded: then everybody starts anew."""
        spec = await in_thread(markets.load_spec, self.spec.id)
        if (spec.tick_size, spec.lot_size) != (self.spec.tick_size, self.spec.lot_size):
            for member in [*self.followers, *(m for members in self.watchers.values() for m in members)]:
                self.rejoin(member)
            self.shown, self._told, self._snapshot = BookView(spec), -1, None
        self.spec = self.shown.spec = spec
        if self.shown.sequence < 0:
            await self._catch_up_once()

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
        if not self.followers:
            return
        changes = sorted((side, price, total) for (side, price), total in self._changed.items())
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

    def _tell_watchers(self) -> None:
        """Only depths whose levels changed, and only the newest snapshot for those that are slow."""
        for depth, members in self.watchers.items():
            book = self.shown.snapshot(depth)
            levels = (book["bids"], book["asks"], book.get("auction"))
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

    def _tape(self, trades: list[dict]) -> dict:
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
        self._depth_levels[member.depth] = (book["bids"], book["asks"], book.get("auction"))
        member.outbox.replace(Frame({"type": "snapshot", **book}))

    def _whole_snapshot(self) -> dict:
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


async def _view(spec: MarketSpec) -> BookView:
    """The process's committed book, as new as the database; Unavailable when there is none."""
    view = await barrier.view_from_loop(spec)
    if view is None:
        raise Unavailable(f"The book of {spec.symbol} cannot be read now; try again.")
    return view


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
        """Compare every feed with the database; let go of those that nobody listens to."""
        for market_id in [market_id for market_id, feed in self.by_market.items() if feed.is_empty()]:
            del self.by_market[market_id]
        if self.by_market:
            heads = await in_thread(queries.market_heads, list(self.by_market))
            for market_id, (sequence, version) in heads.items():
                if market_id in self.by_market:
                    await self.by_market[market_id].check(sequence, version)


feeds = Feeds(MarketFeed)
