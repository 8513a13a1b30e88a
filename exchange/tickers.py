"""The tickers of this process: 24 hours of every market it was asked about, moved on by each committed batch.

The writer gives the board its own commits, the hub those of other processes. A read passes the barrier
first (one query for all who wait), and where the board is behind the database it takes the missing trades from the
tape: so an answer is never older than the call, and usually costs no query for its figures.

Known limit: after RELOAD_SEQUENCES missed commands a market's 24 hours are read anew instead.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from threading import Lock

from django.db import connection

from exchange import barrier, reading
from exchange.depth import Delta
from exchange.engine.book import BUY, SELL
from marketdata import candles, clock, hub, tickers
from marketdata.candle_intervals import MINUTE
from marketdata.candles import Folded
from marketdata.markets import MarketSpec
from marketdata.refusals import Unavailable
from marketdata.threads import in_thread
from marketdata.units import NotWhole

RELOAD_SEQUENCES = 5_000
#: Batches kept while those before them are missing.
HELD_DELTAS = 1_000


@dataclass(slots=True, eq=False)
class State:
    """One market up to `sequence`. `last` in ticks; `trade_id` is the last one counted."""

    spec: MarketSpec
    sequence: int
    trade_id: int
    last: int | None
    updated_at: datetime | None
    window: tickers.Window
    held: dict[int, Delta] = field(default_factory=dict)
    shown: tuple[tuple, dict] | None = None

    def is_of(self, spec: MarketSpec) -> bool:
        """Whether its ticks, lots and money are that spec's, which an operator may edit until the first order, and its
        24 hours those of the clock, which may have been put back.
        """
        own = self.spec
        return self.window.reaches(tickers.minute_of(clock.now())) and (
            own is spec
            or (own.tick_size, own.lot_size, own.notional_units)
            == (spec.tick_size, spec.lot_size, spec.notional_units)
        )

    def take(self, delta: Delta) -> None:
        """Count a committed batch; one that does not connect waits for those before it."""
        if delta.first_sequence > self.sequence + 1:
            if len(self.held) < HELD_DELTAS:
                self.held[delta.first_sequence] = delta
            return
        self._count(delta)
        self.go_on()

    def go_on(self) -> None:
        """Count what was held and connects now."""
        for first in sorted(self.held):
            if first > self.sequence + 1:
                break
            self._count(self.held.pop(first))

    def _count(self, delta: Delta) -> None:
        if delta.sequence <= self.sequence:
            return
        self.add([_of_tape(self.spec, trade) for trade in delta.trades])
        self.sequence = delta.sequence

    def add(self, trades: list[candles.Trade]) -> None:
        """Count the trades that are not counted yet."""
        fresh = [trade for trade in trades if trade[1] > self.trade_id]
        if not fresh:
            return
        for row in candles.fold(fresh):
            if row.interval_seconds == MINUTE:
                self.window.add(row)
        _, self.trade_id, self.last, _, _, self.updated_at = fresh[-1]


def _of_tape(spec: MarketSpec, trade: dict) -> candles.Trade:
    """A trade as the hub tells it, in whole numbers."""
    price, quantity = Decimal(trade["price"]), Decimal(trade["quantity"])
    return _trade(spec, trade["trade_id"], price, quantity, datetime.fromisoformat(trade["executed_at"]))


def _trade(
    spec: MarketSpec, trade_id: int, price: Decimal, quantity: Decimal, executed_at: datetime
) -> candles.Trade:
    ticks, lots = spec.ticks(price), spec.lots(quantity)
    return spec.id, trade_id, ticks, lots, spec.notional(ticks, lots), executed_at


class Board:
    """The states by market id; `take` and reads may come from any thread."""

    def __init__(self):
        self.states: dict[int, State] = {}
        self._lock = Lock()

    def take(self, delta: Delta) -> None:
        """A committed batch, with its trades."""
        with self._lock:
            state = self.states.get(delta.market_id)
            if state is not None and delta.sequence > state.sequence:
                with suppress(NotWhole):  # tick or lot were edited, which the next read notices
                    state.take(delta)

    def hear(self, messages: list[list]) -> None:
        """The same from the hub."""
        for message in messages:
            if message[0] in self.states:
                self.take(Delta(*message))

    def forget(self) -> None:
        with self._lock:
            self.states.clear()

    # Reading

    def read(self, specs: Sequence[MarketSpec]) -> list[dict]:
        """The tickers of these markets, not older than this call. Unavailable when the database does not answer."""
        futures = [barrier.pass_for(spec.id) for spec in specs]
        specs, sequences = _reached(specs, [barrier.answer_of(future) for future in futures])
        self.reach(specs, sequences)
        return [self.shown(spec) for spec in specs]

    async def read_async(self, specs: Sequence[MarketSpec]) -> list[dict]:
        """The same for a coroutine."""
        views = await asyncio.gather(*[barrier.pass_for_loop(spec.id) for spec in specs])
        specs, sequences = _reached(specs, views)
        await self.reach_async(specs, sequences)
        return [self.shown(spec) for spec in specs]

    def shown(self, spec: MarketSpec) -> dict:
        """The ticker from what is here now; a market that was read before. The same object until it changes."""
        view = reading.views[spec.id]
        return self.compose(spec, view.sequence, view.best)

    def compose(self, spec: MarketSpec, book_sequence: int, best: Callable[[int], int | None]) -> dict:
        """The ticker with the best prices of a book at that sequence, which the state must have reached."""
        now = tickers.minute_of(clock.now())
        with self._lock:
            state = self.states[spec.id]
            key = (now, state.sequence, book_sequence, spec.version)
            if state.shown is None or state.shown[0] != key:
                found = tickers.ticker(
                    spec,
                    sequence=book_sequence,
                    last=state.last,
                    bid=best(BUY),
                    ask=best(SELL),
                    total=state.window.total(now),
                    updated_at=state.updated_at,
                )
                state.shown = (key, found)
            return state.shown[1]

    # Catching up

    def behind(self, specs: Sequence[MarketSpec], sequences: dict[int, int]) -> list[MarketSpec]:
        """Those whose state is missing, older than that sequence, or not of this spec and these 24 hours any more."""
        late = []
        for spec in specs:
            state = self.states.get(spec.id)
            if state is None or state.sequence < sequences.get(spec.id, 0) or not state.is_of(spec):
                late.append(spec)
        return late

    def reach(self, specs: Sequence[MarketSpec], sequences: dict[int, int]) -> None:
        """Bring the markets to these sequences at least. Touches the database, where something is missing."""
        late = self.behind(specs, sequences)
        far = [spec for spec in late if self._is_far(spec, sequences.get(spec.id, 0))]
        near = [spec for spec in late if spec not in far]
        if far:
            self._load(far)
        if near:
            self._catch_up(near)

    async def reach_async(self, specs: Sequence[MarketSpec], sequences: dict[int, int]) -> None:
        if self.behind(specs, sequences):
            await in_thread(self.reach, specs, sequences)

    def _is_far(self, spec: MarketSpec, sequence: int) -> bool:
        state = self.states.get(spec.id)
        return state is None or sequence - state.sequence > RELOAD_SEQUENCES or not state.is_of(spec)

    def _load(self, specs: Sequence[MarketSpec]) -> None:
        fresh = load(specs)
        with self._lock:
            for state in fresh:
                known = self.states.get(state.spec.id)
                if known is None or known.sequence < state.sequence or not known.is_of(state.spec):
                    state.held = known.held if known else {}
                    state.go_on()
                    self.states[state.spec.id] = state

    def _catch_up(self, specs: Sequence[MarketSpec]) -> None:
        after = {spec.id: self.states[spec.id].trade_id for spec in specs}
        for spec, sequence, trades in missed(specs, after):
            with self._lock:
                state = self.states[spec.id]
                if state.sequence < sequence:
                    state.add(trades)
                    state.sequence = sequence
                    state.go_on()


def _reached(specs: Sequence[MarketSpec], views: Sequence) -> tuple[list[MarketSpec], dict[int, int]]:
    """The specs and how far each market is. Where tick and lot were edited the book knows it before the cache that a
    spec comes from.
    """
    if None in views:
        raise Unavailable("The books cannot be read now; try again.")
    newest = [max(spec, view.spec, key=attrgetter("version")) for spec, view in zip(specs, views, strict=True)]
    return newest, {spec.id: view.sequence for spec, view in zip(specs, views, strict=True)}


LOAD = """
SELECT m.id, m.sequence, m.last_price, m.last_price_updated_at,
       (SELECT max(t.id) FROM exchange_trade t WHERE t.market_id = m.id),
       EXTRACT(EPOCH FROM c.open_time)::bigint, div(c.open, m.tick_size), div(c.high, m.tick_size),
       div(c.low, m.tick_size), div(c.close, m.tick_size), div(c.volume, m.lot_size),
       div(c.quote_volume * power(10::numeric, q.decimals), 1), c.trades, c.first_trade_id, c.last_trade_id
FROM marketdata_market m JOIN marketdata_asset q ON q.id = m.quote_id
LEFT JOIN marketdata_candle c ON c.market_id = m.id AND c.interval_seconds = 60 AND c.open_time >= %s
WHERE m.id = ANY(%s)
"""


def load(specs: Sequence[MarketSpec]) -> list[State]:
    """The states of these markets as the database has them at one moment."""
    now = clock.now()
    since, first = now - timedelta(minutes=tickers.WINDOW_MINUTES + 1), tickers.minute_of(now) - tickers.WINDOW_MINUTES
    by_id = {spec.id: spec for spec in specs}
    states: dict[int, State] = {}
    with connection.cursor() as cursor:
        cursor.execute(LOAD, [since, list(by_id)])
        for market_id, sequence, last, updated_at, trade_id, second, *figures in cursor:
            spec, state = by_id[market_id], states.get(market_id)
            if state is None:
                ticks = None if last is None else spec.ticks(last)
                state = State(spec, sequence, trade_id or 0, ticks, updated_at, tickers.Window(first))
                states[market_id] = state
            if second is not None:
                state.window.add(Folded(market_id, MINUTE, second, *map(int, figures)))
    return list(states.values())


MISSED = """
SELECT m.id, m.sequence, t.id, t.price, t.quantity, t.executed_at
FROM unnest(%s::bigint[], %s::bigint[]) AS known(market_id, trade_id)
JOIN marketdata_market m ON m.id = known.market_id
LEFT JOIN exchange_trade t ON t.market_id = m.id AND t.id > known.trade_id
ORDER BY m.id, t.id
"""


def missed(
    specs: Sequence[MarketSpec], after: dict[int, int]
) -> list[tuple[MarketSpec, int, list[candles.Trade]]]:
    """For each market its sequence, and the trades after that id, oldest first: all from one moment."""
    found = {}
    by_id = {spec.id: spec for spec in specs}
    with connection.cursor() as cursor:
        cursor.execute(MISSED, [list(after), list(after.values())])
        for market_id, sequence, trade_id, *rest in cursor:
            _, _, trades = found.setdefault(market_id, (by_id[market_id], sequence, []))
            if trade_id is not None:
                trades.append(_trade(by_id[market_id], trade_id, *rest))
    return list(found.values())


board = Board()
reading.listeners.append(board.take)
hub.on_books(board.hear)
