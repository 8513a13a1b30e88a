"""How long a venue with many open orders takes to come back: after `kill -9` of the server, and of everything.

    python -m tests.chaos.recovery [--orders 100000] [--markets 4] [--seed 1]

Measured is the time from the kill to the first acknowledged order in every market (each has to have its book again for
that) and to the first whole snapshot of each book. The books afterwards are level by level those before, `audit` and
`replay` are clean. The seed draws the prices.
"""

import argparse
import random
import sys
import time
import urllib.error
from collections.abc import Callable

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.chaos import faults
from tests.chaos.verdict import auditors

BATCH = 100
DEEPEST = 1_000
GIVE_UP_SECONDS = 120
FAULTS = (faults.kill_server, faults.kill_postmaster, faults.kill_everything)
HEADS = ("fault", "open orders", "started again s", "orders again after s", "books again after s", "verdict")


def fill(venue: PrivateVenue, orders: int, seed: int) -> None:
    """So many resting orders, evenly over the markets, on both sides of the middle."""
    dice, user = random.Random(seed), venue.users[0]
    for first in range(0, orders, BATCH):
        symbol = venue.markets[first // BATCH % len(venue.markets)]
        answer = venue.ask("orders/batch/", {"orders": [_order(dice, symbol) for _ in range(BATCH)]}, user=user)
        refused = [one for one in answer["results"] if one["status"] != 201]
        assert not refused, refused[:1]


def _order(dice: random.Random, symbol: str) -> dict:
    side = dice.choice(("BUY", "SELL"))
    cents = dice.randint(6_000, 9_900) if side == "BUY" else dice.randint(10_100, 14_000)
    return {"symbol": symbol, "side": side, "price": f"{cents / 100:.2f}", "quantity": f"0.{dice.randint(1, 999):03d}"}


def books(venue: PrivateVenue) -> dict[str, dict]:
    """Every book as far as it is shown."""
    return {
        symbol: {name: book[name] for name in ("bids", "asks")}
        for symbol in venue.markets
        for book in [venue.ask(f"orderbook/?symbol={symbol}&depth={DEEPEST}")]
    }


def strike(venue: PrivateVenue, fault: faults.Fault, orders: int) -> tuple[tuple, list[str]]:
    """One fault, and how long until everything is back; a line of the table and what is wrong."""
    before = books(venue)
    killed_at = time.monotonic()
    fault(venue)
    started = time.monotonic() - killed_at
    for symbol in venue.markets:
        _until_answered(lambda symbol=symbol: _touch(venue, symbol))
    trading = time.monotonic() - killed_at
    after = _until_answered(lambda: books(venue))
    reading = time.monotonic() - killed_at
    problems = auditors(venue)
    if after != before:
        problems.append(f"{fault.__name__}: the books differ from those before it")
    verdict = "clean" if not problems else f"{len(problems)} PROBLEMS"
    return (fault.__name__, orders, started, trading, reading, verdict), problems


def _touch(venue: PrivateVenue, symbol: str) -> dict:
    """An order that is acknowledged and leaves the book as it was."""
    user = venue.users[1]
    order = venue.ask("orders/", _order(random.Random(1), symbol) | {"price": "55", "side": "BUY"}, user=user)
    return venue.ask(f"orders/{order['id']}/cancel/", {}, user=user)


def _until_answered(ask: Callable[[], dict]) -> dict:
    """Ask until there is an answer other than 503."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            return ask()
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def main() -> int:
    """The command; 1 when something was lost or changed."""
    parser = argparse.ArgumentParser(description="Recovery with many open orders.")
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--markets", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows, problems = [], []
    with PrivateVenue(users=2, markets=options.markets) as venue:
        fill(venue, options.orders, options.seed)
        for fault in FAULTS:
            row, found = strike(venue, fault, options.orders)
            rows.append(row)
            problems += found
    print(table(HEADS, rows))
    print("\n".join(problems[:20]))
    verdict = "clean" if not problems else f"{len(problems)} PROBLEMS"
    longest = max(row[4] for row in rows)
    print(f"{options.orders:,} open orders, seed {options.seed}: {verdict}; all is back within {longest:.1f} s")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
