"""A backup taken while clients trade, and one of the quiet venue, each restored into a new cluster: both pass the audit
and replay, and the quiet one is the same venue, book by book.

    python -m tests.chaos.restore [--clients 16] [--seconds 10] [--markets 4] [--seed 1]
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from benchmarks.server import PrivateDatabase, PrivateVenue
from tests.chaos.trader import Crowd


async def _trade(venue: PrivateVenue, clients: int, seconds: float, seed: int, file: Path) -> int:
    """Trade, and take a backup in the middle of it; how many orders were placed."""
    crowd = Crowd(venue.url, venue.users, venue.markets, clients, seed)
    async with crowd.open():
        await asyncio.sleep(seconds / 2)
        answer = await asyncio.to_thread(venue.manage, "backup", str(file))
        assert answer.returncode == 0, answer.stderr
        await asyncio.sleep(seconds / 2)
        await crowd.pause()
    return len(crowd.records)


def hashes(venue: PrivateVenue) -> tuple[dict[str, str], list[str]]:
    """The state hash of each market's book, and what audit and replay complain of."""
    audited, replayed = venue.manage("audit"), venue.manage("replay")
    problems = [answer.stdout[-2000:] + answer.stderr[-2000:] for answer in (audited, replayed) if answer.returncode]
    rows = [line.split() for line in replayed.stdout.splitlines()[1:]]
    return {row[0]: row[4] for row in rows if len(row) > 5}, problems


def restored(venue: PrivateVenue, file: Path) -> tuple[dict[str, str], list[str]]:
    """The same of a new cluster that the file was read into."""
    copy = PrivateVenue(users=0)
    copy.database = PrivateDatabase()
    copy.database.start()
    try:
        answer = copy.manage("restore", str(file))
        if answer.returncode:
            return {}, [answer.stdout + answer.stderr]
        return hashes(copy)
    finally:
        copy.database.stop()


def prove(venue: PrivateVenue, *, clients: int, seconds: float, seed: int) -> tuple[int, list[str]]:
    """How many orders were placed, and what is wrong with the restored venues."""
    busy, quiet = venue.database.data_dir / "busy.dump", venue.database.data_dir / "quiet.dump"
    orders = asyncio.run(_trade(venue, clients, seconds, seed, busy))
    answer = venue.manage("backup", str(quiet))
    assert answer.returncode == 0, answer.stderr
    now, problems = hashes(venue)
    _, of_busy = restored(venue, busy)
    then, of_quiet = restored(venue, quiet)
    problems += of_busy + of_quiet
    if not now or then != now:
        problems.append(f"the restored books differ: {now} became {then}")
    return orders, problems


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Back up, restore, and compare.")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--markets", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    with PrivateVenue(users=10, markets=options.markets) as venue:
        orders, problems = prove(venue, clients=options.clients, seconds=options.seconds, seed=options.seed)
    print("\n".join(problems))
    verdict = "the same venue twice" if not problems else f"{len(problems)} PROBLEMS"
    seconds = time.monotonic() - started
    print(f"{orders:,} orders, {options.markets} markets, seed {options.seed}: {verdict}, {seconds:.0f} s")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
