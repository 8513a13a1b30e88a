"""Call auctions: published worked examples, one small book for each rule, and who trades.

Published: Binance DEX, "Match Steps and Examples", examples 1 to 4; the book by which the Australian exchange's four
principles are explained in a course of the University of New South Wales (appendix on the opening and closing
auction); the order book of the single-price auction in MarketGrid's documentation. All three name the largest execution
and, but for MarketGrid, the least surplus and the pressure of the market as the first steps. The books for the rules of
Xetra's market model (see exchange.engine.auction) are ours.
"""

import pytest

from exchange.engine import auction
from exchange.engine.book import BUY, SELL, Book
from exchange.engine.orders import Order

#: (name, bids, asks, reference, price, executed, surplus)
EXAMPLES = [
    ("Xetra 1: one limit trades most", "202:200 201:200 200:300", "197:400 198:200 200:100", None, 200, 700, 0),
    ("Xetra 2: bid surplus, the highest", "202:400 201:200", "198:200 199:300", None, 201, 500, 100),
    ("Xetra 3: ask surplus, the lowest", "202:300 201:200", "198:200 199:400", None, 199, 500, -100),
    ("Xetra 5: no surplus, reference above", "202:300 201:200", "198:200 199:300", 202, 201, 500, 0),
    ("Xetra 5: no surplus, reference below", "202:300 201:200", "198:200 199:300", 198, 199, 500, 0),
    ("no surplus, reference within", "202:300 201:200", "198:200 199:300", 200, 200, 500, 0),
    ("no surplus, no reference: the middle", "202:300 201:200", "198:200 199:300", None, 200, 500, 0),
    ("both surpluses, reference above", "100:25 97:25", "95:25 98:25", 99, 98, 25, -25),
    ("both surpluses, reference below", "100:25 97:25", "95:25 98:25", 90, 97, 25, 25),
    ("DEX 1: the largest execution", "100:150 98:150", "97:50 98:250", 98, 98, 300, 0),
    ("DEX 2: the largest execution", "100:150 99:50 97:300", "96:100 97:200", 98, 97, 300, 200),
    ("DEX 3: the least surplus", "102:300 100:100 99:200 98:300", "96:1000 97:250 98:250", 98, 96, 900, -100),
    ("DEX 4: the least surplus", "102:30 101:10 99:50 96:15", "95:50 97:50 98:10", 98, 97, 90, -10),
    ("ASX: buy pressure, the highest", "640:500 639:1000 634:1000 633:500", "610:1000 640:500 641:520 642:550 643:519",
     None, 639, 1000, 500),
    ("MarketGrid: the largest execution",
     "13000:45 12900:95 12800:25 12700:35 12600:25 12500:55 12400:200 12300:80 12200:60",
     "12200:10 12300:125 12400:155 12500:90 12600:20 12700:10 12800:15 12900:10 13000:50 13100:35",
     None, 12400, 290, 190),
    ("Xetra 7: nobody meets", "200:80 199:80", "201:80", 200, None, 0, 0),
    ("Xetra 8: bid surplus at one limit", "200:600", "200:400", None, 200, 400, 200),
    ("bids only", "99:10", "", 100, None, 0, 0),
    ("asks only", "", "99:10", 100, None, 0, 0),
]  # fmt: skip


def levels(text: str) -> list[tuple[int, int]]:
    return [tuple(map(int, level.split(":"))) for level in text.split()]


@pytest.mark.parametrize(
    ("bids", "asks", "reference", "expected"),
    [(bids, asks, reference, expected) for _, bids, asks, reference, *expected in EXAMPLES],
    ids=[name for name, *_ in EXAMPLES],
)
def test_the_price(bids, asks, reference, expected):
    call = auction.call(levels(bids), levels(asks), reference)
    assert (call or (None, 0, 0)) == tuple(expected)


def book_of(bids: str, asks: str) -> Book:
    book, number = Book(), 0
    for side, text in ((BUY, bids), (SELL, asks)):
        for price, lots in levels(text):
            number += 1
            book.restore(Order(number, number, side, price, lots), may_cross=True)
    return book


@pytest.mark.parametrize("example", EXAMPLES, ids=[name for name, *_ in EXAMPLES])
def test_a_book_gives_the_same_price_and_is_not_crossed_afterwards(example):
    _, bids, asks, reference, price, executed, _ = example
    book = book_of(bids, asks)
    plan = auction.plan(book, reference)
    assert (plan.call.price if plan else None) == price
    got = {}
    for buy, sell, lots in plan.matches if plan else ():
        assert sell.price <= price <= buy.price
        got[buy] = got.get(buy, 0) + lots
        got[sell] = got.get(sell, 0) + lots
    for order, lots in got.items():
        book.fill(order, lots)
    assert sum(got.values()) == 2 * executed
    assert auction.plan(book, reference) is None


def test_xetra_8_the_earlier_of_two_orders_at_the_limit_is_filled_first():
    plan = auction.plan(book_of("200:300 200:300", "200:400"), None)
    assert [(buy.id, lots) for buy, _, lots in plan.matches] == [(1, 300), (2, 100)]


def test_the_earlier_order_at_the_price_goes_first():
    book = book_of("101:5 101:5 102:5", "100:8")
    plan = auction.plan(book, None)
    assert [(buy.id, lots) for buy, _, lots in plan.matches] == [(3, 5), (1, 3)]


def test_many_levels_are_walked_as_few_are_summed():
    """The walk along many limits gives what the definition gives."""
    for seed in range(50):
        bids = [(200 - (seed * 7 + n * 3) % 40, 1 + (seed * 13 + n * 29) % 50) for n in range(30)]
        asks = [(165 + (seed * 11 + n * 5) % 40, 1 + (seed * 17 + n * 31) % 50) for n in range(30)]
        bids.sort(reverse=True)
        asks.sort()
        limits = sorted({price for price, _ in bids + asks})
        by_definition = [auction._at(price, bids, asks) for price in limits]
        assert auction._all(limits, bids, asks) == by_definition
        found = auction.call(bids, asks, 180)
        assert found.lots == max(call.lots for call in by_definition)
