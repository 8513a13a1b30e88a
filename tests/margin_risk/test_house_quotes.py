"""The house's quotes: where they stand, how they move with the marks, and what stops them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from accounts.models import Account
from exchange import house_quotes, orders
from exchange.models import Order
from marketdata.markets import by_symbol
from marketdata.units import plain


@pytest.fixture
def quoted(venue):
    """EURUSD quoted by the house, 10 ticks wide, half a contract a side, 1.2 contracts at most."""
    venue.terms("EURUSD", is_quoted=True, quote_spread_ticks=10, quote_size_lots=50, exposure_limit_lots=120)
    venue.quote("EURUSD", "1.09999", "1.10001")
    venue.tick()
    return venue


def test_around_the_mark_at_the_set_spread_and_size(quoted):
    assert quoted.book("EURUSD") == "0.5@1.09995 | 0.5@1.10005"


def test_never_narrower_than_the_provider(quoted):
    quoted.quote("EURUSD", "1.09980", "1.10030")
    quoted.tick()
    assert quoted.book("EURUSD") == "0.5@1.0998 | 0.5@1.1003"


def test_they_follow_each_mark_up_and_down_and_keep_their_place_in_the_account(quoted):
    for middle in ("1.10020", "1.10500", "1.10490", "1.09500"):
        price = Decimal(middle)
        quoted.quote("EURUSD", str(price), str(price))
        quoted.tick()
        low, high = (plain(price + shift * Decimal("0.00005")) for shift in (-1, 1))
        assert quoted.book("EURUSD") == f"0.5@{low} | 0.5@{high}"
    assert quoted.house_position("EURUSD") == "flat"


def test_who_is_passed_by_the_price_is_filled_by_the_house(quoted):
    quoted.order("ann BUY 0.2 EURUSD @ 1.09990")
    quoted.quote("EURUSD", "1.09980", "1.09980")
    quoted.tick()
    assert quoted.position("ann", "EURUSD").startswith("0.2 ")
    assert quoted.house_position("EURUSD").startswith("-0.2 ")
    assert quoted.is_sound()


def test_what_was_taken_is_quoted_again_until_the_limit_stops_that_side(quoted):
    for place, (taken, bids_and_asks) in enumerate(
        [("0.5", "0.5@1.09995 | 0.5@1.10005"), ("0.5", "0.5@1.09995 | 0.2@1.10005"), ("0.2", "0.5@1.09995 |")]
    ):
        quoted.order(f"rich BUY {taken} EURUSD @ 1.10005 IOC")
        quoted.tick()
        assert quoted.book("EURUSD") == bids_and_asks, place
    assert quoted.house_position("EURUSD").startswith("-1.2 ")
    quoted.order("rich SELL 0.3 EURUSD @ 1.09995 IOC")
    quoted.tick()
    assert quoted.book("EURUSD") == "0.5@1.09995 | 0.3@1.10005"
    assert quoted.is_sound()


def stale(quoted) -> None:
    quoted.mark("EURUSD", "1.10000", max_age_seconds=0)


def doubted(quoted) -> None:
    quoted.quote("EURUSD", "1.20000", "1.20000")


def halted(quoted) -> None:
    quoted.change("EURUSD", status="CANCEL_ONLY")


def closed(quoted) -> None:
    quoted.terms("EURUSD", hours=[["MON 00:00", "MON 00:01"]], holidays=[])


def switched_off(quoted) -> None:
    quoted.terms("EURUSD", is_quoted=False)


@pytest.mark.parametrize("stop", [stale, doubted, halted, closed, switched_off], ids=lambda stop: stop.__name__)
def test_what_takes_them_out(quoted, stop):
    stop(quoted)
    quoted.tick()
    assert quoted.book("EURUSD") == "|"


@pytest.mark.parametrize("is_quoted", [True, False])
def test_what_a_process_that_is_gone_has_left_goes(quoted, is_quoted):
    """Its answer was lost, or it died: the quotes stand, and one more beside them that nobody knows."""
    quoted.house_position("EURUSD")
    quoted.order("house BUY 0.3 EURUSD @ 1.09990")
    quoted.order("house SELL 0.3 EURUSD @ 1.10010")
    quoted.terms("EURUSD", is_quoted=is_quoted)
    quoted.house = house_quotes.House()
    quoted.quote("EURUSD", "1.10019", "1.10021")
    quoted.tick()
    assert quoted.book("EURUSD") == ("0.5@1.10015 | 0.5@1.10025" if is_quoted else "|")


def test_a_jump_is_quoted_from_its_second_print_on(quoted):
    quoted.quote("EURUSD", "1.15000", "1.15000")
    quoted.tick()
    assert quoted.book("EURUSD") == "|"
    quoted.quote("EURUSD", "1.15001", "1.15001")
    quoted.tick()
    assert quoted.book("EURUSD") == "0.5@1.14996 | 0.5@1.15006"


def test_a_book_of_its_own_makes_its_mark(venue):
    venue.terms("GBPUSD", mark_source="BOOK")
    venue.order("ann BUY 0.1 GBPUSD @ 1.24000")
    venue.order("bob SELL 0.1 GBPUSD @ 1.26000")
    venue.trade("ann", "BUY", "rich", "0.1", "GBPUSD", "1.25500")
    venue.tick()
    assert venue.keeper.marks[by_symbol("GBPUSD").id].price == Decimal("1.255")


def test_a_market_that_does_not_answer_holds_up_no_other(quoted, monkeypatch):
    quoted.terms("GBPUSD", is_quoted=True, quote_spread_ticks=10, quote_size_lots=50, exposure_limit_lots=120)
    amend, first, woken = orders.amend_async, Order.objects.earliest("id").id, asyncio.Event()

    async def amending(*, order_id: int, **terms):
        if order_id == first:
            await woken.wait()
        return await amend(order_id=order_id, **terms)

    monkeypatch.setattr(orders, "amend_async", amending)
    monkeypatch.setattr(house_quotes, "QUOTE_SECONDS", 0.3)
    for price in ("1.10100", "1.10200"):
        quoted.quote("EURUSD", price, price)
        quoted.quote("GBPUSD", price, price)
        quoted.tick()
        assert quoted.keeper.marks[by_symbol("EURUSD").id].price == Decimal(price)
    assert quoted.book("GBPUSD") == "0.5@1.10195 | 0.5@1.10205"
    assert quoted.book("EURUSD") != "0.5@1.10195 | 0.5@1.10205"
    woken.set()
    for _ in range(3):  # it has answered, what became of it is read, then it is moved
        quoted.tick()
    assert quoted.book("EURUSD") == "0.5@1.10195 | 0.5@1.10205"


def test_two_that_look_for_the_house_at_once_make_it_once(venue):
    """The first fills of a demonstration's new market: each had a house of its own, and nobody looked after one."""
    market_id, others = by_symbol("EURUSD").id, []

    def work() -> int:
        try:
            return house_quotes.house_account(market_id).id
        finally:
            connection.close()

    def look(execute, *statement):
        found = execute(*statement)
        if not others:  # the other one, between this one's look and what it does then
            others.append(None)
            with ThreadPoolExecutor(1) as threads:
                others.append(threads.submit(work).result())
        return found

    with connection.execute_wrapper(look):
        assert house_quotes.house_account(market_id).id == others[1]
    assert Account.objects.filter(kind=Account.Kind.MARKET_MAKER, market=market_id).count() == 1
