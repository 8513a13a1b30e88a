"""Auctions of a margin market: orders that only reduce have nothing set aside, and take no more than there is."""

from decimal import Decimal

import pytest

from exchange import clockwork, preview
from exchange.audit import replay
from exchange.sequencer import sequencer
from marketdata import clock
from marketdata.markets import by_symbol
from marketdata.models import TradingCalendar, TradingHours
from tests.margin.conftest import MARKETS
from tests.margin.test_settlement import trade
from tests.sessions.language import Day


@pytest.fixture
def fx(venue):
    """ann is long a lot of EURUSD at 1.10000, the last price. At the end all is sound and replays."""
    at(venue, "12:00")
    for name in ("cat", "dan", "eve"):
        venue.trader(name, USD=100_000)
    trade(venue, "ann", "BUY", "cat", "1", "EURUSD", "1.10000")
    try:
        yield venue
        is_sound_and_replays(venue)
    finally:
        clock.stand(None)


def at(venue, time: str) -> None:
    clock.stand(Day.moment(f"2026-11-23 {time}"))
    for symbol, (*_, price) in MARKETS.items():
        venue.mark(symbol, price)


def begin(venue) -> None:
    """A jump: orders are collected for a minute."""
    venue.change("EURUSD", volatility_band=Decimal("0.01"), auction_seconds=60)
    venue.order("cat SELL 0.01 EURUSD @ 1.13000")
    assert venue.refused("dan BUY 9 EURUSD MARKET") == "volatility_interruption"


def hold(venue, *, forgets: bool = False) -> None:
    if forgets:
        sequencer.registry.forget()
    at(venue, "12:05")
    clockwork.work()


def is_sound_and_replays(venue) -> None:
    assert replay.replay(by_symbol("EURUSD").id).difference is None
    assert venue.is_sound()


def state(venue, order: dict) -> str:
    row = venue.stored(order)
    return f"{row['status']} {row['filled_quantity']}/{row['quantity']}"


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize(
    ("sold", "bought", "position", "left"),
    [
        ("1", "2", "flat", "CANCELLED 0/1"),
        ("0.4", "2", "flat", "FILLED 0.6/0.6"),
        ("0.4", "1", "flat", "CANCELLED 0.6/1"),
        ("0.4", "0.5", "0.5", "PARTIALLY_FILLED 0.1/0.6"),
        ("1.5", "2", "-0.5", "CANCELLED 0/1"),  # what has margin set aside may open
    ],
)
def test_beside_an_order_that_sells_the_position_too(fx, sold, bought, position, left, forgets):
    begin(fx)
    fx.order(f"ann SELL {sold} EURUSD @ 1.09900")
    reduces = fx.order("ann SELL 1 EURUSD @ 1.10000", reduce_only=True)
    fx.order(f"dan BUY {bought} EURUSD @ 1.10000")
    hold(fx, forgets=forgets)
    assert fx.position("ann", "EURUSD").split()[0] == position
    assert state(fx, reduces) == left


def test_one_that_goes_first_takes_the_position_and_the_other_opens(fx):
    begin(fx)
    opens = fx.order("ann SELL 1 EURUSD @ 1.10000")
    reduces = fx.order("ann SELL 1 EURUSD @ 1.09900", reduce_only=True)
    fx.order("dan BUY 2 EURUSD @ 1.10000")
    hold(fx)
    assert fx.position("ann", "EURUSD").split()[0] == "-1"
    assert [state(fx, order) for order in (opens, reduces)] == ["FILLED 1/1", "FILLED 1/1"]


def test_without_them_the_auction_has_another_price(fx):
    """With ann's second order two lots would be sold at 1.10000."""
    begin(fx)
    fx.order("ann SELL 1 EURUSD @ 1.10000")
    fx.order("ann SELL 1 EURUSD @ 1.10000", reduce_only=True)
    fx.order("dan BUY 1 EURUSD @ 1.10300")
    low = fx.order("eve BUY 1 EURUSD @ 1.10000")
    hold(fx)
    assert (fx.position("ann", "EURUSD"), state(fx, low)) == ("flat", "OPEN 0/1")
    assert fx.last("ann", "EURUSD").realized == 300


def test_a_list_ends_where_its_position_is_sold_by_hand(fx):
    profit, stop = fx.oco("ann SELL 1 EURUSD", profit="1.10500", stop="1.09000", reduce_only=True)
    begin(fx)
    by_hand = fx.order("ann SELL 1 EURUSD @ 1.10400")
    fx.order("eve BUY 2 EURUSD @ 1.10500")
    hold(fx)
    assert [state(fx, order) for order in (by_hand, profit, stop)] == ["FILLED 1/1", "CANCELLED 0/1", "EXPIRED 0/1"]
    assert fx.position("ann", "EURUSD") == "flat"


def test_buys_of_a_short_position_alike(fx):
    trade(fx, "ann", "SELL", "cat", "2", "EURUSD", "1.10000")  # short a lot now
    begin(fx)
    fx.order("ann BUY 0.75 EURUSD @ 1.10000")
    reduces = fx.order("ann BUY 1 EURUSD @ 1.10000", reduce_only=True)
    fx.order("dan SELL 2 EURUSD @ 1.10000")
    hold(fx)
    assert (fx.position("ann", "EURUSD"), state(fx, reduces)) == ("flat", "FILLED 0.25/0.25")


def test_an_iceberg_ends(fx):
    begin(fx)
    fx.order("ann SELL 0.5 EURUSD @ 1.09900")
    reduces = fx.order("ann SELL 1 EURUSD @ 1.10000", reduce_only=True, displayed_quantity=Decimal("0.1"))
    fx.order("dan BUY 2 EURUSD @ 1.10000")
    hold(fx)
    assert (fx.position("ann", "EURUSD").split()[0], state(fx, reduces)) == ("0.5", "CANCELLED 0/1")


def test_several_accounts_at_once(fx):
    trade(fx, "dan", "BUY", "cat", "1", "EURUSD", "1.10000")
    begin(fx)
    for name in ("ann", "dan"):
        fx.order(f"{name} SELL 0.5 EURUSD @ 1.09900")
        fx.order(f"{name} SELL 0.75 EURUSD @ 1.10000", reduce_only=True)
    fx.order("eve BUY 9 EURUSD @ 1.10000")
    hold(fx, forgets=True)
    assert [fx.position(name, "EURUSD").split()[0] for name in ("ann", "dan", "eve")] == ["flat", "flat", "2"]


def test_an_order_is_weighed_by_the_phase(fx):
    def weigh(price):
        terms = {"symbol": "EURUSD", "side": "BUY", "quantity": Decimal(1), "reduce_only": False}
        row = preview.check(account_id=fx.accounts["dan"].id, price=price, **terms)
        return row["code"], row["unfilled_quantity"], row["position_after"]

    begin(fx)
    assert weigh(None)[0] == fx.refused("dan BUY 1 EURUSD MARKET") == "auction_phase"
    assert weigh(Decimal("1.13")) == (None, "1", "0")
    hold(fx)
    calendar = TradingCalendar.objects.create(name="Tuesdays")
    TradingHours.objects.create(calendar=calendar, weekday=1, opens="09:00", closes="17:00")
    fx.change("EURUSD", calendar=calendar)
    assert weigh(Decimal("1.13"))[0] == fx.refused("dan BUY 1 EURUSD @ 1.13") == "market_closed"
