"""A net position and what a fill makes of it: increased, reduced, closed, or flipped through zero. Pure.

Quantities are signed lots (a short is below zero), money is whole smallest units of the quote asset. A position knows
its signed cost: what its open part was bought for, or minus what it was sold for. The average entry price is cost /
quantity and is never stored, so that nothing rounds while a position grows.

The rules
- A fill on the position's own side adds its lots and its notional to the cost.
- A fill on the other side closes lots at average cost: the cost's share of them, rounded down; who closes all of a
  position takes all of its cost. Realised profit is what the closed part brought against that share.
- What is left of the fill after everything is closed opens a position on its side, at the fill's price.

Hence, exactly and at any time: realised profit so far = the fills' cash so far + the cost of what is open, where a
buy's cash is minus its notional and a sell's its notional. Both sides of all trades summed, the cash is zero.
"""

from typing import NamedTuple


class Net(NamedTuple):
    """A net position: signed lots, signed cost in quote units."""

    quantity: int = 0
    cost: int = 0


class Netted(NamedTuple):
    """What a fill came to: the position after it, lots closed and opened, profit realised (before fees)."""

    net: Net
    closed: int
    opened: int
    realized: int


def fill(net: Net, *, side: int, lots: int, notional: int) -> Netted:
    """The position after a fill. `side` is 1 for a buy, -1 for a sell; `notional` is that of all lots."""
    held = net.quantity * side
    if held >= 0:
        return Netted(Net(net.quantity + side * lots, net.cost + side * notional), 0, lots, 0)
    closed = min(lots, -held)
    part = notional * closed // lots  # exact: all lots of a fill have one price
    gone = cost_share(net, closed)
    realized = -side * part - gone
    after = Net(net.quantity + side * closed, net.cost - gone)
    opened = lots - closed
    if opened:
        after = Net(side * opened, side * (notional - part))
    return Netted(after, closed, opened, realized)


def cost_share(net: Net, lots: int) -> int:
    """The signed cost of some of the position's lots, at average; all of it for all of them."""
    return net.cost * lots // abs(net.quantity)


def unrealized(net: Net, value: int) -> int:
    """Profit if the position were closed at `value`: its signed quantity at the mark price, in quote units."""
    return value - net.cost
