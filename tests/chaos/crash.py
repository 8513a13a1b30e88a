"""Faults under load, again and again: nothing acknowledged is lost, nothing is doubled, the audits are clean.

    python -m tests.chaos.crash [--cycles 12] [--clients 32] [--workers 3] [--seed 1] [--faults kill_server,…]
    python -m tests.chaos.crash --cycles 5 --faults kill_postmaster --synchronous-commit off     # must find losses

Every cycle: clients trade, one fault strikes (see tests.chaos.faults), the venue recovers, the clients find out what
they do not know, stop, and everything they were ever told is held against the database; then `audit` and `replay`.
`silence` is the longest time in which no client at all got an acknowledgement.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.chaos.trader import Crowd
from tests.chaos.verdict import auditors, contradictions

RECOVERY_SECONDS = 60
HEADS = ("cycle: fault", "acknowledged", "unanswered", "503", "silence s", "verdict")
#: Commits are answered long before they are safe: what a crash then loses, the harness must notice.
CARELESS = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}


@dataclass
class Cycle:
    """One fault and what came of it."""

    fault: str
    counts: Counter = field(default_factory=Counter)
    silence_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def row(self, number: int) -> tuple:
        acknowledged = sum(count for status, count in self.counts.items() if 200 <= status < 300)
        verdict = "clean" if not self.problems else f"{len(self.problems)} PROBLEMS"
        unanswered, unavailable = self.counts[0], self.counts[503]
        return f"{number}: {self.fault}", acknowledged, unanswered, unavailable, self.silence_seconds, verdict


async def run(
    venue: PrivateVenue, cycle_faults: list[Fault], *, clients: int, seed: int, seconds: float = 1.5
) -> list[Cycle]:
    """One cycle for each of the faults; stops after the first with problems."""
    crowd = Crowd(venue.url, venue.users, venue.markets, clients, seed)
    dice, cycles = random.Random(seed), []
    async with crowd.open():
        for fault in cycle_faults:
            cycles.append(await _cycle(venue, crowd, fault, dice.uniform(0.5, 1) * seconds))
            if cycles[-1].problems:
                break
            crowd.resume()
    return cycles


async def _cycle(venue: PrivateVenue, crowd: Crowd, fault: Fault, seconds: float) -> Cycle:
    before = Counter(crowd.statuses)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(fault, venue)
    mended_at = time.monotonic()
    cycle = Cycle(fault.__name__)
    while crowd.last_acknowledged_at < mended_at:
        if time.monotonic() > mended_at + RECOVERY_SECONDS:
            cycle.problems.append(f"no acknowledgement within {RECOVERY_SECONDS} s after {fault.__name__}")
            return cycle
        await asyncio.sleep(0.01)
    await asyncio.sleep(seconds / 2)
    await crowd.pause()
    cycle.silence_seconds = crowd.silence_seconds
    cycle.counts = crowd.statuses - before
    cycle.problems += crowd.faults
    cycle.problems += await asyncio.to_thread(contradictions, venue.database.url, crowd.records)
    cycle.problems += await asyncio.to_thread(auditors, venue)
    return cycle


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Faults under load, then every check there is.")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--markets", type=int, default=4)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", help="names from tests.chaos.faults, separated by commas; default: all in turn")
    parser.add_argument("--redis-down-seconds", type=float, default=faults.REDIS_DOWN_SECONDS)
    parser.add_argument("--synchronous-commit", choices=("on", "off"), default="on")
    return parser.parse_args()


def main() -> int:
    """The command; 1 when anything was lost, doubled, or answered as it must not be."""
    chosen = options()
    every = faults.SEVERAL_PROCESSES if chosen.workers > 1 else faults.ONE_PROCESS
    if chosen.faults:
        every = [getattr(faults, name) for name in chosen.faults.split(",")]
    faults.REDIS_DOWN_SECONDS = chosen.redis_down_seconds
    in_turn = [every[number % len(every)] for number in range(chosen.cycles)]
    settings = CARELESS if chosen.synchronous_commit == "off" else {}
    counts = {"users": chosen.users, "markets": chosen.markets, "workers": chosen.workers}
    with PrivateVenue(**counts, database_settings=settings) as venue:
        cycles = asyncio.run(run(venue, in_turn, clients=chosen.clients, seed=chosen.seed))
        problems = [problem for cycle in cycles for problem in cycle.problems]
        print(table(HEADS, [cycle.row(number) for number, cycle in enumerate(cycles, 1)]))
        print("\n".join(problems[:50]))
        verdict = "clean" if not problems else f"{len(problems)} PROBLEMS"
        print(f"seed {chosen.seed}, {chosen.workers} processes: {verdict}")
        if problems:
            print(venue.server.output()[-6000:], file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
