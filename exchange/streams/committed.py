"""A market's committed book and tape in this process, moved in sequence: what a feed has to tell.

`CommittedMarket` keeps a book of its own (`shown`), which it moves only by committed deltas that connect, and notes
which levels changed and which trades are new, until whoever tells them takes them out.

Deltas come through the hub, which may lose or swap them. One that does not connect is held until those before
it have come. Whatever is known to exist (a held delta, a read by the database, a socket that joins) is wanted;
when it does not arrive within PATIENCE_SECONDS the process's view is taken instead, through the barrier, and the
difference counts as changed.
"""

import asyncio
import logging
from collections import deque

from exchange import barrier
from exchange.depth import BookView, Delta
from exchange.streams import queries
from marketdata import hub, markets
from marketdata.markets import MarketSpec
from marketdata.threads import in_thread

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.25
#: Deltas held while those before them are missing.
HELD_DELTAS = 1_000


class CommittedMarket:
    """One market's book and tape as far as this process has heard; `shown.sequence` is below zero until it has read
    them. Belongs to the event loop.
    """

    def __init__(self, spec: MarketSpec):
        self.spec = spec
        self.shown = BookView(spec)
        self._arriving = 0
        self._changed: dict[tuple[int, int], int] = {}
        self._recent: deque[dict] = deque(maxlen=queries.TAPE_TRADES)
        self._new_trades: list[dict] = []
        #: When the oldest of what is not told yet was committed.
        self._waits_since = 0.0
        self._held: dict[int, Delta] = {}
        self._wanted = -1
        self._catching_up: asyncio.Task | None = None

    # For whoever tells it

    def is_empty(self) -> bool:
        """Whether nobody listens, nor is about to: then nothing is caught up with."""
        return not self._arriving

    def _schedule(self) -> None:
        """There is news."""

    def _begin_anew(self, spec: MarketSpec) -> None:
        """The filters are other ones: what was shown means nothing any more."""
        self.shown = BookView(spec)

    async def _reach_figures(self, sequence: int) -> None:
        """For a feed that tells more than the book: have that as new as this, before the book is taken."""

    # Reaching

    async def reach(self) -> int:
        """How far the database is now; the feed will be there soon. Unavailable when that cannot be known."""
        self._arriving += 1
        try:
            sequence = (await barrier.view_from_loop(self.spec)).sequence
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
        view = await barrier.view_from_loop(self.spec)
        session = view.session
        sequence, levels = view.levels()
        # After its levels: while those are empty an edited tick may come, and the first orders in it.
        if view.spec.version > self.spec.version:
            self._take_filters(view.spec)
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
            await self._change_filters()
        self.want(sequence)

    async def _change_filters(self) -> None:
        self._take_filters(await in_thread(markets.load_spec, self.spec.id))
        if self.shown.sequence < 0:
            await self._catch_up_once()

    def _take_filters(self, spec: MarketSpec) -> None:
        """Tick and lot can only change while nothing was ever traded: then everybody starts anew."""
        if spec.grid != self.spec.grid:
            self._begin_anew(spec)
        self.spec = self.shown.spec = spec
