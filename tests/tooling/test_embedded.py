"""The embedded PostgreSQL: started once, shared, stopped by the last, and back after any crash."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psycopg2
import pytest

from config import embedded, embedded_places, embedded_server
from config.embedded_places import ServerUser, places_of
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.tooling.support import FAST, Holder, data_directory, holders, is_alive


@pytest.fixture
def data_dir():
    with data_directory() as directory:
        yield directory


def query(data_dir, statement):
    connection = psycopg2.connect(embedded.database_url(data_dir))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def test_the_server_has_the_settings_that_money_and_its_owners_need(data_dir):
    with embedded.acquire(data_dir, settings={"shared_buffers": "16MB"}):
        wanted = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
            "wal_level": "minimal",
            "shared_buffers": "16MB",
        }
        assert {name: query(data_dir, f"SHOW {name}")[0] for name in wanted} == wanted
        assert query(data_dir, "SELECT datcollate FROM pg_database WHERE datname = 'venue'") == ("C",)
        with pytest.raises(psycopg2.IntegrityError):
            query(data_dir, "CREATE TABLE people (name text UNIQUE); INSERT INTO people VALUES ('ann'), ('ann')")
        log = places_of(data_dir).log.read_text()
        assert "people_name_key" in log and "'ann'" not in log and "(ann)" not in log  # what is refused is personal


def test_the_last_of_several_stops_it_and_data_survives(data_dir):
    first = embedded.acquire(data_dir, settings=FAST)
    pid = first.pid
    second = embedded.acquire(data_dir)
    assert (first.started_here, second.started_here, second.pid) == (True, False, pid)
    query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.release()
    assert embedded.running(data_dir)
    second.release()
    second.release()
    assert not embedded.running(data_dir) and not is_alive(pid)
    assert not places_of(data_dir).socket_dir.exists()
    with embedded.acquire(data_dir, settings=FAST):
        assert query(data_dir, "SELECT answer FROM kept") == (42,)


def test_of_many_at_once_one_starts_it(data_dir):
    with holders(data_dir, 4) as four:
        answers = [holder.server() for holder in four]
    assert len({pid for pid, _ in answers}) == 1
    assert [started for _, started in answers].count(True) == 1
    assert not is_alive(answers[0][0])


def test_a_server_left_by_a_killed_process_is_used_again(data_dir):
    holder = Holder(data_dir)
    pid, _ = holder.server()
    holder.kill()
    assert is_alive(pid)
    with embedded.acquire(data_dir) as cluster:
        assert (cluster.pid, cluster.started_here) == (pid, False)
    assert not is_alive(pid)


def test_who_comes_after_a_start_that_was_killed_waits_for_its_initdb(data_dir):
    """It works on alone; another beside it, in the same directory, and both fail."""
    holder, fresh = Holder(data_dir), data_dir / "postgres.new"
    wait_until((fresh / "PG_VERSION").exists, "initdb to be at work")
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(holder.process.pid)], capture_output=True, text=True)
    initdb = int(children.stdout.split()[0])
    os.kill(initdb, signal.SIGSTOP)
    try:
        holder.kill()
        with open(data_dir / "postgres.start.lock") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(initdb, signal.SIGCONT)
    with embedded.acquire(data_dir, settings=FAST) as cluster:
        assert cluster.started_here and not is_alive(initdb) and not fresh.exists()


def test_after_kill_9_of_everything_committed_data_is_there(data_dir):
    holder = Holder(data_dir)
    pid, _ = holder.server()
    query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(pid, signal.SIGKILL)
    holder.kill()
    with embedded.acquire(data_dir, settings=FAST) as cluster:
        assert cluster.started_here and cluster.pid != pid
        assert query(data_dir, "SELECT answer FROM kept") == (42,)


def test_a_kept_server_that_is_killed_is_started_again_until_it_is_released(data_dir, monkeypatch, caplog):
    """By one of those who keep it; an end meanwhile leaves none behind, and what was deleted is not made anew."""
    monkeypatch.setattr(embedded, "WATCH_SECONDS", 0.02)
    first, second = (embedded.acquire(data_dir, settings=FAST) for _ in range(2))
    query(data_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.keep_running()
    second.keep_running()
    for told in (1, 2):
        dead = first.pid
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda dead=dead: first.pid not in {None, dead} and embedded.running(data_dir), "another server")
        assert query(data_dir, "SELECT answer FROM kept") == (42,)
        wait_until(lambda told=told: len(caplog.messages) == told, "one line for it")
    assert all(re.match(r"PostgreSQL \(process \d+\) had ended: started again", line) for line in caplog.messages)
    os.kill(first.pid, signal.SIGKILL)  # started again by the time of the release, or not any more
    second.release()
    first.release()
    assert not embedded.running(data_dir)
    with embedded.acquire(data_dir, settings=FAST) as third:
        os.kill(third.pid, signal.SIGKILL)
        shutil.rmtree(places_of(data_dir).cluster)
        caplog.clear()
        third.keep_running()
        time.sleep(0.2)
        assert not places_of(data_dir).cluster.exists() and not caplog.messages


def test_releasing_gives_up_a_start_that_takes_long(data_dir, monkeypatch, caplog):
    """Whoever pressed Ctrl-C would wait for a recovery, or for what is left of a server of which one process hangs."""
    monkeypatch.setattr(embedded, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(embedded_server, "LEAVE_SECONDS", 4 * PATIENCE_SECONDS)
    cluster = embedded.acquire(data_dir, settings=FAST)
    hanging = psycopg2.connect(cluster.url)
    backend, log = hanging.info.backend_pid, places_of(data_dir).log
    os.kill(backend, signal.SIGSTOP)
    try:
        os.kill(cluster.pid, signal.SIGKILL)
        cluster.keep_running()
        wait_until(lambda: "pre-existing shared memory block" in log.read_text(), "a start that has to wait")
        since = time.monotonic()
        cluster.release()
        assert time.monotonic() - since < PATIENCE_SECONDS
        assert not embedded.running(data_dir) and not caplog.messages
    finally:
        os.kill(backend, signal.SIGKILL)
        hanging.close()


def test_ctrl_c_ends_no_question_about_the_server_s_user():
    """While the watch starts a server again, the log told of a directory that its user could not enter any more."""
    leads_a_session = "import os; raise SystemExit(os.getsid(0) != os.getpid())"
    user = ServerUser(os.geteuid(), os.getegid())
    assert embedded_places._succeeds([sys.executable, "-c", leads_a_session], user)


def test_a_stale_pid_file_stops_nothing(data_dir):
    embedded.acquire(data_dir, settings=FAST).release()
    pid_file = places_of(data_dir).cluster / "postmaster.pid"
    for content in (f"{os.getpid()}\n", "999999999\n", "rubbish", ""):
        pid_file.write_text(content)
        os.chown(pid_file, places_of(data_dir).user.uid, places_of(data_dir).user.gid)
        assert not embedded.running(data_dir)
        with embedded.acquire(data_dir, settings=FAST) as cluster:
            assert cluster.started_here, content


def test_a_data_directory_deleted_under_a_living_server_starts_afresh(data_dir):
    holder = Holder(data_dir)
    old, _ = holder.server()
    query(data_dir, "CREATE TABLE gone AS SELECT 1")
    holder.kill()
    shutil.rmtree(data_dir)
    with embedded.acquire(data_dir, settings=FAST):
        assert not is_alive(old)
        assert query(data_dir, "SELECT to_regclass('gone')") == (None,)


def test_a_swept_away_socket_is_made_anew(data_dir):
    holder = Holder(data_dir)
    old, _ = holder.server()
    holder.kill()
    wait_until(lambda: embedded.running(data_dir), "the server to answer")
    shutil.rmtree(places_of(data_dir).socket_dir)
    with embedded.acquire(data_dir, settings=FAST) as cluster:
        assert cluster.started_here and not is_alive(old)


def test_two_instances_side_by_side(data_dir):
    with (
        data_directory() as other,
        embedded.acquire(data_dir, settings=FAST) as first,
        embedded.acquire(other, settings=FAST) as second,
    ):
        assert first.pid != second.pid and first.url != second.url
        query(data_dir, "CREATE TABLE mine AS SELECT 1")
        assert query(other, "SELECT to_regclass('mine')") == (None,)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(data_dir):
    with pytest.raises(embedded.EmbeddedError, match=r"(?s)did not start.*DATABASE_URL.*no_such_setting"):
        embedded.acquire(data_dir, settings={"no_such_setting": "1"})
    assert not embedded.running(data_dir)
    with embedded.acquire(data_dir, settings=FAST) as cluster:
        assert cluster.started_here


def test_a_failed_initdb_leaves_nothing_half_made(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_server, "SUPERUSER", "pg_reserved")
    with pytest.raises(embedded.EmbeddedError, match="initdb failed"):
        embedded.acquire(data_dir, settings=FAST)
    assert not [path for path in data_dir.iterdir() if path.is_dir()]
    monkeypatch.undo()
    embedded.acquire(data_dir, settings=FAST).release()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('could not write file "x": No space left on device', "the disk is full"),
        ('could not open file "x": Permission denied', "belongs to somebody else"),
        ('could not open shared memory segment "/PostgreSQL.1": Permission denied', "chmod 1777 /dev/shm"),
    ],
)
def test_what_postgresql_says_is_explained(said, told):
    text = embedded_server._explained("initdb failed", said)
    assert told in text and "DATABASE_URL" in text and said in text


def test_somebody_elses_directory_of_files_is_not_overwritten(data_dir):
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "diary").write_text("dear")
    os.chown(data_dir / "postgres", places_of(data_dir).user.uid, places_of(data_dir).user.gid)
    with pytest.raises(embedded.EmbeddedError, match="not a PostgreSQL cluster"):
        embedded.acquire(data_dir, settings=FAST)
    assert (data_dir / "postgres" / "diary").read_text() == "dear"
