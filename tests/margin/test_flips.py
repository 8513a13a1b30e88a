"""Orders whose first part closes a position and pays for what their other part sets aside."""

from decimal import Decimal

import pytest

from exchange import orders, preview
from exchange.audit import replay
from exchange.sequencer import sequencer
from marketdata.markets import by_symbol
from tests.margin.test_settlement import trade
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def fx(venue):
    """ann is long 2 EURUSD, 4,400 of her 10,000 reserved; at 1.18, where rich would take them, she has 16,000 more."""
    venue.trader("rich", USD=10_000_000)
    trade(venue, "ann", "BUY", "rich", "2", "EURUSD", "1.10000")
    venue.mark("EURUSD", "1.18")
    venue.order("rich BUY 2 EURUSD @ 1.18000")
    return venue


def is_sound_and_replays(venue) -> bool:
    sequencer.registry.forget()
    assert replay.replay(by_symbol("EURUSD").id).difference is None
    return venue.is_sound()


def amended_beside_another(fx, order: dict, **terms) -> object:
    """What an amendment comes to that shares its batch with an order."""
    terms = {name: Decimal(value) for name, value in terms.items()}
    amendment = orders._amendment(fx.accounts["ann"].id, order["id"], terms.get("price"), terms.get("quantity"))
    futures = sequencer.submit([amendment, fx.command("bob BUY 0.01 EURUSD @ 1.15000")])
    outcome, other = (future.result(PATIENCE_SECONDS) for future in futures)
    assert other["status"] == "OPEN"
    return outcome


#: 26,000 pay for 2,360 a lot that opens: 11 at most.
LOTS = [("6", "9440", "16560+9440"), ("13", "25960", "40+25960"), ("13.02", None, None)]


@pytest.mark.parametrize(("quantity", "reserved", "funds"), LOTS)
def test_what_is_weighed_is_what_passes(fx, quantity, reserved, funds):
    weighed = preview.check(
        account_id=fx.accounts["ann"].id, symbol="EURUSD", side="SELL", quantity=Decimal(quantity),
        price=Decimal("1.18"), reduce_only=False,
    )  # fmt: skip
    assert weighed["would_pass"] is (reserved is not None)
    sentence = f"ann SELL {quantity} EURUSD @ 1.18000"
    if reserved is None:
        assert fx.refused(sentence) == weighed["code"] == "insufficient_margin"
        assert fx.funds("ann", "USD") == "5600+4400"
    else:
        assert fx.order(sentence)["reserved"] == reserved
        assert (fx.position("ann", "EURUSD"), fx.funds("ann", "USD")) == ("flat", funds)
    assert is_sound_and_replays(fx)


@pytest.mark.parametrize(("quantity", "reserved", "funds"), LOTS)
def test_an_amendment_is_taken_or_leaves_no_trace(fx, quantity, reserved, funds):
    order = fx.order("ann SELL 2 EURUSD @ 1.20000")
    outcome = amended_beside_another(fx, order, price="1.18", quantity=quantity)
    if reserved is None:
        assert outcome.code == "insufficient_margin"
        assert (fx.stored(order)["reserved"], fx.funds("ann", "USD")) == ("4800", "800+9200")
    else:
        assert (outcome["status"], outcome["reserved"]) == ("PARTIALLY_FILLED", reserved)
        assert fx.funds("ann", "USD") == funds
    assert is_sound_and_replays(fx)


def test_a_loss_is_paid_before_anything_is_set_aside(fx):
    orders.cancel_all(account_id=fx.accounts["rich"].id)
    fx.mark("EURUSD", "1.06")
    fx.order("rich BUY 1 EURUSD @ 1.06000")
    fx.order("rich BUY 1 EURUSD @ 1.05900")
    assert fx.order("ann SELL 2.8 EURUSD @ 1.05900")["reserved"] == "1774.4"  # 80 below the mark
    assert fx.funds("ann", "USD") == "125.6+1774.4"  # 8,100 lost
    assert is_sound_and_replays(fx)


def test_what_a_position_lacks_of_its_margin_does_not_take_what_rests(venue):
    trade(venue, "ann", "BUY", "bob", "2", "EURUSD", "1.10000")
    venue.trader("rich", USD=10_000_000)
    trade(venue, "ann", "BUY", "rich", "0.5", "GBPUSD", "1.25000")
    trade(venue, "ann", "SELL", "rich", "2", "EURUSD", "1.05300")  # 9,400 lost of 10,000
    assert venue.position("ann", "GBPUSD") == "0.5 62500 1250/600"
    venue.trader("ann", USD=3_150)
    venue.order("rich SELL 0.5 GBPUSD @ 1.25000")
    assert venue.order("ann BUY 1 GBPUSD @ 1.25000")["reserved"] == "1250"
    assert venue.position("ann", "GBPUSD") == "1 125000 2500/2500"
    assert venue.funds("ann", "USD") == "0+3750"
    assert venue.is_sound()


class TestTriggered:
    """A stop goes to the book as a new order would, with what it has set aside."""

    @pytest.fixture
    def fx(self, fx):
        """The last price is 1.18, nothing rests, and rich quotes once a stop waits."""
        fx.change("EURUSD", price_band=None)
        trade(fx, "bob", "SELL", "rich", "0.01", "EURUSD", "1.18000")
        orders.cancel_all(account_id=fx.accounts["rich"].id)
        return fx

    def stop(self, fx, sentence: str, at: str, mark: str, **terms) -> dict:
        """A stop that a trade has reached, as it is then, when rich was ready to trade 2 there."""
        order = fx.order(sentence, type="STOP_LIMIT", stop_price=Decimal(at), **terms)
        fx.mark("EURUSD", mark)
        mine, other = ("BUY", "SELL") if "SELL" in sentence else ("SELL", "BUY")
        fx.order(f"rich {mine} 2.01 EURUSD @ {at}")
        fx.order(f"bob {other} 0.01 EURUSD @ {at} IOC")
        return fx.stored(order)

    def test_it_sets_aside_what_rests(self, fx):
        order = self.stop(fx, "ann SELL 2.3 EURUSD @ 1.17000", "1.17900", "1.17900")
        assert (order["status"], order["reserved"]) == ("PARTIALLY_FILLED", "972")  # 270 below the mark
        assert (fx.position("ann", "EURUSD"), fx.funds("ann", "USD")) == ("flat", "24828+972")  # 15,800 gained
        assert is_sound_and_replays(fx)

    def test_without_the_funds_it_ends(self, fx):
        order = self.stop(fx, "ann BUY 1 EURUSD @ 1.19000", "1.18500", "1.06000")  # 8,000 lost, 5,600 are left
        assert (order["status"], order["reason"], order["reserved"]) == ("REJECTED", "insufficient_margin", "0")
        assert (fx.position("ann", "EURUSD"), fx.funds("ann", "USD")) == ("2 220000 4400/4400", "5600+4400")
        assert is_sound_and_replays(fx)

    def test_what_closes_goes_however_much_is_lost(self, fx):
        order = self.stop(fx, "ann SELL 2 EURUSD @ 1.00000", "1.05500", "1.00000")
        assert (order["status"], fx.funds("ann", "USD")) == ("FILLED", "1000+0")
        assert is_sound_and_replays(fx)
