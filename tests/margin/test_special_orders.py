"""Stops, lists and icebergs on margin markets: what they reserve while they wait, and that exits only reduce."""

from decimal import Decimal

import pytest

from exchange import lists, margin_reading, orders, risk_reading
from exchange.audit import replay
from exchange.commands import ReduceOnly
from exchange.models import ListKind
from exchange.sequencer import sequencer
from marketdata.markets import by_symbol
from tests.margin.test_settlement import trade


@pytest.fixture
def fx(venue):
    """ann is long a lot of EURUSD at 1.10000, the last price."""
    venue.trader("cat", USD=100_000)
    trade(venue, "ann", "BUY", "cat", "1", "EURUSD", "1.10000")
    return venue


def stop(venue, name: str, side: str, quantity: str, price: str, **terms) -> dict:
    terms = {"type": "STOP_LOSS", "stop_price": Decimal(price), **terms}
    return venue.order(f"{name} {side} {quantity} EURUSD", **terms)


def fall(venue, price: str) -> None:
    """Somebody else's trade at that price, with a bid below it for whoever follows."""
    venue.order(f"cat BUY 5 EURUSD @ {Decimal(price) - Decimal('0.0001')}")
    trade(venue, "bob", "SELL", "cat", "0.01", "EURUSD", price)


def states(venue, *placed: dict) -> list[tuple]:
    rows = [venue.stored(order) for order in placed]
    return [(row["status"], row["reason"]) for row in rows]


def is_sound_and_replays(venue) -> bool:
    assert replay.replay(by_symbol("EURUSD").id).difference is None
    return venue.is_sound()


class TestStops:
    def test_one_that_only_reduces_holds_nothing_and_closes(self, fx):
        order = stop(fx, "ann", "SELL", "1", "1.09500", reduce_only=True)
        assert (order["status"], order["reserved"]) == ("PENDING", "0")
        fall(fx, "1.09400")
        assert states(fx, order) == [("FILLED", None)]
        assert fx.position("ann", "EURUSD") == "flat"
        assert fx.last("ann", "EURUSD").realized == -610  # at 1.09390
        assert is_sound_and_replays(fx)

    def test_what_it_holds_is_still_the_accounts(self, fx):
        account = fx.accounts["ann"].id
        with margin_reading.snapshot():
            before = margin_reading.read(account).state(fx.assets["USD"].id)
        held = int(Decimal(stop(fx, "ann", "BUY", "1", "1.11000")["reserved"]) * 10**8)
        with margin_reading.snapshot():
            after = margin_reading.read(account).state(fx.assets["USD"].id)
        assert held and (after.orders, after.equity, after.free) == (held, before.equity, before.free - held)
        (purse,) = risk_reading.purses([account])
        assert purse.state() == after, "what it is liquidated by"

    def test_one_that_may_open_holds_margin_at_its_worst_price(self, fx):
        order = stop(fx, "bob", "BUY", "1", "1.11000")
        assert Decimal(order["reserved"]) == Decimal("2442")  # 1.22100 is its protection, a tenth above the stop
        assert fx.funds("bob", "USD") == "7558+2442"
        sequencer.registry.forget()
        assert fx.cancel("bob", order)["reserved"] == "0"
        assert fx.funds("bob", "USD") == "10000+0"

    def test_triggered_it_opens_with_what_it_held(self, fx):
        order = stop(fx, "bob", "SELL", "1", "1.09500")
        fall(fx, "1.09400")
        assert states(fx, order) == [("FILLED", None)]
        assert fx.position("bob", "EURUSD").startswith("-1.01 ")
        assert is_sound_and_replays(fx)

    def test_without_the_margin_it_is_refused(self, fx):
        assert (
            fx.refused("bob SELL 6 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.09500")) == "insufficient_margin"
        )

    def test_with_nothing_left_to_reduce_it_expires(self, fx):
        order = stop(fx, "ann", "SELL", "1", "1.09500", reduce_only=True)
        trade(fx, "ann", "SELL", "cat", "1", "EURUSD", "1.10000")
        fall(fx, "1.09400")
        assert states(fx, order) == [("EXPIRED", "reduce_only")]
        assert fx.position("ann", "EURUSD") == "flat"
        assert is_sound_and_replays(fx)


class TestLists:
    def bracket(self, venue, **terms) -> list[dict]:
        command = lists.list_command(
            kind=ListKind.BRACKET, account_id=venue.accounts["bob"].id, symbol="EURUSD", side="BUY",
            quantity=Decimal("0.5"), price=Decimal("1.10000"), take_profit_price=Decimal("1.10500"),
            stop_price=Decimal("1.09500"), **terms,
        )  # fmt: skip
        return orders.place_many([command])[0].order

    def test_a_bracket_protects_the_position_that_its_entry_opens(self, fx):
        entry, profit, loss = self.bracket(fx)
        assert [order["reserved"] for order in (entry, profit, loss)] == ["1100", "0", "0"]
        fx.order("cat SELL 0.5 EURUSD @ 1.10000")
        assert fx.position("bob", "EURUSD") == "0.5 55000 1100/1100"
        fall_by_cat(fx, "1.09400")
        assert states(fx, entry, profit, loss) == [("FILLED", None), ("EXPIRED", "other_leg"), ("FILLED", None)]
        assert fx.position("bob", "EURUSD") == "flat"
        assert is_sound_and_replays(fx)

    def test_an_oco_that_only_reduces_holds_nothing(self, fx):
        command = lists.list_command(
            kind=ListKind.OCO, account_id=fx.accounts["ann"].id, symbol="EURUSD", side="SELL", quantity=Decimal(1),
            take_profit_price=Decimal("1.10500"), stop_price=Decimal("1.09500"), reduce_only=True,
        )  # fmt: skip
        profit, loss = orders.place_many([command])[0].order
        assert (profit["reserved"], loss["reserved"]) == ("0", "0")
        fx.order("cat BUY 1 EURUSD @ 1.10500")
        assert states(fx, profit, loss) == [("FILLED", None), ("EXPIRED", "other_leg")]
        assert fx.funds("ann", "USD") == "10500+0"
        assert is_sound_and_replays(fx)

    def test_an_oco_that_may_open_holds_once(self, fx):
        command = lists.list_command(
            kind=ListKind.OCO, account_id=fx.accounts["bob"].id, symbol="EURUSD", side="SELL", quantity=Decimal(1),
            take_profit_price=Decimal("1.10500"), stop_price=Decimal("1.09500"),
        )  # fmt: skip
        profit, loss = orders.place_many([command])[0].order
        assert (profit["reserved"], loss["reserved"]) == ("2210", "0")
        sequencer.registry.forget()
        fx.cancel("bob", profit)
        assert fx.funds("bob", "USD") == "10000+0"
        assert is_sound_and_replays(fx)


def fall_by_cat(venue, price: str) -> None:
    """The same with a seller who is nobody of the test."""
    venue.trader("dan", USD=100_000)
    venue.order(f"cat BUY 5 EURUSD @ {Decimal(price) - Decimal('0.0001')}")
    trade(venue, "dan", "SELL", "cat", "0.01", "EURUSD", price)


def test_an_iceberg_holds_margin_for_what_it_hides(fx):
    order = fx.order("bob SELL 2 EURUSD @ 1.10100", displayed_quantity=Decimal("0.5"))
    assert (order["reserved"], fx.funds("bob", "USD")) == ("4404", "5596+4404")
    fx.order("cat BUY 0.7 EURUSD @ 1.10100 IOC")
    assert fx.stored(order)["reserved"] == "2862.6"
    assert fx.position("bob", "EURUSD") == "-0.7 -77070 1541.4/1541.4"
    assert is_sound_and_replays(fx)


def test_an_order_in_the_place_of_another(fx):
    old = fx.order("bob SELL 4 EURUSD @ 1.10100")
    new = fx.command("bob SELL 4 EURUSD @ 1.10200")
    answer = orders.place_many([lists.replacing(new, old["id"])])[0].order
    assert (answer["status"], answer["reserved"]) == ("OPEN", "8816")
    assert fx.stored(old)["status"] == "CANCELLED"
    assert is_sound_and_replays(fx)


class TestReplacingOneThatOnlyReduces:
    def replaced(self, venue, old: dict, sentence: str, **terms) -> dict:
        new = venue.command(sentence, reduce_only=True, **terms)
        return orders.place(lists.replacing(new, old["id"])).order

    def test_the_new_one_may_take_what_the_old_one_would_have(self, fx):
        old = fx.order("ann SELL 1 EURUSD @ 1.10100", reduce_only=True)
        new = self.replaced(fx, old, "ann SELL 1 EURUSD @ 1.10200")
        assert states(fx, old, new) == [("CANCELLED", None), ("OPEN", None)]
        assert fx.refused("ann SELL 0.01 EURUSD @ 1.10300", reduce_only=True) == "reduce_only"
        assert is_sound_and_replays(fx)

    def test_what_goes_with_it_is_not_in_the_way(self, fx):
        terms = {"profit": "1.10500", "stop": "1.09500", "reduce_only": True}
        profit, loss = fx.oco("ann SELL 1 EURUSD", **terms)
        new = self.replaced(fx, loss, "ann SELL 1 EURUSD @ 1.10400")
        assert states(fx, profit, loss, new) == [("EXPIRED", "other_leg"), ("CANCELLED", None), ("OPEN", None)]
        with pytest.raises(ReduceOnly):
            self.replaced(fx, new, "ann SELL 1.01 EURUSD @ 1.10300")
        assert fx.refused("ann SELL 0.01 EURUSD @ 1.10300", reduce_only=True) == "reduce_only"
        assert is_sound_and_replays(fx)

    def test_refused_it_leaves_the_old_one_in_its_place(self, fx):
        old = fx.order("ann SELL 0.6 EURUSD @ 1.10100", reduce_only=True)
        fx.order("ann SELL 0.4 EURUSD @ 1.10200", reduce_only=True)
        with pytest.raises(ReduceOnly):
            self.replaced(fx, old, "ann SELL 0.61 EURUSD @ 1.10200")
        assert fx.stored(old)["status"] == "OPEN"
        assert fx.refused("ann SELL 0.01 EURUSD @ 1.10300", reduce_only=True) == "reduce_only"
        fx.order("cat BUY 1 EURUSD @ 1.10000")
        fx.order("ann SELL 1 EURUSD @ 1.10000 IOC")
        assert states(fx, old) == [("CANCELLED", "reduce_only")]  # it could reduce nothing any more
        assert is_sound_and_replays(fx)

    def test_one_that_waits_does_not_count_before_it_rests(self, fx):
        old = stop(fx, "ann", "SELL", "1", "1.09500", reduce_only=True)
        with pytest.raises(ReduceOnly):
            self.replaced(fx, old, "ann SELL 2 EURUSD @ 1.10100")
        resting = fx.order("ann SELL 1 EURUSD @ 1.10200", reduce_only=True)
        assert states(fx, old, resting) == [("PENDING", None), ("OPEN", None)]
        assert is_sound_and_replays(fx)
