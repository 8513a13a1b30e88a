"""Data directories, processes and waiting for the tooling tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from config import embedded, embedded_server
from config.embedded_places import ServerUser, places_of
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
IS_ROOT = os.geteuid() == 0
FAST = {"fsync": "off", "shared_buffers": "16MB", "autovacuum": "off"}

HOLD = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from config import embedded, embedded_server
cluster = embedded.acquire(sys.argv[1], settings={FAST!r})
print(cluster.pid, cluster.started_here, flush=True)
sys.stdin.read()
cluster.release()
"""


def hear_signals() -> None:
    """For `preexec_fn`: what nohup, or the background of a shell, has a run of the suite ignore its children hear."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def data_directory(*below: str, mode: int = 0o711) -> Iterator[Path]:
    """A data directory inside a temporary one of the given mode; its database is deleted at the end."""
    top = Path(tempfile.mkdtemp(prefix="venue-tooling-"))
    top.chmod(mode)
    data_dir = top.joinpath("data", *below)
    try:
        yield data_dir
    finally:
        if data_dir.exists():
            embedded.remove(data_dir)
        shutil.rmtree(top, ignore_errors=True)


class Holder:
    """Another process that holds a cluster until it is let go or killed."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        )

    def server(self) -> tuple[int, bool]:
        """The server's process id, and whether this holder started it; waits until it holds."""
        pid, started_here = self.process.stdout.readline().split()
        return int(pid), started_here == "True"

    def let_go(self) -> None:
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def holders(data_dir: Path, count: int) -> Iterator[list[Holder]]:
    started = [Holder(data_dir) for _ in range(count)]
    try:
        yield started
    finally:
        for each in started:
            if each.process.poll() is None:
                each.let_go()


@contextmanager
def pages(door: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers by that handler, in threads of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), door)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not yet collected does not."""
    return embedded_server._arguments_of(pid) != [""]


def server_user(data_dir: Path) -> ServerUser:
    return places_of(data_dir).user
