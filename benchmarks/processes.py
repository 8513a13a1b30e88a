"""Three server processes against one, in one run: orders that rest, trade or are cancelled, over several markets.

    python -m benchmarks.processes [--workers 3] [--markets 8] [--rounds 5] [--seconds 4] [--quick]

Both venues stand side by side, each with its own PostgreSQL; the one with several processes also has a Redis. Short
rounds alternate between them, the median counts. The load comes from the same machine: on four cores three processes,
their database connections and the clients are more than there is room for, which is part of the figure.
"""

import argparse
import statistics
import sys

from benchmarks.load import Load, Measured, measure
from benchmarks.report import machine, table
from benchmarks.server import PrivateVenue

USERS = 128
CONNECTIONS = 64
MIXES = {"half trade": "crossing", "all rest": "resting", "place, then cancel": "cancel", "batches of 20": "batch"}
HEADS = ("several processes", "processes", "orders/s", "p50 ms", "p99 ms", "× one process")


def run(venues: dict[int, PrivateVenue], rounds: int, seconds: float) -> dict[tuple[str, int], list[Measured]]:
    """All mixes on both venues, interleaved."""
    found: dict[tuple[str, int], list[Measured]] = {}
    for number in range(rounds):
        for what, mix in MIXES.items():
            for workers, venue in venues.items():
                load = Load(
                    port=venue.port, mix=mix, connections=16 if mix == "batch" else CONNECTIONS, seconds=seconds,
                    users=venue.users, symbols=venue.markets, seed=number,
                )  # fmt: skip
                found.setdefault((what, workers), []).append(measure(load))
    return found


def rows(found: dict[tuple[str, int], list[Measured]]) -> list[tuple]:
    """The table's lines, and last the mixes together."""
    lines, rates = [], {}
    for (what, workers), rounds in sorted(found.items(), key=lambda item: (list(MIXES).index(item[0][0]), item[0][1])):
        rate = statistics.median(one.orders_per_second for one in rounds)
        p50, p99 = (statistics.median(one.percentile_ms(percent) for one in rounds) for percent in (50, 99))
        rates.setdefault(what, rate)
        lines.append((what, workers, rate, p50, p99, rate / rates[what]))
    ratios = [line[-1] for line in lines if line[1] != 1]
    return [*lines, ("geometric mean", lines[-1][1], None, None, None, statistics.geometric_mean(ratios))]


def main() -> int:
    """Measure and print; 1 when answers were wrong."""
    parser = argparse.ArgumentParser(description="Several server processes against one.")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--markets", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--quick", action="store_true", help="one round of a second each, to see that it works")
    chosen = parser.parse_args()
    rounds, seconds = (1, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    one = PrivateVenue(users=USERS, markets=chosen.markets)
    several = PrivateVenue(users=USERS, markets=chosen.markets, workers=chosen.workers)
    with one, several:
        found = run({1: one, chosen.workers: several}, rounds, seconds)
    print(machine())
    print(table(HEADS, rows(found)))
    wrong = sum(one.failures for rounds in found.values() for one in rounds)
    if wrong:
        print(f"WRONG ANSWERS: {wrong}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
