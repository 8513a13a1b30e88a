"""Where a server's time goes under load, from samples of its stacks (py-spy).

Each sample of a running thread is charged to the innermost frame that belongs to a named part: one of the house's
rooms, or a library. Threads that wait for work are left out; a thread that waits for PostgreSQL is charged to whoever
asked, so the shares are of the time in which something was under way.

Known limits: needs the right to trace the process (root, or CAP_SYS_PTRACE); sampling slows the server a little.
"""

import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import Counter
from pathlib import Path

from benchmarks.load import Load, measure
from benchmarks.report import table

RATE = 250
PARTS = ("exchange/engine", "exchange/api", "exchange/streams", "exchange", "accounts", "marketdata", "config")
#: Innermost frames of threads that have nothing to do.
IDLE = ("_worker (", "Condition.wait (", "Event.wait (", "Runner.run (", "select (")
LIBRARIES = (
    "django", "rest_framework", "rest_framework_simplejwt", "uvicorn", "channels", "channels_redis",
    "asgiref", "asyncio", "daphne", "twisted",
)  # fmt: skip


def where_the_time_goes(pid: int, load: Load) -> str:
    """A table of threads and parts by share of the busy samples, while the load runs."""
    program = Path(sysconfig.get_path("scripts")) / "py-spy"
    with tempfile.NamedTemporaryFile(suffix=".stacks") as stacks:
        command = [str(program), "record", "--pid", str(pid), "--rate", str(RATE), "--duration", str(int(load.seconds))]
        command += ["--format", "raw", "--threads", "--full-filenames", "--output", stacks.name]
        worker = threading.Thread(target=measure, args=(load,))
        worker.start()
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        worker.join()
        if answer.returncode:
            return f"no profile: {(answer.stderr or answer.stdout).strip().splitlines()[-1]}"
        return _table(Path(stacks.name).read_text().splitlines())


def _table(lines: list[str]) -> str:
    shares, total = Counter(), 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if frames[-1].startswith(IDLE):
            continue
        thread = (
            next((frame for frame in frames if frame.startswith("thread ")), "thread").split(":")[-1].strip(" \"')")
        )
        shares[thread, _part(frames)] += int(count)
        total += int(count)
    rows = [(part, thread, 100 * count / total) for (thread, part), count in shares.most_common(24)]
    return table(("where the time goes", "thread", "% of busy samples"), rows)


def _part(frames: list[str]) -> str:
    """The innermost frame's part that has a name; what C code does is charged to whoever called it."""
    for frame in reversed(frames):
        for library in LIBRARIES:
            if f"/{library}/" in frame:
                return library
        for part in PARTS:
            if f"/{part}/" in frame and "site-packages" not in frame:
                return part
    return "other"


if __name__ == "__main__":
    sys.exit("Use `python -m benchmarks.http --profile`.")
