"""Child processes that no signal leaves behind.

Ctrl-C raises wherever the main thread stands. Within subprocess.Popen that is after the fork and before anybody knows
the child's id: a database would go on without whoever was to stop it.
"""

import signal
import subprocess
import threading
from contextlib import ExitStack

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def spawn(command: list[str], **options) -> subprocess.Popen:
    """subprocess.Popen; a signal that comes meanwhile is heard afterwards, and the child ends if that raises."""
    if threading.current_thread() is not threading.main_thread():
        return subprocess.Popen(command, **options)  # signals raise in the main thread only
    heard: list[int] = []
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    child = None
    try:
        try:
            # One that is heard again may raise while the others are still to come: each comes back all the same.
            with ExitStack() as coming_back:
                for number, handler in handlers.items():
                    coming_back.callback(signal.signal, number, handler)
                    signal.signal(number, lambda number, _: heard.append(number))
                child = subprocess.Popen(command, **options)
        finally:
            for number in heard:
                handlers[number](number, None)
        return child
    except BaseException:
        if child is not None:
            child.kill()
            child.wait()
        raise


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    """subprocess.run with both outputs as text, whatever the exit code; the child ends with what breaks it off."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    with spawn(command, **streams, **options) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
