"""The fast book against the reference book: the same random commands to both, and every answer compared.

    python -m benchmarks.lockstep --operations 1000000 --seed 1

Each command's plan is compared field by field; regularly also the state hash, the depth of both sides, the
depth that a reader would have from `drain_changes` alone, and whether the book is crossed. Exit code 1 at
the first difference, with what is needed to see it again: the seed, the book before, and the last commands.

The commands use every order type, time in force, prevention and way to amend, icebergs, stops and trailing
stops (their triggers are compared with the plain ones in the same way), on a few prices around a drifting
middle, so that queues are long, self-trades common and walks deep; some name orders that are gone.
"""

import argparse
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

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
    Plan,
)
from exchange.engine.reference import ReferenceBook
from exchange.engine.reference_triggers import ReferenceTriggers
from exchange.engine.triggers import FALLING, RATE_ONE, RISING, Triggers

TIMES_IN_FORCE = (GTC, GTC, GTC, GTC, GTC, IOC, FOK)
PREVENTIONS = (EXPIRE_TAKER, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH)
ACCOUNTS = 6
KNOWN_ORDERS = 250
LOWEST_MIDDLE = 100
TRACE = 20


class Place(NamedTuple):
    """A new order; `price` None is a market order, and with a `budget` its quantity is 0."""

    id: int
    account: int
    side: int
    price: int | None
    quantity: int
    time_in_force: str = GTC
    post_only: bool = False
    prevention: str = EXPIRE_TAKER
    budget: int | None = None
    display: int = 0


class Wait(NamedTuple):
    """An order that waits for a price; `stop` is where, or where its trailing begins."""

    id: int
    direction: int
    stop: int
    trail: int
    trail_rate: int
    order: Place


class Amend(NamedTuple):
    """New terms for an order that may or may not rest."""

    id: int
    price: int
    quantity: int
    post_only: bool = False
    prevention: str = EXPIRE_TAKER


class Cancel(NamedTuple):
    """The end of an order that may or may not rest."""

    id: int


Operation = Place | Wait | Amend | Cancel


class Iceberg(Order):
    """An order with a hidden part."""

    __slots__ = ("display", "hidden")


class Waiting:
    """A triggered order as both kinds of `Triggers` know it, each its own copy."""

    __slots__ = ("id", "direction", "stop", "trail", "trail_rate", "order")

    def __init__(self, *terms):
        self.id, self.direction, self.stop, self.trail, self.trail_rate, self.order = terms


class Difference(AssertionError):
    """The two books gave different answers."""


def facts(plan: Plan) -> dict:
    """A plan as plain values that can be compared between books."""
    return {
        "order": plan.order.id,
        "refusal": plan.refusal,
        "matches": [(maker.id, lots) for maker, lots in plan.matches],
        "prices": [maker.price for maker, _ in plan.matches],
        "expired_makers": [maker.id for maker in plan.expired_makers],
        "filled": plan.filled,
        "notional": plan.notional,
        "rests": plan.rests,
        "expires": plan.expires,
        "keeps_place": plan.keeps_place,
        "terms": (plan.price, plan.quantity),
    }


def order_of(operation: Place) -> Order:
    """A fresh order with the operation's terms."""
    terms = operation.id, operation.account, operation.side, operation.price, operation.quantity
    if not operation.display:
        return Order(*terms)
    order = Iceberg(*terms)
    order.display, order.hidden = operation.display, 0
    return order


def plan_of(book: Book | ReferenceBook, operation: Place | Amend) -> Plan:
    """Ask the book what the operation would do."""
    if isinstance(operation, Amend):
        return book.plan_amend(
            operation.id,
            price=operation.price,
            quantity=operation.quantity,
            post_only=operation.post_only,
            prevention=operation.prevention,
        )
    return book.plan(
        order_of(operation),
        time_in_force=operation.time_in_force,
        post_only=operation.post_only,
        prevention=operation.prevention,
        budget=operation.budget,
    )


def apply(book: Book | ReferenceBook, operation: Operation) -> dict:
    """Do the operation; what came of it, as plain values."""
    try:
        if isinstance(operation, Cancel):
            order = book.cancel(operation.id)
            return {"cancelled": (order.id, order.remaining, order.quantity)}
        plan = plan_of(book, operation)
    except (KeyError, ValueError) as error:
        return {"error": type(error).__name__}
    result = facts(plan)
    if plan.refusal is None:
        book.execute(plan)
        result["remaining"] = plan.order.remaining
    return result


def operations(seed: int) -> Iterator[Operation]:
    """Random commands without end, the same for the same seed."""
    dice = random.Random(seed)
    middle = 10 * LOWEST_MIDDLE
    known: list[int] = []
    next_id = 1
    while True:
        middle = max(LOWEST_MIDDLE, middle + dice.choice((-1, 0, 0, 0, 0, 0, 1)))
        roll = dice.random()
        if known and (roll < 0.15 or len(known) > KNOWN_ORDERS):
            place = dice.randrange(len(known))
            known[place], known[-1] = known[-1], known[place]
            yield Cancel(known.pop())
        elif known and roll < 0.25:
            yield _random_amendment(dice, dice.choice(known), middle)
        else:
            known.append(next_id)
            order = _random_order(dice, next_id, middle)
            yield order if dice.random() > 0.08 else _random_wait(dice, order, middle)
            next_id += 1


def _random_order(dice: random.Random, order_id: int, middle: int) -> Place:
    side = dice.choice((BUY, SELL))
    account = dice.randrange(ACCOUNTS)
    prevention = dice.choice(PREVENTIONS)
    roll = dice.random()
    if roll < 0.05:
        return Place(order_id, account, side, None, 0, GTC, False, prevention, dice.randrange(1, 40 * middle))
    quantity = dice.randrange(1, 60 if roll < 0.2 else 12)
    time_in_force = dice.choice(TIMES_IN_FORCE)
    # One in four far from the middle, so that many levels empty somewhere below the top.
    away = dice.randrange(-3, 10) if roll < 0.75 else dice.randrange(LOWEST_MIDDLE)
    price = None if roll < 0.12 else max(1, middle - side * away)
    post_only = dice.random() < 0.1
    display = dice.randrange(1, quantity) if price is not None and 1 < quantity and dice.random() < 0.15 else 0
    return Place(order_id, account, side, price, quantity, time_in_force, post_only, prevention, None, display)


def _random_wait(dice: random.Random, order: Place, middle: int) -> Wait:
    direction, stop = dice.choice((RISING, FALLING)), middle + dice.randrange(-12, 13)
    kind = dice.randrange(4)
    trail = dice.randrange(1, 9) if kind == 0 else 0
    trail_rate = dice.randrange(1, RATE_ONE // 50) if kind == 1 else 0
    return Wait(order.id, direction, max(1, stop), trail, trail_rate, order)


def _random_amendment(dice: random.Random, order_id: int, middle: int) -> Amend:
    price = middle + dice.randrange(-6, 7)
    return Amend(order_id, price, dice.randrange(1, 14), dice.random() < 0.2, dice.choice(PREVENTIONS))


class Lockstep:
    """Both books side by side; every method raises `Difference` where they disagree."""

    def __init__(self):
        self.fast, self.reference = Book(), ReferenceBook()
        self.triggers, self.plain_triggers = Triggers(), ReferenceTriggers()
        self.mirror: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
        self.trades = self.triggered = 0

    def step(self, operation: Operation) -> dict:
        """Do one operation in both books, and what it triggers; what came of the operation itself."""
        if isinstance(operation, Wait):
            for triggers in (self.triggers, self.plain_triggers):
                triggers.add(Waiting(*operation))
            return {}
        if isinstance(operation, Cancel) and operation.id in self.triggers.waiting:
            for triggers in (self.triggers, self.plain_triggers):
                triggers.remove(operation.id)
            return {}
        result = self._place(operation)
        due = self._observe(result)
        while due:
            due += self._observe(self._place(due.pop(0)))
            self.triggered += 1
        return result

    def _place(self, operation: Operation) -> dict:
        fast, reference = apply(self.fast, operation), apply(self.reference, operation)
        if fast != reference:
            raise Difference(f"the answers differ:\n  fast      {fast}\n  reference {reference}")
        self.trades += len(fast.get("matches", ()))
        self.fast.refilled.clear()
        return fast

    def _observe(self, result: dict) -> list[Place]:
        """The orders that the first and the last trade of a result trigger, in the order in which they go."""
        due, prices = [], result.get("prices", ())
        for price in {prices[0]: 0, prices[-1]: 0} if prices else ():
            expected = {waiting.id for waiting in self.triggers.within(price, price)}
            fast, plain = self.triggers.observe(price), self.plain_triggers.observe(price)
            _same("triggered", [(one.id, one.stop) for one in fast], [(one.id, one.stop) for one in plain])
            _same("triggered but not foreseen", {one.id for one in fast} - expected, set())
            due += [one.order for one in fast]
        return due

    def check_reach(self, operation: Place) -> None:
        """`reachable` is the same in both books, and no plan meets an order that is not in it."""
        terms = {
            "price": operation.price,
            "lots": None if operation.budget else operation.quantity,
            "budget": operation.budget,
            "account": operation.account,
        }
        reach = [maker.id for maker in self.fast.reachable(operation.side, **terms)]
        _same("reach", reach, [maker.id for maker in self.reference.reachable(operation.side, **terms)])
        plan = plan_of(self.fast, operation)
        met = {maker.id for maker, _ in plan.matches} | {maker.id for maker in plan.expired_makers}
        _same("orders met beyond reach", met - set(reach), set())

    def check_state(self) -> None:
        """Same queues, same depth, same changes; and what must always hold of a book."""
        fast, reference = self.fast, self.reference
        stops = [{each.id: each.stop for each in one.waiting.values()} for one in (self.triggers, self.plain_triggers)]
        _same("stops", *stops)
        _same("state hash", fast.state_hash(), reference.state_hash())
        _same("orders", sorted(fast.orders), sorted(reference.orders))
        _same("length", len(fast), len(reference))
        changes = fast.drain_changes()
        _same("changes", changes, reference.drain_changes())
        for side, price, total in changes:
            self.mirror[side].pop(price, None)
            if total:
                self.mirror[side][price] = total
        for side in (BUY, SELL):
            depth = fast.depth(side)
            _same("depth", depth, reference.depth(side))
            _same("limited depth", fast.depth(side, 3), reference.depth(side, 3))
            _same("depth from changes", sorted(self.mirror[side].items(), reverse=side == BUY), depth)
            _same("best", fast.best(side), reference.best(side))
        bid, ask = fast.best(BUY), fast.best(SELL)
        if bid is not None and ask is not None and bid >= ask:
            raise Difference(f"the book is crossed: bid {bid}, ask {ask}")


def _same(what: str, fast: object, reference: object) -> None:
    if fast != reference:
        raise Difference(f"{what} differs:\n  fast      {fast}\n  reference {reference}")


def run(*, operations_count: int, seed: int, check_every: int = 200, progress=None) -> Lockstep:
    """Run the seed's first operations through both books; a `Difference` tells how to see it again."""
    pair = Lockstep()
    trace: deque[Operation] = deque(maxlen=TRACE)
    for number, operation in enumerate(operations(seed), 1):
        trace.append(operation)
        try:
            if number % 8 == 0 and isinstance(operation, Place):
                pair.check_reach(operation)
            pair.step(operation)
            if number % check_every == 0 or number == operations_count:
                pair.check_state()
        except Exception as error:
            raise Difference(_account_of(error, pair, trace, number, seed)) from error
        if progress and number % 50_000 == 0:
            progress(number, pair)
        if number == operations_count:
            return pair


def _account_of(error: Exception, pair: Lockstep, trace: deque, number: int, seed: int) -> str:
    book = [order for queue in pair.reference.queues.values() for order in queue]
    return "\n".join(
        [
            f"operation {number} of seed {seed}: {type(error).__name__}: {error}",
            "the reference book now:",
            *(f"  {order}" for order in book),
            f"the last {len(trace)} operations, the newest last:",
            *(f"  {operation}" for operation in trace),
            f"again: python -m benchmarks.lockstep --seed {seed} --operations {number} --check-every 1",
        ]
    )


def main() -> int:
    """Run from the command line; 0 when the books agree, 1 at the first difference."""
    parser = argparse.ArgumentParser(description="Compare the fast book with the reference book.")
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--check-every", type=int, default=200, help="operations between two checks of the state"
    )
    options = parser.parse_args()
    started = time.perf_counter()

    def progress(number: int, pair: Lockstep) -> None:
        rate = number / (time.perf_counter() - started)
        counts = f"{pair.trades:>10,} trades  {pair.triggered:>8,} triggered  {len(pair.fast):>5} resting"
        print(f"{number:>12,} operations  {counts}  {rate:>9,.0f}/s")

    try:
        pair = run(
            operations_count=options.operations,
            seed=options.seed,
            check_every=options.check_every,
            progress=progress,
        )
    except Difference as difference:
        print(difference)
        return 1
    seconds = time.perf_counter() - started
    counts = f"{options.operations:,} operations, {pair.trades:,} trades, {pair.triggered:,} triggered"
    print(f"{counts}: no difference (seed {options.seed}, {seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
