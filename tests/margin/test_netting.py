"""Netting as a table, and against an independent reference over a hundred thousand random fills."""

from fractions import Fraction
from math import floor
from random import Random

import pytest

from accounts.netting import Net, fill, unrealized

FILLS = 100_000


def play(*fills: str) -> tuple[Net, int]:
    """Fills such as `+10@100` on an empty position: what is left, and all realised profit."""
    net, realized = Net(), 0
    for text in fills:
        lots, price = (int(part) for part in text[1:].split("@"))
        side = 1 if text[0] == "+" else -1
        net, _, _, profit = fill(net, side=side, lots=lots, notional=lots * price)
        realized += profit
    return net, realized


@pytest.mark.parametrize(
    ("fills", "quantity", "cost", "realized"),
    [
        (["+10@100"], 10, 1000, 0),
        (["-10@100"], -10, -1000, 0),
        (["+10@100", "+10@110"], 20, 2100, 0),
        (["+10@100", "-4@110"], 6, 600, 40),
        (["-10@100", "+4@110"], -6, -600, -40),
        (["+10@100", "-10@90"], 0, 0, -100),
        (["+10@100", "-15@110"], -5, -550, 100),
        (["-10@100", "+15@110"], 5, 550, -100),
        (["+3@100", "+1@101", "-1@101"], 3, 301, 1),
        (["+1@100", "-1@100", "-1@100", "+1@99"], 0, 0, 1),
        (["+10@100", "+10@120", "-5@130", "-20@100", "+5@90"], 0, 0, 100 - 150 + 50),
    ],
)
def test_fills(fills, quantity, cost, realized):
    assert play(*fills) == (Net(quantity, cost), realized)


def test_what_a_fill_closes_and_opens():
    flipped = fill(Net(10, 1000), side=-1, lots=25, notional=25 * 90)
    assert flipped == (Net(-15, -1350), 10, 15, -100)
    assert unrealized(flipped.net, -15 * 80) == 150


class Reference:
    """The same by other means: a long and a short side that never mix, prices as fractions, cash counted apart."""

    def __init__(self):
        self.long, self.short = [0, 0], [0, 0]  # lots, what they were opened for
        self.cash = self.fees = 0
        self.profit = 0

    def fill(self, side: int, lots: int, price: int, fee: int) -> None:
        mine, other = (self.long, self.short) if side > 0 else (self.short, self.long)
        self.cash += -side * lots * price
        self.fees += fee
        closing = min(lots, other[0])
        if closing:
            average = Fraction(other[1], other[0])
            # The share of a short's proceeds is rounded up, because its cost, which is minus that, is rounded down.
            share = floor(average * closing) if side < 0 else -floor(-average * closing)
            self.profit += (price * closing - share) * -side
            other[0] -= closing
            other[1] -= share
        mine[0] += lots - closing
        mine[1] += (lots - closing) * price

    @property
    def quantity(self) -> int:
        return self.long[0] - self.short[0]

    @property
    def cost(self) -> int:
        return self.long[1] - self.short[1]


def test_a_hundred_thousand_random_fills_equal_the_reference():
    dice = Random(20)
    net, reference, realized, fees, price = Net(), Reference(), 0, 0, 108_500
    seen = {"flipped": 0, "closed": 0, "reduced": 0, "opened": 0, "added": 0}
    for _ in range(FILLS):
        price = max(1, price + dice.randint(-50, 50))
        side, lots = dice.choice((1, -1)), dice.randint(1, 40)
        if dice.random() < 0.1 and net.quantity:  # exactly all of it
            side, lots = (-1 if net.quantity > 0 else 1), abs(net.quantity)
        before = net
        fee = lots * price * 35_000 // 10**8
        net, closed, opened, profit = fill(net, side=side, lots=lots, notional=lots * price)
        realized += profit
        fees += fee
        reference.fill(side, lots, price, fee)
        assert net == (reference.quantity, reference.cost)
        assert realized == reference.profit == reference.cash + net.cost
        assert fees == reference.fees and closed + opened == lots
        seen[_kind(before, closed, opened, net)] += 1
    assert min(seen.values()) > FILLS // 100, seen


def _kind(before: Net, closed: int, opened: int, after: Net) -> str:
    if closed and opened:
        return "flipped"
    if closed:
        return "reduced" if after.quantity else "closed"
    return "added" if before.quantity else "opened"


def test_a_market_of_random_traders_sums_to_zero():
    dice = Random(7)
    nets, cash = [Net()] * 20, [0] * 20
    realized = 0
    for _ in range(20_000):
        buyer, seller = dice.sample(range(20), 2)
        lots, price = dice.randint(1, 30), dice.randint(90, 110)
        for who, side in ((buyer, 1), (seller, -1)):
            nets[who], _, _, profit = fill(nets[who], side=side, lots=lots, notional=lots * price)
            cash[who] -= side * lots * price
            realized += profit
    assert sum(net.quantity for net in nets) == 0 == sum(cash)
    assert realized == sum(net.cost for net in nets)
