"""The statement: every entry of an account, newest first, each with the balance after it.

A page costs the same wherever in a history it lies: it is read from the index over (account, asset, id), for a
statement of all assets once for each asset held. Entries of one account get their ids in the order of its commits,
so a walk by id misses nothing and sees nothing twice.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from marketdata import clock
from marketdata.units import plain

#: Entries read at once for an export.
EXPORT_ROWS = 2_000
COLUMNS = ("id", "journal", "kind", "reference", "asset", "amount", "balance_after", "reason", "created_at")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")

# The lines of one account and asset are asked for as a range of the index: written as equalities, PostgreSQL may walk
# all entries of the venue by id instead, in the hope to meet enough of them soon. Only ids are taken from each asset's
# range, which the index alone can answer; the rows of those that make the page are read afterwards.
PAGE = """
SELECT e.id, e.journal_id, j.kind, j.reference, a.symbol, e.amount, e.balance_after, j.reason, j.created_at
FROM (
    SELECT newest.id FROM accounts_balance b
    CROSS JOIN LATERAL (
        SELECT id FROM accounts_entry
        WHERE account_id = b.account_id AND asset_id >= b.asset_id
          AND (asset_id, id) < (b.asset_id, %(before)s::bigint)
        ORDER BY asset_id DESC, id DESC LIMIT %(reach)s
    ) newest
    WHERE b.account_id = %(account)s AND (%(asset)s::bigint IS NULL OR b.asset_id = %(asset)s)
    ORDER BY newest.id DESC LIMIT %(limit)s OFFSET %(skip)s
) page
JOIN accounts_entry e ON e.id = page.id
JOIN accounts_journal j ON j.id = e.journal_id
JOIN marketdata_asset a ON a.id = e.asset_id
ORDER BY e.id DESC
"""

COUNT = """
SELECT count(*) FROM (
    SELECT FROM accounts_entry WHERE account_id = %(account)s AND (%(asset)s::bigint IS NULL OR asset_id = %(asset)s)
    ORDER BY asset_id, id LIMIT %(reach)s
) found
"""


class Line(NamedTuple):
    """One entry of a statement."""

    id: int
    journal: int
    kind: str
    reference: int | None
    asset: str
    amount: Decimal
    balance_after: Decimal
    reason: str
    created_at: datetime

    @property
    def pk(self) -> int:
        return self.id

    def row(self) -> dict:
        """As the API shows it."""
        row = self._asdict()
        row["amount"], row["balance_after"] = plain(self.amount), plain(self.balance_after)
        row["created_at"] = clock.text(self.created_at)
        return row


class Statement:
    """All entries of an account, or those of one asset. Lists walk it by `newest`, or take it in numbered pages, which
    cost the more the older they are.
    """

    def __init__(self, *, account_id: int, asset_id: int | None):
        self.account_id, self.asset_id = account_id, asset_id

    def newest(self, *, before: int | None, limit: int, skip: int = 0) -> list[Line]:
        """Up to `limit` lines with a lower id than `before`, newest first, after the first `skip` of them."""
        terms = {"account": self.account_id, "asset": self.asset_id, "before": before or 2**63 - 1}
        with connection.cursor() as cursor:
            cursor.execute(PAGE, terms | {"limit": limit, "skip": skip, "reach": limit + skip})
            return [Line(*row) for row in cursor.fetchall()]

    def count(self) -> int:
        """How many lines there are."""
        return self._count(None)

    def count_up_to(self, most: int) -> int | None:
        """How many there are; None if more than `most`, which costs no more than counting those."""
        found = self._count(most + 1)
        return None if found > most else found

    def _count(self, reach: int | None) -> int:
        with connection.cursor() as cursor:
            cursor.execute(COUNT, {"account": self.account_id, "asset": self.asset_id, "reach": reach})
            return cursor.fetchone()[0]

    def __getitem__(self, span: slice) -> list[Line]:
        """The lines from `start` to before `stop`, newest first."""
        return self.newest(before=None, limit=span.stop - span.start, skip=span.start)

    def csv(self) -> Iterator[str]:
        """The whole history as CSV, some lines at a time; what is posted meanwhile is not in it.

        Each part is a query of its own: nothing stays open between two parts, however slowly they are taken.
        """
        yield ",".join(COLUMNS) + "\r\n"
        before = None
        while lines := self.newest(before=before, limit=EXPORT_ROWS):
            yield "".join(",".join(map(_cell, line.row().values())) + "\r\n" for line in lines)
            before = lines[-1].id
            if len(lines) < EXPORT_ROWS:
                return


def _cell(value: object) -> str:
    """A CSV cell. Text that a spreadsheet would take for a formula gets an apostrophe; numbers stay as they are."""
    text = "" if value is None else str(value)
    if text.startswith(FORMULAS) and not _is_number(text):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit()
