"""What to close of an account that has too little: the largest loss first, and no more than restores it. Pure.

Closing turns unrealised profit into real one, which changes equity by no more than what the closing costs, and frees
margin in proportion. So the least lots x of a position that bring equity back to `target` × used margin, and to
maintenance at least, follow from two straight lines. Restored is restored above the call level, so that an account is
not called again by the next tick.
"""

from collections.abc import Sequence
from typing import NamedTuple

from marketdata.contracts import RATE_ONE


class Held(NamedTuple):
    """One open position of the account, in lots and settlement units; `cost`: what closing all of it would cost."""

    market_id: int
    lots: int
    unrealized: int
    margin: int
    maintenance: int
    cost: int


class Standing(NamedTuple):
    """The account's equity, used margin and maintenance, in settlement units."""

    equity: int
    used: int
    maintenance: int


class Close(NamedTuple):
    """Close so many lots of the position in that market; `side` 1 buys a short back, -1 sells a long."""

    market_id: int
    side: int
    lots: int


def is_at_stop_out(standing: Standing, stop_out: int) -> bool:
    """Whether positions must be closed: equity at the stop-out level (10^-8) of used margin, or below maintenance."""
    equity, used, maintenance = standing
    return bool(used or maintenance) and (equity * RATE_ONE <= used * stop_out or equity < maintenance)


def is_restored(standing: Standing, target: int) -> bool:
    equity, used, maintenance = standing
    return equity * RATE_ONE >= used * target and equity >= maintenance


def next_close(
    standing: Standing, positions: Sequence[Held], target: int, *, least_lots: dict[int, int] | None = None
) -> Close | None:
    """The next order, or None when nothing is open or the account is restored. `least_lots`: of an order, by market."""
    if not positions or is_restored(standing, target):
        return None
    worst = min(positions, key=lambda held: (held.unrealized, held.market_id))
    open_lots = abs(worst.lots)
    lots = max(lots_to_close(standing, worst, target), (least_lots or {}).get(worst.market_id, 1))
    return Close(worst.market_id, -1 if worst.lots > 0 else 1, min(lots, open_lots))


def lots_to_close(standing: Standing, held: Held, target: int) -> int:
    """The least lots that restore the account by this position alone; all of them where that is not enough."""
    equity, used, maintenance = standing
    lots = abs(held.lots)
    for_level = _least(used * target - equity * RATE_ONE, held.margin * target - held.cost * RATE_ONE, lots)
    for_maintenance = _least(maintenance - equity, held.maintenance - held.cost, lots)
    return max(for_level, for_maintenance)


def _least(missing: int, freed_by_all: int, lots: int) -> int:
    """How many of the lots free what is missing, if all of them free so much."""
    if missing <= 0:
        return 0
    if freed_by_all <= 0:
        return lots
    return min(lots, -(-missing * lots // freed_by_all))
