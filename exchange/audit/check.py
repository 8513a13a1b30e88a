"""What a check of the auditor is: an invariant, and a query whose rows break it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant.

    number     the line of the design's table of invariants, None for those that only support them
    name       a short stable word, for tests and machines
    invariant  what must hold, in words
    counted    the table whose rows were looked at (or a query in brackets)
    offenders  SQL that returns one row for each violation; must not change anything and end without semicolon
    look       where to look when there is one
    """

    number: int | None
    name: str
    invariant: str
    counted: str
    offenders: str
    look: str
