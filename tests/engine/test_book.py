"""Looking at a book and taking out of it: cancel, restore, best, depth, reach, changes, the state hash."""

import pytest

from exchange.engine.book import BUY, SELL, Book, Order, hash_rows
from tests.engine.language import do, filled_book, shown

LEVELS = "bid 99 x 1 | bid 100 x 2 | bid 100 x 3 | ask 102 x 4 | ask 101 x 5"


def test_cancel_takes_out_and_returns(empty_book):
    book = filled_book(empty_book, LEVELS)
    order = book.cancel(2)
    assert (order.id, order.remaining, order.level) == (2, 2, None)
    assert shown(book) == "bid 100 x 3 #3 | bid 99 x 1 #1 | ask 101 x 5 #5 | ask 102 x 4 #4"
    with pytest.raises(KeyError):
        book.cancel(2)


@pytest.mark.parametrize("cancelled", [1, 2, 3])
def test_cancel_anywhere_in_a_queue_keeps_the_order_of_the_others(empty_book, cancelled):
    book = filled_book(empty_book, "ask 101 x 1 | ask 101 x 1 | ask 101 x 1")
    book.cancel(cancelled)
    left = [number for number in (1, 2, 3) if number != cancelled]
    assert do(book, "buy 101 x 2") == ", ".join(f"#{number} 1 @ 101" for number in left)


def test_best_depth_and_length(empty_book):
    book = filled_book(empty_book, LEVELS)
    assert (book.best(BUY), book.best(SELL), len(book)) == (100, 101, 5)
    assert book.depth(BUY) == [(100, 5), (99, 1)]
    assert book.depth(SELL) == [(101, 5), (102, 4)]
    assert book.depth(BUY, 1) == [(100, 5)]


def test_an_empty_book(empty_book):
    assert (empty_book.best(BUY), empty_book.depth(SELL), len(empty_book)) == (None, [], 0)
    assert empty_book.drain_changes() == []


def test_the_best_price_after_the_best_levels_are_gone(empty_book):
    book = filled_book(empty_book, "ask 101 x 1 | ask 102 x 1 | ask 103 x 1 | ask 104 x 1")
    book.cancel(2)
    book.cancel(3)
    assert book.best(SELL) == 101
    book.cancel(1)
    assert (book.best(SELL), book.depth(SELL)) == (104, [(104, 1)])


def test_a_price_that_empties_and_comes_back(empty_book):
    book = filled_book(empty_book, "ask 101 x 1 | ask 102 x 1")
    book.cancel(2)
    do(book, "sell 102 x 6")
    assert book.depth(SELL) == [(101, 1), (102, 6)]


CHANGES = [
    ("buy 98 x 1", [(BUY, 98, 1)]),
    ("buy 101 x 2", [(SELL, 101, 3)]),
    ("buy 101 x 7", [(BUY, 101, 2), (SELL, 101, 0)]),
    ("sell 99 x 6", [(BUY, 100, 0), (BUY, 99, 0)]),
    ("amend 3 to 100 x 1", [(BUY, 100, 3)]),
    ("amend 3 to 99 x 3", [(BUY, 100, 2), (BUY, 99, 4)]),
    ("buy 101 x 1 ioc by 50", []),
    ("buy 101 x 1 expire_both by 50", [(SELL, 101, 0)]),
]


@pytest.mark.parametrize(("order", "changes"), CHANGES)
def test_changes_name_the_touched_levels_once(empty_book, order, changes):
    book = filled_book(empty_book, LEVELS)
    do(book, order)
    assert (book.drain_changes(), book.drain_changes()) == (changes, [])


REACH = [
    # incoming side, terms, ids it could meet
    (BUY, {"price": 101}, [5]),
    (BUY, {"price": 100}, []),
    (BUY, {"price": None}, [5, 4]),
    (SELL, {"price": 99}, [2, 3, 1]),
    (SELL, {"price": 99, "lots": 1}, [2]),
    (SELL, {"price": 99, "lots": 2}, [2]),
    (SELL, {"price": 99, "lots": 3}, [2, 3]),
    (SELL, {"price": 99, "lots": 3, "account": 20}, [2, 3]),
    (SELL, {"price": 99, "lots": 4, "account": 20}, [2, 3, 1]),
    (SELL, {"price": None, "lots": 0}, []),
    (BUY, {"price": None, "budget": 100}, []),
    (BUY, {"price": None, "budget": 505}, [5]),
    (BUY, {"price": None, "budget": 607}, [5, 4]),
    (BUY, {"price": None, "budget": 505, "account": 50}, [5, 4]),
]


@pytest.mark.parametrize(("side", "terms", "ids"), REACH)
def test_reachable(empty_book, side, terms, ids):
    book = filled_book(empty_book, LEVELS)
    assert [order.id for order in book.reachable(side, **terms)] == ids


@pytest.mark.parametrize(
    "order",
    [
        Order(1, 10, BUY, 90, 5),
        Order(9, 10, BUY, 90, 0),
        Order(9, 10, BUY, 101, 5),
        Order(9, 10, SELL, 100, 5),
    ],
    ids=["same id", "nothing remains", "buys above the best ask", "sells at the best bid"],
)
def test_a_book_is_not_restored_into_nonsense(empty_book, order):
    book = filled_book(empty_book, LEVELS)
    with pytest.raises(ValueError):
        book.restore(order)


def test_restored_in_queue_order_it_is_the_same_book():
    book = filled_book(Book(), LEVELS)
    do(book, "sell 100 x 1")
    do(book, "amend 3 to 100 x 9")
    again = Book()
    for side in (SELL, BUY):
        for order in book.reachable(side, price=None):
            copy = Order(order.id, order.account, order.side, order.price, order.quantity)
            copy.remaining = order.remaining
            again.restore(copy)
    assert again.state_hash() == book.state_hash()


def test_the_state_hash_is_of_rows_that_any_store_can_give(empty_book):
    book = filled_book(empty_book, LEVELS)
    do(book, "sell 100 x 1")
    rows = [(1, 100, 2, 1, 2), (1, 100, 3, 3, 3), (1, 99, 1, 1, 1), (-1, 101, 5, 5, 5), (-1, 102, 4, 4, 4)]
    assert book.state_hash() == hash_rows(rows)


@pytest.mark.parametrize(
    "other", ["bid 100 x 2 | bid 100 x 1", "bid 100 x 1 | bid 101 x 2", "bid 100 x 1", ""]
)
def test_the_state_hash_tells_books_apart(empty_book, other):
    book = filled_book(Book(), "bid 100 x 1 | bid 100 x 2")
    assert filled_book(empty_book, other).state_hash() != book.state_hash()
