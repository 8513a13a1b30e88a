"""`python -m benchmarks.prove` and `python -m benchmarks` end with all that they have started: databases, servers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.patience import wait_until
from tests.tooling.support import ROOT, hear_signals, is_alive

#: arguments of `python -m`, signal, a word in the command line of what must have been started by then
ENDED = [
    (["benchmarks.prove", "load, one process"], signal.SIGTERM, "benchmarks.population"),
    (["benchmarks.prove", "services"], signal.SIGHUP, "postgres"),
    (["benchmarks.prove", "services"], signal.SIGINT, "postgres"),
    (["benchmarks", "margin"], signal.SIGTERM, "postgres"),
]


@pytest.fixture
def folder():
    """A temporary directory that the database's user may pass through."""
    made = Path(tempfile.mkdtemp(prefix="venue-prove-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def started_with(folder: Path) -> dict[int, str]:
    """Process ids and command lines of what runs with that temporary directory in its surroundings."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, surroundings = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
            # PostgreSQL overwrites its surroundings.
            if str(folder).encode() in command + surroundings and is_alive(int(place.name)):
                found[int(place.name)] = command.replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


#: Ends itself where it has a database and nothing else yet.
EARLY = """
import django, os, runpy, signal, sys
django.setup = lambda: os.kill(os.getpid(), signal.SIGTERM)
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.parametrize("module", ["tests.model", "tests.margin_risk", "benchmarks.margin"])
def test_nothing_is_left_of_what_had_hardly_begun(folder, module):
    command = [sys.executable, "-c", EARLY, module]
    surroundings = os.environ | {"TMPDIR": str(folder)}
    answer = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, timeout=60)
    left = started_with(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert answer.returncode != 0 and left == {} and list(folder.glob("venue-*")) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="asks /proc who was started with what")
@pytest.mark.parametrize(("arguments", "number", "word"), ENDED)
def test_nothing_is_left(folder, arguments, number, word):
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hear_signals,
    )
    try:
        wait_until(lambda: any(word in line for line in started_with(folder).values()), f"{word} to be started")
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        assert process.wait(60) in (130, -signal.SIGINT)
        assert started_with(folder) == {}
        assert list(folder.glob("venue-*")) == []
    finally:
        for pid in started_with(folder):
            os.kill(pid, signal.SIGKILL)
