"""Which command lines of manage.py need the embedded database, and that two at once do not migrate it."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg2
import pytest

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
