"""What a liquidation closes: largest loss first, as little as restores the account, everything where nothing does."""

from random import Random

import pytest

from exchange.liquidation_plan import Close, Held, Standing, is_at_stop_out, is_restored, lots_to_close, next_close
from marketdata.contracts import RATE_ONE

CALL, STOP_OUT = RATE_ONE, RATE_ONE // 2

STOPS = [
    # equity, used, maintenance, stopped out
    (501, 1000, 0, False),
    (500, 1000, 0, True),
    (-5, 1000, 0, True),
    (900, 1000, 901, True),
    (901, 1000, 901, False),
    (0, 0, 0, False),
    (-1, 0, 1, True),
]


@pytest.mark.parametrize(("equity", "used", "maintenance", "stopped"), STOPS)
def test_where_the_stop_out_begins(equity, used, maintenance, stopped):
    assert is_at_stop_out(Standing(equity, used, maintenance), STOP_OUT) is stopped


CLOSES = [
    # equity, used, maintenance, positions (market, lots, unrealised, margin, maintenance, cost), what is closed first
    (500, 1000, 0, [(1, 10, -300, 1000, 0, 0)], (1, -1, 5)),
    (499, 1000, 0, [(1, 10, -300, 1000, 0, 0)], (1, -1, 6)),
    (500, 1000, 0, [(1, -10, -300, 1000, 0, 0)], (1, 1, 5)),
    (500, 1000, 0, [(1, 10, -300, 1000, 0, 100)], (1, -1, 6)),
    (0, 1000, 0, [(1, 10, -300, 1000, 0, 0)], (1, -1, 10)),
    (-90, 1000, 0, [(1, 10, -300, 1000, 0, 50)], (1, -1, 10)),
    (500, 1000, 0, [(1, 10, 900, 500, 0, 0), (2, 4, -10, 500, 0, 0)], (2, -1, 4)),
    (900, 1000, 0, [(1, 10, -20, 500, 0, 0), (2, 4, -10, 500, 0, 0)], (1, -1, 2)),
    (1000, 1000, 1500, [(1, 10, -20, 1000, 1500, 0)], (1, -1, 4)),
    (1000, 1000, 900, [(1, 10, -20, 1000, 900, 0)], None),
    (1000, 1000, 1000, [(1, 10, -20, 1000, 1000, 0)], None),
    (0, 0, 0, [], None),
]


@pytest.mark.parametrize(("equity", "used", "maintenance", "positions", "expected"), CLOSES)
def test_what_is_closed_first(equity, used, maintenance, positions, expected):
    found = next_close(Standing(equity, used, maintenance), [Held(*position) for position in positions], CALL)
    assert found == (None if expected is None else Close(*expected))


def test_an_order_is_never_smaller_than_the_market_takes():
    held = Held(1, 10, -20, 1000, 0, 0)
    standing = Standing(950, 1000, 0)
    assert next_close(standing, [held], CALL).lots == 1
    assert next_close(standing, [held], CALL, least_lots={1: 4}).lots == 4
    assert next_close(standing, [held], CALL, least_lots={1: 40}).lots == 10


def test_no_fewer_lots_would_do():
    """One lot less leaves the account short, these lots do not, whenever this position can restore it at all."""
    dice = Random(3)
    restored = 0
    for _ in range(5_000):
        lots = dice.randrange(1, 200)
        margin, maintenance = dice.randrange(1, 10_000), dice.randrange(0, 8_000)
        held = Held(1, lots, -1, margin, maintenance, dice.randrange(0, 300))
        others, others_need = dice.randrange(0, 3_000), dice.randrange(0, 1_500)
        standing = Standing(dice.randrange(-500, 9_000), margin + others, maintenance + others_need)
        count = lots_to_close(standing, held, CALL)
        if is_restored(standing, CALL):
            assert count == 0
        elif count < lots:
            restored += 1
            assert is_enough(standing, held, count)
            assert not is_enough(standing, held, count - 1)
        else:
            assert not is_enough(standing, held, lots - 1)
    assert restored > 1_000


def is_enough(standing: Standing, held: Held, count: int) -> bool:
    """Both conditions after closing so many lots, without any rounding."""
    lots = held.lots
    equity = standing.equity * lots - held.cost * count
    return (
        equity >= standing.used * lots - held.margin * count
        and equity >= standing.maintenance * lots - held.maintenance * count
    )
