"""`manage.py backup` and `restore`: the venue in a file, and the same venue out of it."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from django.core.management import CommandError, call_command

from config import dumps

ROOT = Path(__file__).resolve().parents[2]


def manage(url: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}
    environment["PYTHONIOENCODING"] = "ascii"  # a terminal that lacks most letters
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_what_was_backed_up_is_restored(venue, empty_database, tmp_path):
    venue.trader("ann", USD=10_000)
    venue.trader("bob", AAPL=100)
    for sentence in ("ann BUY 5 AAPL @ 100", "bob SELL 2 AAPL @ 100", "bob SELL 1 AAPL @ 105"):
        venue.order(sentence)
    file = tmp_path / "venue.dump"
    call_command("backup", str(file))
    restored = manage(empty_database, "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    # What the planner knows; without it the audit that comes next takes minutes on a large venue.
    with psycopg2.connect(empty_database) as restored_one, restored_one.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public'")
        assert {"exchange_trade", "exchange_order", "accounts_entry"} <= {name for (name,) in cursor}
    restored_one.close()
    for command in ("audit", "replay"):
        answer = manage(empty_database, command)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "same" in answer.stdout and "AAPL" in answer.stdout
    again = manage(empty_database, "restore", str(file))
    assert again.returncode == 1 and "not empty" in again.stderr


def test_what_cannot_be_done_is_said(venue, tmp_path):
    file = tmp_path / "there"
    file.write_text("something")
    for command, path, words in (
        ("backup", file, "exists already"),
        ("backup", tmp_path / "no" / "folder", "failed"),
        ("backup", tmp_path / ("n" * 300), "cannot write .*too long"),
        ("restore", tmp_path / "nothing", "there is no file"),
        ("restore", tmp_path / ("n" * 300), "cannot read .*too long"),
        ("restore", file, "not empty"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command(command, str(path))
    assert file.read_text() == "something" and list(tmp_path.iterdir()) == [file]


def test_of_two_backups_to_one_file_the_first_is_kept_whole(venue, tmp_path, monkeypatch):
    """They wrote into one file: what was left began as one and ended as the other."""
    file, run, drafts = tmp_path / "venue.dump", dumps._run, []

    def another_meanwhile(*command: str) -> None:
        drafts.append(Path(command[-1].removeprefix("--file=")))
        if len(drafts) == 1:
            dumps.dump(file)
        run(*command)

    monkeypatch.setattr(dumps, "_run", another_meanwhile)
    with pytest.raises(dumps.DumpError, match="another backup was faster"):
        dumps.dump(file)
    assert len(set(drafts)) == 2 and list(tmp_path.iterdir()) == [file]


def test_of_nothing_there_is_no_backup(empty_database, tmp_path):
    """With a wrong DATA_DIR a timer would keep files that hold nothing."""
    answer = manage(empty_database, "backup", str(tmp_path / "venue.dump"))
    assert answer.returncode == 1 and "no venue in this database" in answer.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["audit", "add_capital ann USD 5"])
def test_where_there_is_no_venue_commands_say_so(empty_database, command):
    answer = manage(empty_database, *command.split())
    assert answer.returncode == 1 and answer.stderr.startswith("there is no venue in this database")
    assert "Traceback" not in answer.stderr


def test_where_there_is_no_database_commands_say_so():
    answer = manage("postgresql://nobody@127.0.0.1:1/nothing", "audit")
    assert answer.returncode == 1 and answer.stderr.startswith("the database cannot be used; is DATABASE_URL right?")
    assert "Traceback" not in answer.stderr


def test_a_file_that_is_no_backup_leaves_nothing(empty_database, tmp_path):
    file = tmp_path / "letter"
    file.write_text("Dear Sir or Madam")
    answer = manage(empty_database, "restore", str(file))
    assert answer.returncode == 1 and "pg_restore failed" in answer.stderr
