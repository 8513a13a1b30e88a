"""Marking positions and reacting to a mark.

    python -m benchmarks.margin [--positions 100000] [--accounts 10000] [--samples 300] [--quick]

Marking: an index of so many positions in ten markets is given new marks, the arithmetic alone, on one core; then the
same with every thousandth account low. The best of five rounds counts.

Reacting: a private venue with so many accounts of one open position each. A mark sends exactly one of them to its
stop-out, again and again; timed is from before the mark is written until the liquidation's order is handed to the
sequencer, and until it is filled and committed (fsync on). Everything between is the real thing: the mark's commit, the
monitor over all positions, the account read again, call and liquidation kept and told.
"""

import argparse
import gc
import sys
import time
from decimal import Decimal
from random import Random

from benchmarks.in_process import private_tables
from benchmarks.report import table

MARKETS = 10
ROUNDS = 5


def marking(positions: int, seed: int) -> list[tuple]:
    """Rows of the table: marking everything once."""
    from exchange.risk_index import SCALE, Holding, Key, RiskIndex, Value, touched
    from marketdata.contracts import Tier

    rows = []
    for name, thousandth_is_low in (("positions marked/s, nobody low", False), ("positions marked/s, 0.1 % low", True)):
        dice, index = Random(seed), RiskIndex(Decimal(1))
        for market in range(MARKETS):
            index.set_market(market, (Tier(None, 2_000_000, 1_000_000),))
            index.mark(market, Value(110_000 * SCALE, SCALE))
        for account in range(positions // 2):
            markets = dice.sample(range(MARKETS), 2)
            low = thousandth_is_low and account % 1_000 == 0
            held = [Holding(market, lots := dice.randrange(-50, 50) or 1, lots * 110_000, 0) for market in markets]
            index.put(Key(account, 1), 0 if low else 10**9, held)
        best = min(_round(index, touched, Value, SCALE, step) for step in range(ROUNDS))
        rows.append((name, len(index) / best, f"{best * 1000:.0f} ms for {len(index):,}"))
    return rows


def _round(index, touched, value, scale: int, step: int) -> float:
    gc.collect()
    marks = {market: value((110_000 + step + 1) * scale, scale) for market in range(MARKETS)}
    started = time.perf_counter()
    touched(marks, index)
    return time.perf_counter() - started


# Reacting


def reacting(accounts: int, samples: int) -> list[tuple]:
    """Rows of the table: from a mark to the liquidation's first order."""
    with private_tables():
        return _measure(accounts, samples)


def _measure(accounts: int, samples: int) -> list[tuple]:
    from tests.margin_risk.venue import RiskVenue
    from tests.venue import Venue

    venue = RiskVenue(Venue())
    try:
        prices = _populate(venue, accounts, samples)
        submitted, filled = [], []
        for price in prices:
            first, last = venue.run(_react(venue, price))
            submitted.append(first)
            filled.append(last)
    finally:
        venue.close()
    return [
        (f"mark to order, {accounts:,} positions, p50 / p99", *_percentiles(submitted)),
        (f"mark to fill, {accounts:,} positions, p50 / p99", *_percentiles(filled)),
    ]


def _populate(venue, accounts: int, samples: int) -> list[str]:
    """Everybody long one lot at 1.10000; the victims have just enough for one more pip each. The marks to set."""
    from exchange.commands import Place
    from marketdata.markets import by_symbol
    from tests.margin_risk import crash

    venue.trader("rich", USD=20_000_000)
    venue.insure(1_000_000)
    venue.change("EURUSD", max_quantity=Decimal(10_000_000))
    spec = by_symbol("EURUSD")
    owners = crash.population(accounts)
    venue.order(f"rich SELL {accounts // 100 + 1} EURUSD @ 1.10000")
    for start in range(0, accounts, 200):
        crash.place_all([_purchase(Place, owner.id, spec) for owner in owners[start : start + 200]])
    # Margin is 22, stop-out at 11. Each victim is left with what lasts one step of 0.0001 longer than the one before.
    for number, owner in enumerate(owners[:samples], 1):
        crash.fund([owner], Decimal(22) + Decimal("0.1") * number - crash.CAPITAL)
    venue.order(f"rich BUY {samples // 100 + 1} EURUSD @ 1.05000")
    venue.watch()
    return [str(Decimal("1.08900") - Decimal("0.00010") * number) for number in range(1, samples + 1)]


def _purchase(place: type, account_id: int, spec):
    """One lot at 1.10000."""
    return place(
        account=account_id, spec=spec, side=1, type="LIMIT", price=110_000, quantity=1, budget=None,
        time_in_force="IOC", post_only=False, prevention="EXPIRE_TAKER",
    )  # fmt: skip


async def _react(venue, price: str) -> tuple[float, float]:
    """Seconds from before the mark until the order was handed over, and until it was answered."""
    from exchange import orders

    real, times = orders.place_async, []

    async def timed(command):
        times.append(time.perf_counter())
        answer = await real(command)
        times.append(time.perf_counter())
        return answer

    orders.place_async = timed
    try:
        started = time.perf_counter()
        await venue.leader.do(venue.mark, "EURUSD", price)
        await venue.engine.step(venue.leader)
        await venue.engine.finished()
    finally:
        orders.place_async = real
    assert len(times) == 2, f"{len(times) // 2} liquidations at {price}"
    return times[0] - started, times[1] - started


def _percentiles(seconds: list[float]) -> tuple[str, str]:
    ordered = sorted(seconds)
    middle, late = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
    return f"{middle * 1000:.1f} / {late * 1000:.1f} ms", f"{len(ordered)} samples"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure marking and liquidating.")
    parser.add_argument("--positions", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    rows = reacting(options.accounts // part, options.samples // part)
    rows = marking(options.positions // part, options.seed) + rows
    print(table(("margin", "figure", ""), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
