"""Candles and 24-hour figures from a list of trades, the long way round: plain code that shares nothing with the venue.

A trade is (id, price, quantity, executed_at). Borders are found by walking the calendar, not by arithmetic.
"""

from datetime import UTC, date, datetime, timedelta

from marketdata.units import plain

SECONDS = {"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
HOURS = {"2h": 2, "4h": 4, "6h": 6, "8h": 8, "12h": 12}
NAMES = [*SECONDS, *HOURS, "1d", "3d", "1w", "1M"]


def opens(moment: datetime, interval: str) -> datetime:
    """When the candle of that moment opens."""
    midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if interval in SECONDS:
        return _last_step(midnight, moment, timedelta(seconds=SECONDS[interval]))
    if interval in HOURS:
        return midnight.replace(hour=moment.hour - moment.hour % HOURS[interval])
    if interval == "1d":
        return midnight
    if interval == "3d":
        return midnight - timedelta(days=(moment.date() - date(1970, 1, 1)).days % 3)
    if interval == "1w":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1)


def _last_step(start: datetime, moment: datetime, step: timedelta) -> datetime:
    while start + step <= moment:
        start += step
    return start


def candles(trades: list[tuple], interval: str) -> list[dict]:
    """Candle objects as the API shows them, oldest first."""
    groups: dict[datetime, list[tuple]] = {}
    for trade in trades:
        groups.setdefault(opens(trade[3], interval), []).append(trade)
    return [_candle(opened, sorted(groups[opened])) for opened in sorted(groups)]


def _candle(opened: datetime, trades: list[tuple]) -> dict:
    prices = [price for _, price, _, _ in trades]
    return {
        "open_time": opened.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "open": plain(prices[0]),
        "high": plain(max(prices)),
        "low": plain(min(prices)),
        "close": plain(prices[-1]),
        "volume": plain(sum(quantity for _, _, quantity, _ in trades)),
        "quote_volume": plain(sum(price * quantity for _, price, quantity, _ in trades)),
        "trades": len(trades),
    }


def day(trades: list[tuple], now: datetime) -> dict:
    """The 24-hour figures of a ticker at that moment: trades from the minute that lies 24 hours back."""
    since = now.replace(second=0, microsecond=0) - timedelta(hours=24)
    counted = sorted(trade for trade in trades if trade[3] >= since)
    if not counted:
        return {"volume": "0", "quote_volume": "0", "trades": 0}
    candle = _candle(since, counted)
    last = max(trades)[1]
    return {name: candle[name] for name in ("open", "high", "low", "volume", "quote_volume", "trades")} | {
        "last": plain(last),
        "change": plain(last - counted[0][1]),
    }
