"""From prints to marks: one wrong tick moves nothing, two that agree are the market; and what is stored of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketdata import clock, marks
from marketdata.marks import Print, Smoother, fair_price, mark_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPIKES = [
    # prints, marks after each of them
    ("100 101 102 103", "100 101 102 103"),
    ("100 150 101", "100 100 101"),
    ("100 150 151 152", "100 100 151 152"),
    ("100 60 140 61 62", "100 100 100 100 62"),
    ("100 150 100 150 100", "100 100 100 100 100"),
    ("100 106 100", "100 100 100"),
    ("100 105 110", "100 105 110"),
]


@pytest.mark.parametrize(("prints", "expected"), SPIKES, ids=[prints for prints, _ in SPIKES])
def test_a_single_print_far_away_is_no_mark(prints, expected):
    smoother = Smoother(Decimal("0.05"))
    seen = []
    for second, price in enumerate(prints.split()):
        smoother.take(observed(price, second))
        seen.append(str(smoother.mark))
    assert " ".join(seen) == expected


def test_the_same_print_again_confirms_nothing():
    smoother = Smoother(Decimal("0.05"), Decimal(100))
    assert [smoother.take(observed("150", second)) for second in (1, 1, 0, 2)] == [False, False, False, True]


def test_prints_count_again_after_a_clock_was_put_back():
    smoother = Smoother(Decimal("0.05"), Decimal(100))
    assert [smoother.take(observed(price, second)) for price, second in (("101", 3600), ("102", 1), ("103", 1))] == [
        True, True, False,
    ]  # fmt: skip


FAIR = [
    # bid, ask, last trade, fair price
    ("99", "101", "100.5", "100.5"),
    ("99", "101", "90", "99"),
    ("99", "101", "110", "101"),
    ("99", "101", None, "100"),
    (None, "101", "100", None),
    ("99", None, "100", None),
    (None, None, None, None),
]


@pytest.mark.parametrize(("bid", "ask", "last", "expected"), FAIR)
def test_the_fair_price_of_a_book(bid, ask, last, expected):
    assert fair_price(*(None if value is None else Decimal(value) for value in (bid, ask, last))) == (
        None if expected is None else Decimal(expected)
    )


def observed(price: str, second: float = 0) -> Print:
    middle = Decimal(price)
    return Print(middle, middle, middle, NOON + timedelta(seconds=second))


@pytest.fixture
def at_noon():
    clock.stand(NOON)
    yield
    clock.stand(None)


@pytest.mark.django_db
class TestStored:
    def test_a_mark_ages_by_the_readers_clock(self, market, at_noon):
        marks.write([mark_of(market.id, observed("100"), 5)])
        assert marks.fresh(market.id, "EURUSD").price == 100
        clock.stand(NOON + timedelta(seconds=5))
        with pytest.raises(marks.StalePrice) as caught:
            marks.fresh(market.id, "EURUSD")
        assert caught.value.code == "stale_price"

    def test_no_mark_is_as_good_as_a_stale_one(self, market):
        assert marks.mark(market.id) is None
        with pytest.raises(marks.StalePrice):
            marks.fresh(market.id, "EURUSD")

    def test_a_mark_never_goes_back_in_time(self, market, at_noon):
        for price, second in (("100", 1), ("101", 3), ("102", 2)):
            marks.write([mark_of(market.id, observed(price, second), 5)])
        assert marks.mark(market.id).price == 101

    def test_a_mark_of_a_clock_that_was_put_back_is_stale_and_gives_way(self, market, at_noon):
        marks.write([mark_of(market.id, observed("100", 3600), 5)])
        assert marks.mark(market.id).is_stale
        marks.write([mark_of(market.id, observed("101"), 5)])
        assert marks.fresh(market.id, "EURUSD").price == 101

    def test_a_mark_keeps_its_spread(self, market):
        marks.write([mark_of(market.id, Print(Decimal("1.09"), Decimal("1.12"), Decimal("1.1"), clock.now()), 5)])
        found = marks.mark(market.id)
        assert (found.bid, found.price, found.ask, found.is_stale) == (
            Decimal("1.09"), Decimal("1.1"), Decimal("1.12"), False,
        )  # fmt: skip
