"""The auditor: every promise about money and books, checked in the database itself from one consistent snapshot.

    findings = audit.run()
    assert not any(finding.violations for finding in findings)

`run` opens one REPEATABLE READ READ ONLY transaction: it sees the venue as it stood at one moment, takes no
row lock, and so never makes a writer wait. Each check is one set-based query that returns the offending rows;
a row of such a query is a violation. What the database cannot see (the queue order of a book, price-time
priority) is proved by exchange.audit.replay.

Known limits: one pass over history costs time in proportion to it, and holds back the vacuum meanwhile. The
last result is kept in a file of DATA_DIR, so that it is known to all processes of one host only.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal

import orjson
from django.conf import settings
from django.db import connection, transaction

from exchange.audit.candle_checks import CANDLE_CHECKS
from exchange.audit.check import Check
from exchange.audit.journal_checks import JOURNAL_CHECKS
from exchange.audit.ledger_checks import LEDGER_CHECKS
from exchange.audit.order_checks import ORDER_CHECKS
from exchange.audit.position_checks import POSITION_CHECKS
from exchange.audit.structure_checks import STRUCTURE_CHECKS
from exchange.audit.trade_checks import TRADE_CHECKS
from marketdata import clock
from marketdata.units import plain

logger = logging.getLogger(__name__)

#: In the order of DESIGN's table of invariants.
CHECKS: Sequence[Check] = sorted(
    [
        *LEDGER_CHECKS, *ORDER_CHECKS, *TRADE_CHECKS, *POSITION_CHECKS, *JOURNAL_CHECKS, *CANDLE_CHECKS,
        *STRUCTURE_CHECKS,
    ],
    key=lambda check: check.number or 99,
)
#: Offending rows that a finding carries; all are counted.
SHOWN_ROWS = 20
#: Sorting and hashing memory of the audit's own connection, per query step.
WORK_MEMORY = "64MB"


@dataclass(slots=True)
class Finding:
    """What one check came to. `offenders`: the first rows that break the invariant; `look`: where to look then."""

    number: int | None
    name: str
    invariant: str
    look: str
    rows: int = 0
    violations: int = 0
    milliseconds: float = 0.0
    offenders: list[dict] = field(default_factory=list)


Progress = Callable[[int, int, Check], None]


@contextmanager
def snapshot() -> Iterator:
    """A cursor on one consistent, read-only view of the database. Not inside another transaction."""
    assert not connection.in_atomic_block, "a snapshot is the first thing in its own transaction"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(
            "SELECT set_config('statement_timeout', '0', true), set_config('work_mem', %s, true),"
            " set_config('idle_in_transaction_session_timeout', '0', true)",
            [WORK_MEMORY],
        )
        yield cursor


def run(*, progress: Progress | None = None, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Check everything, from one snapshot; `progress` is told (position, total, check) before each check."""
    with snapshot() as cursor:
        return look(cursor, progress=progress, checks=checks)


def look(cursor, *, progress: Progress | None = None, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """The same on a transaction that the caller has opened."""
    findings, counts = [], {}
    for position, check in enumerate(checks, 1):
        if progress:
            progress(position, len(checks), check)
        findings.append(_run(cursor, check, counts))
    return findings


def _run(cursor, check: Check, counts: dict[str, int]) -> Finding:
    finding = Finding(check.number, check.name, check.invariant, check.look)
    started = time.perf_counter()
    cursor.execute(
        f"WITH offenders AS MATERIALIZED ({check.offenders})"
        f" SELECT offenders.*, count(*) OVER () AS violations_in_all FROM offenders LIMIT {SHOWN_ROWS}"
    )
    names = [column[0] for column in cursor.description]
    for row in cursor.fetchall():
        offender = dict(zip(names, row, strict=True))
        finding.violations = offender.pop("violations_in_all")
        finding.offenders.append({name: _readable(value) for name, value in offender.items()})
    finding.rows = _count(cursor, check.counted, counts)
    finding.milliseconds = round((time.perf_counter() - started) * 1000, 1)
    return finding


def _count(cursor, counted: str, counts: dict[str, int]) -> int:
    """Rows of a table, or of a query in brackets; each asked for once."""
    if counted not in counts:
        cursor.execute(f"SELECT count(*) FROM {counted} AS counted")
        counts[counted] = cursor.fetchone()[0]
    return counts[counted]


def _readable(value):
    if isinstance(value, Decimal):
        return plain(value)
    return clock.text(value) if isinstance(value, datetime) else value


def report(findings: Sequence[Finding], moment: datetime) -> dict:
    """All findings as one JSON-ready object."""
    return {
        "taken_at": clock.text(moment),
        "checks": len(findings),
        "rows": sum(finding.rows for finding in findings),
        "violations": sum(finding.violations for finding in findings),
        "milliseconds": round(sum(finding.milliseconds for finding in findings), 1),
        "findings": [asdict(finding) for finding in findings],
    }


# The last result, for the operators' page


def remember(report_: dict) -> None:
    """Keep the report as the last one; a folder that cannot be written to only costs the memory of it."""
    path = settings.DATA_DIR / "audit.json"
    try:
        settings.DATA_DIR.mkdir(mode=0o711, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(orjson.dumps(report_))
        os.replace(fresh, path)
    except OSError as error:
        logger.warning("the audit's result was not kept: %s", error)


def last() -> dict | None:
    """The report that was kept last on this host; None if there is none, or it cannot be read."""
    try:
        return orjson.loads((settings.DATA_DIR / "audit.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
