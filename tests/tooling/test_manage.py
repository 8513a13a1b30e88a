"""Which command lines of manage.py need the embedded database, and that two at once do not migrate it."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys

import psycopg2
import pytest
from django.core.management import CommandError, call_command

import manage
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.tooling.support import ROOT


@pytest.mark.parametrize(
    ("command_line", "database_url", "needs_it"),
    [
        ("audit", "", True),
        ("migrate --plan", "", True),
        ("shell", "", True),
        ("add_capital demo1 USD 5", "", True),
        ("runserver 8001", "", True),
        ("audit", "postgresql://elsewhere/venue", False),
        ("", "", False),
        ("help audit", "", False),
        ("audit --help", "", False),
        ("--version", "", False),
        ("check", "", False),
        ("makemigrations --check --dry-run", "", False),
        ("collectstatic --noinput", "", False),
        ("spectacular", "", False),
        ("serve --port 9000", "", False),
        ("serve_worker --fd 3", "", False),
    ],
)
def test_who_needs_the_embedded_database(monkeypatch, command_line, database_url, needs_it):
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert manage.needs_embedded_database(["manage.py", *command_line.split()]) is needs_it


def test_a_command_runs_without_standard_streams(tmp_path):
    """Closed, as by `>&-`; a file that it opened would get one's number, and what it prints."""
    shut = "exec 0<&- 1>&- 2>&-; exec "
    command = f"{shut}{sys.executable} manage.py check"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=PATIENCE_SECONDS).returncode == 0
    say = "import manage, os, sys; manage.replace_closed_streams(); print('x'); os.write(2, b'y')"
    file = tmp_path / "opened"
    say += f"; open({str(file)!r}, 'w').close(); os.system('echo z; echo z >&2')"
    done = subprocess.run(["sh", "-c", f'{shut}{sys.executable} -c "{say}"'], cwd=ROOT, timeout=PATIENCE_SECONDS)
    assert (done.returncode, file.read_text()) == (0, "")


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        ("import_candles bars.csv --market AAPL --limit -3", "--limit must be at least 1"),
        ("import_candles bars.csv --market AAPL --limit 3", "--limit is for price providers; bars.csv is none"),
        ("import_candles bars.csv --market AAPL --start 2024-01-01", "--start is for price providers"),
        ("import_candles yfinance --market AAPL --limit 0", "--limit must be at least 1"),
        ("delete_old_positions --days -1", "--days must be from 0"),
        ("delete_old_positions --days 99999999999", "--days must be from 0"),
        ("market_report --since 9999999999999h", "is neither a time nor a span"),
        ("simulate --speed nan", "--speed must be above 0"),
        ("simulate --clock simulated --steps 999999999999999999", "--steps must be from 0"),
        ("run_feed --seconds nan", "must be positive"),
        ("top --once --interval inf", "--interval is a number of seconds above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(command_line, words):
    with pytest.raises(CommandError, match=words) as refused:
        call_command(*command_line.split())
    assert refused.value.returncode == 2


def test_a_command_that_is_broken_off_explains_nothing(monkeypatch):
    def broken_off(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("django.core.management.execute_from_command_line", broken_off)
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
    assert end.value.code == 130


@pytest.mark.parametrize(("is_ours", "ends_by"), [(True, SystemExit), (False, BrokenPipeError)])
def test_a_reader_that_leaves_ends_a_command_without_a_traceback(monkeypatch, is_ours, ends_by):
    reading, writing = os.pipe()

    def report(arguments):
        if is_ours:
            os.close(reading)
        raise BrokenPipeError("another pipe's, or that one's")

    monkeypatch.setattr("django.core.management.execute_from_command_line", report)
    with open(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(ends_by) as ended:
            manage.execute(["manage.py", "replay"])
    if is_ours:
        assert ended.value.code == 128 + signal.SIGPIPE
    else:
        os.close(reading)


def test_of_two_that_migrate_at_once_one_waits(empty_database):
    """Both made the tables, and one ended with a traceback about a relation that exists already."""
    environment = {**os.environ, "DATABASE_URL": empty_database, "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    two = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    with psycopg2.connect(empty_database) as watching, watching.cursor() as cursor:
        watching.autocommit = True

        def one_waits() -> bool:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return cursor.fetchone()[0] == 1 or any(one.poll() for one in two)

        wait_until(one_waits, "one of two to wait for the other")
    watching.close()
    assert [(one.communicate(timeout=PATIENCE_SECONDS)[1], one.returncode) for one in two] == [("", 0)] * 2
