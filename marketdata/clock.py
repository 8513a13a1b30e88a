"""The venue's clock: the one place that asks for the time, so that proofs can move it.

Wall-clock time only labels what happened; order is kept by sequences, so a clock that jumps cannot reorder or lose
anything.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_offset = timedelta(seconds=float(os.environ.get("CLOCK_OFFSET_SECONDS") or 0))
_standing: datetime | None = None


def now() -> datetime:
    """The present moment, UTC, with microseconds."""
    return _standing or datetime.now(UTC) + _offset


def shift(seconds: float) -> None:
    """Move this process's clock to `seconds` from the machine's; 0 puts it right."""
    global _offset
    _offset = timedelta(seconds=seconds)


def stand(moment: datetime | None) -> None:
    """Let this process's clock stand at `moment` (UTC) until it is told the next one; None lets it run again.

    For offline simulation only: what waits for time to pass would wait for ever.
    """
    global _standing
    _standing = moment


@lru_cache(maxsize=1024)
def text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and Z."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"
