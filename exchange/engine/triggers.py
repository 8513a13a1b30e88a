"""The orders that wait for a price: which of them a price reaches, and in which order they go.

Whatever waits here has `id`, `direction`, `stop`, `trail` and `trail_rate`. `direction` is RISING for an order that
goes when the price is at its stop or above, FALLING for one that goes at its stop or below. A trailing stop has a
`trail` (ticks) or a `trail_rate` (10^-8 of the price); its stop follows the price when that moves away from it.

Rules
- Each price that is observed first moves the trailing stops away, then lets go whom it reaches: the rising before the
  falling, of each those first whose stop the price met first, and at one stop the lower id first.
- Who was let go is gone: nobody goes twice, so that whatever a cascade does, it ends.
- A trailing stop is never nearer than asked for: a rate is rounded away from the price, to whole ticks, at least one.

Cost: an observation looks at the nearest stop of either direction and at every trailing stop. Stops that were removed
stay in their heap until they are at its top, or until the heap is twice as long as needed.

Known limit: trades of one command come at prices that move one way, so its first and last price say all; the caller
observes these two.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

RISING, FALLING = 1, -1
#: A rate of 1, in the unit of `trail_rate`.
RATE_ONE = 10**8
SLACK = 64


def trailed(order, price: int) -> int:
    """Where the stop of a trailing order is once the price was there."""
    distance = order.trail or max(1, -(-price * order.trail_rate // RATE_ONE))
    stop = max(1, price + order.direction * distance)
    if order.stop is None:
        return stop
    return min(stop, order.stop) if order.direction == RISING else max(stop, order.stop)


def is_trailing(order) -> bool:
    return bool(order.trail or order.trail_rate)


class Triggers:
    """The waiting orders of one market."""

    __slots__ = ("waiting", "moved", "_heaps", "_trailing")

    def __init__(self):
        self.waiting: dict[int, object] = {}
        #: Trailing orders whose stop moved since somebody last emptied this.
        self.moved: dict[int, object] = {}
        self._heaps: dict[int, list[tuple[int, int]]] = {RISING: [], FALLING: []}
        self._trailing: dict[int, object] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, order) -> None:
        """Let the order wait. ValueError when it waits already."""
        if order.id in self.waiting:
            raise ValueError(f"order {order.id} waits already")
        self.waiting[order.id] = order
        if is_trailing(order):
            self._trailing[order.id] = order
        else:
            heappush(self._heaps[order.direction], (order.direction * order.stop, order.id))

    def remove(self, order_id: int):
        """Take a waiting order out and return it. KeyError when it does not wait here."""
        order = self.waiting.pop(order_id)
        self.moved.pop(order_id, None)
        if self._trailing.pop(order_id, None) is None:
            heap = self._heaps[order.direction]
            if len(heap) > 2 * len(self.waiting) + SLACK:
                heap[:] = [entry for entry in heap if entry[1] in self.waiting]
                heapify(heap)
        return order

    def observe(self, price: int) -> list:
        """Move the trailing stops by this price and take out whom it reaches, in the order in which they go."""
        due = []
        for direction in (RISING, FALLING):
            reached = [self.waiting[order_id] for order_id in self._pop(direction, price)]
            reached += self._follow(direction, price)
            reached.sort(key=lambda order: (order.direction * order.stop, order.id))
            due += reached
        for order in due:
            self.waiting.pop(order.id)
            self._trailing.pop(order.id, None)
            self.moved.pop(order.id, None)
        return due

    def is_stirred_by(self, price: int) -> bool:
        """Whether observing this price would move a stop or let anybody go."""
        if any(trailed(order, price) != order.stop for order in self._trailing.values()):
            return True
        return next(self.within(price, price), None) is not None

    def within(self, low: int, high: int) -> Iterator:
        """Whoever prices between `low` and `high` could let go, in no order; nothing changes.

        A trailing stop may first be moved by one of these prices and then be met by another.
        """
        for direction, limit in ((RISING, high), (FALLING, -low)):
            heap = self._heaps[direction]
            places = [0] if heap else []
            while places:
                place = places.pop()
                key, order_id = heap[place]
                if key > limit:
                    continue
                order = self.waiting.get(order_id)
                if order is not None and direction * order.stop == key:
                    yield order
                places += [child for child in (2 * place + 1, 2 * place + 2) if child < len(heap)]
        for order in self._trailing.values():
            rising = order.direction == RISING
            stop = trailed(order, low if rising else high)
            if high >= stop if rising else low <= stop:
                yield order

    def _pop(self, direction: int, price: int) -> Iterator[int]:
        """Take the fixed stops that the price reaches off their heap."""
        heap, limit = self._heaps[direction], direction * price
        while heap and heap[0][0] <= limit:
            _, order_id = heappop(heap)
            if order_id in self.waiting:
                yield order_id

    def _follow(self, direction: int, price: int) -> list:
        """Move the trailing stops of a direction; those that the price reaches."""
        reached = []
        for order in self._trailing.values():
            if order.direction != direction:
                continue
            stop = trailed(order, price)
            if stop != order.stop:
                order.stop = stop
                self.moved[order.id] = order
            if direction * price >= direction * stop:
                reached.append(order)
        return reached
