"""The specification of the waiting orders, in the plainest code that says it: one list, read whole at every price.

It shares no code with `exchange.engine.triggers`, whose docstring states the rules; the two must let go the same
orders, in the same sequence, at any prices.
"""

from fractions import Fraction
from math import ceil


class ReferenceTriggers:
    """The same verbs as `exchange.engine.triggers.Triggers`."""

    def __init__(self):
        self.waiting: dict[int, object] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, order) -> None:
        if order.id in self.waiting:
            raise ValueError("waits already")
        self.waiting[order.id] = order

    def remove(self, order_id: int):
        return self.waiting.pop(order_id)

    def observe(self, price: int) -> list:
        for order in self.waiting.values():
            self._move(order, price)
        rising = [o for o in self.waiting.values() if o.direction == 1 and o.stop <= price]
        falling = [o for o in self.waiting.values() if o.direction == -1 and o.stop >= price]
        rising.sort(key=lambda order: (order.stop, order.id))
        falling.sort(key=lambda order: (-order.stop, order.id))
        for order in rising + falling:
            del self.waiting[order.id]
        return rising + falling

    @staticmethod
    def _move(order, price: int) -> None:
        if order.trail:
            distance = order.trail
        elif order.trail_rate:
            distance = max(1, ceil(Fraction(price * order.trail_rate, 100_000_000)))
        else:
            return
        if order.direction == 1:
            order.stop = min(order.stop, price + distance)
        else:
            order.stop = max(order.stop, price - distance, 1)
