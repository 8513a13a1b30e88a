"""Orders over HTTP: the venue against the usual way, in one run.

    python -m benchmarks.http [--rounds 5] [--seconds 4] [--workers 1] [--server uvicorn] [--quick] [--profile]

Both servers are up for the whole run, each with a PostgreSQL of its own with production settings; short rounds
alternate between them, and the median round counts, so that a slow moment of the machine hits both. The baseline is
described in benchmarks.baseline: one transaction per order, stock REST framework, daphne. `crossing` is the headline:
every second order trades. `--profile` then samples the venue's server under load and says where its time goes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.load import Load, Measured, measure
from benchmarks.profile import where_the_time_goes
from benchmarks.report import machine, table
from benchmarks.server import PrivateDatabase, PrivateVenue, Process, free_port

USERS = 128
HEADS = ("HTTP", "server", "connections", "orders/s", "p50 ms", "p99 ms", "× the usual way")


@dataclass(frozen=True)
class Case:
    """One line of the table: a mix at a number of connections; only placing orders is possible on the baseline."""

    what: str
    mix: str
    connections: int
    compared: bool = False


CASES = (
    Case("POST orders, half of them trade", "crossing", 1, True),
    Case("POST orders, half of them trade", "crossing", 64, True),
    Case("POST orders, all rest", "resting", 64, True),
    Case("POST orders, then DELETE each", "cancel", 64),
    Case("POST batches of 20, half trade", "batch", 16),
    Case("socket: place, amend, cancel", "socket", 64),
    Case("GET orderbook (reads/s)", "book", 64),
)


class Baseline:
    """The usual way under daphne, with its own database."""

    def __init__(self):
        self.database = PrivateDatabase()
        self.port = free_port()
        self.process: Process | None = None

    def __enter__(self) -> "Baseline":
        try:
            self.database.start()
            environment = os.environ | {
                "DATABASE_URL": self.database.url,
                "DJANGO_SETTINGS_MODULE": "benchmarks.baseline.settings",
            }
            fill = [sys.executable, "-m", "benchmarks.baseline.population", "--users", str(USERS), "--markets", "1"]
            filled = json.loads(
                subprocess.run(fill, env=environment, check=True, capture_output=True, text=True).stdout
            )
            self.users, self.markets = filled["users"], filled["markets"]
            serve = [
                sys.executable,
                "-m",
                "daphne",
                "-b",
                "127.0.0.1",
                "-p",
                str(self.port),
                "benchmarks.baseline.asgi:application",
            ]
            self.process = Process(
                serve, environment=environment, log=self.database.data_dir / "server.log", open_text="Listening on TCP"
            )
            self.process.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.stop()
        self.database.stop()


def run(
    venue: PrivateVenue, baseline: Baseline, *, rounds: int, seconds: float
) -> dict[tuple[Case, str], list[Measured]]:
    """All cases, interleaved."""
    found: dict[tuple[Case, str], list[Measured]] = {}
    for number in range(rounds):
        for case in CASES:
            for name, target in (("venue", venue), ("baseline", baseline)):
                if name == "venue" or case.compared:
                    load = Load(
                        port=target.port, mix=case.mix, connections=case.connections, seconds=seconds,
                        users=target.users, symbols=target.markets, seed=number,
                    )  # fmt: skip
                    found.setdefault((case, name), []).append(measure(load))
    return found


def rows(found: dict[tuple[Case, str], list[Measured]], server: str) -> list[tuple]:
    """The table's lines, in the order of the cases."""
    lines = []
    names = {"venue": f"venue, {server}", "baseline": "usual way, daphne"}
    for (case, name), rounds in sorted(found.items(), key=lambda item: (CASES.index(item[0][0]), item[0][1])):
        rate = statistics.median(one.orders_per_second for one in rounds)
        base = found.get((case, "baseline"))
        ratio = rate / statistics.median(one.orders_per_second for one in base) if base and name == "venue" else None
        p50, p99 = (statistics.median(one.percentile_ms(percent) for one in rounds) for percent in (50, 99))
        lines.append((case.what, names[name], case.connections, rate, p50, p99, ratio))
    return lines


def failures(found: dict[tuple[Case, str], list[Measured]]) -> list[str]:
    """Cases whose answers were not all what they should be: their figures mean nothing."""
    texts = []
    for (case, name), rounds in found.items():
        statuses = sum((one.statuses for one in rounds), start=type(rounds[0].statuses)())
        wrong = sum(one.failures for one in rounds)
        if wrong or not any(200 <= status < 300 for status in statuses):
            texts.append(f"{name}, {case.what} at {case.connections}: answers by status {dict(statuses)}")
    return texts


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Orders over HTTP: the venue against the usual way.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=1, help="the venue's server processes")
    parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn", help="the venue's server")
    parser.add_argument("--quick", action="store_true", help="one round of a second each, to see that it works")
    parser.add_argument("--profile", action="store_true", help="also say where the venue's time goes (needs ptrace)")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 when answers were wrong."""
    chosen = options()
    rounds, seconds = (1, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    with PrivateVenue(users=USERS, workers=chosen.workers, server=chosen.server) as venue, Baseline() as baseline:
        found = run(venue, baseline, rounds=rounds, seconds=seconds)
        print(machine())
        print(table(HEADS, rows(found, f"{chosen.server} × {chosen.workers}")))
        if chosen.profile:
            load = Load(
                port=venue.port, mix="crossing", connections=64, seconds=8, users=venue.users, symbols=venue.markets
            )
            print("\n" + where_the_time_goes(venue.server.pid, load))
    wrong = failures(found)
    print("\n".join(["", "WRONG ANSWERS", *wrong]) if wrong else "", end="")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
