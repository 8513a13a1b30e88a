"""What an account pays a loss from when too little is available: the margin of its positions, then their gains.

A gain that is not real yet is made real for that, as far as the loss asks for it and at the mark: the position goes on
at the same quantity, with a cost that is nearer to the mark, as if it were settled each day. So an account does not
keep what it has won in one market while somebody else pays what it has lost in another. Its equity stays what it was.
"""

from collections.abc import Callable
from typing import NamedTuple

from accounts import conversion, netting
from accounts.ledger import Sheet
from accounts.margin import Rate
from accounts.positions import LivePosition, Positions, value_at
from marketdata import marks
from marketdata.markets import MarketSpec


class Cover(NamedTuple):
    """What of a loss the account cannot pay, and the profit that was made real for it: to be posted with the loss."""

    short: int
    gained: int


def cover(
    sheet: Sheet,
    positions: Positions,
    account: int,
    asset: int,
    loss: int,
    *,
    rate_of: Callable[[MarketSpec], Rate] = conversion.rate_of,
) -> Cover:
    """Make what a loss needs available, as far as there is. Gains are those of users: the house has its own limits."""
    short, gained = loss - sheet.available(account, asset), 0
    if short <= 0:
        return Cover(0, 0)
    held = positions.of_account(account, asset)
    for position in held:
        taken = min(short, position.reserved)
        if taken:
            sheet.release(account, asset, taken)
            position.reserved -= taken
            positions.touch(position)
            short -= taken
    if sheet.holders[account].is_heard:
        for position in held:
            if gained < short:
                gained += _realize(positions, position, short - gained, rate_of)
    return Cover(max(0, short - gained), gained)


def _realize(
    positions: Positions, position: LivePosition, wanted: int, rate_of: Callable[[MarketSpec], Rate]
) -> int:
    """Make so much of the position's gain at the mark real, or all of it; what that is in settlement units."""
    spec, mark = position.spec, marks.mark(position.spec.id)
    if mark is None or not conversion.is_known(spec):
        return 0
    profit = netting.unrealized(position.net, value_at(spec, position.quantity, mark.price))
    if profit <= 0:
        return 0
    rate = rate_of(spec)
    taken = min(profit, rate.worth(wanted))
    gained = rate.down(taken)
    position.cost += taken
    position.realized_quote += taken
    position.realized += gained
    positions.touch(position)
    return gained
