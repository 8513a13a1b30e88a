"""How many operations a second the matching engine does, alone and without a database.

    python -m benchmarks.engine [--operations 200000] [--seed 1]

Two mixes of 60 % orders that rest, 25 % cancels and 15 % that cross:
- plain: limit orders only, the mix that other engines are usually measured with;
- full: the same, but every second resting order is post-only, a sixth of the "cancels" are amendments, and
  the crossing ones are market orders by quantity and by budget, IOC, FOK and limit orders with every
  self-trade prevention.

The operations are made beforehand against a live book, so that each cancel hits. Timed are making the
`Order`, `plan`, `execute` and `cancel`; changes are drained every 256 operations, as the venue does after a
batch.

The reference book is timed on a tenth of the full mix: its commands cost more the deeper the book is. The
garbage collector has the thresholds that the server sets. The best of a few runs counts: the others measure
the machine. Other engines run the plain mix in the same run, as often (see benchmarks.peers).
"""

import argparse
import gc
import random
import time
import tracemalloc
from collections.abc import Callable

from benchmarks import peers
from benchmarks.lockstep import Amend, Cancel, Operation, Place, plan_of
from exchange.engine.book import (
    BUY,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    GTC,
    IOC,
    SELL,
    Book,
    Order,
)
from exchange.engine.reference import ReferenceBook

MIDDLE = 100_000
LEVELS = 50
ACCOUNTS = 1_000
BATCH = 256
RUNS = 9
GARBAGE_THRESHOLDS = (50_000, 50, 1_000)


def make_operations(count: int, seed: int, *, full: bool) -> list[Operation]:
    """A mix that was played once against a book, so that every cancel and amendment names a resting order."""
    dice = random.Random(seed)
    book, made = Book(), []
    resting: list[int] = []
    while len(made) < count:
        roll, operation = dice.random(), None
        if roll < 0.25 and book:
            order_id = _pick(dice, resting, book)
            operation = _amendment(dice, book, order_id) if full and roll < 0.04 else Cancel(order_id)
            if isinstance(operation, Amend):
                resting.append(order_id)
        elif roll < 0.85:
            operation = _resting_order(dice, len(made) + 1, post_only=full and dice.random() < 0.5)
            resting.append(operation.id)
        else:
            operation = _crossing_order(dice, len(made) + 1, full=full)
        _play(book, [operation])
        made.append(operation)
    return made


def _pick(dice: random.Random, resting: list[int], book: Book) -> int:
    """A random resting order; the list also holds some that were filled, which are dropped on the way."""
    while True:
        place = dice.randrange(len(resting))
        resting[place], resting[-1] = resting[-1], resting[place]
        order_id = resting.pop()
        if order_id in book.orders:
            return order_id


def _resting_order(dice: random.Random, order_id: int, *, post_only: bool) -> Place:
    side = dice.choice((BUY, SELL))
    price = MIDDLE - side * dice.randrange(1, LEVELS)
    return Place(order_id, dice.randrange(ACCOUNTS), side, price, dice.randrange(1, 100), GTC, post_only)


def _crossing_order(dice: random.Random, order_id: int, *, full: bool) -> Place:
    side, account, lots = dice.choice((BUY, SELL)), dice.randrange(ACCOUNTS), dice.randrange(1, 100)
    limit = MIDDLE + side * LEVELS
    if not full:
        # Small and aggressive: it fills whole, or its rest is met by the next one of the other side.
        return Place(order_id, account, side, MIDDLE + side * 5, lots)
    prevention = dice.choice((EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH))
    kind = dice.randrange(5)
    if kind == 0:
        return Place(order_id, account, side, None, lots, GTC, False, prevention)
    if kind == 1:
        return Place(order_id, account, side, None, 0, GTC, False, prevention, lots * MIDDLE)
    if kind == 2:
        return Place(order_id, account, side, limit, lots, IOC, False, prevention)
    if kind == 3:
        return Place(order_id, account, side, limit, lots, FOK, False, prevention)
    return Place(order_id, account, side, MIDDLE + side * 5, lots, GTC, False, prevention)


def _amendment(dice: random.Random, book: Book, order_id: int) -> Amend:
    order = book.orders[order_id]
    filled = order.quantity - order.remaining
    if order.remaining > 1 and dice.random() < 0.5:
        return Amend(order_id, order.price, filled + dice.randrange(1, order.remaining))
    return Amend(order_id, order.price - order.side, order.quantity + 1)


def _play(book: Book | ReferenceBook, operations: list[Operation]) -> None:
    for operation in operations:
        kind = type(operation)
        if kind is Cancel:
            book.cancel(operation.id)
            continue
        plan = plan_of(book, operation)
        if plan.refusal is None:
            book.execute(plan)


def in_batches(operations: list[Operation]) -> list[list[tuple]]:
    """The operations as bare tuples in batches. The first member tells them apart: 0 for a limit order with
    the usual terms, 1 for any other order, 2 for a cancel, 3 for an amendment."""
    calls = []
    for operation in operations:
        if type(operation) is Cancel:
            calls.append((2, operation.id))
        elif type(operation) is Amend:
            calls.append((3, (operation.id, operation.price, operation.quantity)))
        elif operation == Place(*operation[:5]):
            calls.append((0, tuple(operation[:5])))
        else:
            calls.append((1, tuple(operation[:9])))
    return [calls[start : start + BATCH] for start in range(0, len(calls), BATCH)]


def measure(new_book: Callable[[], Book | ReferenceBook], operations: list[Operation]) -> float:
    """Operations a second, the best of a few runs, each on a new book."""
    batches = in_batches(operations)
    return len(operations) / min(_timed(new_book(), batches) for _ in range(RUNS))


def _timed(book: Book | ReferenceBook, batches: list[list[tuple]]) -> float:
    plan, execute, cancel, amend = book.plan, book.execute, book.cancel, book.plan_amend
    gc.collect()
    started = time.perf_counter()
    for batch in batches:
        for kind, details in batch:
            if kind == 0:
                order_id, account, side, price, lots = details
                planned = plan(Order(order_id, account, side, price, lots))
            elif kind == 2:
                cancel(details)
                continue
            elif kind == 1:
                order_id, account, side, price, lots, time_in_force, post_only, prevention, budget = details
                order = Order(order_id, account, side, price, lots)
                planned = plan(order, time_in_force, post_only, prevention, budget)
            else:
                order_id, price, lots = details
                planned = amend(order_id, price, lots)
            if planned.refusal is None:
                execute(planned)
        book.drain_changes()
    return time.perf_counter() - started


def filled_book(orders: int, levels: int) -> Book:
    """A book with that many resting orders on each side's `levels` prices, away from the middle."""
    book = Book()
    for number in range(orders):
        side = BUY if number % 2 else SELL
        price = MIDDLE - side * (LEVELS + 10 + number // 2 % levels)
        # Numbers below zero stay out of the way of the ids of the operations.
        book.restore(Order(-1 - number, ACCOUNTS + number % ACCOUNTS, side, price, 10))
    book.drain_changes()
    return book


def bytes_per_order(orders: int) -> float:
    """Memory of a resting order with its share of level and dictionary, its id and all."""
    gc.collect()
    tracemalloc.start()
    book = filled_book(orders, 1_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(book)


def _row(what: str, rate: float, base: float) -> None:
    print(f"{what:<58} {rate:>12,.0f} {rate / base:>8.2f}×")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Measure the matching engine alone.")
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    full = make_operations(options.operations, options.seed, full=True)
    plain = make_operations(options.operations, options.seed, full=False)
    gc.freeze()
    print(f"{'matching engine':<58} {'operations/s':>12} {'ratio':>9}")
    base = measure(ReferenceBook, full[: options.operations // 10])
    _row("reference book, full mix", base, base)
    _row("book, full mix (all order types)", measure(Book, full), base)
    ours = measure(Book, plain)
    _row("book, plain mix (limit orders and cancels)", ours, base)
    others = peers.rates([call for batch in in_batches(plain) for call in batch], RUNS)
    for name, rate in others.items():
        _row(f"{name}, plain mix", rate, base)
    for orders in (1_000, 1_000_000):
        rate = measure(lambda orders=orders: filled_book(orders, orders // 20), full)
        _row(f"book, full mix, above {orders:,} resting orders", rate, base)
    print(f"{'bytes per resting order':<58} {bytes_per_order(100_000):>12,.0f}")
    if others:
        print(f"{'plain mix, against the best of the other engines':<58} {'':>12} {ours / max(others.values()):>8.2f}×")
    else:
        print("No other engines to compare with: pip install -r requirements-bench.txt")


if __name__ == "__main__":
    main()
