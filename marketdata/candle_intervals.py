"""The sixteen candle intervals: which stored one each is made of, and where its borders lie. Pure.

All borders are UTC. Intervals up to a day, and 3d, are counted from the Unix epoch; weeks begin on Monday, months
on the first. Stored are 1s, 1m, 1h and 1d; every border of the others is a border of the stored interval that they
are made of.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3_600, 86_400
#: Lengths that are stored, in seconds.
STORED_SECONDS = (1, MINUTE, HOUR, DAY)


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval. `seconds` is None for the month; `base_rows` is the most stored rows that one candle has."""

    name: str
    seconds: int | None
    base_seconds: int
    base_rows: int
    anchor: datetime = EPOCH

    def floor(self, moment: datetime) -> datetime:
        """When the candle that holds the moment opens."""
        if self.seconds is None:
            return datetime(moment.year, moment.month, 1, tzinfo=UTC)
        return moment - (moment - self.anchor) % timedelta(seconds=self.seconds)

    def ceiling(self, moment: datetime) -> datetime:
        """The first border at or after the moment."""
        opened = self.floor(moment)
        return opened if opened == moment else self.after(opened)

    def after(self, opened: datetime, count: int = 1) -> datetime:
        """When the candle `count` places after the one that opens then opens; before it with a negative count."""
        if self.seconds is not None:
            return opened + timedelta(seconds=self.seconds * count)
        months = opened.year * 12 + opened.month - 1 + count
        return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)

    def is_stored(self) -> bool:
        return self.seconds == self.base_seconds

    def floor_sql(self, column: str) -> str:
        """`floor` of a column in SQL. Holds nothing that came from outside."""
        if self.seconds is None:
            return f"date_trunc('month', {column}, 'UTC')"
        return f"date_bin('{self.seconds} seconds', {column}, timestamptz '{self.anchor.isoformat()}')"


def _of(name: str, seconds: int, base_seconds: int, anchor: datetime = EPOCH) -> Interval:
    return Interval(name, seconds, base_seconds, seconds // base_seconds, anchor)


#: By name, shortest first.
INTERVALS: dict[str, Interval] = {
    interval.name: interval
    for interval in (
        _of("1s", 1, 1),
        _of("1m", MINUTE, MINUTE),
        _of("3m", 3 * MINUTE, MINUTE),
        _of("5m", 5 * MINUTE, MINUTE),
        _of("15m", 15 * MINUTE, MINUTE),
        _of("30m", 30 * MINUTE, MINUTE),
        _of("1h", HOUR, HOUR),
        _of("2h", 2 * HOUR, HOUR),
        _of("4h", 4 * HOUR, HOUR),
        _of("6h", 6 * HOUR, HOUR),
        _of("8h", 8 * HOUR, HOUR),
        _of("12h", 12 * HOUR, HOUR),
        _of("1d", DAY, DAY),
        _of("3d", 3 * DAY, DAY),
        _of("1w", 7 * DAY, DAY, MONDAY),
        Interval("1M", None, DAY, 31),
    )
}
