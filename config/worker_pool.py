"""Several server processes behind one listening socket: started, watched, restarted and stopped by a parent.

Each child inherits the listening socket and the ends of two pipes. One is written by the child (`ready`) and
closes with it, so the parent learns of its death by the event; the other is held by the parent alone and
closes with it, so the children leave even if the parent is killed with -9.
Invariant: when `run` has ended, no child lives.
Known limit: a child that cannot start the first time ends the pool; later deaths are retried for ever, ever
slower.
"""

from __future__ import annotations

import fcntl
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from config import children, locks, serving
from marketdata import metrics

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
MEMORY = Path("/dev/shm")
#: What must be free there: containers have 64 MB for all that is in them.
MEMORY_BYTES = 16 * 1024 * 1024
COUNTERS = "venue-counters-*"
READY = b"."
STOP_SECONDS = 15
LONGEST_PAUSE_SECONDS = 30.0
STABLE_AFTER_SECONDS = 60.0

logger = logging.getLogger(__name__)


class WorkerFailed(Exception):
    """A server process ended before it ever answered a request."""


@dataclass
class Worker:
    """One place in the pool and the process that fills it."""

    index: int
    process: subprocess.Popen
    ready_pipe: int
    started_at: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    pause_seconds: float = 0.0


class WorkerPool:
    """Runs `count` processes of `manage.py serve_worker` on one listening socket."""

    def __init__(self, listener: socket.socket, *, count: int, server: str) -> None:
        self._listener = listener
        self._count = count
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, Worker] = {}
        self._restarts: dict[int, tuple[float, float]] = {}  # index to (time due, pause behind it)
        self._child_end, self._parent_end = os.pipe()
        # Where the children keep their metrics, so that any of them can answer for all.
        self._metrics, self._metrics_lock = _place_for_metrics()
        # Where they listen for each other's commands (exchange.relay), and nobody else may enter; it goes with those.
        self._relay = os.path.join(self._metrics, "relay")
        os.mkdir(self._relay, 0o700)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until an exception (SystemExit by a signal) or WorkerFailed; `ready` is called once all
        answer.
        """
        announced = False
        try:
            for index in range(self._count):
                self._start_first(index)
            while True:
                self._watch(is_first_start=not announced)
                if not announced and all(worker.is_ready for worker in self._workers.values()):
                    announced = True
                    ready()
        finally:
            try:
                serving.ignore_signals()  # a second Ctrl-C must not have the database stopped under the children
            finally:
                self.stop()  # also where another signal came together with the first, and ends the line above

    def process_ids(self) -> list[int]:
        """The living children, in order of their index."""
        return [self._workers[index].process.pid for index in sorted(self._workers)]

    def stop(self) -> None:
        """Ask every child to end, wait, and end those that do not."""
        for worker in self._workers.values():
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
        for worker in list(self._workers.values()):
            self._bury(worker)
        self._selector.close()
        os.close(self._child_end)
        os.close(self._parent_end)
        os.close(self._metrics_lock)
        shutil.rmtree(self._metrics, ignore_errors=True)

    def _start_first(self, index: int) -> None:
        try:
            self._start(index)
        except OSError as error:
            raise WorkerFailed(f"server process {index} cannot be started ({error})") from error

    def _start(self, index: int, pause_seconds: float = 0.0) -> None:
        ready_pipe, ready_end = os.pipe()
        command = [sys.executable, str(MANAGE), "serve_worker", "--fd", str(self._listener.fileno())]
        command += [
            "--parent-fd",
            str(self._child_end),
            "--ready-fd",
            str(ready_end),
            "--server",
            self._server,
        ]
        try:
            process = children.spawn(
                command,
                env=os.environ
                | {
                    "WORKER_INDEX": str(index),
                    "PROMETHEUS_MULTIPROC_DIR": self._metrics,
                    "RELAY_DIRECTORY": self._relay,
                    "RELAY_PROCESSES": str(self._count),
                },
                pass_fds=[self._listener.fileno(), self._child_end, ready_end, self._metrics_lock],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which stops the children in order
            )
        except OSError:
            os.close(ready_pipe)
            raise
        finally:
            os.close(ready_end)
        self._workers[index] = Worker(index, process, ready_pipe, pause_seconds=pause_seconds)
        self._selector.register(ready_pipe, selectors.EVENT_READ, index)

    def _watch(self, *, is_first_start: bool) -> None:
        for key, _ in self._selector.select(self._seconds_to_next_restart()):
            worker = self._workers[key.data]
            if os.read(worker.ready_pipe, 1) == READY:
                worker.is_ready = True
                continue
            self._bury(worker)
            if is_first_start:
                raise WorkerFailed(f"server process {worker.index} ended with {worker.process.returncode}")
            was_stable = time.monotonic() - worker.started_at > STABLE_AFTER_SECONDS
            pause_seconds = 0.0 if was_stable else worker.pause_seconds
            self._plan_restart(worker.index, pause_seconds, f"ended with {worker.process.returncode}")
        self._restart_those_due()

    def _bury(self, worker: Worker) -> None:
        worker.process.wait()  # first: a signal that breaks it off leaves a worker that can be buried
        self._selector.unregister(worker.ready_pipe)
        os.close(worker.ready_pipe)
        metrics.bury(self._metrics, worker.process.pid)
        del self._workers[worker.index]

    def _plan_restart(self, index: int, pause_seconds: float, why: str) -> None:
        """After twice the pause before."""
        pause = min(LONGEST_PAUSE_SECONDS, max(0.5, pause_seconds * 2))
        logger.error("server process %d %s; starting it again in %.1f s", index, why, pause)
        self._restarts[index] = (time.monotonic() + pause, pause)

    def _seconds_to_next_restart(self) -> float | None:
        if not self._restarts:
            return None
        return max(0.0, min(due for due, _ in self._restarts.values()) - time.monotonic())

    def _restart_those_due(self) -> None:
        for index, (due, pause) in list(self._restarts.items()):
            if due <= time.monotonic():
                del self._restarts[index]
                try:
                    self._start(index, pause)
                except OSError as error:  # no memory, no process or no file is left for it; the others serve on
                    self._plan_restart(index, pause, f"cannot be started ({error})")


def _place_for_metrics() -> tuple[str, int]:
    """A new directory, and a lock on it, which the children inherit: had for as long as anybody writes there.

    The files are mapped: on a full disk the system ends whoever writes into them (SIGBUS). So they are in memory where
    that has room. What pools that were killed with -9 left is deleted.
    """
    _delete_unused()
    try:
        has_room = os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    except OSError:
        has_room = False
    fresh = Path(tempfile.mkdtemp(prefix="venue-new-", dir=MEMORY if has_room else None))
    lock = os.open(fresh, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    # Under this name only once it is locked: another pool that starts now would delete it.
    return str(fresh.rename(fresh.with_name(fresh.name.replace("new", "counters", 1)))), lock


def _delete_unused() -> None:
    for directory in [each for place in (MEMORY, Path(tempfile.gettempdir())) for each in place.glob(COUNTERS)]:
        with suppress(OSError):  # another user's, or gone by now
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if locks.is_had(lock, fcntl.LOCK_EX):
                    shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def leave_with_parent(parent_pipe: int) -> None:
    """In a child: stop this process in order when the parent's end of the pipe closes, and by force if
    need be.
    """

    def watch() -> None:
        while os.read(parent_pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
