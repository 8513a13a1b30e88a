"""When a market is open: spans of the week in a time zone, and holidays. Pure.

A span is written as its two ends, `["SUN 17:00", "FRI 17:00"]`: open from the first (inclusive) until the second
(exclusive) in local time, over the end of the week where it must. No spans at all: always open. A holiday closes its
whole local date. Clocks that are put forward or back move with the zone, because only local times are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Schedule:
    """`spans` in minutes since Monday 00:00; one whose end is not after its start goes on into the next week."""

    zone: ZoneInfo
    spans: tuple[tuple[int, int], ...] = ()
    holidays: frozenset[date] = frozenset()

    @classmethod
    def of(cls, zone: ZoneInfo, spans: Sequence[Sequence[str]], holidays: Sequence[str]) -> "Schedule":
        """From the texts of a contract; ValueError says which one cannot be read."""
        return cls(
            zone,
            tuple((_minute(first), _minute(second)) for first, second in map(_pair, spans)),
            frozenset(date.fromisoformat(text) for text in holidays),
        )


def is_open(schedule: Schedule, moment: datetime) -> bool:
    """Whether the market is open at that moment (any zone)."""
    local = moment.astimezone(schedule.zone)
    if local.date() in schedule.holidays:
        return False
    if not schedule.spans:
        return True
    minute = local.weekday() * DAY_MINUTES + local.hour * 60 + local.minute
    return any(
        first <= minute < second if first < second else minute >= first or minute < second
        for first, second in schedule.spans
    )


def _pair(span: Sequence[str]) -> tuple[str, str]:
    if isinstance(span, str) or len(span) != 2:
        raise ValueError(f'{span!r} is not a span, such as ["SUN 17:00", "FRI 17:00"]')
    return span[0], span[1]


def _minute(text: str) -> int:
    """`FRI 17:00` in minutes since Monday 00:00."""
    try:
        day, clock = str(text).upper().split()
        hour, minute = map(int, clock.split(":"))
        if not (0 <= hour < 24 and 0 <= minute < 60):
            raise ValueError
        return DAYS.index(day) * DAY_MINUTES + hour * 60 + minute
    except ValueError:
        raise ValueError(f"{text!r} is not a time of the week, such as FRI 17:00") from None
