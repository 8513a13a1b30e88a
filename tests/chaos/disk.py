"""The disk is full under load, again and again: orders are answered 503, and when there is room again all is well.

    python -m tests.chaos.disk [--cycles 3] [--megabytes 500] [--clients 16] [--seed 1]

Staged safely: the database's data directory is a small tmpfs of its own, mounted in a mount namespace that only this
proof's processes see and that ends with them (`unshare --mount`), so no disk of this machine fills. What eats the room
is one file beside the cluster. PostgreSQL then cannot extend its tables or its log; for the latter it stops itself, and
is started again once the file is gone, as an operator would. Needs Linux and root; says so where it cannot be staged.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg2

from benchmarks.report import table
from benchmarks.server import PrivateVenue, wait_until
from tests.chaos.crash import HEADS, run

INSIDE = "VENUE_DISK_NAMESPACE"
FULL_SECONDS = 8.0
#: A database that reuses little of what it has: the log goes on to a new segment every few seconds.
SETTINGS = {"max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off", "wal_init_zero": "on"}
#: What it said of the database at the end of each full disk.
READINESS: list[str] = []


def can_be_staged() -> bool:
    """Whether this process may mount something that nobody else sees."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def full_disk(venue: PrivateVenue) -> None:
    """Not a byte left for some seconds; then the room is back, and PostgreSQL runs again if it had stopped."""
    filler = venue.database.data_dir / "filler"
    try:
        _eat(filler)
        deadline = time.monotonic() + FULL_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.2)
            _eat(filler)  # what the database gave back is taken too
        READINESS.append(_readiness(venue))
    finally:
        filler.unlink(missing_ok=True)
    if venue.database.pid is not None and not _accepts(venue):
        wait_until(lambda: venue.database.pid is None or _accepts(venue), "PostgreSQL to recover or to stop")
    if venue.database.pid is None:
        venue.database.restart()


def _readiness(venue: PrivateVenue) -> str:
    """What /health/ready says of the database."""
    try:
        with urllib.request.urlopen(f"{venue.url}/health/ready", timeout=30) as answer:
            return json.loads(answer.read())["checks"]["database"]
    except urllib.error.HTTPError as error:
        return json.loads(error.read())["checks"]["database"]


def _eat(filler: Path) -> None:
    """Make the file as big as it can be, to the last page."""
    with open(filler, "ab", buffering=0) as file:
        for step in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(step))


def _accepts(venue: PrivateVenue) -> bool:
    try:
        psycopg2.connect(venue.database.url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def prove(options: argparse.Namespace) -> int:
    """Inside the namespace."""
    venue = PrivateVenue(users=10, markets=4, database_settings=SETTINGS)
    place = str(venue.database.data_dir)
    size = f"size={options.megabytes}m,mode=711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=True)
    try:
        with venue:
            faults: list[Callable] = [full_disk] * options.cycles
            cycles = asyncio.run(run(venue, faults, clients=options.clients, seed=options.seed))
            after, log = _readiness(venue), venue.server.output()
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(place, ignore_errors=True)
    problems = [problem for cycle in cycles for problem in cycle.problems]
    problems += [f"ready while the disk was full: {word}" for word in READINESS if word == "ok"]
    if after != "ok":
        problems.append(f"not ready with room again: {after}")
    refused = sum(cycle.counts[503] for cycle in cycles)
    if not refused:
        problems.append("nobody was refused: the disk was not full")
    print(table(HEADS, [cycle.row(number) for number, cycle in enumerate(cycles, 1)]))
    print("\n".join(problems[:50]))
    print(f"the database in /health/ready: {', '.join(READINESS)}; {after}")
    verdict = "clean" if not problems else f"{len(problems)} PROBLEMS"
    print(f"{options.cycles} full disks of {options.megabytes} MB, seed {options.seed}: {verdict}; {refused} times 503")
    if problems:
        print(log[-6000:], file=sys.stderr)
    return bool(problems)


def main() -> int:
    """The command: once more inside a namespace of its own; 1 when anything was lost or answered wrongly."""
    parser = argparse.ArgumentParser(description="A full disk under load.")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if os.environ.get(INSIDE):
        return prove(options)
    if not can_be_staged():
        print("not staged: a full disk needs Linux, root and `unshare` here")
        return 0
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.chaos.disk"]
    command += sys.argv[1:]
    os.execvpe(command[0], command, os.environ | {INSIDE: "1"})  # not as a child: who ends this proof ends that


if __name__ == "__main__":
    sys.exit(main())
