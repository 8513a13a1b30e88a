"""Two hundred REST clients for a while: no 5xx, no deadlock, flat memory, a flat number of connections, clean books.

    python -m tests.chaos.many [--clients 200] [--seconds 60] [--workers 1] [--seed 1]

The clients are those of tests.chaos.trader: each keeps a connection, gives it up from time to time for another, and
has a dozen orders open at most. So what the venue needs for them does not grow with time, and is measured each second:
the last third of the run is held against the one before it.
"""

import argparse
import asyncio
import sys

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.chaos.gauges import Gauges, growth, watched
from tests.chaos.load import checked, traded

USERS = 40
MARKETS = 8
#: Flat, for a run of minutes; a leak of one small object a request is far above it.
MEMORY_GROWTH = 20.0
MEMORY_GROWTH_PART = 0.1
#: Sockets of the server beside one a client: listening, to the database, and those that are just being closed.
OTHER_CONNECTIONS = 100
SESSION_GROWTH = 2


def judged(gauges: Gauges, clients: int) -> list[str]:
    """What of the samples is not flat."""
    found = []
    more, allowed = growth(gauges.memory), max(MEMORY_GROWTH, MEMORY_GROWTH_PART * gauges.memory[-1])
    if more > allowed:
        found.append(f"memory grew by {more:.0f} MB in the last third: {_course(gauges.memory)}")
    if max(gauges.connections) > clients + OTHER_CONNECTIONS:
        found.append(f"{clients} clients, and connections: {_course(gauges.connections)}")
    if growth(gauges.sessions) > SESSION_GROWTH:
        found.append(f"sessions of the database: {_course(gauges.sessions)}")
    return found


def _course(samples: list) -> str:
    """A dozen of the samples, in order."""
    return " ".join(f"{sample:.0f}" for sample in samples[:: max(1, len(samples) // 12)])


def main() -> int:
    """The command; 1 when something was found."""
    parser = argparse.ArgumentParser(description="Many REST clients at a time, watched from outside.")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with PrivateVenue(users=USERS, markets=MARKETS, workers=options.workers) as venue:
        with watched(venue) as gauges:
            crowd = asyncio.run(traded(venue, options.clients, options.seconds, options.seed))
        result = checked(venue, crowd, options.seconds)
    problems = result.problems + judged(gauges, options.clients)
    print(table(("answer", "times"), sorted([*result.crowd.statuses.items(), *result.crowd.codes.items()], key=str)))
    for name in ("memory", "connections", "sessions"):
        print(f"{name}: {_course(getattr(gauges, name))}")
    print("\n".join(problems[:50]))
    verdict = "clean" if not problems else f"{len(problems)} PROBLEMS"
    parts = [
        f"{options.clients} clients, {options.seconds:.0f} s, seed {options.seed}: {verdict}",
        f"{result.crowd.acknowledged / options.seconds:,.0f} acknowledged/s",
        f"memory {gauges.memory[0]:.0f} to {gauges.memory[-1]:.0f} MB ({growth(gauges.memory):+.0f} in the last third)",
        f"at most {max(gauges.connections)} connections and {max(gauges.sessions)} sessions",
    ]
    print("; ".join(parts))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
