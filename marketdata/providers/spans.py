"""Candle intervals of external history: their names and lengths. Pure.

Known limit: `1M` counts as 31 days here, which is only good for asking providers for pages and for finding gaps.
"""

from datetime import datetime, timedelta

LENGTHS = {
    "1s": timedelta(seconds=1), "1m": timedelta(minutes=1), "3m": timedelta(minutes=3), "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15), "30m": timedelta(minutes=30), "1h": timedelta(hours=1), "2h": timedelta(hours=2),
    "4h": timedelta(hours=4), "6h": timedelta(hours=6), "8h": timedelta(hours=8), "12h": timedelta(hours=12),
    "1d": timedelta(days=1), "3d": timedelta(days=3), "1w": timedelta(weeks=1), "1M": timedelta(days=31),
}  # fmt: skip


def length(interval: str) -> timedelta:
    """KeyError for an interval that the contract does not name."""
    return LENGTHS[interval]


def guess(times: list[datetime]) -> str | None:
    """The interval of bars that open at these times: their commonest step; None when it has no name."""
    steps = sorted(after - before for before, after in zip(times, times[1:], strict=False) if after > before)
    if not steps:
        return None
    commonest = max(set(steps), key=steps.count)
    if timedelta(days=28) <= commonest <= timedelta(days=31):
        return "1M"
    return next((name for name, step in LENGTHS.items() if step == commonest), None)
