"""The parts of history that may go: how many rows that is now, and how they go. See exchange.retention for the policy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from exchange.retention import journal
from exchange.retention.running import BATCH_ROWS, batch, walk
from marketdata import clock


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of rows.

    tables   where they are, the largest first
    setting  how many days they are kept; None in it is for ever
    count    how many rows may go, given the cutoff
    prune    lets them go, given the cutoff; yields how many went at a time
    """

    name: str
    tables: tuple[str, ...]
    setting: str
    count: Callable[[object, datetime], int]
    prune: Callable[[datetime], Iterator[int]]

    def days(self) -> int | None:
        return getattr(settings, self.setting)

    def cutoff(self) -> datetime | None:
        """What is older may go; None for nothing."""
        days = self.days()
        return None if days is None else clock.now().replace(microsecond=0) - timedelta(days=days)

    def rows(self) -> int:
        """How many rows may go now."""
        cutoff = self.cutoff()
        if cutoff is None:
            return 0
        with connection.cursor() as cursor:
            return self.count(cursor, cutoff)

    def stored(self) -> tuple[int, int]:
        """(rows by the planner's estimate, bytes with indexes) of its tables."""
        with connection.cursor() as cursor:
            cursor.execute(STORED, [list(self.tables)])
            return cursor.fetchone()


STORED = """
SELECT COALESCE(sum(greatest(c.reltuples, 0)), 0)::bigint, COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c WHERE c.oid = ANY(%s::regclass[])
"""

# Account events: each account's from the first on, up to the first young one, never its last.

OLD_EVENTS = """
SELECT count(*) FROM accounts_accountevent e JOIN accounts_account a ON a.id = e.account_id
WHERE e.created_at < %s AND e.last_sequence < a.event_sequence
"""
ACCOUNTS_WITH_OLD_EVENTS = """
SELECT a.id FROM accounts_account a CROSS JOIN LATERAL (
    SELECT created_at, last_sequence FROM accounts_accountevent WHERE account_id = a.id ORDER BY last_sequence LIMIT 1
) first WHERE first.created_at < %s AND first.last_sequence < a.event_sequence AND a.id > %s ORDER BY a.id LIMIT 1000
"""
DELETE_EVENTS = """
WITH head AS (
    SELECT last_sequence, created_at FROM accounts_accountevent WHERE account_id = %(account)s
    ORDER BY last_sequence LIMIT %(rows)s
), gone AS (
    DELETE FROM accounts_accountevent e USING accounts_account a
    WHERE e.account_id = %(account)s AND a.id = e.account_id AND e.last_sequence < a.event_sequence
      AND e.last_sequence <= (SELECT max(last_sequence) FROM head)
      AND e.last_sequence < COALESCE(
          (SELECT min(last_sequence) FROM head WHERE created_at >= %(cutoff)s), a.event_sequence)
    RETURNING e.last_sequence
), floor AS (
    INSERT INTO exchange_eventfloor (account_id, until) SELECT %(account)s, max(last_sequence) FROM gone
    HAVING count(*) > 0
    ON CONFLICT (account_id) DO UPDATE SET until = greatest(exchange_eventfloor.until, excluded.until)
)
SELECT count(*) FROM gone
"""


def _old_events(cursor, cutoff: datetime) -> int:
    cursor.execute(OLD_EVENTS, [cutoff])
    return cursor.fetchone()[0]


def _prune_events(cutoff: datetime) -> Iterator[int]:
    last = 0
    while accounts := _accounts_with_old_events(cutoff, last):
        for account in accounts:
            went = BATCH_ROWS
            while went:
                with batch() as cursor:
                    cursor.execute(DELETE_EVENTS, {"account": account, "rows": BATCH_ROWS, "cutoff": cutoff})
                    went = cursor.fetchone()[0]
                yield went
        last = accounts[-1]


def _accounts_with_old_events(cutoff: datetime, after: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(ACCOUNTS_WITH_OLD_EVENTS, [cutoff, after])
        return [row[0] for row in cursor.fetchall()]


# 1s candles: the floor first, so that the auditor misses none of them.

SECOND = 1
OLD_CANDLES = "SELECT count(*) FROM marketdata_candle WHERE interval_seconds = %s AND open_time < %s"
RAISE_FLOOR = """
INSERT INTO exchange_candlefloor (interval_seconds, until) VALUES (%s, %s)
ON CONFLICT (interval_seconds) DO UPDATE SET until = greatest(exchange_candlefloor.until, excluded.until)
"""
DELETE_CANDLES = """
WITH gone AS (
    DELETE FROM marketdata_candle WHERE market_id = %(market)s AND interval_seconds = %(length)s AND open_time IN (
        SELECT open_time FROM marketdata_candle WHERE market_id = %(market)s AND interval_seconds = %(length)s
            AND open_time > %(after)s AND open_time < %(cutoff)s ORDER BY open_time LIMIT %(rows)s)
    RETURNING open_time
) SELECT count(*), max(open_time) FROM gone
"""


def _old_candles(cursor, cutoff: datetime) -> int:
    cursor.execute(OLD_CANDLES, [SECOND, cutoff])
    return cursor.fetchone()[0]


def _prune_candles(cutoff: datetime) -> Iterator[int]:
    with connection.cursor() as cursor:
        if not _old_candles(cursor, cutoff):
            return
        cursor.execute(RAISE_FLOOR, [SECOND, cutoff])
        cursor.execute("SELECT id FROM marketdata_market ORDER BY id")
        market_ids = [row[0] for row in cursor.fetchall()]
    for market_id in market_ids:
        after = datetime.min.replace(tzinfo=cutoff.tzinfo)
        while after is not None:
            terms = {"market": market_id, "length": SECOND, "after": after, "cutoff": cutoff, "rows": BATCH_ROWS}
            with batch() as cursor:
                cursor.execute(DELETE_CANDLES, terms)
                went, after = cursor.fetchone()
            yield went


# Rows with an id and an age of their own.


@dataclass(frozen=True, slots=True)
class Aged:
    """Rows of one table that are old by themselves: `is_old` is SQL with the cutoff for each `%s`."""

    table: str
    is_old: str
    key: str = "id"

    def count(self, cursor, cutoff: datetime) -> int:
        cursor.execute(f"SELECT count(*) FROM {self.table} WHERE {self.is_old}", self._cutoffs(cutoff))
        return cursor.fetchone()[0]

    def prune(self, cutoff: datetime) -> Iterator[int]:
        """By windows of ids over the rows that are old now."""
        cutoffs = self._cutoffs(cutoff)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT min({self.key}), max({self.key}) FROM {self.table} WHERE {self.is_old}", cutoffs)
            first, last = cursor.fetchone()
        if first is None:
            return

        def delete(cursor, low: int, high: int) -> int:
            where = f"{self.key} BETWEEN %s AND %s AND {self.is_old}"
            cursor.execute(f"DELETE FROM {self.table} WHERE {where}", [low, high, *cutoffs])
            return cursor.rowcount

        yield from walk((first, last), delete)

    def _cutoffs(self, cutoff: datetime) -> list[datetime]:
        return [cutoff] * self.is_old.count("%s")


#: Blacklisted tokens refer to outstanding ones, so they go first.
LOGINS = (
    Aged(
        "token_blacklist_blacklistedtoken",
        "token_id IN (SELECT id FROM token_blacklist_outstandingtoken WHERE expires_at < %s)",
    ),
    Aged("token_blacklist_outstandingtoken", "expires_at < %s"),
    Aged("axes_accessattempt", "attempt_time < %s"),
)
DELETE_SESSIONS = """
DELETE FROM django_session WHERE session_key IN (SELECT session_key FROM django_session WHERE expire_date < %s LIMIT %s)
"""


def _old_logins(cursor, cutoff: datetime) -> int:
    cursor.execute("SELECT count(*) FROM django_session WHERE expire_date < %s", [cutoff])
    return cursor.fetchone()[0] + sum(aged.count(cursor, cutoff) for aged in LOGINS)


def _prune_logins(cutoff: datetime) -> Iterator[int]:
    for aged in LOGINS:
        yield from aged.prune(cutoff)
    went = BATCH_ROWS
    while went == BATCH_ROWS:
        with batch() as cursor:
            cursor.execute(DELETE_SESSIONS, [cutoff, BATCH_ROWS])
            went = cursor.rowcount
        yield went


IDEMPOTENCY = Aged("accounts_idempotentrequest", "created_at < %s")
EXTERNAL_CANDLES = Aged("marketdata_externalcandle", "open_time < %s")

PARTS = (
    Part("journal", ("exchange_bookcommand",), "KEEP_JOURNAL_DAYS", journal.old_rows, journal.prune),
    Part("events", ("accounts_accountevent",), "KEEP_EVENTS_DAYS", _old_events, _prune_events),
    Part("candles", ("marketdata_candle",), "KEEP_SECOND_CANDLES_DAYS", _old_candles, _prune_candles),
    Part(
        "imported", (EXTERNAL_CANDLES.table,), "KEEP_EXTERNAL_CANDLES_DAYS",
        EXTERNAL_CANDLES.count, EXTERNAL_CANDLES.prune,
    ),
    Part("idempotency", (IDEMPOTENCY.table,), "KEEP_IDEMPOTENCY_DAYS", IDEMPOTENCY.count, IDEMPOTENCY.prune),
    Part(
        "logins", (*(aged.table for aged in reversed(LOGINS)), "django_session"), "KEEP_LOGINS_DAYS",
        _old_logins, _prune_logins,
    ),
)  # fmt: skip
