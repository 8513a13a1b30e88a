"""How long the candle intervals are, for history from outside. Pure.

Known limit: `1M` counts as 31 days here, which is only good for asking providers for pages and for finding gaps.
"""

from datetime import datetime, timedelta

from marketdata.candle_intervals import DAY, INTERVALS

LENGTHS = {name: timedelta(seconds=interval.seconds or 31 * DAY) for name, interval in INTERVALS.items()}


def length(interval: str) -> timedelta:
    """KeyError for what is no interval."""
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
