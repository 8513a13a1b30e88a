"""The proofs that take too long for the suite, each a command of its own, in one table with the seeds they used.

    python -m benchmarks.prove [--long] [--seed 1] [--jobs 3] [names …]

Short takes ten minutes on four cores, long an hour and a half. The names are those of the table. Several proofs run
side by side, each on a venue of its own; those that judge by the clock run alone, at the end. In the long form the
slowest are cut into shares, each with a seed of its own. What a proof prints is kept in full when it fails, otherwise
its last line is. Ctrl-C, SIGTERM and SIGHUP end the proofs that run, each with all that it has started.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.commands import Commands
from benchmarks.report import machine, table


@dataclass(frozen=True)
class Proof:
    """The arguments of `python -m`, without the seed, in the short and in the long form.

    shares   how many runs, each with a seed of its own, make up the long form
    alone    whether it needs the machine for itself, because it judges by the clock
    must_fail   whether it has to find something: the harness must be able to
    """

    short: str
    long: str
    shares: int = 1
    alone: bool = False
    must_fail: bool = False


#: A run may use the seeds that follow its own as well.
SEEDS_APART = 100
CRASH, REDIS = "tests.chaos.crash --workers", "--faults lose_redis,hang_redis --redis-down-seconds"
PROOFS = {
    "state machine": Proof(
        "tests.model --examples 100 --steps 50", "tests.model --examples 250 --steps 50", shares=8
    ),
    "REST fuzzing": Proof("tests.fuzz.rest --cases 4000", "tests.fuzz.rest --cases 34000", shares=3),
    "services": Proof("tests.model --operations 20000", "tests.model --operations 200000"),
    "engine": Proof("benchmarks.lockstep --operations 1000000", "benchmarks.lockstep --operations 10000000"),
    "margin crash": Proof("tests.margin_risk --traders 1100", "tests.margin_risk --traders 11000"),
    "load, one process": Proof("tests.chaos.load --seconds 30", "tests.chaos.load --seconds 600"),
    "load, three processes": Proof(
        "tests.chaos.load --seconds 30 --workers 3", "tests.chaos.load --seconds 600 --workers 3"
    ),
    "crashes, one process": Proof(f"{CRASH} 1 --cycles 7", f"{CRASH} 1 --cycles 56"),
    "crashes, three processes": Proof(f"{CRASH} 3 --cycles 12", f"{CRASH} 3 --cycles 84"),
    "losses are found": Proof(
        *[f"{CRASH} 1 --cycles 5 --faults kill_postmaster --synchronous-commit off"] * 2, must_fail=True
    ),
    "Redis gone and hanging": Proof(f"{CRASH} 3 --cycles 2 {REDIS} 10", f"{CRASH} 3 --cycles 6 {REDIS} 60"),
    "a full disk": Proof("tests.chaos.disk --cycles 2", "tests.chaos.disk --cycles 20"),
    "frame fuzzing": Proof("tests.fuzz.frames --cases 5000", "tests.fuzz.frames --cases 100000"),
    "backup and restore": Proof("tests.chaos.restore", "tests.chaos.restore --seconds 120 --clients 32"),
    "recovery with many orders": Proof("tests.chaos.recovery --orders 20000", "tests.chaos.recovery", alone=True),
    "many sockets, slow readers": Proof("tests.chaos.slow", "tests.chaos.slow --seconds 60", alone=True),
    "many clients": Proof("tests.chaos.many --seconds 60", "tests.chaos.many --seconds 600", alone=True),
}


@dataclass(frozen=True)
class Run:
    """One command to be run, and what it is of."""

    name: str
    proof: Proof
    is_long: bool
    seed: int

    def __call__(self, commands: Commands) -> tuple[str, int, float, str]:
        """Its line of the table. Prints everything if it does not end as it should."""
        started = time.monotonic()
        arguments = self.proof.long if self.is_long else self.proof.short
        command = [sys.executable, "-m", *arguments.split(), "--seed", str(self.seed)]
        answer = commands.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        last = (answer.stdout.strip().splitlines() or [""])[-1]
        # A proof that breaks also ends with 1, but without a verdict.
        has_failed = answer.returncode == 1 and last.endswith("PROBLEMS")
        as_it_should = has_failed if self.proof.must_fail else answer.returncode == 0
        if not as_it_should and not commands.are_stopped:
            print(f"\n{' '.join(command)}\n{answer.stdout}{answer.stderr}", flush=True)
        verdict = ("ok: " if as_it_should else "FAILED: ") + last
        seconds = time.monotonic() - started
        print(f"{self.name}, seed {self.seed}, {seconds:,.0f} s: {verdict}", file=sys.stderr, flush=True)
        return self.name, self.seed, seconds, verdict


def runs(names: list[str], *, is_long: bool, seed: int) -> Iterator[Run]:
    """What is to be run."""
    for name in names:
        for share in range(PROOFS[name].shares if is_long else 1):
            yield Run(name, PROOFS[name], is_long, seed + share * SEEDS_APART)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the long proofs.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(PROOFS)}")
    parser.add_argument("--long", action="store_true", help="at full length: an hour and a half on four cores")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="how many side by side")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - PROOFS.keys():
        parser.error(f"no such proof: {', '.join(sorted(unknown))}")
    return chosen


def side_by_side(every: list[Run], commands: Commands, jobs: int) -> list[tuple[str, int, float, str]]:
    """Their lines of the table, so many at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(lambda run: run(commands), every))
        except KeyboardInterrupt:
            commands.stop()
            raise


def main() -> int:
    """Run those that are named, all by default; 1 when one of them failed."""
    chosen = options()
    started = time.monotonic()
    print(machine(), flush=True)
    every = list(runs(chosen.names or list(PROOFS), is_long=chosen.long, seed=chosen.seed))
    commands = Commands()
    try:
        lines = side_by_side([run for run in every if not run.proof.alone], commands, max(1, chosen.jobs))
        lines += side_by_side([run for run in every if run.proof.alone], commands, 1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(table(("proof", "seed", "seconds", "verdict"), lines))
    print(f"{len(lines)} runs, {(time.monotonic() - started) / 60:,.0f} minutes")
    return any(verdict.startswith("FAILED") for *_, verdict in lines)


if __name__ == "__main__":
    sys.exit(main())
