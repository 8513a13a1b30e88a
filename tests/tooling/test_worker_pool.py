"""Listening, and several processes behind one port: started, restarted, stopped, and none left behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from config import serving, worker_pool
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.tooling.support import ROOT, hear_signals, is_alive

# Takes the same arguments as `manage.py serve_worker`, and answers each connection with its number and process id. The
# second one does not leave while it is held.
SMALL_WORKER = f"""
import os, signal, socket, sys, time
sys.path.insert(0, {str(ROOT)!r})
from config import worker_pool
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if os.environ.get("WORKER_FAILS") == os.environ["WORKER_INDEX"]:
    sys.exit(3)
def leave(*_):
    while os.environ["WORKER_INDEX"] == "1" and os.path.exists(sys.argv[0] + ".held"):
        time.sleep(0.01)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
worker_pool.leave_with_parent(int(given["--parent-fd"]))
listener = socket.socket(fileno=int(given["--fd"]))
open(os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], f"gauge_livesum_{{os.getpid()}}.db"), "w").close()
os.write(int(given["--ready-fd"]), worker_pool.READY)
while True:
    connection, _ = listener.accept()
    connection.sendall(f"{{os.environ['WORKER_INDEX']}} {{os.getpid()}}".encode())
    connection.close()
"""

PARENT = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from config import serving, worker_pool
worker_pool.MANAGE = Path(sys.argv[1])
serving.stop_on_signals()
with serving.listen("127.0.0.1", 0) as listener:
    pool = worker_pool.WorkerPool(listener, count=2, server="uvicorn")
    pool.run(lambda: print(listener.getsockname()[1], *pool.process_ids(), flush=True))
"""


@pytest.fixture
def small_worker(tmp_path):
    script = tmp_path / "manage.py"
    script.write_text(SMALL_WORKER)
    return script


@pytest.fixture
def parent(small_worker):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(small_worker)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_signals,
    )
    port, *children = map(int, process.stdout.readline().split())
    yield process, port, children
    held(small_worker).unlink(missing_ok=True)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, children)), "the children to leave")


def held(script: Path) -> Path:
    """While this is there, the second child does not leave."""
    return script.with_name(f"{script.name}.held")


def ask(port: int) -> tuple[int, int]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        index, pid = connection.recv(100).split()
        return int(index), int(pid)


def living_metrics(pid: int) -> list[Path]:
    """What only a living child has a say in, as the pool keeps it."""
    places = (worker_pool.MEMORY, Path(tempfile.gettempdir()))
    return [file for place in places for file in place.glob(f"venue-counters-*/gauge_livesum_{pid}.db")]


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP, signal.SIGTERM]])
def test_signals_stop_parent_and_children_with_exit_code_0(parent, small_worker, numbers):
    """Impatience leaves nothing behind, nor do two that come at once, as from systemd where it is to send SIGHUP."""
    process, port, children = parent
    assert ask(port)[1] in children
    held(small_worker).touch()
    for number in [signal.SIGSTOP, *numbers, signal.SIGCONT]:
        process.send_signal(number)
    wait_until(lambda: not is_alive(children[0]), "the first child to leave")
    if len(numbers) == 1:
        process.send_signal(numbers[0])
    held(small_worker).unlink()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not any(map(is_alive, children)) and not any(map(living_metrics, children))


def test_children_leave_when_the_parent_is_killed_and_their_directory_with_the_next_start(parent):
    process, _, children = parent
    place = living_metrics(children[0])[0].parent
    assert (place / "relay").is_dir()

    def left_by_another_start() -> list[bool]:
        with serving.listen("127.0.0.1", 0) as listener:
            worker_pool.WorkerPool(listener, count=1, server="uvicorn").stop()
        return [bool(living_metrics(child)) for child in children]

    assert left_by_another_start() == [True, True]
    process.kill()
    wait_until(lambda: not any(map(is_alive, children)), "the children to leave")
    wait_until(lambda: left_by_another_start() == [False, False], "their counters to be deleted")
    assert not place.exists()


@pytest.mark.parametrize(
    ("memory", "needed", "is_there"), [("", 1, True), ("", 10**18, False), ("missing", 1, False)]
)
def test_counters_are_in_memory_where_that_has_room(tmp_path, monkeypatch, memory, needed, is_there):
    """The system ends who writes into a mapped file where no room is left."""
    monkeypatch.setattr(worker_pool, "MEMORY", tmp_path / memory)
    monkeypatch.setattr(worker_pool, "MEMORY_BYTES", needed)
    with serving.listen("127.0.0.1", 0) as listener:
        pool = worker_pool.WorkerPool(listener, count=1, server="uvicorn")
        assert Path(pool._metrics).is_dir()
        assert (Path(pool._metrics).parent == tmp_path) == is_there
        pool.stop()
    assert not list(tmp_path.iterdir())


def test_a_child_that_dies_is_replaced_and_the_port_stays_open(parent):
    process, port, (first, second) = parent
    assert living_metrics(first) and living_metrics(second)
    os.kill(first, signal.SIGKILL)
    seen = set()

    def replaced() -> bool:
        try:
            index, pid = ask(port)
        except (ConnectionResetError, ValueError):
            return False  # the one connection that the killed child had already taken
        seen.add(pid)
        return index == 0 and pid != first

    wait_until(replaced, "a new first child")
    assert first not in seen and process.poll() is None
    assert living_metrics(second) and not living_metrics(first)
    children = seen | {second}
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert not any(map(is_alive, children))


def test_a_child_that_cannot_start_ends_the_pool(small_worker, monkeypatch):
    monkeypatch.setattr(worker_pool, "MANAGE", small_worker)
    monkeypatch.setattr(serving, "ignore_signals", lambda: None)  # this process is to hear them
    monkeypatch.setenv("WORKER_FAILS", "1")
    with serving.listen("127.0.0.1", 0) as listener:
        pool = worker_pool.WorkerPool(listener, count=2, server="uvicorn")
        with pytest.raises(worker_pool.WorkerFailed, match="server process 1 ended with 3"):
            pool.run(threading.Event().set)
        assert pool.process_ids() == []


def test_a_stop_while_a_child_is_buried_goes_on(monkeypatch):
    """Its pipe is closed, but it is not gone yet; then comes the signal."""
    waits = iter([SystemExit(0)])

    def wait(timeout=None):
        for end in waits:
            raise end

    child = SimpleNamespace(pid=2**22 + 1, wait=wait, terminate=lambda: None, returncode=0)
    monkeypatch.setattr(serving, "ignore_signals", lambda: None)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: child)
    with serving.listen("127.0.0.1", 0) as listener:
        pool = worker_pool.WorkerPool(listener, count=1, server="uvicorn")
        with pytest.raises(SystemExit):
            pool.run(threading.Event().set)
        assert pool.process_ids() == [] and not Path(pool._metrics).exists()


def test_a_child_for_which_the_system_has_nothing_left_is_tried_again_later(monkeypatch):
    def no_process(*_, **__):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    with serving.listen("127.0.0.1", 0) as listener:
        pool = worker_pool.WorkerPool(listener, count=1, server="uvicorn")
        monkeypatch.setattr(subprocess, "Popen", no_process)
        files = len(os.listdir("/proc/self/fd"))
        pauses = []
        for _ in range(3):
            pool._restarts[0] = (0.0, pauses[-1] if pauses else 10.0)
            pool._restart_those_due()
            pauses.append(pool._restarts[0][1])
        assert pauses == [20.0, 30.0, 30.0] and len(os.listdir("/proc/self/fd")) == files
        monkeypatch.setattr(serving, "ignore_signals", lambda: None)
        with pytest.raises(worker_pool.WorkerFailed, match="0 cannot be started .*unavailable"):  # the first time
            pool.run(threading.Event().set)


def test_a_port_in_use_is_named_with_the_way_out():
    with serving.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(serving.PortError, match=rf"port {port} on 127\.0\.0\.1 is in use: .*PORT={port + 1}"):
            serving.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_a_host_that_is_not_here_is_refused(host):
    with pytest.raises(serving.PortError, match="cannot listen on"):
        serving.listen(host, 0)


@pytest.mark.parametrize(
    ("bound", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1|[::1]")],
)
def test_the_address_shown_is_one_that_a_browser_here_can_open(bound, shown):
    with serving.listen(bound, 0) as listener:
        port = listener.getsockname()[1]
        assert serving.address_of(listener) in {f"http://{each}:{port}" for each in shown.split("|")}
