"""Stop orders of markets that are triggered by the mark: the last price leaves them alone, each mark is journaled."""

from decimal import Decimal

import pytest

from exchange.audit.replay import replay
from exchange.models import BookCommand
from exchange.sequencer import sequencer
from marketdata.markets import by_symbol
from tests.margin_risk.venue import RiskVenue


@pytest.fixture
def marked(venue) -> RiskVenue:
    """EURUSD at 1.10000 by the provider, long one contract each, rich buying far below and selling far above."""
    venue.change("EURUSD", trigger_by="MARK", price_band=None)
    tick(venue, "1.10000")
    for name in ("ann", "bob"):
        venue.trade(name, "BUY", "rich", "1", "EURUSD", "1.10000")
    venue.order("rich BUY 5 EURUSD @ 1.08000")
    venue.order("rich SELL 5 EURUSD @ 1.12000")
    yield venue
    assert venue.is_sound()
    assert replay(by_symbol("EURUSD").id).difference is None


def tick(venue, price: str) -> None:
    venue.quote("EURUSD", price, price)
    venue.tick()


def marks_journaled() -> int:
    return BookCommand.objects.filter(kind=BookCommand.Kind.MARK).count()


def test_the_mark_triggers_and_the_last_price_does_not(marked):
    stop = marked.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.09500"), reduce_only=True)
    marked.order("rich SELL 0.1 EURUSD @ 1.08000 IOC", self_trade_prevention="EXPIRE_MAKER")
    marked.trade("bob", "SELL", "rich", "0.1", "EURUSD", "1.08500")
    assert marked.stored(stop)["status"] == "PENDING"
    tick(marked, "1.09501")
    assert (marked.stored(stop)["status"], marks_journaled()) == ("PENDING", 0)
    marked.order("rich BUY 5 EURUSD @ 1.09000")
    tick(marked, "1.09500")
    assert (marked.stored(stop)["status"], marked.position("ann", "EURUSD"), marks_journaled()) == ("FILLED", "flat", 1)


def test_a_trailing_stop_follows_the_mark(marked):
    order = marked.order("ann SELL 1 EURUSD", type="TRAILING_STOP", trail_amount=Decimal("0.00500"), reduce_only=True)
    assert order["stop_price"] == "1.095"
    for price, stop in (("1.10200", "1.097"), ("1.10100", "1.097"), ("1.10300", "1.098")):
        tick(marked, price)
        assert marked.stored(order)["stop_price"] == stop, price
    assert marks_journaled() == 2
    sequencer.stop()  # the books come from the database again
    marked.order("rich BUY 5 EURUSD @ 1.09700")
    tick(marked, "1.09800")
    assert marked.stored(order)["status"] == "FILLED"


def test_a_stop_on_the_wrong_side_of_the_mark_is_refused(marked):
    terms = {"type": "STOP_LOSS", "stop_price": Decimal("1.10000"), "reduce_only": True}
    assert marked.refused("ann SELL 1 EURUSD", **terms) == "stop_would_trigger"


def test_liquidation_takes_waiting_orders_out_first(marked):
    marked.terms("EURUSD", mark_jump=Decimal("0.2"))
    stop = marked.order("ann SELL 1 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.00000"), reduce_only=True)
    marked.order("rich BUY 5 EURUSD @ 1.01000")
    tick(marked, "1.01000")
    marked.watch()
    assert marked.stored(stop)["status"] == "CANCELLED"
    assert marked.liquidations("ann")[0].split()[1] == "1/1"
