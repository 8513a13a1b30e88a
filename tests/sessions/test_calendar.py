"""Trading hours as a table: a market in New York through daylight saving, a holiday, an early close and a long gap."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from marketdata.calendar import (
    AUCTION,
    CLOSED,
    CLOSING,
    COLLECTING,
    CONTINUOUS,
    PRE_OPEN,
    Calendar,
    Hours,
    weekdays_after,
)

DAY = Hours(opens=time(9, 30), closes=time(16), pre_open=time(9), closing=time(15, 50))
NEW_YORK = Calendar(
    "America/New_York",
    tuple((weekday, DAY) for weekday in range(5)),
    ((date(2026, 11, 26), None), (date(2026, 11, 27), time(13)), (date(2026, 12, 24), time(9))),
)
PLAIN = Calendar("UTC", ((0, Hours(time(8), time(17))),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(changes) -> list[str]:
    return [f"{change.at:%m-%d %H:%M} {change.phase}" for change in changes]


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        ("2026-11-23 13:59", CLOSED),
        ("2026-11-23 14:00", PRE_OPEN),
        ("2026-11-23 14:30", CONTINUOUS),
        ("2026-11-23 20:49:59", CONTINUOUS),
        ("2026-11-23 20:50", CLOSING),
        ("2026-11-23 21:00", CLOSED),
        ("2026-07-06 13:29", PRE_OPEN),  # an hour earlier in summer
        ("2026-07-06 13:30", CONTINUOUS),
        ("2026-11-21 15:00", CLOSED),  # a Saturday
        ("2026-11-26 15:00", CLOSED),  # a holiday
        ("2026-11-27 17:51", CLOSING),  # the auction moves before the early close
        ("2026-11-27 18:00", CLOSED),
        ("2026-12-24 14:10", CLOSED),  # closes before it would open: no session
    ],
)
def test_the_phase_of_a_moment(moment, phase):
    assert NEW_YORK.phase_at(at(moment)) == phase


@pytest.mark.parametrize(
    ("after", "until", "changes"),
    [
        ("2026-11-23 14:30", "2026-11-23 20:00", []),
        ("2026-11-23 14:00", "2026-11-23 20:50", ["11-23 14:30 CONTINUOUS", "11-23 20:50 CLOSING"]),
        ("2026-11-25 20:55", "2026-11-27 14:30",
         ["11-25 21:00 CLOSED", "11-27 14:00 PRE_OPEN", "11-27 14:30 CONTINUOUS"]),
        # Down for three weeks: the rest of the session that was on, and the one that is on now.
        ("2026-11-02 15:00", "2026-11-23 15:00",
         ["11-02 20:50 CLOSING", "11-02 21:00 CLOSED", "11-23 14:00 PRE_OPEN", "11-23 14:30 CONTINUOUS"]),
        # The clocks went forward in between.
        ("2026-03-06 21:00", "2026-03-09 14:00", ["03-09 13:00 PRE_OPEN", "03-09 13:30 CONTINUOUS"]),
    ],
)  # fmt: skip
def test_the_changes_between_two_moments(after, until, changes):
    assert shown(NEW_YORK.changes(at(after), at(until))) == changes


def test_changes_taken_in_small_steps_are_the_same():
    moments = [at(f"2026-11-25 {hour:02}:{minute:02}") for hour in range(12, 24) for minute in (0, 15, 30, 45)]
    stepped = [change for a, b in zip(moments, moments[1:], strict=False) for change in NEW_YORK.changes(a, b)]
    assert stepped == NEW_YORK.changes(moments[0], moments[-1])
    assert [change.phase for change in stepped] == [PRE_OPEN, CONTINUOUS, CLOSING, CLOSED]


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-23 15:00", "2026-11-23 21:00"),
        ("2026-11-23 21:00", "2026-11-24 21:00"),
        ("2026-11-25 22:00", "2026-11-27 18:00"),
        ("2026-11-28 10:00", "2026-11-30 21:00"),
    ],
)
def test_the_end_of_a_day_order(moment, end):
    assert NEW_YORK.session_end(at(moment)) == at(end)


@pytest.mark.parametrize(
    ("moment", "days", "settles"),
    [
        ("2026-11-23 15:00", 1, date(2026, 11, 24)),
        ("2026-11-25 15:00", 1, date(2026, 11, 27)),
        ("2026-11-25 15:00", 2, date(2026, 11, 30)),
        ("2026-11-24 01:00", 2, date(2026, 11, 25)),  # still Monday in New York
    ],
)
def test_settlement_days_are_days_with_a_session(moment, days, settles):
    assert NEW_YORK.add_days(at(moment), days).day == settles


def test_without_auctions_there_is_open_and_closed():
    assert shown(PLAIN.changes(at("2026-11-23 00:00"), at("2026-11-24 00:00"))) == [
        "11-23 08:00 CONTINUOUS",
        "11-23 17:00 CLOSED",
    ]
    assert PLAIN.next_change(at("2026-11-23 17:00")).at == at("2026-11-30 08:00")


EVERY_DAY = tuple(range(7))
NIGHT = Hours(opens=time(2, 30), closes=time(16), pre_open=time(2), closing=time(15, 50))
EARLY = Hours(opens=time(3), closes=time(16), pre_open=time(2, 30))
SHORT = Hours(opens=time(2, 30), closes=time(3, 15), pre_open=time(1))


@pytest.mark.parametrize(
    ("hours", "early", "changes"),
    [
        # On March 8 New York's clocks go from 02:00 to 03:00, which is 07:00 UTC.
        (NIGHT, None, ["03-08 07:00 PRE_OPEN", "03-08 07:30 CONTINUOUS", "03-08 19:50 CLOSING", "03-08 20:00 CLOSED"]),
        (EARLY, None, ["03-08 07:00 CONTINUOUS", "03-08 20:00 CLOSED"]),
        (SHORT, None, []),
        # An early close within the closing auction's length: all there is is that auction.
        (DAY, time(9, 35), ["03-08 13:00 PRE_OPEN", "03-08 13:30 CLOSING", "03-08 13:35 CLOSED"]),
    ],
)
def test_a_phase_without_time_is_left_out(hours, early, changes):
    exceptions = ((date(2026, 3, 8), early),) if early else ()
    calendar = Calendar("America/New_York", tuple((weekday, hours) for weekday in EVERY_DAY), exceptions)
    session = calendar.session(date(2026, 3, 8))
    assert shown(session.changes if session else ()) == changes
    before, after = at("2026-03-08 05:30"), at("2026-03-08 23:59")
    assert shown(calendar.changes(before, after)) == changes
    moments = [change.at for change in calendar.changes(before, after)]
    assert [calendar.phase_at(moment) for moment in moments] == [change.split()[-1] for change in changes]


def test_a_calendar_without_hours_has_no_session():
    empty = Calendar("UTC", ())
    assert (empty.phase_at(at("2026-11-23 12:00")), empty.session_end(at("2026-11-23 12:00"))) == (CLOSED, None)
    assert empty.next_change(at("2026-11-23 12:00")) is None
    assert empty.add_days(at("2026-11-23 12:00"), 2) is None


def test_after_a_closure_of_months_there_is_a_next_session():
    months = tuple((date(2026, 11, 1) + timedelta(days=n), None) for n in range(120))
    calendar = Calendar("UTC", tuple((weekday, Hours(time(8), time(17))) for weekday in range(5)), months)
    assert calendar.next_change(at("2026-10-30 17:00")).at == at("2027-03-01 08:00")
    assert calendar.session_end(at("2026-10-30 17:00")) == at("2027-03-01 17:00")
    assert shown(calendar.changes(at("2026-10-30 17:00"), at("2027-03-01 09:00"))) == ["03-01 08:00 CONTINUOUS"]


def test_another_thread_may_forget_the_sessions_at_any_time():
    class Forgetful(dict):
        def __setitem__(self, day, session):
            self.clear()

    calendar = Calendar(PLAIN.time_zone, PLAIN.week, (), Forgetful())
    monday = date(2026, 11, 23)
    assert [calendar.session(monday) for _ in range(2)] == [PLAIN.session(monday)] * 2


def test_weekdays_without_a_calendar():
    assert weekdays_after(date(2026, 11, 26), 2) == date(2026, 11, 30)
    assert weekdays_after(date(2026, 11, 28), 1) == date(2026, 11, 30)


def test_orders_are_collected_where_an_auction_follows():
    assert frozenset({PRE_OPEN, AUCTION, CLOSING}) == COLLECTING
