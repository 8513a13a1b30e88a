"""Stops at the mark and what they may still do: where new risk is stopped, and when little is left to reduce."""

from decimal import Decimal

import pytest

from exchange.audit import replay
from exchange.mark_price import Mark
from exchange.sequencer import sequencer
from marketdata.markets import by_symbol
from tests.margin.test_rules import STOPS
from tests.margin.test_settlement import trade


@pytest.fixture
def fx(venue):
    """ann is long a lot of EURUSD at 1.10000; its stops go by the mark, and cat buys what they sell at 1.09390."""
    venue.change("EURUSD", trigger_by="MARK")
    venue.trader("cat", USD=100_000)
    trade(venue, "ann", "BUY", "cat", "1", "EURUSD", "1.10000")
    venue.order("cat BUY 5 EURUSD @ 1.09390")
    yield venue
    assert venue.is_sound()
    assert replay.replay(by_symbol("EURUSD").id).difference is None


def stop(venue, name: str, quantity: str, **terms) -> dict:
    terms = {"type": "STOP_LOSS", "stop_price": Decimal("1.09500"), **terms}
    return venue.order(f"{name} SELL {quantity} EURUSD", **terms)


def mark_reaches(price: str) -> None:
    spec = by_symbol("EURUSD")
    sequencer.submit([Mark(spec.id, spec.ticks(Decimal(price)))])[0].result(10)


def state(venue, order: dict) -> tuple:
    row = venue.stored(order)
    return row["status"], row["reason"], row["filled_quantity"]


class TestWhereNewRiskIsStopped:
    @pytest.mark.parametrize("code", ["reduce_only", "stale_price"])
    @pytest.mark.parametrize("terms", [{}, {"type": "STOP_LIMIT", "price": Decimal("1.09000")}])
    def test_a_stop_that_may_open_ends(self, fx, code, terms):
        opens, reduces = stop(fx, "bob", "1", **terms), stop(fx, "ann", "1", reduce_only=True, **terms)
        STOPS[code](fx)
        mark_reaches("1.09400")
        assert (state(fx, opens), state(fx, reduces)) == (("EXPIRED", code, "0"), ("FILLED", None, "1"))
        assert (fx.position("bob", "EURUSD"), fx.funds("bob", "USD")) == ("flat", "10000+0")

    def test_outside_the_hours_all_wait(self, fx):
        stops = [stop(fx, "bob", "1"), stop(fx, "ann", "1", reduce_only=True)]
        STOPS["market_closed"](fx)
        mark_reaches("1.09400")
        assert [state(fx, each)[0] for each in stops] == ["PENDING", "PENDING"]
        sequencer.registry.forget()
        fx.terms("EURUSD", holidays=[])
        mark_reaches("1.09600")  # whatever comes next: they were reached
        assert [state(fx, each)[0] for each in stops] == ["FILLED", "FILLED"]
