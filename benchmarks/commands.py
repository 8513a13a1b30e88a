"""Commands that one command runs, and that end with it: nothing of them is left after Ctrl-C, SIGTERM or SIGHUP.

Each is a session of its own, so that a Ctrl-C reaches it once, from here: a second one would cut short how it ends.
Known limit: after `kill -9` of the one that runs them they go on to their own end.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import CancelledError

from benchmarks.server import end_in_order

#: Longer than any of them takes to stop a server, a database and a Redis, one after the other.
STOP_SECONDS = 180


class Commands:
    """What runs by now, to be ended as a whole; made in the main thread, before the first of them."""

    def __init__(self) -> None:
        self.are_stopped = False
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen] = []
        end_in_order()

    def run(self, command: list[str], **options) -> subprocess.CompletedProcess:
        """What subprocess.run does, in any thread; CancelledError after `stop`."""
        with self._lock:
            if self.are_stopped:
                raise CancelledError
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._running.append(process)
        output, errors = process.communicate()
        self._running.remove(process)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def stop(self) -> None:
        """End all in order, and with force who takes too long; an impatient second signal changes nothing."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with self._lock:
            self.are_stopped = True
        processes, deadline = list(self._running), time.monotonic() + STOP_SECONDS
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
