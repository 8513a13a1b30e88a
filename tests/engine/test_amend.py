"""Amendments: who keeps the place in the queue, who loses it, and who trades."""

import pytest

from tests.engine.language import do, filled_book, look, shown

QUEUE = "bid 100 x 5 | bid 100 x 5 | ask 103 x 4"

TABLE = [
    # book, amendment, what came of it, the book after
    (QUEUE, "amend 1 to 100 x 3", "rests 3, keeps place", "bid 100 x 3 #1 | bid 100 x 5 #2 | ask 103 x 4 #3"),
    (QUEUE, "amend 1 to 100 x 5", "rests 5, keeps place", "bid 100 x 5 #1 | bid 100 x 5 #2 | ask 103 x 4 #3"),
    (QUEUE, "amend 1 to 100 x 6", "rests 6", "bid 100 x 5 #2 | bid 100 x 6 #1 | ask 103 x 4 #3"),
    (QUEUE, "amend 1 to 99 x 3", "rests 3", "bid 100 x 5 #2 | bid 99 x 3 #1 | ask 103 x 4 #3"),
    (QUEUE, "amend 2 to 101 x 5", "rests 5", "bid 101 x 5 #2 | bid 100 x 5 #1 | ask 103 x 4 #3"),
    (QUEUE, "amend 1 to 103 x 3", "#3 3 @ 103", "bid 100 x 5 #2 | ask 103 x 1 #3"),
    (QUEUE, "amend 1 to 104 x 9", "#3 4 @ 103, rests 5", "bid 104 x 5 #1 | bid 100 x 5 #2"),
    (QUEUE, "amend 3 to 100 x 7", "#1 5 @ 100, #2 2 @ 100", "bid 100 x 3 #2"),
    (QUEUE, "amend 3 to 99 x 12", "#1 5 @ 100, #2 5 @ 100, rests 2", "ask 99 x 2 #3"),
    (QUEUE, "amend 1 to 103 x 3 post_only", "would_take", "bid 100 x 5 #1 | bid 100 x 5 #2 | ask 103 x 4 #3"),
    (QUEUE, "amend 1 to 102 x 3 post_only", "rests 3", "bid 102 x 3 #1 | bid 100 x 5 #2 | ask 103 x 4 #3"),
    (
        QUEUE,
        "amend 1 to 100 x 3 post_only",
        "rests 3, keeps place",
        "bid 100 x 3 #1 | bid 100 x 5 #2 | ask 103 x 4 #3",
    ),
    ("bid 100 x 5", "amend 1 to 120 x 9", "rests 9", "bid 120 x 9 #1"),
    # an own order on the other side
    (
        "bid 100 x 5 by 7 | ask 103 x 4 by 7",
        "amend 1 to 103 x 5",
        "self_trade",
        "bid 100 x 5 #1 | ask 103 x 4 #2",
    ),
    (
        "bid 100 x 5 by 7 | ask 103 x 4 by 7",
        "amend 1 to 103 x 5 expire_maker",
        "removes #2, rests 5",
        "bid 103 x 5 #1",
    ),
    ("bid 100 x 5 by 7 | ask 103 x 4 by 7", "amend 1 to 103 x 5 expire_both", "removes #2, expires 5", ""),
    (
        "bid 100 x 5 by 7 | ask 102 x 1 | ask 103 x 4 by 7",
        "amend 1 to 103 x 5",
        "#2 1 @ 102, expires 4",
        "ask 103 x 4 #3",
    ),
]


@pytest.mark.parametrize(("before", "amendment", "events", "after"), TABLE)
def test_amendment(empty_book, before, amendment, events, after):
    book = filled_book(empty_book, before)
    assert (do(book, amendment), shown(book)) == (events, after)


@pytest.mark.parametrize(("before", "amendment", "events", "after"), TABLE)
def test_a_plan_to_amend_changes_nothing(empty_book, before, amendment, events, after):
    book = filled_book(empty_book, before)
    digest = book.state_hash()
    look(book, amendment)
    assert (book.state_hash(), book.drain_changes()) == (digest, [])


@pytest.mark.parametrize(
    ("amendment", "rests", "after"),
    [
        ("amend 1 to 100 x 8", 5, "bid 100 x 5 #1"),
        ("amend 1 to 100 x 4", 1, "bid 100 x 1 #1"),
        ("amend 1 to 100 x 12", 9, "bid 100 x 9 #1"),
        ("amend 1 to 101 x 10", 7, "bid 101 x 7 #1"),
    ],
)
def test_what_is_filled_counts_towards_the_new_quantity(empty_book, amendment, rests, after):
    book = filled_book(empty_book, "bid 100 x 10")
    do(book, "sell 100 x 3")
    order = book.orders[1]
    plan = look(book, amendment)
    assert (plan.filled, plan.rests) == (0, rests)
    book.execute(plan)
    assert shown(book) == after
    assert (order.quantity - order.remaining, order.price, order.quantity) == (3, plan.price, plan.quantity)


def test_fills_before_and_in_the_amendment_add_up(empty_book):
    book = filled_book(empty_book, "bid 100 x 10 | ask 102 x 4")
    do(book, "sell 100 x 3")
    order = book.orders[1]
    assert do(book, "amend 1 to 102 x 9") == "#2 4 @ 102, rests 2"
    assert (order.quantity, order.remaining, order.price) == (9, 2, 102)


def test_an_order_amended_to_nothing_left_is_not_amended(empty_book):
    book = filled_book(empty_book, "bid 100 x 10")
    do(book, "sell 100 x 3")
    with pytest.raises(ValueError):
        look(book, "amend 1 to 100 x 3")


def test_an_order_that_does_not_rest_is_not_amended(empty_book):
    with pytest.raises(KeyError):
        look(empty_book, "amend 1 to 100 x 3")
