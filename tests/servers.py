"""A pytest plugin (`-p tests.servers`): the real PostgreSQL and the real Redis that the suite runs against.

DATABASE_URL and REDIS_URL are used if set. Otherwise the process that pytest was started as starts an
embedded server of each, before Django reads its settings, and stops them when the run ends, also by failure
or Ctrl-C. Workers of pytest-xdist inherit the two addresses; each has a test database of its own, named by
pytest-django. DATA_DIR is a temporary one for the whole run, so that no test touches a developer's data.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile

import pytest

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
INFORMING = {"--help", "-h", "--version", "--markers", "--fixtures"}
FAST_NOT_SAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}

_cleanups: list = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config, parser, args):
    """Start what is missing. A wrapper runs before pytest-django's own, which loads the settings."""
    if IS_WORKER:
        # Groups of the channel layer are shared by all of a Redis: workers must not hear each other.
        os.environ["CHANNEL_PREFIX"] = f"tests-{os.getpid()}-{os.environ['PYTEST_XDIST_WORKER']}"
    elif not INFORMING & set(args):
        atexit.register(_stop_servers)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
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
    try:
        if not os.environ.get("DATABASE_URL"):
            cluster = embedded.acquire(data_dir, settings=FAST_NOT_SAFE)
            _cleanups.append(lambda: embedded.remove(data_dir))
            _cleanups.append(cluster.release)
            os.environ["DATABASE_URL"] = cluster.url
        if not os.environ.get("REDIS_URL"):
            redis = embedded_redis.RedisServer().start()
            _cleanups.append(redis.stop)
            os.environ["REDIS_URL"] = redis.url
    except (embedded.EmbeddedError, embedded_redis.RedisError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config) -> None:
    """Stop what was started, after the workers have ended."""
    _stop_servers()


def _stop_servers() -> None:
    while _cleanups:
        _cleanups.pop()()
