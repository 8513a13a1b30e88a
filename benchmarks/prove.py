"""The proofs that take too long for the suite, each a command of its own, in one table with the seeds they used.

    python -m benchmarks.prove [--long] [--seed 1] [names …]

Short takes minutes, long hours. The names are those of the table. What a proof prints is kept in
full when it fails, otherwise its last line is.
"""

import argparse
import subprocess
import sys
import time

from benchmarks.report import machine, table

REDIS = "lose_redis,hang_redis"
#: Name to the short and the long form's arguments of `python -m`; each takes --seed as well.
PROOFS = {
    "engine": (["benchmarks.lockstep", "--operations", "1000000"], ["benchmarks.lockstep", "--operations", "10000000"]),
    "services": (["tests.model", "--operations", "20000"], ["tests.model", "--operations", "200000"]),
    "state machine": (
        ["tests.model", "--examples", "100", "--steps", "50"],
        ["tests.model", "--examples", "2000", "--steps", "50"],
    ),
    "margin crash": (["tests.margin_risk", "--traders", "1100"], ["tests.margin_risk", "--traders", "11000"]),
    "load, one process": (["tests.chaos.load", "--seconds", "30"], ["tests.chaos.load", "--seconds", "600"]),
    "load, three processes": (
        ["tests.chaos.load", "--seconds", "30", "--workers", "3"],
        ["tests.chaos.load", "--seconds", "600", "--workers", "3"],
    ),
    "crashes, one process": (
        ["tests.chaos.crash", "--cycles", "7", "--workers", "1"],
        ["tests.chaos.crash", "--cycles", "56", "--workers", "1"],
    ),
    "crashes, three processes": (
        ["tests.chaos.crash", "--cycles", "12", "--workers", "3"],
        ["tests.chaos.crash", "--cycles", "84", "--workers", "3"],
    ),
    "Redis gone and hanging": (
        ["tests.chaos.crash", "--cycles", "2", "--workers", "3", "--faults", REDIS, "--redis-down-seconds", "10"],
        ["tests.chaos.crash", "--cycles", "6", "--workers", "3", "--faults", REDIS, "--redis-down-seconds", "60"],
    ),
    "a full disk": (["tests.chaos.disk", "--cycles", "2"], ["tests.chaos.disk", "--cycles", "20"]),
    "recovery with many orders": (["tests.chaos.recovery", "--orders", "20000"], ["tests.chaos.recovery"]),
    "REST fuzzing": (["tests.fuzz.rest", "--cases", "4000"], ["tests.fuzz.rest", "--cases", "100000"]),
    "frame fuzzing": (["tests.fuzz.frames", "--cases", "5000"], ["tests.fuzz.frames", "--cases", "100000"]),
    "many sockets, slow readers": (["tests.chaos.slow"], ["tests.chaos.slow", "--seconds", "60"]),
    "many clients": (["tests.chaos.many", "--seconds", "60"], ["tests.chaos.many", "--seconds", "600"]),
    "backup and restore": (["tests.chaos.restore"], ["tests.chaos.restore", "--seconds", "120", "--clients", "32"]),
}
#: The harness must be able to fail: here it has to find losses.
CARELESS = ["tests.chaos.crash", "--cycles", "5", "--workers", "1", "--faults", "kill_postmaster"]
MUST_FAIL = {"losses are found": [*CARELESS, "--synchronous-commit", "off"]}


def prove(name: str, arguments: list[str], seed: int, must_fail: bool) -> tuple[str, int, float, str]:
    """Run one; its line of the table. Prints everything if it does not end as it should."""
    started = time.monotonic()
    command = [sys.executable, "-m", *arguments, "--seed", str(seed)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    # 1 is "found something"; anything else means that the proof itself broke.
    as_it_should = answer.returncode == int(must_fail)
    if not as_it_should:
        print(f"\n{' '.join(command)}\n{answer.stdout}{answer.stderr}", flush=True)
    last = (answer.stdout.strip().splitlines() or [""])[-1]
    return name, seed, time.monotonic() - started, ("ok: " if as_it_should else "FAILED: ") + last


def main() -> int:
    """Run those that are named, all by default; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description="Run the long proofs.")
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join([*PROOFS, *MUST_FAIL])}")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = {name: arguments[options.long] for name, arguments in PROOFS.items()} | MUST_FAIL
    if unknown := set(options.names) - chosen.keys():
        parser.error(f"no such proof: {', '.join(sorted(unknown))}")
    print(machine(), flush=True)
    lines = []
    for name in options.names or chosen:
        lines.append(prove(name, chosen[name], options.seed, name in MUST_FAIL))
        print(f"{name}: {lines[-1][3]}", file=sys.stderr, flush=True)
    print(table(("proof", "seed", "seconds", "verdict"), lines))
    return any(line[3].startswith("FAILED") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
