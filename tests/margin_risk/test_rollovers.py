"""When interest is due: weekdays and triple days, daylight saving, holes that are caught up."""

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from exchange.rollovers import Calendar, interest

NEW_YORK = Calendar(time(17), ZoneInfo("America/New_York"), 2)
ALWAYS = Calendar(time(0), ZoneInfo("UTC"))


def test_a_week_of_currencies_counts_seven_days_triple_on_wednesday():
    week = list(NEW_YORK.between(datetime(2026, 3, 16, tzinfo=UTC), datetime(2026, 3, 23, tzinfo=UTC)))
    assert [(due.day.strftime("%a"), due.days) for due in week] == [
        ("Mon", 1), ("Tue", 1), ("Wed", 3), ("Thu", 1), ("Fri", 1),
    ]  # fmt: skip


def test_without_a_triple_day_every_day_counts_one():
    week = list(ALWAYS.between(datetime(2026, 3, 16, tzinfo=UTC), datetime(2026, 3, 23, tzinfo=UTC)))
    assert [due.days for due in week] == [1] * 7
    assert week[-1].at == datetime(2026, 3, 23, tzinfo=UTC)


SAVING = [
    # local date, the rollover in UTC
    (date(2026, 3, 6), datetime(2026, 3, 6, 22, tzinfo=UTC)),
    (date(2026, 3, 9), datetime(2026, 3, 9, 21, tzinfo=UTC)),
    (date(2026, 10, 30), datetime(2026, 10, 30, 21, tzinfo=UTC)),
    (date(2026, 11, 2), datetime(2026, 11, 2, 22, tzinfo=UTC)),
]


@pytest.mark.parametrize(("day", "moment"), SAVING)
def test_five_in_the_afternoon_moves_with_the_clocks(day, moment):
    (due,) = NEW_YORK.between(moment - timedelta(hours=20), moment + timedelta(hours=1))
    assert (due.day, due.at) == (day, moment)


def test_the_end_is_inside_and_the_beginning_is_not():
    first, second = (datetime(2026, 3, day, tzinfo=UTC) for day in (16, 17))
    assert [due.at for due in ALWAYS.between(first, second)] == [second]
    assert list(ALWAYS.between(first, first)) == []


INTEREST = [
    # value in cents, rate a year, days, days of the year, settlement cents for one, paid in cents
    (110_000_00, 4_500_000, 1, 360, 1, 1375),  # 110,000 at 4.5 % for a day: 13.75
    (110_000_00, 4_500_000, 3, 360, 1, 4125),
    (-110_000_00, 4_500_000, 1, 360, 1, 1375),  # a short at its own rate, that of what it owes
    (110_000_00, -1_000_000, 1, 365, 1, -301),  # 3.0136… received, rounded towards zero
    (15_000_000, 1_000_000, 1, 365, Fraction(100, 150), 273),  # 15 million yen at 150: 2.7397… dollars
    (99, 100, 1, 365, 1, 0),
]


@pytest.mark.parametrize(("value", "rate", "days", "year", "conversion", "paid"), INTEREST)
def test_interest(value, rate, days, year, conversion, paid):
    assert interest(value=value, rate=rate, days=days, year=year, conversion=Fraction(conversion)) == paid
