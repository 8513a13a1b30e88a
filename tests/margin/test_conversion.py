"""Profits in another currency, where the markets that tell what it is worth are gone."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from accounts import conversion
from accounts.valuation import Pair
from exchange import orders
from exchange.audit import replay
from exchange.commands import Refresh
from exchange.mark_price import Mark
from exchange.sequencer import sequencer
from marketdata import clock, marks
from marketdata.markets import by_symbol
from marketdata.models import Mark as MarkRow
from tests.margin.test_settlement import trade
from tests.patience import PATIENCE_SECONDS

BETWEEN = ("USDJPY", "GBPUSD", "EURUSD")


@pytest.fixture
def fx(venue):
    """ann is long a tenth of a contract of GBPJPY at 190 yen; at 188.5 she loses 15,000 yen or 100 dollars."""
    venue.contract("GBPJPY", "GBP", "JPY", "0.001")
    venue.change("GBPJPY", price_band=None)
    venue.mark("GBPJPY", "190.000")
    venue.trader("cat", USD=100_000)
    trade(venue, "ann", "BUY", "cat", "0.1", "GBPJPY", "190.000")
    yield venue
    clock.stand(None)
    assert venue.is_sound()
    assert replay.replay(by_symbol("GBPJPY").id).difference is None


def retire(venue) -> None:
    """An operator ends the markets in between; their marks stay as they are."""
    for symbol in BETWEEN:
        venue.change(symbol, is_active=False)
    marks.forget()


def forget(venue) -> None:
    """Nobody ever named a price there."""
    MarkRow.objects.filter(market__symbol__in=BETWEEN).delete()
    marks.forget()


def mark_reaches(price: str) -> None:
    spec = by_symbol("GBPJPY")
    sequencer.submit([Mark(spec.id, spec.ticks(Decimal(price)))])[0].result(PATIENCE_SECONDS)


def look() -> None:
    """Any command."""
    sequencer.submit([Refresh(by_symbol("GBPJPY").id)])[0].result(PATIENCE_SECONDS)


def stop(venue, name: str = "ann", **terms) -> dict:
    venue.change("GBPJPY", trigger_by="MARK")
    return venue.order(f"{name} SELL 0.1 GBPJPY", type="STOP_LOSS", stop_price=Decimal("189.000"), **terms)


def state(venue, order: dict) -> tuple:
    row = venue.stored(order)
    return row["status"], row["reason"]


class TestMarketsThatAreNoLongerActive:
    def test_what_is_open_can_be_closed(self, fx):
        fx.order("cat BUY 1 GBPJPY @ 188.500")
        retire(fx)
        assert fx.order("ann SELL 0.1 GBPJPY MARKET", reduce_only=True)["status"] == "FILLED"
        assert (fx.last("ann", "GBPJPY").realized, fx.funds("ann", "USD")) == (-100, "9900+0")

    def test_nothing_new_is_opened(self, fx):
        fx.order("cat BUY 1 GBPJPY @ 188.500")
        held = fx.order("bob BUY 0.1 GBPJPY @ 180.000")
        retire(fx)
        assert fx.refused("bob SELL 0.1 GBPJPY MARKET") == "stale_price"
        assert fx.refused("bob BUY 0.1 GBPJPY @ 180.000") == "stale_price"
        assert fx.cancel("bob", held)["status"] == "CANCELLED"

    def test_stops_that_reduce_are_triggered_and_others_end(self, fx):
        reduces, opens = stop(fx, reduce_only=True), stop(fx, "bob")
        fx.order("cat BUY 1 GBPJPY @ 188.500")
        retire(fx)
        mark_reaches("188.500")
        assert [state(fx, order) for order in (reduces, opens)] == [("FILLED", None), ("EXPIRED", "stale_price")]

    def test_an_active_market_goes_before_them(self, fx):
        fx.mark("USDJPY", "100.000")  # by the others a dollar is 152 yen
        fx.change("USDJPY", is_active=False)
        marks.forget()
        assert conversion.fraction_of(by_symbol("GBPJPY")) == Fraction(1, 152)


def test_prices_by_older_marks_are_not_kept_for_newer_ones(monkeypatch):
    """Another thread asks by newer marks while this one makes its prices of the older."""
    cache, prices = conversion._Cache(), iter((100, 200))
    seen = {}

    def load() -> list[Pair]:
        price = next(prices)
        if price == 100:
            monkeypatch.setattr(marks, "latest", lambda newer={}: newer)
            seen["newer"] = cache.find(2, 1, 1)
        return [Pair(2, 1, Decimal(price))]

    monkeypatch.setattr(marks, "latest", lambda older={}: older)
    monkeypatch.setattr(conversion, "SOURCES", (load,))
    assert (cache.find(2, 1, 1), seen["newer"], cache.find(2, 1, 1)) == (100, 200, 200)


class TestNoWayAtAll:
    def test_a_triggered_stop_stays_due_and_is_in_nobodys_way(self, fx):
        order = stop(fx, reduce_only=True)
        resting = fx.order("cat BUY 1 GBPJPY @ 188.500")
        other = fx.order("bob SELL 0.1 GBPJPY @ 195.000")
        forget(fx)
        mark_reaches("188.500")
        assert state(fx, order) == ("PENDING", None)
        assert fx.refused("bob SELL 0.1 GBPJPY @ 195.000") == "stale_price"
        assert fx.cancel("bob", other)["status"] == "CANCELLED"
        fx.mark("USDJPY", "150.000")
        sequencer.registry.forget()
        look()
        assert state(fx, order) == ("FILLED", None)
        assert (fx.last("ann", "GBPJPY").realized, fx.stored(resting)["filled_quantity"]) == (-100, "0.1")

    def test_it_may_be_cancelled_meanwhile(self, fx):
        order = stop(fx, reduce_only=True)
        forget(fx)
        mark_reaches("188.500")
        assert fx.cancel("ann", order)["status"] == "CANCELLED"

    def test_an_auction_waits(self, fx):
        fx.change("GBPJPY", volatility_band=Decimal("0.01"), auction_seconds=3)
        fx.order("cat SELL 1 GBPJPY @ 195.000")
        bids = [fx.order("ann BUY 0.01 GBPJPY @ 195.000"), fx.order("bob BUY 0.01 GBPJPY @ 195.000")]
        until = {"time_in_force": "GTD", "expires_at": clock.now() + timedelta(seconds=9)}
        dated = fx.order("bob BUY 0.01 GBPJPY @ 195.000", **until)
        forget(fx)
        clock.stand(clock.now() + timedelta(seconds=10))
        look()
        assert [state(fx, bid)[0] for bid in (*bids, dated)] == ["OPEN", "OPEN", "EXPIRED"]
        assert fx.cancel("bob", bids[1])["status"] == "CANCELLED"
        fx.mark("USDJPY", "150.000")
        look()
        assert [state(fx, bid)[0] for bid in bids] == ["FILLED", "CANCELLED"]
        orders.cancel_all(account_id=fx.accounts["cat"].id)
