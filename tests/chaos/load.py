"""Many clients, several markets, few users, for a while: nobody gets a 5xx, nothing deadlocks, the books agree.

python -m tests.chaos.load [--clients 32] [--users 10] [--markets 4] [--seconds 60] [--workers 1] [--seed 1]
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.chaos.trader import Crowd
from tests.chaos.verdict import auditors, contradictions, deadlocks


@dataclass
class Result:
    """What happened; `problems` is empty when all is well."""

    crowd: Crowd
    seconds: float
    problems: list[str]


def trade(venue: PrivateVenue, *, clients: int, seconds: float, seed: int) -> Result:
    """Let the clients trade, then hold everything against everything."""
    return checked(venue, asyncio.run(traded(venue, clients, seconds, seed)), seconds)


def checked(venue: PrivateVenue, crowd: Crowd, seconds: float) -> Result:
    """Everything against everything, after the clients have traded."""
    problems = list(crowd.faults)
    problems += [
        f"{count} answers with status {status}"
        for status, count in crowd.statuses.items()
        if status == 0 or status >= 500
    ]
    broken_up = deadlocks(venue.database.url)
    if broken_up:
        problems.append(f"{broken_up} deadlocks")
    problems += contradictions(venue.database.url, crowd.records)
    problems += auditors(venue)
    return Result(crowd, seconds, problems)


async def traded(venue: PrivateVenue, clients: int, seconds: float, seed: int) -> Crowd:
    """The clients, after that time and with nothing under way."""
    crowd = Crowd(venue.url, venue.users, venue.markets, clients, seed)
    async with crowd.open():
        await asyncio.sleep(seconds)
        await crowd.pause()
    return crowd


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Random clients over HTTP, then every check there is.")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--markets", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with PrivateVenue(users=options.users, markets=options.markets, workers=options.workers) as venue:
        started = time.monotonic()
        result = trade(venue, clients=options.clients, seconds=options.seconds, seed=options.seed)
        print(
            table(("answer", "times"), sorted([*result.crowd.statuses.items(), *result.crowd.codes.items()], key=str))
        )
        print("\n".join(result.problems[:50]))
        rate, orders = result.crowd.acknowledged / options.seconds, len(result.crowd.records)
        verdict = "clean" if not result.problems else f"{len(result.problems)} PROBLEMS"
        print(f"{options.clients} clients, {options.workers} processes, seed {options.seed}: {verdict}")
        print(f"{orders:,} orders, {rate:,.0f} acknowledgements/s, {time.monotonic() - started:.0f} s with all checks")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
