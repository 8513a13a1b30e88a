"""Candles: folded from trades as they are settled, read at any interval.

`fold` and `statements` run in the transaction that settles a batch, so that a candle never disagrees with the tape.
Stored are four lengths (see marketdata.candle_intervals); `page` makes the others from them. Open and close are decided
by trade id, never by time: a clock that jumps backwards can put a later trade into an older candle, and the candle
still equals what its trades say.

A page is a range of one index: its cost does not grow with the table.
Known limit: a page of 30m or 1M candles reads up to thirty stored rows for each of its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from marketdata import bulk, clock
from marketdata.candle_intervals import EPOCH, MINUTE, STORED_SECONDS, Interval
from marketdata.markets import MarketSpec

DEFAULT_LIMIT = 500
MAX_LIMIT = 1_500
SECOND = timedelta(seconds=1)

#: (market id, trade id, price in ticks, quantity in lots, notional in quote units, executed at)
Trade = tuple[int, int, int, int, int, datetime]


@dataclass(slots=True)
class Folded:
    """What some trades add to one stored candle; prices in ticks, volume in lots, quote volume in quote units."""

    market_id: int
    interval_seconds: int
    open_second: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    first_trade_id: int
    last_trade_id: int

    def add(self, other: "Folded") -> None:
        """Take in what other trades of the same candle add; in any order, none twice."""
        if other.first_trade_id < self.first_trade_id:
            self.open, self.first_trade_id = other.open, other.first_trade_id
        if other.last_trade_id > self.last_trade_id:
            self.close, self.last_trade_id = other.close, other.last_trade_id
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.volume += other.volume
        self.quote_volume += other.quote_volume
        self.trades += other.trades

    def within(self, interval_seconds: int) -> "Folded":
        """The same trades in a longer candle."""
        opened = self.open_second - self.open_second % interval_seconds
        sums = self.volume, self.quote_volume, self.trades, self.first_trade_id, self.last_trade_id
        return Folded(self.market_id, interval_seconds, opened, self.open, self.high, self.low, self.close, *sums)


# Writing


def fold(trades: Iterable[Trade]) -> list[Folded]:
    """The stored candles that the trades belong to, by market, length and time. In any order."""
    rows: dict[tuple[int, int, int], Folded] = {}
    for one in _by_second(trades):
        for length in STORED_SECONDS:
            longer = one.within(length)
            key = (longer.market_id, length, longer.open_second)
            if key in rows:
                rows[key].add(longer)
            else:
                rows[key] = longer
    return list(rows.values())


def _by_second(trades: Iterable[Trade]) -> Iterable[Folded]:
    """The 1s candles. This runs for every trade of the venue, hence without a call or an object for each."""
    seconds: dict[tuple[int, int], Folded] = {}
    moment = second = None
    for market_id, trade_id, price, quantity, notional, executed_at in trades:
        if executed_at is not moment:
            moment, second = executed_at, (executed_at - EPOCH) // SECOND
        row = seconds.get((market_id, second))
        if row is None:
            sums = quantity, notional, 1, trade_id, trade_id
            seconds[market_id, second] = Folded(market_id, 1, second, price, price, price, price, *sums)
            continue
        if trade_id > row.last_trade_id:
            row.close, row.last_trade_id = price, trade_id
        elif trade_id < row.first_trade_id:
            row.open, row.first_trade_id = price, trade_id
        if price > row.high:
            row.high = price
        elif price < row.low:
            row.low = price
        row.volume += quantity
        row.quote_volume += notional
        row.trades += 1
    return seconds.values()


MERGE = """
ON CONFLICT (market_id, interval_seconds, open_time) DO UPDATE SET
open = CASE WHEN excluded.first_trade_id < c.first_trade_id THEN excluded.open ELSE c.open END,
close = CASE WHEN excluded.last_trade_id > c.last_trade_id THEN excluded.close ELSE c.close END,
high = GREATEST(c.high, excluded.high), low = LEAST(c.low, excluded.low),
volume = c.volume + excluded.volume, quote_volume = c.quote_volume + excluded.quote_volume,
trades = c.trades + excluded.trades, first_trade_id = LEAST(c.first_trade_id, excluded.first_trade_id),
last_trade_id = GREATEST(c.last_trade_id, excluded.last_trade_id)
"""


def statements(rows: list[Folded], specs: Mapping[int, MarketSpec]) -> list[bulk.Statement]:
    """What adds the rows to the stored candles. The caller holds the lock of every market in them."""
    if not rows:
        return []
    pairs = [(specs[row.market_id], row) for row in rows]
    columns = [
        ("market_id", "bigint", [row.market_id for row in rows]),
        ("interval_seconds", "integer", [row.interval_seconds for row in rows]),
        ("open_time", "timestamptz", [moment_of(row.open_second).isoformat() for row in rows]),
        ("open", "numeric", [spec.price_text(row.open) for spec, row in pairs]),
        ("high", "numeric", [spec.price_text(row.high) for spec, row in pairs]),
        ("low", "numeric", [spec.price_text(row.low) for spec, row in pairs]),
        ("close", "numeric", [spec.price_text(row.close) for spec, row in pairs]),
        ("volume", "numeric", [spec.quantity_text(row.volume) for spec, row in pairs]),
        ("quote_volume", "numeric", [spec.quote_text(row.quote_volume) for spec, row in pairs]),
        ("trades", "bigint", [row.trades for row in rows]),
        ("first_trade_id", "bigint", [row.first_trade_id for row in rows]),
        ("last_trade_id", "bigint", [row.last_trade_id for row in rows]),
    ]
    return [bulk.insert("marketdata_candle AS c", columns, MERGE)]


def moment_of(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


# Reading


class Row(NamedTuple):
    """A candle as it is shown: when it opens, and plain decimal texts."""

    open_time: datetime
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int


STORED = "trim_scale(open)::text, trim_scale(high)::text, trim_scale(low)::text, trim_scale(close)::text"
SUMS = "trim_scale(volume)::text, trim_scale(quote_volume)::text, trades"
RANGE = "FROM marketdata_candle WHERE market_id = %s AND interval_seconds = %s AND open_time >= %s AND open_time < %s"
JOINED = """
(array_agg(open ORDER BY first_trade_id))[1] AS open, max(high) AS high, min(low) AS low,
(array_agg(close ORDER BY last_trade_id DESC))[1] AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume,
sum(trades)::bigint AS trades
"""
BEGINNING = EPOCH
#: The last moment that still has a month after it.
END = datetime(9999, 1, 1, tzinfo=UTC)
MAX_ID = 2**63 - 1


def page(
    *,
    market_id: int,
    interval: Interval,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int = DEFAULT_LIMIT,
    fill: bool = False,
) -> list[Row]:
    """At most `limit` candles that open from `start` to `end` (both included), oldest first, the forming one too.

    With a start they are the first from there, without one the newest. `fill` puts a candle of the previous close
    and no volume wherever nothing was traded, from the first trade on and up to now.
    """
    first = interval.ceiling(min(max(start, BEGINNING), END)) if start is not None else None
    until = interval.after(interval.floor(min(max(end, BEGINNING), END))) if end is not None else None
    if fill:
        return _filled(market_id, interval, first, until, limit)
    return _read(market_id, interval, first, until, limit)


def _read(
    market_id: int, interval: Interval, first: datetime | None, until: datetime | None, limit: int
) -> list[Row]:
    """The candles with a trade that open in [first, until)."""
    direction = "DESC" if first is None else "ASC"
    bounds = [market_id, interval.base_seconds, first or BEGINNING, until or END]
    if interval.is_stored():
        sql = f"SELECT open_time, {STORED}, {SUMS} {RANGE} ORDER BY open_time {direction} LIMIT %s"
        parameters = [*bounds, limit]
    else:
        # The newest (or first) `limit` candles are made of at most this many stored rows, and all of them are here.
        sql = (
            f"WITH base AS (SELECT * {RANGE} ORDER BY open_time {direction} LIMIT %s),"
            f" joined AS (SELECT {interval.floor_sql('open_time')} AS open_time, {JOINED} FROM base GROUP BY 1)"
            f" SELECT open_time, {STORED}, {SUMS} FROM joined ORDER BY open_time {direction} LIMIT %s"
        )
        parameters = [*bounds, limit * interval.base_rows, limit]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = [Row._make(row) for row in cursor.fetchall()]
    return rows[::-1] if first is None else rows


def _filled(
    market_id: int, interval: Interval, first: datetime | None, until: datetime | None, limit: int
) -> list[Row]:
    now = interval.after(interval.floor(clock.now()))
    until = min(until or now, now)
    if first is None:
        first = interval.after(until, -limit) if interval.after(EPOCH, limit) <= until else EPOCH
    first, close = _beginning(market_id, interval, first)
    # Only now: candles before the first trade do not count.
    until = min(until, interval.after(first, limit)) if first < until else first
    traded = {row.open_time: row for row in _read(market_id, interval, first, until, limit)}
    return list(_without_gaps(traded, interval, first, until, close))


def _without_gaps(
    traded: dict[datetime, Row], interval: Interval, first: datetime, until: datetime, close: str | None
) -> Iterator[Row]:
    opened = first
    while opened < until:
        row = traded.get(opened) or Row(opened, close, close, close, close, "0", "0", 0)
        close = row.close
        yield row
        opened = interval.after(opened)


NEAREST = f"SELECT open_time, trim_scale(close)::text, first_trade_id {RANGE}"


def _beginning(market_id: int, interval: Interval, first: datetime) -> tuple[datetime, str | None]:
    """Where a page that is filled from `first` on begins, and the close before it; None when it begins with a trade.

    That is the first trade if there was none before. 1s candles are not kept for ever: where those before are gone,
    it begins after the last minute whose seconds are not known, with that minute's close.
    """
    length = interval.base_seconds
    with connection.cursor() as cursor:
        cursor.execute(f"{NEAREST} ORDER BY open_time DESC LIMIT 1", [market_id, length, BEGINNING, first])
        if before := cursor.fetchone():
            return first, before[1]
        cursor.execute(f"{NEAREST} ORDER BY open_time LIMIT 1", [market_id, length, first, END])
        opened, _, trade_id = cursor.fetchone() or (END, None, MAX_ID)
        if length != 1:
            return interval.floor(opened), None
        # Its own minute counts if it has older trades than this second.
        older = f"{NEAREST} AND first_trade_id < %s ORDER BY open_time DESC LIMIT 1"
        cursor.execute(older, [market_id, MINUTE, BEGINNING, opened + SECOND, trade_id])
        gone = cursor.fetchone()
    if gone is None:
        return opened, None
    return max(first, min(gone[0] + MINUTE * SECOND, opened)), gone[1]


def shown(row: Row) -> dict:
    """The candle object of the API."""
    return {**row._asdict(), "open_time": clock.text(row.open_time)}
