"""What a page of candles costs in a table of a million, against an almost empty one; and what folding costs.

    python -m benchmarks.candles [--candles 1000000] [--pages 300]

A private database gets one market with that many 1m candles, a minute apart, and beside it a market with as many
candles as one page holds. Timed is `candles.page` in this process: SQL, transfer and rows, without HTTP. The fold is
timed on 100 trades of one batch in one market, which is what settlement adds: four rows.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks.in_process import private_tables
from benchmarks.report import table

START = datetime(2025, 1, 6, tzinfo=UTC)
SMALL_CANDLES = 1_500

FILL = """
INSERT INTO marketdata_candle (market_id, interval_seconds, open_time, open, high, low, close, volume, quote_volume,
                               trades, first_trade_id, last_trade_id)
SELECT %s, 60, %s + n * interval '1 minute', 100 + n %% 7, 108, 99, 100 + n %% 5, 3, 300, 2, 2 * n, 2 * n + 1
FROM generate_series(0, %s - 1) AS n
"""


def milliseconds(work: Callable[[], object], count: int) -> list[float]:
    """How long each of the calls took."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def prepare(count: int) -> tuple[int, int]:
    """The empty database gets two markets; returns the ids of the big one and the small one."""
    from django.db import connection

    from marketdata.models import Asset, Market

    base, quote = (Asset.objects.create(symbol=symbol, name=symbol) for symbol in ("BASE", "QUOTE"))
    ids = [Market.objects.create(symbol=symbol, base=base, quote=quote).id for symbol in ("BIG", "SMALL")]
    with connection.cursor() as cursor:
        for market_id, candles in zip(ids, (count, SMALL_CANDLES), strict=True):
            cursor.execute(FILL, [market_id, START, candles])
        cursor.execute("VACUUM ANALYZE marketdata_candle")
    return ids[0], ids[1]


def measure_pages(big: int, small: int, count: int, pages: int) -> list[list]:
    """A row for each kind of page: p50 in the small market, p50 and p99 in the big one, in ms."""
    from marketdata.candle_intervals import INTERVALS
    from marketdata.candles import page

    dice = random.Random(1)

    def somewhere(candles: int) -> datetime:
        return START + timedelta(minutes=dice.randrange(max(1, candles - 500)))

    kinds = {
        "newest 500 of 1m": lambda market, _: page(market_id=market, interval=INTERVALS["1m"]),
        "500 of 1m from anywhere": lambda market, n: page(
            market_id=market, interval=INTERVALS["1m"], start=somewhere(n)
        ),
        "newest 100 of 5m": lambda market, _: page(market_id=market, interval=INTERVALS["5m"], limit=100),
        "newest 50 of 30m": lambda market, _: page(market_id=market, interval=INTERVALS["30m"], limit=50),
        "500 of 1m filled": lambda market, n: page(
            market_id=market, interval=INTERVALS["1m"], start=somewhere(n), fill=True
        ),
    }
    rows = []
    for name, read in kinds.items():
        few = milliseconds(lambda read=read: read(small, SMALL_CANDLES), pages)
        many = milliseconds(lambda read=read: read(big, count), pages)
        rows.append([name, statistics.median(few), statistics.median(many), statistics.quantiles(many, n=100)[98]])
    return rows


def measure_fold() -> float:
    """Microseconds to fold 100 trades of one batch in one market."""
    from marketdata.candles import fold

    trades = [(1, n, 10_000 + n % 5, 3, 30_000, START) for n in range(100)]
    return statistics.median(milliseconds(lambda: fold(trades), 1_000)) * 1000


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure reading and folding candles.")
    parser.add_argument("--candles", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=300)
    options = parser.parse_args()
    with private_tables():
        big, small = prepare(options.candles)
        rows = measure_pages(big, small, options.candles, options.pages)
        heads = ["page", f"{SMALL_CANDLES:,} p50 ms", f"{options.candles:,} p50 ms", "p99 ms"]
        print(table(heads, rows))
        print(f"\nfolding a batch of 100 trades: {measure_fold():.0f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
