"""What an incoming order does to a book: orders in, events out, the book after."""

import pytest

from exchange.engine.book import BUY, Book, Order
from tests.engine.language import do, filled_book, look, shown

TWO_ASKS = "ask 101 x 3 | ask 102 x 4"
QUEUE = "ask 101 x 3 | ask 101 x 4 | ask 101 x 5"

LIMIT_ORDERS = [
    # book, order, what came of it, the book after
    ("", "buy 100 x 5", "rests 5", "bid 100 x 5 #9"),
    ("ask 101 x 3", "buy 100 x 5", "rests 5", "bid 100 x 5 #9 | ask 101 x 3 #1"),
    ("ask 101 x 3", "buy 101 x 3", "#1 3 @ 101", ""),
    ("ask 101 x 3", "buy 101 x 2", "#1 2 @ 101", "ask 101 x 1 #1"),
    ("ask 101 x 3", "buy 105 x 5", "#1 3 @ 101, rests 2", "bid 105 x 2 #9"),
    ("bid 100 x 3", "sell 90 x 2", "#1 2 @ 100", "bid 100 x 1 #1"),
    ("bid 100 x 3", "sell 90 x 5", "#1 3 @ 100, rests 2", "ask 90 x 2 #9"),
    (TWO_ASKS, "buy 102 x 5", "#1 3 @ 101, #2 2 @ 102", "ask 102 x 2 #2"),
    (TWO_ASKS, "buy 101 x 5", "#1 3 @ 101, rests 2", "bid 101 x 2 #9 | ask 102 x 4 #2"),
    ("bid 99 x 3 | bid 100 x 4", "sell 99 x 6", "#2 4 @ 100, #1 2 @ 99", "bid 99 x 1 #1"),
    # the earlier order first, whatever the quantities
    (QUEUE, "buy 101 x 1", "#1 1 @ 101", "ask 101 x 2 #1 | ask 101 x 4 #2 | ask 101 x 5 #3"),
    (QUEUE, "buy 101 x 8", "#1 3 @ 101, #2 4 @ 101, #3 1 @ 101", "ask 101 x 4 #3"),
    ("ask 102 x 1 | ask 101 x 1 | ask 102 x 1", "buy 102 x 2", "#2 1 @ 101, #1 1 @ 102", "ask 102 x 1 #3"),
]

MARKET_ORDERS = [
    ("", "buy market x 5", "no_liquidity", ""),
    ("bid 100 x 5", "buy market x 5", "no_liquidity", "bid 100 x 5 #1"),
    (TWO_ASKS, "buy market x 5", "#1 3 @ 101, #2 2 @ 102", "ask 102 x 2 #2"),
    (TWO_ASKS, "buy market x 9", "#1 3 @ 101, #2 4 @ 102, expires 2", ""),
    (TWO_ASKS, "buy market x 9 fok", "cannot_fill", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    ("", "buy market x 9 fok", "no_liquidity", ""),
    # by budget: whole lots as long as it pays for one at the next price in line
    (TWO_ASKS, "buy market for 404", "#1 3 @ 101", "ask 102 x 4 #2"),
    (TWO_ASKS, "buy market for 405", "#1 3 @ 101, #2 1 @ 102", "ask 102 x 3 #2"),
    (TWO_ASKS, "buy market for 202", "#1 2 @ 101", "ask 101 x 1 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy market for 100", "nothing", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy market for 9999", "#1 3 @ 101, #2 4 @ 102", ""),
    (TWO_ASKS, "buy market for 9999 fok", "cannot_fill", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy market for 711 fok", "#1 3 @ 101, #2 4 @ 102", ""),
    ("", "sell market for 100", "no_liquidity", ""),
    ("bid 100 x 3 | bid 40 x 5", "sell market for 150", "#1 1 @ 100", "bid 100 x 2 #1 | bid 40 x 5 #2"),
    ("bid 100 x 1 | bid 40 x 5", "sell market for 150", "#1 1 @ 100, #2 1 @ 40", "bid 40 x 4 #2"),
]

TIMES_IN_FORCE = [
    ("", "buy 100 x 5 ioc", "expires 5", ""),
    (TWO_ASKS, "buy 101 x 5 ioc", "#1 3 @ 101, expires 2", "ask 102 x 4 #2"),
    (TWO_ASKS, "buy 101 x 3 ioc", "#1 3 @ 101", "ask 102 x 4 #2"),
    ("", "buy 100 x 5 fok", "cannot_fill", ""),
    (TWO_ASKS, "buy 101 x 4 fok", "cannot_fill", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy 102 x 8 fok", "cannot_fill", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy 102 x 7 fok", "#1 3 @ 101, #2 4 @ 102", ""),
    (TWO_ASKS, "buy 101 x 1 post_only", "would_take", "ask 101 x 3 #1 | ask 102 x 4 #2"),
    (TWO_ASKS, "buy 100 x 1 post_only", "rests 1", "bid 100 x 1 #9 | ask 101 x 3 #1 | ask 102 x 4 #2"),
    ("ask 101 x 3 by 7", "buy 101 x 1 post_only by 7", "would_take", "ask 101 x 3 #1"),
    ("ask 101 x 3 by 7", "buy 101 x 1 post_only expire_maker by 7", "would_take", "ask 101 x 3 #1"),
    ("bid 100 x 5", "sell market x 5 post_only", "would_take", "bid 100 x 5 #1"),
]

OTHER_THEN_OWN = "ask 101 x 3 | ask 101 x 2 by 7 | ask 102 x 4"
OTHER_THEN_OWN_AFTER_REFUSAL = "ask 101 x 3 #1 | ask 101 x 2 #2 | ask 102 x 4 #3"

SELF_TRADES = [
    ("ask 101 x 3 by 7", "buy 101 x 3 by 7", "self_trade", "ask 101 x 3 #1"),
    ("ask 101 x 3 by 7", "buy 101 x 3 ioc by 7", "self_trade", "ask 101 x 3 #1"),
    ("ask 101 x 3 by 7", "buy market x 3 by 7", "self_trade", "ask 101 x 3 #1"),
    ("ask 101 x 3 by 7", "buy market for 101 by 7", "self_trade", "ask 101 x 3 #1"),
    ("ask 101 x 3 by 7", "buy market for 100 by 7", "nothing", "ask 101 x 3 #1"),
    ("ask 102 x 3 by 7", "buy 101 x 3 by 7", "rests 3", "bid 101 x 3 #9 | ask 102 x 3 #1"),
    (OTHER_THEN_OWN, "buy 102 x 5 by 7", "#1 3 @ 101, expires 2", "ask 101 x 2 #2 | ask 102 x 4 #3"),
    (OTHER_THEN_OWN, "buy 102 x 3 by 7", "#1 3 @ 101", "ask 101 x 2 #2 | ask 102 x 4 #3"),
    (OTHER_THEN_OWN, "buy 102 x 5 fok by 7", "cannot_fill", OTHER_THEN_OWN_AFTER_REFUSAL),
    (OTHER_THEN_OWN, "buy 102 x 3 fok by 7", "#1 3 @ 101", "ask 101 x 2 #2 | ask 102 x 4 #3"),
    ("ask 101 x 3 by 7", "buy 101 x 3 expire_maker by 7", "removes #1, rests 3", "bid 101 x 3 #9"),
    (OTHER_THEN_OWN, "buy 102 x 5 expire_maker by 7", "#1 3 @ 101, #3 2 @ 102, removes #2", "ask 102 x 2 #3"),
    (OTHER_THEN_OWN, "buy 102 x 3 expire_maker by 7", "#1 3 @ 101", "ask 101 x 2 #2 | ask 102 x 4 #3"),
    (OTHER_THEN_OWN, "buy 102 x 7 fok expire_maker by 7", "#1 3 @ 101, #3 4 @ 102, removes #2", ""),
    (OTHER_THEN_OWN, "buy 102 x 8 fok expire_maker by 7", "cannot_fill", OTHER_THEN_OWN_AFTER_REFUSAL),
    ("ask 101 x 3 by 7", "buy market x 3 expire_maker by 7", "removes #1, expires 3", ""),
    ("ask 101 x 3 by 7", "buy 101 x 3 expire_both by 7", "removes #1, expires 3", ""),
    (OTHER_THEN_OWN, "buy 102 x 5 expire_both by 7", "#1 3 @ 101, removes #2, expires 2", "ask 102 x 4 #3"),
    (OTHER_THEN_OWN, "buy 102 x 5 fok expire_both by 7", "cannot_fill", OTHER_THEN_OWN_AFTER_REFUSAL),
    (
        "ask 101 x 1 by 7 | ask 102 x 4",
        "buy market for 204 expire_maker by 7",
        "#2 2 @ 102, removes #1",
        "ask 102 x 2 #2",
    ),
]

TABLE = LIMIT_ORDERS + MARKET_ORDERS + TIMES_IN_FORCE + SELF_TRADES


@pytest.mark.parametrize(("before", "order", "events", "after"), TABLE)
def test_incoming_order(empty_book, before, order, events, after):
    book = filled_book(empty_book, before)
    assert (do(book, order), shown(book)) == (events, after)


@pytest.mark.parametrize(("before", "order", "events", "after"), TABLE)
def test_a_plan_changes_nothing(empty_book, before, order, events, after):
    book = filled_book(empty_book, before)
    digest = book.state_hash()
    plan = look(book, order)
    assert (book.state_hash(), book.drain_changes(), plan.order.remaining) == (
        digest,
        [],
        plan.order.quantity,
    )


def test_what_remains_of_taker_and_makers(empty_book):
    book = filled_book(empty_book, "ask 101 x 3 | ask 101 x 4")
    first, second = book.orders[1], book.orders[2]
    plan = look(book, "buy 101 x 5")
    book.execute(plan)
    assert (plan.order.remaining, first.remaining, second.remaining) == (0, 0, 2)
    assert (plan.filled, plan.notional, sorted(book.orders)) == (5, 505, [2])


def test_an_order_keeps_what_expired_of_it_as_remaining(empty_book):
    book = filled_book(empty_book, "ask 101 x 3")
    plan = look(book, "buy market x 5")
    book.execute(plan)
    assert (plan.order.quantity, plan.order.remaining, plan.expires) == (5, 2, 2)


def test_a_refused_plan_is_never_executed(empty_book):
    plan = look(empty_book, "buy market x 5")
    with pytest.raises(AssertionError):
        empty_book.execute(plan)


def test_a_subclass_of_order_keeps_its_own_slots():
    class VenueOrder(Order):
        __slots__ = ("fee",)

    book, order = Book(), VenueOrder(1, 10, BUY, 100, 5)
    order.fee = 7
    book.execute(book.plan(order))
    assert book.cancel(1).fee == 7
    assert not hasattr(order, "__dict__")
