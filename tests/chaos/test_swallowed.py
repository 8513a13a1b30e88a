"""PostgreSQL forgets the numbers of transactions that a crash swallowed, and gives them to others."""

import json
import subprocess
import sys

import psycopg2
import pytest

from benchmarks.server import ROOT, PrivateVenue


@pytest.fixture
def venue():
    """A private venue's database with a trader in it; no server."""
    made = PrivateVenue(users=1)
    try:
        made.database.start()
        filled = json.loads(made.run("benchmarks.population", *made.counts).stdout.splitlines()[-1])
        made.users, made.markets = filled["users"], filled["markets"]
        yield made
    finally:
        made.stop()


def test_a_swallowed_commit_is_not_taken_for_the_next_ones(venue):
    """Whatever the client is told, it must be true of the database: here another transaction has got the number of
    the one that was lost, and was committed."""
    command = [sys.executable, "-m", "tests.chaos.swallowed", str(venue.users[0]["account"]), venue.markets[0]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=venue.environment(), **pipes) as process:
        assert process.stdout.readline() == "written\n"
        lost = newest_transaction(venue)
        venue.database.kill()
        venue.database.restart()
        burn_transactions(venue, until=lost)
        told, _ = process.communicate("go on\n", timeout=60)
    stored = statuses(venue)
    assert (told.strip(), stored) in [("OPEN", ["OPEN"]), ("outcome_unknown", []), ("not_accepting", [])]


def newest_transaction(venue) -> int:
    """The number that the next transaction will get: above that of every one under way."""
    return query(venue, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0]


def burn_transactions(venue, until: int) -> None:
    """Committed transactions, until the numbers before the crash are used up again."""
    while query(venue, "SELECT pg_current_xact_id()::text::bigint")[0][0] < until:
        pass


def statuses(venue) -> list[str]:
    return [status for (status,) in query(venue, "SELECT status FROM exchange_order")]


def query(venue, sql: str) -> list[tuple]:
    """One committed transaction."""
    connection = psycopg2.connect(venue.database.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()
