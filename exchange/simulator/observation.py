"""What happened in a market, taken from its journal: the book once a second, every trade, every command.

The journal goes to a fresh book through the code that recovers after a crash, and the book is looked at on the way.
It starts at the first command however little is wanted, so it costs the market's whole history (about 20 µs a
command). Times are the venue's; a pause of more than GAP_SECONDS without any command (the server was down) is cut
out and leaves a missing value.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from exchange import checkpoints, journal, redoing
from exchange.audit import snapshot
from exchange.books import LiveBook
from exchange.engine.book import BUY, SELL
from exchange.simulator.agents import spacing_ticks
from marketdata import markets
from marketdata.models import Market

GAP_SECONDS = 60
#: The depth is looked at every so many seconds, in buckets of the usual distance between quotes.
DEPTH_SECONDS, DEPTH_BUCKETS = 5, 12


@dataclass(frozen=True, slots=True)
class Taken:
    """What one taking order traded: seconds since 1970, last price in ticks, lots in all, 1 for a buy."""

    moment: float
    price: int
    lots: int
    sign: int


@dataclass(slots=True)
class Observation:
    """One market from `since` on. Sampled once a second: `mids` and `spreads` in ticks, None where a side is empty.

    `depth`: average lots by distance from the best price of the same side, in buckets of `bucket_ticks`. `lifetimes`:
    seconds from an order's placing to its being taken out.
    """

    symbol: str
    bucket_ticks: int = 1
    mids: list[float | None] = field(default_factory=list)
    spreads: list[int | None] = field(default_factory=list)
    volumes: list[int] = field(default_factory=list)
    depth: list[float] = field(default_factory=lambda: [0.0] * DEPTH_BUCKETS)
    taken: list[Taken] = field(default_factory=list)
    commands: Counter = field(default_factory=Counter)
    trades: int = 0
    lifetimes: list[float] = field(default_factory=list)
    depth_samples: int = 0

    @property
    def seconds(self) -> int:
        return len(self.mids)


def observe(symbol: str, *, since: datetime | None = None) -> Observation:
    """The market's history from `since` on (without, from the first command that the journal still has)."""
    with snapshot() as cursor:
        market = Market.objects.get(symbol=symbol)
        live = LiveBook(markets.load_spec(market.id), fees=0)
        checkpoints.load(cursor, live, checkpoints.newest(cursor, market.id))
        observer = _Observer(live, Observation(symbol), since.timestamp() if since else 0.0)
        for row in journal.read(cursor, market.id, live.sequence, market.sequence):
            observer.take(*row)
    return observer.finished()


class _Observer:
    """Feeds the journal to the book and looks at it at every whole second in between."""

    def __init__(self, live: LiveBook, seen: Observation, since: float):
        self._live, self._seen, self._since = live, seen, since
        self._next: int | None = None
        self._placed: dict[int, float] = {}
        self._volume = 0

    def take(self, sequence: int, kind: str, order_id: int, command: dict, created_at: datetime) -> None:
        moment = created_at.astimezone(UTC).timestamp()
        self._pass_to(moment)
        matches = redoing.redo(self._live, sequence, kind, order_id, command, created_at)
        if kind == journal.Kind.PLACE:
            self._placed[order_id] = moment
        began = self._placed.pop(order_id, None) if kind == journal.Kind.CANCEL else None
        if moment < self._since:
            return
        self._seen.commands[str(kind)] += 1
        if began is not None:
            self._seen.lifetimes.append(moment - began)
        if matches:
            self._note_trades(moment, matches)

    def _note_trades(self, moment: float, matches: list) -> None:
        lots = sum(match.lots for match in matches)
        sign = 1 if matches[0].taker.side == BUY else -1
        self._seen.taken.append(Taken(moment, matches[-1].price, lots, sign))
        self._seen.trades += len(matches)
        self._volume += lots

    def _pass_to(self, moment: float) -> None:
        """Look at each whole second up to the moment, before what happens then."""
        if moment < self._since:
            return
        if self._next is None:
            self._next = int(moment) + 1
        if moment - self._next > GAP_SECONDS:
            self._note(None, None)
            self._next = int(moment) + 1
        while self._next <= moment:
            bid, ask = self._live.book.best(BUY), self._live.book.best(SELL)
            if bid and ask:
                self._note((bid + ask) / 2, ask - bid)
                self._note_depth()
            else:
                self._note(None, None)
            self._next += 1

    def _note(self, mid: float | None, spread: int | None) -> None:
        self._seen.mids.append(mid)
        self._seen.spreads.append(spread)
        self._seen.volumes.append(self._volume)
        self._volume = 0

    def _note_depth(self) -> None:
        if self._next % DEPTH_SECONDS:
            return
        seen = self._seen
        if not seen.depth_samples:
            seen.bucket_ticks = max(1, spacing_ticks(max(1, self._live.book.best(BUY) // 3)))
        seen.depth_samples += 1
        for side in (BUY, SELL):
            best = self._live.book.best(side)
            for price, lots in self._live.book.depth(side):
                bucket = abs(price - best) // seen.bucket_ticks
                if bucket < DEPTH_BUCKETS:
                    seen.depth[bucket] += lots

    def finished(self) -> Observation:
        if self._seen.depth_samples:
            self._seen.depth = [lots / self._seen.depth_samples / 2 for lots in self._seen.depth]
        return self._seen
