"""A venue whose clock the test sets."""

import pytest

from marketdata import clock
from tests.sessions.language import Day

__all__ = ["day"]


@pytest.fixture
def day(venue):
    """`day.at(...)` sets the clock, `day.venue` trades. At the end the audit is clean and the replay the same."""
    clock.stand(Day.moment("2026-11-23 12:00"))
    try:
        day = Day(venue)
        yield day
        day.check()
    finally:
        clock.stand(None)
