"""What an order costs on a venue with a past, against one without, in one run.

    python -m benchmarks.growth [--resting 1000000] [--past 10000000] [--rounds 5] [--seconds 3] [--quick]

Two venues stand side by side. The young one has a thousand resting orders; the old one has a million of them and ten
million past ones in its table (see benchmarks.history), a tenth of them one account's. Short rounds alternate between
them, the median counts. The first order on the old venue also loads its book: that is timed apart, and so is what that
one account asks of what it has open.
"""

import argparse
import statistics
import sys
import time

from benchmarks.load import Load, Measured, measure
from benchmarks.report import machine, table
from benchmarks.server import PrivateVenue

USERS = 128
YOUNG_ORDERS = 1_000
FIRST_ORDER_SECONDS = 300
CASES = (
    ("one connection, half trade", "crossing", 1),
    ("64 connections, half trade", "crossing", 64),
    ("64 connections, all rest", "resting", 64),
)
OPEN_REQUESTS = 20
HEADS = ("cost growth", "venue", "orders/s", "p50 ms", "p99 ms", "× the young one's p50")


def run(venues: dict[str, PrivateVenue], rounds: int, seconds: float) -> dict[tuple[str, str], list[Measured]]:
    """All cases on both venues, interleaved."""
    found: dict[tuple[str, str], list[Measured]] = {}
    for number in range(rounds):
        for what, mix, connections in CASES:
            for name, venue in venues.items():
                load = Load(
                    port=venue.port, mix=mix, connections=connections, seconds=seconds, users=venue.users,
                    symbols=venue.markets[:1], seed=number,
                )  # fmt: skip
                found.setdefault((what, name), []).append(measure(load))
    return found


def rows(found: dict[tuple[str, str], list[Measured]], names: list[str]) -> list[tuple]:
    """The table's lines."""
    lines = []
    for what, *_ in CASES:
        base = None
        for name in names:
            rounds = found[what, name]
            p50, p99 = (statistics.median(one.percentile_ms(percent) for one in rounds) for percent in (50, 99))
            base = base or p50
            lines.append((what, name, statistics.median(one.orders_per_second for one in rounds), p50, p99, p50 / base))
    return lines


def first_order_seconds(venue: PrivateVenue) -> float:
    """How long the first order took, which finds no book in memory."""
    body = {"symbol": venue.markets[0], "side": "BUY", "price": "90", "quantity": "0.01"}
    began = time.perf_counter()
    venue.ask("orders/", body, user=venue.users[0], timeout=FIRST_ORDER_SECONDS)
    return time.perf_counter() - began


def open_rows(venues: dict[str, PrivateVenue]) -> list[tuple]:
    """A line for each venue and each thing that its first user does with open orders: p50 in ms, and the ratio."""
    lines = []
    for what, method in (("cancel all", "DELETE"), ("list what is open", "GET")):
        base = None
        for name, venue in venues.items():
            p50 = statistics.median(_open_milliseconds(venue, method) for _ in range(OPEN_REQUESTS))
            base = base or p50
            lines.append((what, name, p50, p50 / base))
    return lines


def _open_milliseconds(venue: PrivateVenue, method: str) -> float:
    user, path = venue.users[0], "orders/?status=ACTIVE&page_size=10" if method == "GET" else "orders/"
    body = {"symbol": venue.markets[1], "side": "BUY", "price": "90", "quantity": "0.01"}
    venue.ask("orders/", body, user=user)
    began = time.perf_counter()
    venue.ask(path, user=user, method=method)
    return 1000 * (time.perf_counter() - began)


def main() -> int:
    """Measure and print; 1 when answers were wrong."""
    parser = argparse.ArgumentParser(description="What an order costs on a venue with a past.")
    parser.add_argument("--resting", type=int, default=1_000_000)
    parser.add_argument("--past", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--quick", action="store_true", help="a small past and one short round, to see that it works")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.resting, chosen.past, chosen.rounds, chosen.seconds = 10_000, 20_000, 1, 1.0
    old_name = f"{chosen.resting:,} resting, {chosen.past:,} past"
    young = PrivateVenue(users=USERS, markets=2, history=("--resting", str(YOUNG_ORDERS)))
    past = ("--past", str(chosen.past - chosen.past // 10), "--past-of-one", str(chosen.past // 10))
    old = PrivateVenue(users=USERS, markets=2, history=("--resting", str(chosen.resting), *past))
    print(f"writing {old_name} orders; a million takes some ten seconds", file=sys.stderr)
    with young, old:
        loaded = [first_order_seconds(venue) for venue in (young, old)]
        venues = {f"{YOUNG_ORDERS:,} resting": young, old_name: old}
        found = run(venues, chosen.rounds, chosen.seconds)
        opened = open_rows(venues)
    print(machine())
    print(table(HEADS, rows(found, list(venues))))
    print("\n" + table(("one account's open orders", "venue", "p50 ms", "× the young one's"), opened))
    print(f"\nthe first order, which loads the book: {loaded[0]:.2f} s and {loaded[1]:.2f} s")
    wrong = sum(one.failures for rounds in found.values() for one in rounds)
    if wrong:
        print(f"WRONG ANSWERS: {wrong}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
