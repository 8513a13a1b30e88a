"""Candles made again from the tape: to prove that the stored ones are right, and to write them anew.

The stored candles are kept up as trades settle; here the same is said a second time, in SQL over all trades.
`first_difference` compares the two at every stored length, from one snapshot and without a lock; the longer
intervals are read from these and cannot differ on their own. `rebuild` takes the market's lock meanwhile, so that
no trade comes in between. Candles that are no longer kept (exchange.retention) are neither compared nor made again.
"""

from django.db import connection, transaction

from marketdata.candle_intervals import STORED_SECONDS
from marketdata.models import Market

COLUMNS = (
    "interval_seconds, open_time, open, high, low, close, volume, quote_volume, trades, first_trade_id, last_trade_id"
)

#: Whether candles of its length that are as old are still kept.
IS_KEPT = "NOT EXISTS (SELECT FROM exchange_candlefloor f WHERE f.interval_seconds = {length} AND open_time < f.until)"

#: Every candle that the trades of the markets in `chosen` make, by market.
FROM_TAPE = f"""
SELECT folded.market_id, length AS interval_seconds, open_time, first.price AS open, high, low, last.price AS close,
       folded.volume, folded.quote_volume, folded.trades, folded.first_trade_id, folded.last_trade_id
FROM unnest(ARRAY[{", ".join(map(str, STORED_SECONDS))}]) AS length
CROSS JOIN LATERAL (
    SELECT t.market_id, date_bin(make_interval(secs => length), t.executed_at, timestamptz 'epoch') AS open_time,
           max(t.price) AS high, min(t.price) AS low, sum(t.quantity) AS volume,
           sum(t.price * t.quantity * COALESCE(c.contract_size, 1)) AS quote_volume, count(*) AS trades,
           min(t.id) AS first_trade_id, max(t.id) AS last_trade_id
    FROM exchange_trade t LEFT JOIN marketdata_contract c ON c.market_id = t.market_id WHERE {{chosen}} GROUP BY 1, 2
) folded
JOIN exchange_trade first ON first.id = folded.first_trade_id
JOIN exchange_trade last ON last.id = folded.last_trade_id
WHERE {IS_KEPT.format(length="length")}
"""

#: One row for every candle that is missing, too many or wrong; shown with both versions.
DIFFERENCES = f"""
SELECT COALESCE(tape.market_id, stored.market_id) AS market_id,
       COALESCE(tape.interval_seconds, stored.interval_seconds) AS interval_seconds,
       COALESCE(tape.open_time, stored.open_time) AS open_time,
       to_jsonb(tape)::text AS by_trades, to_jsonb(stored)::text AS stored
FROM ({FROM_TAPE}) AS tape
FULL JOIN (SELECT market_id, {COLUMNS} FROM marketdata_candle
           WHERE {{stored_chosen}} AND {IS_KEPT.format(length="marketdata_candle.interval_seconds")}) AS stored
    USING (market_id, interval_seconds, open_time)
WHERE (tape.open, tape.high, tape.low, tape.close, tape.volume, tape.quote_volume, tape.trades,
       tape.first_trade_id, tape.last_trade_id)
   IS DISTINCT FROM
      (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.quote_volume, stored.trades,
       stored.first_trade_id, stored.last_trade_id)
"""

#: The same for all markets, as the auditor takes it.
ALL_DIFFERENCES = DIFFERENCES.format(chosen="TRUE", stored_chosen="TRUE")


def first_difference(market_id: int) -> dict | None:
    """The oldest candle (shortest first) that is not what the trades say, {interval_seconds, open_time, by_trades,
    stored}; None when all are equal.
    """
    sql = DIFFERENCES.format(chosen="t.market_id = %s", stored_chosen="market_id = %s")
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} ORDER BY open_time, interval_seconds LIMIT 1", [market_id, market_id])
        row = cursor.fetchone()
        names = [column[0] for column in cursor.description]
    return dict(zip(names, row, strict=True)) if row else None


def rebuild(market_id: int) -> int:
    """Replace the market's candles by what its trades make; returns how many there are now.

    Holds the market's lock: nothing trades there until it is done.
    """
    tape = FROM_TAPE.format(chosen="t.market_id = %s")
    with transaction.atomic(), connection.cursor() as cursor:
        Market.objects.select_for_update(no_key=True).only("id").get(pk=market_id)
        cursor.execute("DELETE FROM marketdata_candle WHERE market_id = %s", [market_id])
        cursor.execute(
            f"INSERT INTO marketdata_candle (market_id, {COLUMNS}) SELECT market_id, {COLUMNS} FROM ({tape}) AS tape",
            [market_id],
        )
        return cursor.rowcount
