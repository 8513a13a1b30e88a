"""A private venue for a measurement or a proof: own database and Redis, traders with funds, a server on a free port.

    with PrivateVenue(users=20, markets=4) as venue:
        venue.url, venue.users[0]["token"], venue.markets

The database has the settings that production has (fsync and synchronous commit on) unless told otherwise, rate
limits and simulator are off. Everything lives in a temporary directory that goes with it.

Invariants: the port and the database's address stay the same over kills and restarts; every process is ended by
the id that it was started with; after `stop` nothing of it is left, and SIGTERM and SIGHUP lead there like Ctrl-C.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from config import children, embedded
from config.embedded_redis import RedisServer

ROOT = Path(__file__).resolve().parent.parent
OPEN = "The venue is open at"
START_SECONDS = 90
STOP_SECONDS = 30
POLL_SECONDS = 0.02


class ServerFailed(Exception):
    """The server did not come up; the text holds its last lines."""


class PrivateDatabase:
    """An embedded PostgreSQL in a temporary directory; it can be killed and started again in place."""

    def __init__(self, settings: Mapping[str, str] | None = None):
        self.settings = dict(settings or {})
        self.data_dir = Path(tempfile.mkdtemp(prefix="venue-private-"))
        self.data_dir.chmod(0o711)  # the server's own user must get through when this is root
        self._cluster: embedded.Cluster | None = None
        self.url = ""

    def start(self) -> Self:
        end_in_order()
        try:
            self._cluster = embedded.acquire(self.data_dir, settings=self.settings)
        except BaseException:
            if self._cluster is None:
                self.stop()
            raise
        self.url = self._cluster.url
        return self

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._cluster.pid

    def kill(self) -> None:
        """End the postmaster with -9: what was not flushed to the log is gone, its children leave by themselves."""
        pid = self._cluster.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._cluster.pid is None, f"the end of postmaster {pid}")

    def restart(self) -> None:
        """Start again after a kill, in order after a running server; recovers before it returns."""
        self._cluster.release()
        self.start()

    def stop(self) -> None:
        """End the server and delete its data."""
        if self._cluster is not None:
            self._cluster.release()
        embedded.remove(self.data_dir)
        shutil.rmtree(self.data_dir, ignore_errors=True)


class Process:
    """A program with its output in a file, which may be killed and started again."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str], log: Path, open_text: str):
        self.command, self.environment, self.log, self.open_text = command, dict(environment), log, open_text
        self._process: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it says that it is open; ServerFailed with its last lines otherwise."""
        offset = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self._process = children.spawn(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self.open_text not in self.output(offset):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{' '.join(self.command)} did not open:\n{self.output(offset)[-3000:]}")
            time.sleep(POLL_SECONDS)

    def output(self, offset: int = 0) -> str:
        """What it wrote since an offset in its log."""
        with open(self.log, "rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """The process ids of its child processes."""
        answer = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=False
        )
        return [int(word) for word in answer.stdout.split()]

    def stop(self) -> None:
        """Ask it to end; end it if it does not."""
        if not self.is_running():
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """-9 to it and its children."""
        if not self.is_running():
            return
        children = self.children()
        self._process.kill()
        self._process.wait()
        for pid in children:
            kill(pid)


class PrivateVenue:
    """The whole venue, from `start` (or `with`) to `stop`."""

    def __init__(
        self,
        *,
        users: int,
        markets: int = 1,
        margin: int = 0,
        workers: int = 1,
        server: str = "uvicorn",
        database_settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        history: Sequence[str] = (),
    ):
        self.history = history
        self.counts = ["--users", str(users), "--markets", str(markets), "--margin", str(margin)]
        self.workers, self.server_name = workers, server
        self.database = PrivateDatabase(database_settings)
        self.redis = RedisServer() if workers > 1 else None
        self.extra_environment = dict(environment or {})
        self.users: list[dict] = []
        self.markets: list[str] = []
        self.margin_markets: list[str] = []
        self.port = free_port()
        self.server: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        try:
            self.database.start()
            if self.redis is not None:
                self.redis.start()
            filled = json.loads(self.run("benchmarks.population", *self.counts).stdout.splitlines()[-1])
            self.users, self.markets, self.margin_markets = filled["users"], filled["markets"], filled["margin"]
            if self.history:
                self.run("benchmarks.history", *self.history)
            command = [sys.executable, "manage.py", "serve", "--port", str(self.port), "--server", self.server_name]
            command += ["--workers", str(self.workers), "--no-seed", "--no-simulator"]
            self.server = Process(
                command, environment=self.environment(), log=self.database.data_dir / "server.log", open_text=OPEN
            )
            self.server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def environment(self) -> dict[str, str]:
        """What the venue's processes are started with."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_", "CHANNEL_"))
        }
        return inherited | {
            "DATA_DIR": str(self.database.data_dir),
            "DATABASE_URL": self.database.url,
            "REDIS_URL": self.redis.url if self.redis is not None else "",
            "RATE_LIMITS": "off",
            "SIMULATOR": "off",
            "ACCESS_TOKEN_MINUTES": "1440",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            **self.extra_environment,
        }

    def run(self, module: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a module of this repository against the venue's database."""
        answer = children.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=self.environment())
        if check and answer.returncode:
            raise ServerFailed(
                f"{module} {' '.join(arguments)} ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}"
            )
        return answer

    def manage(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run a command of manage.py against the venue's database; its exit code is for the caller to judge."""
        return self.run("manage", *arguments, check=False)

    def ask(
        self,
        path: str,
        body: dict | None = None,
        *,
        user: dict | None = None,
        timeout: float = 60,
        method: str | None = None,
    ) -> dict:
        """The JSON that the API answers to a GET of a path below /api/v1/, to a POST if there is a body, or to another
        method, for one of `users` or for nobody. urllib's errors when it refuses or cannot be reached.
        """
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {user['token']}"} if user else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        """End everything and delete it."""
        if self.server is not None:
            self.server.stop()
        if self.redis is not None:
            self.redis.stop()
        self.database.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_in_order() -> None:
    """From now on SIGTERM and SIGHUP end this process like Ctrl-C, so that it stops what it has started. Whoever has a
    way of its own with them, or outlives them (nohup), keeps to it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill(pid: int) -> None:
    """-9 to a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so; TimeoutError names what never came."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {START_SECONDS} s for {what}")
        time.sleep(POLL_SECONDS)
