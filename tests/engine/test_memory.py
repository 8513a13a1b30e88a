"""A book is as large as what rests in it, not as what was ever cancelled."""

import sys
from collections import deque

from exchange.engine.book import BUY, SELL, Book, Order
from exchange.engine.ladder import SLACK

RESTING = 100


def footprint(book: Book) -> int:
    """Bytes of everything in the book that could grow."""
    ladders = [book._ladders[side] for side in (BUY, SELL)]
    parts = [part for ladder in ladders for part in (ladder.heap, ladder.levels, ladder.changed)]
    return sum(map(sys.getsizeof, [*parts, book.orders]))


def test_a_million_cancels_at_moving_prices_leave_nothing_behind():
    book, waiting, largest = Book(), deque(), 0
    # The best orders stay, so that all that empties does so below the top, where a heap cannot remove it.
    book.restore(Order(-1, 1, BUY, 3_000_000, 1))
    book.restore(Order(-2, 1, SELL, 3_000_001, 1))
    for number in range(1, 1_000_001):
        side = BUY if number % 2 else SELL
        book.execute(book.plan(Order(number, 1, side, 3_000_000 - side * number, 1)))
        waiting.append(number)
        if len(waiting) > RESTING:
            book.cancel(waiting.popleft())
        if number % 1_000 == 0:
            book.drain_changes()
            largest = max(largest, footprint(book))
            assert_tidy(book)
    assert len(book) == RESTING + 2
    assert largest < 50_000


def assert_tidy(book: Book) -> None:
    for side in (BUY, SELL):
        ladder = book._ladders[side]
        in_use = [level for level in ladder.levels.values() if level.total]
        assert len(ladder.heap) == len(ladder.levels) == len(in_use) + ladder.empty
        assert ladder.empty <= len(in_use) + SLACK
