"""The book that trades never differs from the one that specifies it.

Seeded runs are long and lifelike; Hypothesis looks for short and nasty ones, and shrinks what it finds. The
longer proof is `python -m benchmarks.lockstep`.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lockstep import Amend, Cancel, Difference, Lockstep, Place, Wait, run
from exchange.engine import ladder
from exchange.engine.book import BUY, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, FOK, GTC, IOC, SELL, Book
from exchange.engine.triggers import FALLING, RISING

PREVENTIONS = st.sampled_from([EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH])
PRICES = st.integers(95, 105)
LOTS = st.integers(1, 9)
IDS = st.integers(0, 30)
ACCOUNTS = st.integers(1, 3)
SIDES = st.sampled_from([BUY, SELL])

# The id of a new order is its place in the list of commands, so that amendments and cancels have something
# to hit.
NEW = st.just(0)
NO = st.none()
TIMES_IN_FORCE = st.sampled_from([GTC, GTC, IOC, FOK])
DISPLAYS = st.sampled_from([0, 0, 0, 1, 2, 5])
WHOLE = st.just(0)
LIMIT = st.builds(Place, NEW, ACCOUNTS, SIDES, PRICES, LOTS, TIMES_IN_FORCE, st.booleans(), PREVENTIONS, NO, DISPLAYS)
MARKET = st.builds(Place, NEW, ACCOUNTS, SIDES, NO, LOTS, TIMES_IN_FORCE, st.booleans(), PREVENTIONS, NO, WHOLE)
BUDGETS = st.integers(1, 3_000)
BY_BUDGET = st.builds(
    Place, NEW, ACCOUNTS, SIDES, NO, st.just(0), TIMES_IN_FORCE, st.just(False), PREVENTIONS, BUDGETS, WHOLE
)
TRAILS = st.sampled_from([(0, 0), (0, 0), (2, 0), (0, 3_000_000)])
WAIT = st.builds(
    lambda order, direction, stop, trails: Wait(0, direction, stop, *trails, order),
    LIMIT, st.sampled_from([RISING, FALLING]), PRICES, TRAILS,
)  # fmt: skip
AMENDMENT = st.builds(Amend, IDS, PRICES, LOTS, st.booleans(), PREVENTIONS)
CANCEL = st.builds(Cancel, IDS)
COMMANDS = st.lists(st.one_of(LIMIT, LIMIT, MARKET, BY_BUDGET, WAIT, AMENDMENT, CANCEL), max_size=40)


@pytest.fixture
def impatient_ladder(monkeypatch):
    """A ladder that compacts almost at once, so that short runs meet it often."""
    monkeypatch.setattr(ladder, "SLACK", 0)


@pytest.mark.parametrize(("seed", "count"), [(1, 30_000), (2, 10_000), (3, 10_000)])
def test_random_commands(seed, count):
    pair = run(operations_count=count, seed=seed, check_every=50)
    assert pair.trades > count / 10


def test_random_commands_with_much_compaction(impatient_ladder):
    run(operations_count=10_000, seed=4, check_every=20)


@settings(max_examples=300, deadline=None)
@given(commands=COMMANDS)
def test_any_commands(commands):
    original, ladder.SLACK = ladder.SLACK, 0
    try:
        pair = Lockstep()
        for number, command in enumerate(commands):
            operation = command._replace(id=number) if isinstance(command, Place | Wait) else command
            if isinstance(operation, Wait):
                operation = operation._replace(order=operation.order._replace(id=number))
            if isinstance(operation, Place):
                before = pair.fast.state_hash()
                pair.check_reach(operation)
                assert pair.fast.state_hash() == before
            pair.step(operation)
            pair.check_state()
    finally:
        ladder.SLACK = original


def test_a_book_that_forgets_time_priority_is_found(monkeypatch):
    """The comparison itself is tested: a book that lets the newest order go first does not get through."""

    class Hasty(Book):
        def restore(self, order):
            raise NotImplementedError

        def execute(self, plan):
            super().execute(plan)
            order, level = plan.order, plan.order.level
            if plan.rests and level is not None and level.next is not order and plan.quantity is None:
                first, before = level.next, order.previous
                before.next, level.previous = level, before
                level.next, order.previous, order.next, first.previous = order, level, first, order

    monkeypatch.setattr("benchmarks.lockstep.Book", Hasty)
    with pytest.raises(Difference, match="again: python -m benchmarks.lockstep --seed 1"):
        run(operations_count=2_000, seed=1, check_every=50)
