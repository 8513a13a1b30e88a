"""The reference price: seeded, near its anchor, and where it left off."""

from decimal import Decimal
from random import Random

import pytest

from exchange.simulator.reference import LIMIT, ReferencePrice

CENT = Decimal("0.01")


def walk(*, seed: int = 1, steps: int = 500, anchor: str = "187.50", start: str | None = None) -> list[int]:
    price = ReferencePrice(anchor=Decimal(anchor), start=start and Decimal(start), random=Random(seed))
    ticks = [price.ticks(CENT)]
    for _ in range(steps):
        price.advance(0.5)
        ticks.append(price.ticks(CENT))
    return ticks


@pytest.mark.parametrize(
    ("start", "first"),
    [(None, 18750), ("188.00", 18800), ("180.00", round(18750 * 0.960789)), ("1000.00", round(18750 * 1.040811))],
)
def test_it_starts_where_it_left_off_but_never_beyond_the_limit(start, first):
    assert walk(start=start, steps=0) == [first]


def test_the_same_seed_walks_the_same_way_and_another_does_not():
    assert walk(seed=1) == walk(seed=1)
    assert walk(seed=1) != walk(seed=2)


def test_it_moves_and_stays_near_its_anchor_for_a_week():
    price = ReferencePrice(anchor=Decimal(100), start=None, random=Random(3))
    seen = set()
    for _ in range(20_000):
        price.advance(30)
        seen.add(price.ticks(CENT))
    assert len(seen) > 100
    assert 10_000 * (1 - LIMIT) < min(seen) < 9_950
    assert 10_050 < max(seen) < 10_000 * (1 + LIMIT * 1.03)


def test_a_small_move_of_the_anchor_leaves_the_price_and_a_great_one_takes_it_along():
    price = ReferencePrice(anchor=Decimal(100), start=None, random=Random(1))
    price.aim(Decimal(102))
    assert price.ticks(CENT) == 10_000
    price.aim(Decimal(200))
    assert price.ticks(CENT) == round(20_000 * 0.960789)
