"""Whether this process could take an order now: what it needs is asked, and nothing is written.

A database that answers may still take nothing: its disk is full, it is read-only, or it has no connection left for the
writer. So there must be room for a few temporary pages, and the writer settles a batch that changes nothing. Nothing is
remembered from one check to the next: an order that was refused says nothing, and what is mended is ready at once.
"""

from collections.abc import Callable

from django.conf import settings
from django.db import connection, transaction
from psycopg2.errors import ConfigurationLimitExceeded

from exchange import barrier
from exchange.commands import Refresh
from exchange.sequencer import QUEUE_COMMANDS, sequencer
from marketdata import feed, markets

REDIS_SECONDS = 2
WRITER_SECONDS = 5
#: Too much for that little memory: the database puts it on its disk, in a file that goes with the statement.
SPILL = "SET LOCAL work_mem = '64kB'; SELECT count(*) FROM unnest(array_fill(repeat(' ', 1000), '{512}'))"
NO_CONNECTION_LEFT = ("too many clients", "connection slots", "too many connections")


class QueueFull(Exception):
    """More commands wait than the sequencer takes."""


def checked() -> tuple[bool, dict[str, str]]:
    """Whether it is ready, and each check's word: ok, or what is wrong. Feeds are only told: markets trade on without
    them, and those that follow one refuse stale prices by themselves.
    """
    checks = {"database": _check(_ask_database), "sequencer": _check(_ask_queue)}
    has_database = checks["database"] == "ok"
    if has_database and checks["sequencer"] == "ok":
        checks["sequencer"] = _check(_ask_writer)
    checks["books"] = _check(_ask_a_book) if has_database else "unknown"
    if settings.REDIS_URL:
        checks["redis"] = _check(_ask_redis)
    is_ready = all(result == "ok" for result in checks.values())
    checks["feeds"] = _check(_feeds) if has_database else "unknown"
    return is_ready, checks


def _check(ask: Callable[[], str | None]) -> str:
    try:
        return ask() or "ok"
    except Exception as error:
        return _word(error)


def _word(error: BaseException) -> str:
    """The name of what is behind an error, as PostgreSQL's errors are called: DiskFull, ReadOnlySqlTransaction."""
    while error.__cause__ is not None:
        error = error.__cause__
    # Before there is a connection, only the text tells.
    return "TooManyConnections" if any(sign in str(error) for sign in NO_CONNECTION_LEFT) else type(error).__name__


def _ask_database() -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(SPILL)
    except Exception as error:
        if not isinstance(error.__cause__, ConfigurationLimitExceeded):  # it may not have temporary files, by order
            raise


def _ask_queue() -> None:
    if sequencer.waiting_commands() > QUEUE_COMMANDS:
        raise QueueFull


def _ask_writer() -> None:
    for spec in markets.active()[:1]:
        outcome = sequencer.submit([Refresh(spec.id)])[0].result(WRITER_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome


def _ask_a_book() -> None:
    for spec in markets.active()[:1]:
        barrier.view(spec)


def _ask_redis() -> None:
    import redis

    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    ) as client:
        client.ping()


def _feeds() -> str:
    """ok, none, or how many price sources have no fresh quote."""
    stale, count = feed.freshness()
    if not stale:
        return "ok" if count else "none"
    return f"{stale} of {count} stale"
