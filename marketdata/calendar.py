"""When a market trades: weekly hours in a time zone, holidays and early closes, as pure arithmetic.

A `Calendar` answers what phase is due at a moment, which phase changes lie between two moments, and when the session
that a moment belongs to ends. Moments are UTC, hours are local: daylight saving moves the session, never its length on
the wall. A local time that a change of clocks skips or doubles is read by PEP 495's first reading; a phase that would
then end before it begins is left out, as is one that an early close leaves no time for.

Rules
- A session lies within one local day. Known limit: one that goes over midnight must be written as two.
- PRE_OPEN: orders rest and nothing matches; at `opens` an auction is held and CONTINUOUS begins. CLOSING: the same
  before `closes`, then an auction and CLOSED. Without a pre-open or closing time that part is left out.
- A holiday has no session, or an early close: what lies behind that close moves before it, the closing auction keeping
  its length.

No Django, no database: see marketdata.session_models for the tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

CLOSED, PRE_OPEN, CONTINUOUS, AUCTION, CLOSING = "CLOSED", "PRE_OPEN", "CONTINUOUS", "AUCTION", "CLOSING"
#: In these, orders rest and nothing matches; an auction ends them.
COLLECTING = frozenset({PRE_OPEN, AUCTION, CLOSING})
#: Days looked at before a calendar is said to have no session: longer than any venue ever closed.
HORIZON_DAYS = 400


@cache
def time_zones() -> frozenset[str]:
    """The names of all time zones that this machine knows. Kept: each look reads hundreds of files."""
    return frozenset(available_timezones())


@dataclass(frozen=True, slots=True)
class Hours:
    """The times of one day's session, local."""

    opens: time
    closes: time
    pre_open: time | None = None
    closing: time | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on the market is in `phase`."""

    at: datetime
    phase: str


@dataclass(frozen=True, slots=True)
class Session:
    """One day's session in UTC."""

    day: date
    changes: tuple[Change, ...]

    @property
    def begins(self) -> datetime:
        return self.changes[0].at

    @property
    def closes(self) -> datetime:
        return self.changes[-1].at


@dataclass(frozen=True)
class Calendar:
    """Weekly hours by weekday (Monday is 0), and the days that differ: a local early close, or None for no session."""

    time_zone: str
    week: tuple[tuple[int, Hours], ...]
    exceptions: tuple[tuple[date, time | None], ...] = ()
    _sessions: dict = field(default_factory=dict, compare=False, repr=False)

    def session(self, day: date) -> Session | None:
        """The session of a local day."""
        try:
            return self._sessions[day]
        except KeyError:  # new here; another thread may forget it again at any time
            made = self._make(day)
        if len(self._sessions) > 2 * HORIZON_DAYS:
            self._sessions.clear()
        self._sessions[day] = made
        return made

    def _make(self, day: date) -> Session | None:
        hours = dict(self.week).get(day.weekday())
        exceptions = dict(self.exceptions)
        if hours is None or (day in exceptions and exceptions[day] is None):
            return None
        moments = self._moments(day, hours, exceptions.get(day))
        return Session(day, tuple(Change(at, phase) for phase, at in moments)) if moments else None

    def _moments(self, day: date, hours: Hours, early: time | None) -> list[tuple[str, datetime]]:
        zone = ZoneInfo(self.time_zone)

        def utc(local: time) -> datetime:
            return datetime.combine(day, local, zone).astimezone(UTC)

        opens, closes = utc(hours.opens), utc(hours.closes)
        closing = utc(hours.closing) if hours.closing else None
        if early is not None and utc(early) < closes:
            closing = utc(early) - (closes - closing) if closing else None
            closes = utc(early)
            closing = closing and max(closing, opens)
        if closes <= opens:
            return []
        first = [(PRE_OPEN, utc(hours.pre_open))] if hours.pre_open else []
        last = [(CLOSING, closing)] if closing else []
        return _lasting([*first, (CONTINUOUS, opens), *last, (CLOSED, closes)])

    def day_of(self, moment: datetime) -> date:
        """The local day that the moment belongs to."""
        return moment.astimezone(ZoneInfo(self.time_zone)).date()

    def _days(self, moment: datetime, step: int = 1) -> Iterator[Session]:
        """The sessions of the days from the moment's on, or backwards from it."""
        today = self.day_of(moment)
        for number in range(HORIZON_DAYS):
            if session := self.session(today + timedelta(days=step * number)):
                yield session

    def phase_at(self, moment: datetime) -> str:
        """The phase due at a moment."""
        phase = CLOSED
        for change in next((s.changes for s in self._days(moment, -1) if s.begins <= moment), ()):
            if change.at <= moment:
                phase = change.phase
        return phase

    def next_change(self, moment: datetime) -> Change | None:
        """The first change after the moment; None when no session lies ahead within the horizon."""
        for session in self._days(moment):
            for change in session.changes:
                if change.at > moment:
                    return change
        return None

    def changes(self, after: datetime, until: datetime) -> list[Change]:
        """All changes after one moment and up to another, in order. Of a long gap, only the rest of the session that
        was on when it began, and the last session.
        """
        head, at = [], after
        while (change := self.next_change(at)) and change.at <= until:
            head.append(change)
            at = change.at
            if change.phase == CLOSED:
                break
        last = next((s for s in self._days(until, -1) if s.begins <= until), None)
        tail = [change for change in last.changes if at < change.at <= until] if last else []
        return head + tail

    def session_end(self, moment: datetime) -> datetime | None:
        """The close of the session that is on or comes next: when a DAY order given now ends."""
        return next((session.closes for session in self._days(moment) if session.closes > moment), None)

    def add_days(self, moment: datetime, count: int) -> Session | None:
        """The session `count` business days after the moment's: T+n. A moment on a day without a session counts from
        the next one. None where the calendar does not reach so far.
        """
        return next(islice(self._days(moment), count, None), None)


def _lasting(phases: list[tuple[str, datetime]]) -> list[tuple[str, datetime]]:
    """Without those that do not begin before the next one does: whoever goes from change to change would miss that."""
    kept: list[tuple[str, datetime]] = []
    for phase, at in reversed(phases):
        if not kept or at < kept[-1][1]:
            kept.append((phase, at))
    return kept[::-1]


def weekdays_after(day: date, count: int) -> date:
    """`count` weekdays after a day: T+n of a market without a calendar."""
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day


@lru_cache(maxsize=256)
def end_of_utc_day(day: date) -> datetime:
    """When a DAY order of a market that never closes ends."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)
