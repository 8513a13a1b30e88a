"""A pytest plugin (`-p tests.servers`): the real PostgreSQL and the real Redis that the suite runs against.

DATABASE_URL and REDIS_URL are used if set. Otherwise the process that pytest was started as starts an
embedded server of each, before Django reads its settings, and stops them when the run ends, also by failure
or Ctrl-C. Workers of pytest-xdist inherit the two addresses; each has a test database of its own, named by
pytest-django. DATA_DIR is a temporary one for the whole run, so that no test touches a developer's data.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
INFORMING = {"--help", "-h", "--version", "--markers", "--fixtures"}
FAST_NOT_SAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}

# Waits for the run to end; if it was killed before it could say `done`, ends what it has left behind.
GUARD = """
import os, shutil, signal, sys
started = sys.argv[2:]
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if sys.stdin.read() != "done":
    for pid in started:
        try:
            os.kill(int(pid), signal.SIGQUIT)
        except ProcessLookupError:
            pass
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""

_cleanups: list = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config, parser, args):
    """Start what is missing. A wrapper runs before pytest-django's own, which loads the settings."""
    if IS_WORKER:
        # Groups of the channel layer are shared by all of a Redis: workers must not hear each other.
        os.environ["CHANNEL_PREFIX"] = f"tests-{os.getpid()}-{os.environ['PYTEST_XDIST_WORKER']}"
    elif not INFORMING & set(args):
        atexit.register(_stop_servers)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the run like Ctrl-C, cleaning up
        os.environ["CHANNEL_PREFIX"] = f"tests-{os.getpid()}"
        _provide_environment()
    return (yield)


def _provide_environment() -> None:
    from config import embedded, embedded_redis

    # Traversable, so that the embedded server's user can work in it even if this is root.
    data_dir = tempfile.mkdtemp(prefix="venue-tests-")
    os.chmod(data_dir, 0o711)
    _cleanups.append(lambda: shutil.rmtree(data_dir, ignore_errors=True))
    os.environ["DATA_DIR"] = data_dir
    started: list[int] = []
    try:
        if not os.environ.get("DATABASE_URL"):
            cluster = embedded.acquire(data_dir, settings=FAST_NOT_SAFE)
            _cleanups.append(lambda: embedded.remove(data_dir))
            _cleanups.append(cluster.release)
            os.environ["DATABASE_URL"] = cluster.url
            started.append(cluster.pid)
        if not os.environ.get("REDIS_URL"):
            redis = embedded_redis.RedisServer().start()
            _cleanups.append(redis.stop)
            os.environ["REDIS_URL"] = redis.url
            started.append(redis.pid)
    except (embedded.EmbeddedError, embedded_redis.RedisError) as error:
        raise pytest.UsageError(str(error)) from error
    _guard(data_dir, started)


def _guard(data_dir: str, started: list[int]) -> None:
    command = [sys.executable, "-c", GUARD, data_dir, *map(str, started)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
    # Cleanups run from the last to the first: the guard is told last of all.
    _cleanups.insert(0, lambda: guard.communicate("done"))


@pytest.hookimpl(trylast=True)
def pytest_configure(config) -> None:
    """Empty the database between tests in the suite's way, wherever in the project they stand: by now Django is up."""
    if not INFORMING & set(config.invocation_params.args):
        importlib.import_module("tests.flush")


def pytest_unconfigure(config) -> None:
    """Stop what was started, after the workers have ended."""
    _stop_servers()


def _stop_servers() -> None:
    while _cleanups:
        _cleanups.pop()()
