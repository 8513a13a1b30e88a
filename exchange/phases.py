"""Where a market stands in its session: the state that PHASE rows of the journal carry and the market's row keeps.

Pure. `State` is what the last row said; `State()` is a market that never closes. Moments are texts as clock.text
writes them, which compare like the moments themselves.
"""

from dataclasses import asdict, dataclass, replace

from marketdata.calendar import AUCTION, CLOSED, CLOSING, COLLECTING, CONTINUOUS, PRE_OPEN

__all__ = ["AUCTION", "CLOSED", "CLOSING", "COLLECTING", "CONTINUOUS", "PRE_OPEN", "ALWAYS_OPEN", "State"]


@dataclass(frozen=True, slots=True)
class State:
    """since: the schedule was followed up to then; until: when an AUCTION ends; interruptions: of the day
    `interrupted_on`, the calendar's, else in UTC; jumped: triggered orders that began an auction instead of trading:
    they have waited for one.
    """

    phase: str = CONTINUOUS
    since: str | None = None
    until: str | None = None
    interruptions: int = 0
    interrupted_on: str | None = None
    jumped: tuple[int, ...] = ()

    @property
    def is_collecting(self) -> bool:
        """Whether orders rest without matching, until an auction."""
        return self.phase in COLLECTING

    def to(self, phase: str, **terms) -> "State":
        """The state after a change of phase; what is not named stays, but `until`."""
        return replace(self, phase=phase, **{"until": None, **terms})

    def row(self) -> dict:
        return asdict(self)

    @classmethod
    def of(cls, row: dict | None) -> "State":
        return cls(**{**row, "jumped": tuple(row.get("jumped", ()))}) if row else ALWAYS_OPEN


ALWAYS_OPEN = State()
