"""Outside prices of markets, as the feed last believed them: the only reader and writer of `Quote`.

Invariants: a quote never goes back in time, whichever process writes it (the statement refuses it), unless its clock
was put back: what lies in the future is stale and gives way. Every quote says from when on it is stale, so that a
reader knows without the feed. Plain functions on the ORM: a coroutine has a thread call
them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import connection

from marketdata import bulk, clock, gate
from marketdata.models import Quote

DEFAULT_STALE_SECONDS = 30.0

WHEN_NEWER = """
ON CONFLICT (market_id) DO UPDATE SET bid = EXCLUDED.bid, ask = EXCLUDED.ask, mid = EXCLUDED.mid,
    quoted_at = EXCLUDED.quoted_at, received_at = EXCLUDED.received_at, stale_at = EXCLUDED.stale_at,
    provider = EXCLUDED.provider, is_stale = EXCLUDED.is_stale
WHERE marketdata_quote.quoted_at <= EXCLUDED.quoted_at OR marketdata_quote.quoted_at > %s
"""


@dataclass(frozen=True, slots=True)
class MarketQuote:
    """A market's outside price. Decimals in quote currency a base unit; `mid` is what a mark is made of."""

    market_id: int
    bid: Decimal
    ask: Decimal
    mid: Decimal
    quoted_at: datetime
    received_at: datetime
    stale_at: datetime
    provider: str
    is_stale: bool


def latest(market_ids: Iterable[int] | None = None) -> dict[int, MarketQuote]:
    """The newest quote of each of these markets (of all without ids) that ever had one, by market id. One query."""
    rows, now = Quote.objects.all(), clock.now()
    if market_ids is not None:
        rows = rows.filter(market__in=list(market_ids))
    return {
        row.market_id: MarketQuote(
            row.market_id, row.bid, row.ask, row.mid, row.quoted_at, row.received_at, row.stale_at, row.provider,
            is_stale(row, now),
        )
        for row in rows
    }  # fmt: skip


def is_stale(row: Quote, now: datetime) -> bool:
    """Whether nothing is decided by it: it is too old, or was noted by a clock that has been put back since."""
    return row.is_stale or row.stale_at <= now or row.quoted_at > now + gate.FUTURE


def write(rows: list[tuple[int, str, gate.Believed, datetime]]) -> int:
    """Store (market id, provider, price, stale at), at most one a market, in one statement; how many were news."""
    if not rows:
        return 0
    now = clock.now()
    market_ids, names, prices, stale = zip(*rows, strict=True)
    sql, values = bulk.insert(
        "marketdata_quote",
        [
            ("market_id", "bigint", market_ids),
            ("bid", "numeric", [price.bid for price in prices]),
            ("ask", "numeric", [price.ask for price in prices]),
            ("mid", "numeric", [price.mid for price in prices]),
            ("quoted_at", "timestamptz", [price.quoted_at for price in prices]),
            ("received_at", "timestamptz", [price.received_at for price in prices]),
            ("stale_at", "timestamptz", stale),
            ("provider", "text", names),
            ("is_stale", "boolean", [moment <= now for moment in stale]),
        ],
        WHEN_NEWER,
    )
    with connection.cursor() as cursor:
        bulk.execute(cursor, [(sql, [*values, now + gate.FUTURE])])
        return cursor.rowcount


def mark_stale() -> list[int]:
    """Note which quotes have become stale; their market ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_quote SET is_stale = TRUE WHERE NOT is_stale AND stale_at <= %s RETURNING market_id",
            [clock.now()],
        )
        return [market_id for (market_id,) in cursor.fetchall()]


def stale_seconds() -> float:
    """After how long a quote is stale, unless its provider is polled more slowly: QUOTE_STALE_SECONDS."""
    return settings.QUOTE_STALE_SECONDS or DEFAULT_STALE_SECONDS
