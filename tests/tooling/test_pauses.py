"""A process that stands still in the middle of a transaction: whoever waits for its locks waits for seconds."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts import holdings_proof, ledger
from accounts.models import Account
from exchange import audit

ROOT = Path(__file__).parents[2]
SHOW = "SHOW idle_in_transaction_session_timeout"


def shown(cursor) -> str:
    cursor.execute(SHOW)
    return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_who_holds_locks_may_not_pause_and_who_reads_for_long_may():
    with connection.cursor() as cursor:
        assert shown(cursor) == "5s"
    with audit.snapshot() as cursor:
        assert shown(cursor) == "0"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(holdings_proof.UNHURRIED)
        assert shown(cursor) == "0"
    with connection.cursor() as cursor:
        assert shown(cursor) == "5s"


@pytest.mark.django_db(transaction=True)
def test_a_migration_may_pause_between_two_statements(monkeypatch):
    seen, migrate = [], MigrationExecutor.migrate

    def look_and_migrate(self, *arguments, **options):
        with self.connection.cursor() as cursor:
            seen.append(shown(cursor))
        return migrate(self, *arguments, **options)

    monkeypatch.setattr(MigrationExecutor, "migrate", look_and_migrate)
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        assert (seen, shown(cursor)) == (["0"], "5s")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("command", "inside"), [("migrate", MigrationExecutor), ("seed_demo", ledger)])
def test_who_is_cut_off_while_others_wait_tells_that(monkeypatch, command, inside):
    """Not that its lock could not be given back: `serve` makes a line of the one, and a traceback was all of the other.
    """

    def cut(*arguments, **options):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(inside, {"migrate": "migrate", "seed_demo": "outside_world"}[command], cut)
    try:
        with pytest.raises(OperationalError, match="terminat"):
            call_command(command, verbosity=0)
    finally:
        connection.close()


def test_a_stopped_deposit_lets_go_of_its_account(venue):
    ann = venue.trader("ann", USD=1_000)
    terms = connection.get_connection_params() | {"cursor_factory": None}
    assert "idle_in_transaction_session_timeout=5000" in terms["options"]
    terms["options"] = terms["options"].replace("5000", "500")
    stopped = psycopg2.connect(**terms)
    with stopped.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {Account._meta.db_table} WHERE id = {ann.id} FOR UPDATE")
        assert venue.order("ann BUY 1 AAPL @ 100")["status"] == "OPEN"
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    stopped.close()


@pytest.mark.parametrize(
    ("theirs", "added", "idle", "connect"),
    [
        ("", "", 20, 10),
        ("?options=-c%20work_mem%3D8MB&keepalives_idle=7&connect_timeout=3", " -c work_mem=8MB", 7, 3),
    ],
)
def test_what_the_url_says_comes_last(theirs, added, idle, connect):
    code = "from config.settings import DATABASES as d; o = d['default']['OPTIONS']; "
    names = ("keepalives_idle", "keepalives_count", "tcp_user_timeout", "connect_timeout")
    code += f"print(o['options'], *(o[n] for n in {names}))"
    surroundings = os.environ | {"DATABASE_URL": f"postgresql://u@h/n{theirs}"}
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=surroundings, capture_output=True, text=True)
    ours = "-c idle_in_transaction_session_timeout=5000 -c default_transaction_isolation=read\\ committed"
    ours += " -c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=4"
    ours += " -c tcp_user_timeout=60000"
    assert answer.stdout == f"{ours}{added} {idle} 4 60000 {connect}\n", answer.stderr


@pytest.mark.django_db(transaction=True)
def test_whatever_the_role_is_used_to_who_waited_for_a_lock_reads_what_was_committed_before():
    """Else a command that met another one would be refused, and tried again, until it met none."""
    with connection.cursor() as cursor:
        here = f"ALTER ROLE CURRENT_USER IN DATABASE {connection.ops.quote_name(connection.settings_dict['NAME'])}"
        cursor.execute(f"{here} SET default_transaction_isolation = 'serializable'")
    try:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone()[0] == "read committed"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"{here} RESET default_transaction_isolation")
