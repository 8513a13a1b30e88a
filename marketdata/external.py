"""Candles of the outside world: imported history, never mixed with what was traded here.

Every row names its source. Invariants: a bar is plausible (a constraint holds it) and stands once for each market,
interval, source and time; storing the same bars again changes nothing. `import_candles` fills it.
Known limit: only intervals that were imported can be read; nothing is aggregated.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from marketdata import bulk, clock
from marketdata.markets import MarketSpec
from marketdata.models import ExternalCandle
from marketdata.providers.protocol import Bar
from marketdata.units import plain

UPSERT = """
ON CONFLICT (market_id, interval, source, open_time) DO UPDATE SET open = EXCLUDED.open, high = EXCLUDED.high,
    low = EXCLUDED.low, close = EXCLUDED.close, volume = EXCLUDED.volume
WHERE (t.open, t.high, t.low, t.close, t.volume)
    IS DISTINCT FROM (EXCLUDED.open, EXCLUDED.high, EXCLUDED.low, EXCLUDED.close, EXCLUDED.volume)
RETURNING xmax = 0
"""


def candles(
    spec: MarketSpec,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    *,
    source: str,
) -> list[dict]:
    """At most `limit` bars with start <= open_time <= end, oldest first: from `start` on, the newest without it.

    The candle objects of the API with `source` added; quote_volume and trades are None, as nobody traded here.
    """
    rows = ExternalCandle.objects.filter(market_id=spec.id, interval=interval)
    rows = rows.filter(source=_stored_name(rows, source) or "")
    if start is not None:
        rows = rows.filter(open_time__gte=start)
    if end is not None:
        rows = rows.filter(open_time__lte=end)
    found = list(rows.order_by("open_time" if start is not None else "-open_time")[:limit])
    return [_rendered(row) for row in (found if start is not None else reversed(found))]


def store(*, market_id: int, source: str, interval: str, bars: Iterable[Bar]) -> tuple[int, int]:
    """Insert new bars and correct changed ones, in one statement; (inserted, changed). No two of the same time."""
    bars = list(bars)
    if not bars:
        return 0, 0
    prices = [
        (name, "numeric", [getattr(bar, name) for bar in bars]) for name in ("open", "high", "low", "close", "volume")
    ]
    columns = [
        ("market_id", "bigint", [market_id] * len(bars)),
        ("source", "text", [source] * len(bars)),
        ("interval", "text", [interval] * len(bars)),
        ("open_time", "timestamptz", [bar.open_time for bar in bars]),
        *prices,
    ]
    with connection.cursor() as cursor:
        bulk.execute(cursor, [bulk.insert("marketdata_externalcandle AS t", columns, UPSERT)])
        is_new = [new for (new,) in cursor.fetchall()]
    return sum(is_new), len(is_new) - sum(is_new)


def _stored_name(rows: QuerySet[ExternalCandle], source: str) -> str | None:
    """The source as it was named at the import, which may be asked for in any case: a file's name keeps its own. The
    index steps from name to name, without reading the history.
    """
    name = source if rows.filter(source=source).exists() else ""
    while name.casefold() != source.casefold():
        name = rows.filter(source__gt=name).order_by("source").values_list("source", flat=True).first()
        if name is None:
            return None
    return name


def _rendered(row: ExternalCandle) -> dict:
    return {
        "open_time": clock.text(row.open_time),
        "open": plain(row.open),
        "high": plain(row.high),
        "low": plain(row.low),
        "close": plain(row.close),
        "volume": plain(row.volume),
        "quote_volume": None,
        "trades": None,
        "source": row.source,
    }
