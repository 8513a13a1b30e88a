"""When a margin market's positions are rolled over, and for how many days' interest. Pure.

A rollover is at a local time of day in the contract's zone. With a triple day (currencies, which settle two business
days later) there is one on each weekday, and that day's counts three, for the weekend; without one, every day counts
one. So a week always counts seven.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from marketdata.contracts import RATE_ONE

SATURDAY = 5


class Due(NamedTuple):
    """One rollover: its local date, its moment, how many days' interest."""

    day: date
    at: datetime
    days: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """A contract's rollovers. `triple_day`: 0 is Monday, None has none."""

    at: time
    zone: ZoneInfo
    triple_day: int | None = None

    def days_of(self, day: date) -> int:
        """How many days' interest that date's rollover counts; 0 where there is none."""
        if self.triple_day is None:
            return 1
        if day.weekday() >= SATURDAY:
            return 0
        return 3 if day.weekday() == self.triple_day else 1

    def between(self, after: datetime, until: datetime) -> Iterator[Due]:
        """Every rollover later than `after` and not later than `until`, in order."""
        day = after.astimezone(self.zone).date()
        while True:
            at = datetime.combine(day, self.at, self.zone).astimezone(UTC)
            if at > until:
                return
            days = self.days_of(day)
            if days and at > after:
                yield Due(day, at, days)
            day += timedelta(days=1)


def interest(*, value: int, rate: int, days: int, year: int, conversion: Fraction) -> int:
    """What a holder pays (below zero: gets) for a position worth `value` quote units, in settlement units.

    `rate` a year in 10^-8, `year` its days, `conversion` settlement units for a quote unit. Rounded towards zero.
    """
    exact = Fraction(abs(value) * rate * days, RATE_ONE * year) * conversion
    return int(exact)
