"""Simulated time as the venue's time, for offline runs: a day of trading in minutes, with the day's own timestamps.

The process's clock stands, and moves only when the simulator says so: to the moment of each step, and a little on
with every command, so that orders, trades, candles and ledger carry simulated time. For a venue that nobody else
uses: the command takes the simulator's lock first, and refuses while a server process follows prices.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Max

from exchange.models import BookCheckpoint, BookCommand
from marketdata import clock, feed
from marketdata.refusals import Refusal

#: From one command to the next within a step.
COMMAND_MICROSECONDS = 100

LOCKED = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND granted)"


class VenueInUse(Refusal):
    """Server processes run on this database: simulated time would be among their real one."""

    code, status, title = "venue_in_use", 409, "The venue is in use"


class SimulatedClock:
    """The venue's clock from `start` (UTC) on, moved by hand. `close` gives it back."""

    def __init__(self, start: datetime):
        self.start = start
        self._moment = start

    def step(self, seconds: float) -> None:
        """So many simulated seconds have passed since the start; never backwards."""
        self._moment = max(self._moment, self.start + timedelta(seconds=seconds))
        clock.stand(self._moment)

    def command(self) -> None:
        """One more command within the step."""
        self._moment += timedelta(microseconds=COMMAND_MICROSECONDS)
        clock.stand(self._moment)

    def close(self) -> None:
        clock.stand(None)


def start_for(seconds: float) -> datetime:
    """Such that so many seconds of simulation end about now, but after all that was traded before; a whole second."""
    start = datetime.now(UTC) - timedelta(seconds=seconds)
    newest = BookCommand.objects.aggregate(newest=Max("created_at"))["newest"]
    if newest is None:  # nothing is kept of what was traded, but when it was taken stock of
        newest = BookCheckpoint.objects.aggregate(newest=Max("taken_at"))["newest"]
    if newest is not None and newest >= start:
        start = newest + timedelta(seconds=1)
    return start.replace(microsecond=0)


def refuse_live_venue() -> None:
    """VenueInUse when a server process follows prices on this database. The simulator's own lock is the caller's."""
    with connection.cursor() as cursor:
        cursor.execute(LOCKED, [feed.LOCK])
        if cursor.fetchone()[0]:
            raise VenueInUse("A server process runs on this database; simulated time needs a venue of its own.")
