"""Average cost once more, from the written rules alone: whole purchases in Fractions, no code of the venue.

Every purchase of an asset with one quote asset goes onto one heap; a sale takes from the heap of its quote asset. Money
is rounded down to `unit` where a heap or a sale is divided.
"""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class Heap:
    """What is left of the purchases, and what it cost."""

    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)

    def lose(self, quantity: Fraction, unit: Fraction) -> Fraction:
        """Take a part away at average cost; what that had cost."""
        gone = self.cost if quantity == self.quantity else (self.cost * quantity / self.quantity) // unit * unit
        self.quantity -= quantity
        self.cost -= gone
        return gone


@dataclass
class Bookkeeper:
    """One account. `unit` is the smallest unit of money."""

    unit: Fraction
    owned: dict[str, Fraction] = field(default_factory=dict)
    heaps: dict[tuple[str, str], Heap] = field(default_factory=dict)
    sales: list[tuple[int, Fraction, Fraction, Fraction]] = field(default_factory=list)

    def move(self, asset: str, quantity: Fraction) -> None:
        """Money in or out by anything but a fill."""
        self.owned[asset] = self.owned.get(asset, Fraction(0)) + quantity

    def fill(self, *, trade: int, side: str, asset: str, quote: str, quantity, price, fee) -> None:
        """One execution."""
        self.forget_what_left(asset, last=quote)
        heap = self.heaps.setdefault((asset, quote), Heap())
        notional = quantity * price
        if side == "BUY":
            heap.quantity += quantity
            heap.cost += notional + fee
            self.move(asset, quantity)
            self.move(quote, -notional - fee)
            return
        known = min(quantity, heap.quantity)
        if known:
            cost = heap.lose(known, self.unit)
            proceeds = ((notional - fee) * known / quantity) // self.unit * self.unit
            self.sales.append((trade, known, proceeds, cost))
        self.move(asset, -quantity)
        self.move(quote, notional - fee)

    def forget_what_left(self, asset: str, last: str | None = None) -> None:
        """Heaps never hold more than is owned."""
        mine = sorted((quote == last, quote) for thing, quote in self.heaps if thing == asset)
        for _, quote in mine:
            total = sum(heap.quantity for (thing, _), heap in self.heaps.items() if thing == asset)
            excess = min(total - self.owned.get(asset, Fraction(0)), self.heaps[asset, quote].quantity)
            if excess > 0:
                self.heaps[asset, quote].lose(excess, self.unit)
