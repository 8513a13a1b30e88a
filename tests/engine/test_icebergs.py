"""Icebergs: only a part is in the queue, and each part that comes up goes to its back."""

import pytest

from tests.engine.language import do, filled_book, look, shown

CASES = [
    # the book, the order, what comes of it, the book after
    ("ask 100 x 10 shows 3", "buy 100 x 2", "#1 2 @ 100", "ask 100 x 1 #1"),
    ("ask 100 x 10 shows 3", "buy 100 x 3", "#1 3 @ 100", "ask 100 x 3 #1"),
    ("ask 100 x 10 shows 3", "buy 100 x 8", "#1 3 @ 100, #1 3 @ 100, #1 2 @ 100", "ask 100 x 1 #1"),
    (
        "ask 100 x 10 shows 3", "buy 100 x 12",
        "#1 3 @ 100, #1 3 @ 100, #1 3 @ 100, #1 1 @ 100, rests 2", "bid 100 x 2 #9",
    ),
    # the refill goes behind those who wait already
    ("ask 100 x 10 shows 3 | ask 100 x 4", "buy 100 x 3", "#1 3 @ 100", "ask 100 x 4 #2 | ask 100 x 3 #1"),
    ("ask 100 x 10 shows 3 | ask 100 x 4", "buy 100 x 8", "#1 3 @ 100, #2 4 @ 100, #1 1 @ 100", "ask 100 x 2 #1"),
    # what is hidden goes before the next price
    (
        "ask 100 x 5 shows 2 | ask 101 x 4", "buy 101 x 6",
        "#1 2 @ 100, #1 2 @ 100, #1 1 @ 100, #2 1 @ 101", "ask 101 x 3 #2",
    ),
    # two of them take turns
    (
        "ask 100 x 4 shows 2 | ask 100 x 6 shows 3", "buy 100 x 9",
        "#1 2 @ 100, #2 3 @ 100, #1 2 @ 100, #2 2 @ 100", "ask 100 x 1 #2",
    ),
    # fill-or-kill counts what is hidden; a budget too
    ("ask 100 x 10 shows 3", "buy 100 x 10 fok", "#1 3 @ 100, #1 3 @ 100, #1 3 @ 100, #1 1 @ 100", ""),
    ("ask 100 x 10 shows 3", "buy 100 x 11 fok", "cannot_fill", "ask 100 x 3 #1"),
    ("ask 100 x 10 shows 3", "buy market for 450", "#1 3 @ 100, #1 1 @ 100", "ask 100 x 2 #1"),
    # an own one ends whole
    (
        "ask 100 x 10 by 90 shows 3 | ask 100 x 1", "buy 100 x 2 expire_maker",
        "#2 1 @ 100, removes #1, rests 1", "bid 100 x 1 #9",
    ),
    # one that comes in takes with all it has, and shows a part of what is left
    ("ask 100 x 4", "buy 100 x 10 shows 2", "#1 4 @ 100, rests 6", "bid 100 x 2 #9"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "order", "outcome", "after"), CASES)
def test_what_comes_of_it(empty_book, text, order, outcome, after):
    filled_book(empty_book, text)
    assert do(empty_book, order) == outcome
    assert shown(empty_book) == after


def test_the_depth_shows_only_what_is_shown(empty_book):
    filled_book(empty_book, "ask 100 x 10 shows 3 | ask 100 x 4")
    assert empty_book.depth(-1) == [(100, 7)]


def test_cancelled_it_is_gone_whole(empty_book):
    filled_book(empty_book, "ask 100 x 10 shows 3 | ask 100 x 4")
    order = empty_book.cancel(1)
    assert (order.remaining, order.hidden) == (3, 7)
    assert do(empty_book, "buy 100 x 9") == "#2 4 @ 100, rests 5"


def test_it_is_not_amended(empty_book):
    filled_book(empty_book, "ask 100 x 10 shows 3")
    with pytest.raises(ValueError, match="iceberg"):
        look(empty_book, "amend 1 to 100 x 5")
