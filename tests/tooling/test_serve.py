"""`manage.py serve` as a person runs it: up from nothing, stopped in order, back after kill -9, clear when it fails."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from django.db import connection

from config import embedded, embedded_server, serving
from config.embedded_places import places_of
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.tooling.support import ROOT, data_directory, hear_signals

READY_LINE = re.compile(r"The venue is open at (http://\S+)/")


HANGS_AT_ITS_END = """
import asyncio, os, signal
from config import serving

async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await asyncio.Event().wait()

serving.APPLICATION, serving.STOP_SECONDS = application, 0.1
with serving.listen("127.0.0.1", 0) as listener:
    serving.run(listener, server="uvicorn", ready=lambda: os.kill(os.getpid(), signal.SIGINT))
"""


class Serve:
    """A running `manage.py serve` on a free port, with a data directory and no DATABASE_URL."""

    def __init__(self, data_dir: Path, *arguments: str, before: Sequence[str] = (), **environment: str) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL", "WORKERS", "WORKER_INDEX"}
        }
        self.process = subprocess.Popen(
            [*before, sys.executable, str(ROOT / "manage.py"), "serve", *arguments],
            env=inherited | {"DATA_DIR": str(data_dir), "PORT": "0", "SIMULATOR": "off"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hear_signals,
        )
        self.lines: list[str] = []

    def address(self) -> str:
        """Wait until it says that it is open."""
        return self.hear(READY_LINE).group(1)

    def hear(self, words: re.Pattern) -> re.Match:
        """Wait until it says this."""
        for line in self.process.stdout:
            self.lines.append(line)
            if found := words.search(line):
                return found
        raise AssertionError(f"serve ended without {words.pattern!r}:\n" + "".join(self.lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.lines.append(rest)
        return self.process.returncode


@pytest.fixture
def data_dir():
    with data_directory() as directory:
        yield directory


def limited(limit: str) -> list[str]:
    """What to put before a command so that it runs with that limit."""
    return ["sh", "-c", f'{limit}; exec "$@"', "sh"]


def answers(address: str) -> bool:
    with urllib.request.urlopen(f"{address}/health", timeout=PATIENCE_SECONDS) as answer:
        return answer.status == 200


def is_listening(address: str) -> bool:
    parts = urlsplit(address)
    with socket.socket() as client:
        return client.connect_ex((parts.hostname, parts.port)) == 0


def test_up_from_nothing_then_killed_then_up_again_on_the_other_server(data_dir):
    first = Serve(data_dir, before=limited("ulimit -Sn 256"))
    assert answers(first.address())
    assert embedded.running(data_dir)
    first.process.kill()
    first.process.communicate()
    (data_dir / "operator_password").unlink()
    second = Serve(data_dir, "--server", "daphne", before=limited("ulimit -n 256"))
    assert answers(second.address())
    second.hear(re.compile(r"operator \(new password: manage.py seed_demo --reset-operator-password\)"))
    # It takes what it may have, and says so when that is little.
    told = ["at most 256 files and connections" in "".join(serve.lines) for serve in (first, second)]
    assert told == [False, True]
    assert second.end(signal.SIGINT) == 0
    assert not embedded.running(data_dir)


@pytest.mark.parametrize("server", serving.SERVERS)
def test_a_closed_terminal_stops_it_in_order(data_dir, server):
    serve = Serve(data_dir, "--server", server)
    assert answers(serve.address())
    assert serve.end(signal.SIGHUP) == 0
    assert "Traceback" not in serve.lines[-1] and serve.lines[-1].endswith("venue: stopped\n"), serve.lines[-1]
    assert not embedded.running(data_dir)


def test_an_end_that_hangs_does_not_last_for_ever():
    command = [sys.executable, "-c", HANGS_AT_ITS_END]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert answer.returncode == 1 and "not everything has stopped" in answer.stderr, answer.stderr


def test_under_nohup_a_closed_terminal_stops_nothing_and_a_second_ctrl_c_breaks_nothing_off(data_dir):
    serve = Serve(data_dir, before=["nohup"])
    address = serve.address()
    serve.process.send_signal(signal.SIGHUP)
    assert all(answers(address) for _ in range(3))
    serve.process.send_signal(signal.SIGINT)
    wait_until(lambda: not is_listening(address), "it to close its door")  # two at once would be one
    assert serve.end(signal.SIGINT) == 0
    assert "Traceback" not in serve.lines[-1], serve.lines[-1]
    assert not embedded.running(data_dir)


def test_several_processes_answer_behind_one_port(data_dir):
    redis_url = os.environ["REDIS_URL"]
    serve = Serve(data_dir, WORKERS="2", REDIS_URL=redis_url, CHANNEL_PREFIX=f"serve-{os.getpid()}")
    address = serve.address()
    assert all(answers(address) for _ in range(8))
    killed = embedded_server.server_pid(places_of(data_dir))
    os.kill(killed, signal.SIGKILL)
    serve.hear(again := re.compile(rf"PostgreSQL \(process {killed}\) had ended: started again"))
    assert serve.end(signal.SIGTERM) == 0
    assert not again.search(serve.lines[-1]), "one of the two does it"
    assert not embedded.running(data_dir)


def test_a_port_in_use_costs_nothing(data_dir):
    with serving.listen("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
        serve = Serve(data_dir, PORT=port)
        output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
    assert serve.process.returncode == 1
    assert f"port {port}" in output and "PORT=" in output and "Traceback" not in output
    assert not (data_dir / "postgres").exists()


def test_a_second_one_that_the_first_would_not_hear_is_refused(data_dir, monkeypatch):
    data_dir.mkdir()
    with serving.claim(data_dir, shared=False):
        serve = Serve(data_dir)
        output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
        assert (serve.process.returncode, "Traceback" in output) == (1, False), output
        assert "another server runs on DATA_DIR" in output and "REDIS_URL" in output and "WORKERS" in output
        assert output.count("\n") == 1 and not (data_dir / "postgres").exists()
    monkeypatch.setattr(serving, "LEAVE_SECONDS", 0)
    for first, second, can_share in ((False, True, False), (True, False, False), (True, True, True)):
        told = nullcontext() if can_share else pytest.raises(serving.ClaimError, match="another server runs")
        with serving.claim(data_dir, shared=first), told, serving.claim(data_dir, shared=second):
            pass


def test_a_file_system_without_locks_is_told_like_one_that_cannot_be_written_to(data_dir, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    data_dir.mkdir()
    monkeypatch.setattr(fcntl, "flock", flock)
    for have in (lambda: serving.claim(data_dir, shared=False).__enter__(), lambda: embedded.acquire(data_dir)):
        with pytest.raises((serving.ClaimError, embedded.EmbeddedError), match="cannot use DATA_DIR .* No locks"):
            have()
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"WORKERS": "2"}, 2, "REDIS_URL"),
        ({"WORKERS": "0"}, 2, "WORKERS"),
        ({"SEED_DEMO": "maybe"}, 1, "SEED_DEMO must be on or off"),
        ({"SIMULATOR": "on", "SIMULATOR_SCENARIO": "nope"}, 2, "SIMULATOR_SCENARIO is not playable"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}, 1, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9"}, 1, "DATABASE_URL must name a database"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none?nosuch=1"}, 1, "DATABASE_URL right"),
    ],
)
def test_what_cannot_work_is_refused_in_words(data_dir, environment, code, words):
    serve = Serve(data_dir, **environment)
    output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
    assert (serve.process.returncode, "Traceback" in output) == (code, False), output
    assert words in output


def test_a_data_dir_that_cannot_be_written_to_is_said_to_be_so():
    """Not even by root, as here."""
    serve = Serve(Path("/proc/self/fdinfo"), SECRET_KEY="of-no-use-elsewhere-0123456789-abcdefghij")
    output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
    assert (serve.process.returncode, "Traceback" in output) == (1, False), output
    assert "DATA_DIR must be a folder that can be written to" in output


def test_a_role_that_may_not_make_the_tables_is_told_what_it_needs(data_dir, empty_database):
    role = f"narrow_{os.getpid()}"
    database = urlsplit(empty_database)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'narrow'")
    owner = psycopg2.connect(empty_database)
    try:
        with owner, owner.cursor() as cursor:
            cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        where = database.netloc.rpartition("@")[2]
        serve = Serve(data_dir, DATABASE_URL=f"postgresql://{role}:narrow@{where}{database.path}")
        output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
        assert (serve.process.returncode, "Traceback" in output) == (1, False), output
        assert "permission denied" in output and f'OWNER TO "{role}"' in output
    finally:
        owner.close()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROLE {role}")


def test_a_new_database_that_cannot_hold_every_name_is_refused(data_dir, empty_database):
    name = urlsplit(empty_database).path[1:]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    serve = Serve(data_dir, DATABASE_URL=empty_database)
    output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
    assert (serve.process.returncode, "Traceback" in output) == (1, False), output
    assert "LATIN1" in output and "ENCODING 'UTF8'" in output


def test_portfolios_are_valued_in_an_asset_once_there_are_any(data_dir):
    empty = Serve(data_dir, SEED_DEMO="off", PORTFOLIO_QUOTE="NOPE")
    assert answers(empty.address())
    assert empty.end() == 0
    seeded = Serve(data_dir, PORTFOLIO_QUOTE="NOPE")
    output, _ = seeded.process.communicate(timeout=PATIENCE_SECONDS)
    assert (seeded.process.returncode, "Traceback" in output) == (2, False), output
    assert "is NOPE, which is no asset of this venue: set it to one that is (PORTFOLIO_QUOTE=USD make run)." in output


@pytest.mark.parametrize("port", ["99999", "65536", "-1"])
def test_a_port_that_is_none_is_refused(data_dir, port):
    serve = Serve(data_dir, "--port", port)
    output, _ = serve.process.communicate(timeout=PATIENCE_SECONDS)
    assert serve.process.returncode == 2 and "PORT must be a whole number" in output, output
    assert not (data_dir / "postgres").exists()
