"""Which command lines of manage.py need the embedded database."""

from __future__ import annotations

import pytest

import manage


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
