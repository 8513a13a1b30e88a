"""One side of the fast book: price levels, best first, each a queue of orders in time priority.

A level is found by its key, `-side * price`: on either side the smallest key is the best price, so that one
piece of code serves both. The keys lie in a heap. A level is a ring of intrusive links with the level
itself as its anchor, so that taking an order out touches its two neighbours and asks nothing.

Invariants
- The top of the heap is a level with orders in it, unless the ladder is empty: the best price is one look.
- `level.total` is the sum of `remaining` of its orders; it is 0 exactly when the level is empty.
- Empty levels below the top may stay for a while, because a heap has no cheap way to remove from its
  middle, but never more than `SLACK` above the number of levels in use: then the ladder is compacted, at a
  cost that is constant per level emptied.

Known limits
- `changed` grows until it is drained: whoever owns the book drains it after each batch.
- A walk passes over empty levels that are not yet removed, at most as many as the bound above allows.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from exchange.engine.orders import Order

SLACK = 64


class Level:
    """All resting orders at one price; `next` is the first in the queue, `previous` the last."""

    __slots__ = ("key", "price", "total", "previous", "next")

    def __init__(self, key: int, price: int):
        self.key = key
        self.price = price
        self.total = 0
        self.previous = self.next = self

    def __iter__(self) -> Iterator[Order]:
        order = self.next
        while order is not self:
            yield order
            order = order.next


class Ladder:
    """The resting orders of one side (`BUY` or `SELL`)."""

    __slots__ = ("side", "levels", "heap", "empty", "changed")

    def __init__(self, side: int):
        self.side = side
        self.levels: dict[int, Level] = {}
        self.heap: list[int] = []
        self.empty = 0
        self.changed: set[int] = set()

    def append(self, order: Order) -> None:
        """Put the order at the back of the queue of its price."""
        key = -self.side * order.price
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(key, order.price)
            heappush(self.heap, key)
        elif not level.total:
            self.empty -= 1
        last = order.previous = level.previous
        order.next = order.level = level
        last.next = level.previous = order
        level.total += order.remaining
        self.changed.add(key)

    def remove(self, order: Order) -> None:
        """Take the order out of its queue, wherever it stands in it."""
        level = order.level
        before = order.previous
        after = order.next
        before.next = after
        after.previous = before
        order.level = order.previous = order.next = None
        level.total -= order.remaining
        self.changed.add(level.key)
        if not level.total:
            self._emptied(level.key)

    def reduce(self, order: Order, lots: int) -> None:
        """Take `lots` off what remains of the order, which keeps its place with the rest of it."""
        order.remaining -= lots
        level = order.level
        level.total -= lots
        self.changed.add(level.key)

    def best(self) -> int | None:
        """The best price, in ticks, or None for an empty ladder."""
        return -self.side * self.heap[0] if self.heap else None

    def walk(self) -> Iterator[Level]:
        """The levels in use, best first, leaving the heap as it is; the ladder must not change meanwhile.

        A heap is a tree in which each parent is before its children, so the next key is always among the
        children of those already seen: k levels cost k log k, however deep the ladder is.
        """
        heap, levels = self.heap, self.levels
        if not heap:
            return
        yield levels[heap[0]]
        size = len(heap)
        index, frontier = 0, []
        while True:
            child = 2 * index + 1
            if child < size:
                heappush(frontier, (heap[child], child))
                child += 1
                if child < size:
                    heappush(frontier, (heap[child], child))
            if not frontier:
                return
            key, index = heappop(frontier)
            level = levels[key]
            if level.total:
                yield level

    def drain_changes(self) -> list[tuple[int, int, int]]:
        """(side, price, total lots) of each level touched since the last drain, best first; 0 means gone."""
        side, find = self.side, self.levels.get
        keys = sorted(self.changed)
        self.changed.clear()
        return [(side, -side * key, level.total if (level := find(key)) else 0) for key in keys]

    def _emptied(self, key: int) -> None:
        self.empty += 1
        heap = self.heap
        if key == heap[0]:
            while heap and not self.levels[heap[0]].total:
                self._forget(heappop(heap))
        elif 2 * self.empty > len(heap) + SLACK:
            self._compact()

    def _compact(self) -> None:
        for key in self.heap:
            if not self.levels[key].total:
                self._forget(key)
        self.heap = list(self.levels)
        heapify(self.heap)

    def _forget(self, key: int) -> None:
        level = self.levels.pop(key)
        # An empty ring points at itself; cut, it is freed at once instead of at the next garbage collection.
        level.previous = level.next = None
        self.empty -= 1
