"""Orders that belong together: taken whole, funds held once, and what one of them does to the others."""

from decimal import Decimal

import pytest

from exchange import clockwork, following, lists, orders
from exchange.audit.replay import replay
from exchange.sequencer import Sequencer, sequencer
from marketdata.markets import by_symbol
from marketdata.refusals import Refusal
from tests.trading.test_triggers import market, state

__all__ = ["market"]


def states(venue, members) -> list[str]:
    return [state(venue, order) for order in members]


class TestOco:
    def test_funds_are_held_once(self, market):
        profit, stop = market.oco("ann SELL 10 AAPL", profit=104, stop=96)
        held = [(order["status"], order["reserved"]) for order in (profit, stop)]
        assert held == [("OPEN", "10"), ("PENDING", "0")]
        assert (profit["list_id"], profit["list_role"], stop["list_role"]) == (
            profit["id"], "TAKE_PROFIT", "STOP_LOSS",
        )  # fmt: skip
        assert market.funds("ann", "AAPL") == "90+10"

    def test_a_buy_holds_the_dearer_leg(self, market):
        profit, stop = market.oco("ann BUY 10 AAPL", profit=97, stop=103, stop_limit=104)
        assert (profit["reserved"], stop["reserved"]) == ("970.97", "70.07")
        assert market.funds("ann", "USD") == "98958.96+1041.04"

    def test_a_fill_ends_the_stop(self, market):
        members = market.oco("ann SELL 10 AAPL", profit=101, stop=96)
        market.order("bob BUY 7 AAPL @ 101")
        assert states(market, members) == ["PARTIALLY_FILLED 2", "EXPIRED 0 other_leg"]
        assert market.funds("ann", "AAPL") == "90+8"

    def test_the_stop_ends_the_profit_and_takes_its_funds(self, market):
        members = market.oco("ann BUY 4 AAPL", profit=97, stop=102, stop_limit=104)
        market.order("bob BUY 6 AAPL @ 102")
        assert states(market, members) == ["EXPIRED 0 other_leg", "FILLED 4"]
        assert market.funds("ann", "USD").endswith("+0")

    def test_cancelling_one_ends_the_other(self, market):
        members = market.oco("ann SELL 10 AAPL", profit=104, stop=96)
        market.cancel("ann", members[1])
        assert states(market, members) == ["EXPIRED 0 other_leg", "CANCELLED 0"]
        assert market.funds("ann", "AAPL") == "100+0"

    @pytest.mark.parametrize(
        ("sentence", "prices", "code"),
        [
            ("ann SELL 10 AAPL", {"profit": 99, "stop": 96}, "would_take"),
            ("ann SELL 10 AAPL", {"profit": 104, "stop": 101}, "stop_would_trigger"),
            ("ann SELL 10 AAPL", {"profit": "99.5", "stop": 96}, "bad_list_prices"),
            ("ann SELL 101 AAPL", {"profit": 104, "stop": 96}, "insufficient_funds"),
            ("ann BUY 1000 AAPL", {"profit": 97, "stop": 103}, "insufficient_funds"),
            ("ann BUY 950 AAPL", {"profit": 97, "stop": 103}, "insufficient_funds"),
            ("ann SELL 10 AAPL @ 100", {"profit": 104, "stop": 96}, "invalid"),
            ("ann SELL 10 AAPL", {"profit": 120, "stop": 96}, "price_out_of_band"),
            ("ann SELL 10 AAPL", {"profit": 104, "stop": 96, "stop_limit": 80}, "price_out_of_band"),
        ],
    )
    def test_all_or_none(self, market, sentence, prices, code):
        before = market.book()
        with pytest.raises(Refusal) as caught:
            market.oco(sentence, **prices)
        assert caught.value.code == code
        assert (market.funds("ann", "AAPL"), market.funds("ann", "USD"), market.book()) == (
            "100+0", "100000+0", before,
        )  # fmt: skip

    def test_the_same_list_again_is_the_first_one(self, market):
        first = market.oco("ann SELL 10 AAPL", profit=104, stop=96, client_order_id="one")
        again = market.oco("ann SELL 10 AAPL", profit=104, stop=96, client_order_id="one")
        assert [order["id"] for order in again] == [order["id"] for order in first]
        with pytest.raises(Refusal, match="other terms"):
            market.oco("ann SELL 10 AAPL", profit=104, stop=95, client_order_id="one")

    def test_a_leg_cannot_be_amended(self, market):
        profit, _ = market.oco("ann SELL 10 AAPL", profit=104, stop=96)
        with pytest.raises(Refusal) as caught:
            market.amend("ann", profit, quantity=5)
        assert caught.value.code == "order_not_amendable"

    def test_it_survives_a_new_start(self, market):
        members = market.oco("ann BUY 4 AAPL", profit=97, stop=102, stop_limit=104)
        sequencer.stop()
        market.order("bob BUY 6 AAPL @ 102")
        assert states(market, members) == ["EXPIRED 0 other_leg", "FILLED 4"]


class TestBracket:
    def test_the_exits_wait_for_the_entry(self, market):
        entry, profit, stop = market.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96)
        held = [(order["status"], order["reserved"]) for order in (entry, profit, stop)]
        assert held == [("OPEN", "1001"), ("PENDING", "0"), ("PENDING", "0")]
        market.order("bob SELL 4 AAPL @ 100")
        assert states(market, (entry, profit, stop)) == ["PARTIALLY_FILLED 4", "PENDING 0", "PENDING 0"]
        market.order("bob SELL 6 AAPL @ 100")
        assert states(market, (entry, profit, stop)) == ["FILLED 10", "OPEN 0", "PENDING 0"]
        assert market.funds("ann", "AAPL") == "100+10"

    def test_a_market_entry_brings_them_to_life_at_once(self, market):
        members = market.bracket("ann BUY 10 AAPL MARKET", profit=104, stop=96)
        assert states(market, members) == ["FILLED 10", "OPEN 0", "PENDING 0"]
        market.order("bob BUY 20 AAPL @ 104")
        assert states(market, members) == ["FILLED 10", "FILLED 10", "EXPIRED 0 other_leg"]

    def test_the_stop_goes_when_the_price_falls(self, market):
        members = market.bracket("ann BUY 3 AAPL MARKET", profit=104, stop=97)
        market.order("bob SELL 11 AAPL @ 97")
        assert states(market, members) == ["FILLED 3", "EXPIRED 0 other_leg", "FILLED 3"]

    def test_what_was_filled_is_what_they_are_for(self, market):
        members = market.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96)
        market.order("bob SELL 4 AAPL @ 100")
        market.cancel("ann", members[0])
        assert states(market, members) == ["CANCELLED 4", "OPEN 0", "PENDING 0"]
        assert [market.stored(order)["quantity"] for order in members] == ["10", "4", "4"]

    def test_an_entry_that_fills_nothing_ends_them(self, market):
        members = market.bracket("ann BUY 10 AAPL @ 98.5", profit=104, stop=96)
        market.cancel("ann", members[0])
        assert states(market, members) == ["CANCELLED 0", "EXPIRED 0 entry_unfilled", "EXPIRED 0 entry_unfilled"]

    def test_exits_without_funds_are_rejected(self, market):
        members = market.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96)
        market.order("bob SELL 4 AAPL @ 100")
        market.order("ann SELL 104 AAPL @ 105")
        market.order("bob SELL 6 AAPL @ 100")
        assert states(market, members) == ["FILLED 10", "REJECTED 0 insufficient_funds", "EXPIRED 0 other_leg"]
        assert market.funds("ann", "AAPL") == "6+104"

    def test_it_survives_a_new_start(self, market):
        members = market.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96)
        sequencer.stop()
        market.order("bob SELL 10 AAPL @ 100")
        assert states(market, members) == ["FILLED 10", "OPEN 0", "PENDING 0"]

    def test_cancelling_the_list_ends_all(self, market):
        members = market.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96)
        market.order("bob SELL 4 AAPL @ 100")
        account = market.accounts["ann"].id
        found = orders.cancel_list(account_id=account, list_id=members[0]["list_id"])
        assert [order["status"] for order in found] == ["CANCELLED", "EXPIRED", "CANCELLED"]
        assert market.funds("ann", "AAPL") == "104+0"


#: What makes the rest of a list due: the list, the order that does it, and what becomes of the members.
LEFT = {
    "a filled profit": (
        lambda venue: venue.oco("ann SELL 100 AAPL", profit=101, stop=96), "bob BUY 7 AAPL @ 101",
        ["PARTIALLY_FILLED 2", "EXPIRED 0 other_leg"],
    ),
    "a triggered stop": (
        lambda venue: venue.oco("ann SELL 100 AAPL", profit=104, stop=98), "bob SELL 6 AAPL @ 98",
        ["EXPIRED 0 other_leg", "EXPIRED 19"],
    ),
    "a filled entry": (
        lambda venue: venue.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96), "bob SELL 10 AAPL @ 100",
        ["FILLED 10", "OPEN 0", "PENDING 0"],
    ),
    "a part of an entry": (
        lambda venue: venue.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96), "bob SELL 4 AAPL @ 100",
        ["CANCELLED 4", "OPEN 0", "PENDING 0"],
    ),
    "an entry that ends": (
        lambda venue: venue.bracket("ann BUY 10 AAPL @ 99.5", profit=104, stop=96), "",
        ["CANCELLED 0", "EXPIRED 0 entry_unfilled", "EXPIRED 0 entry_unfilled"],
    ),
}  # fmt: skip


class TestAfterACrash:
    @pytest.mark.parametrize("case", LEFT)
    def test_what_a_list_has_made_due_is_done_though_nobody_asks(self, market, monkeypatch, case):
        make, cause, expected = LEFT[case]
        members = make(market)
        if expected[0].startswith("CANCELLED") and cause:
            market.order(cause)
        with monkeypatch.context() as patch:
            patch.setattr(Sequencer, "_kick", lambda self: None)
            patch.setattr(following, "FOLLOWERS", 0)
            if expected[0].startswith("CANCELLED"):
                market.cancel("ann", members[0])
            else:
                market.order(cause)
            sequencer.stop()
        monkeypatch.setattr(clockwork, "LISTS_SECONDS", 0)
        assert states(market, members) != expected and replay(by_symbol("AAPL").id).difference is None
        assert clockwork.look() == 1
        assert states(market, members) == expected
        assert clockwork.look() == 0
        if case == "a part of an entry":
            assert [market.stored(order)["quantity"] for order in members] == ["10", "4", "4"]


class TestReplace:
    def replaced(self, venue, name, order, sentence, **terms):
        command = venue.command(sentence, **terms)
        return orders.place(lists.replacing(command, order["id"])).order

    def test_in_one_step_with_the_same_funds(self, market):
        order = market.order("ann SELL 100 AAPL @ 105")
        new = self.replaced(market, "ann", order, "ann SELL 100 AAPL @ 104")
        assert (new["status"], state(market, order)) == ("OPEN", "CANCELLED 0")
        assert market.funds("ann", "AAPL") == "0+100"

    def test_refused_it_leaves_the_old_one(self, market):
        order = market.order("ann SELL 100 AAPL @ 105")
        with pytest.raises(Refusal) as caught:
            self.replaced(market, "ann", order, "ann SELL 101 AAPL @ 104")
        assert (caught.value.code, state(market, order)) == ("insufficient_funds", "OPEN 0")
        assert market.funds("ann", "AAPL") == "0+100"

    def test_a_waiting_one(self, market):
        order = market.order("ann SELL 100 AAPL", type="STOP_LOSS", stop_price=Decimal(97))
        new = self.replaced(market, "ann", order, "ann SELL 90 AAPL", type="STOP_LOSS", stop_price=Decimal(96))
        assert (new["status"], state(market, order)) == ("PENDING", "CANCELLED 0")

    @pytest.mark.parametrize("forgets", [False, True])
    @pytest.mark.parametrize(
        ("leg", "sentence", "terms"),
        [
            (1, "ann SELL 100 AAPL", {"type": "STOP_LOSS", "stop_price": Decimal(95)}),
            (0, "ann SELL 100 AAPL @ 105", {}),
        ],
    )
    def test_an_exit_with_the_funds_of_the_other_which_goes_with_it(self, market, leg, sentence, terms, forgets):
        members = market.oco("ann SELL 100 AAPL", profit=104, stop=96)
        if forgets:
            sequencer.stop()
        with pytest.raises(Refusal) as caught:
            self.replaced(market, "ann", members[leg], sentence.replace("100", "101", 1), **terms)
        assert (caught.value.code, states(market, members)) == ("insufficient_funds", ["OPEN 0", "PENDING 0"])
        assert market.funds("ann", "AAPL") == "0+100"
        new = self.replaced(market, "ann", members[leg], sentence, **terms)
        assert new["reserved"] == "100"
        assert states(market, members)[leg] == "CANCELLED 0"
        assert states(market, members)[1 - leg] == "EXPIRED 0 other_leg"
        assert market.funds("ann", "AAPL") == "0+100"

    def test_of_a_list_that_buys_both_legs_pay(self, market):
        members = market.oco("ann BUY 100 AAPL", profit=90, stop=102, stop_limit=104)
        assert market.funds("ann", "USD") == "89589.6+10410.4"
        self.replaced(market, "ann", members[0], "ann BUY 1090 AAPL @ 91")
        assert states(market, members) == ["CANCELLED 0", "EXPIRED 0 other_leg"]
        assert market.funds("ann", "USD") == "710.81+99289.19"

    def test_it_takes_the_room_of_the_old_one(self, market):
        market.change("AAPL", max_open_orders=2)
        order, _ = market.order("ann SELL 10 AAPL @ 105"), market.order("ann SELL 10 AAPL @ 104")
        with pytest.raises(Refusal) as caught:
            self.replaced(market, "ann", order, "ann SELL 91 AAPL @ 103")
        assert caught.value.code == "insufficient_funds"
        assert market.refused("ann SELL 1 AAPL @ 103") == "too_many_open_orders"
        new = self.replaced(market, "ann", order, "ann SELL 10 AAPL @ 103")
        assert (new["status"], state(market, order)) == ("OPEN", "CANCELLED 0")
        assert market.refused("ann SELL 1 AAPL @ 103") == "too_many_open_orders"
        assert len(orders.cancel_all(account_id=market.accounts["ann"].id)) == 2

    @pytest.mark.parametrize(
        ("sentence", "code"), [("ann BUY 1 AAPL @ 99", "replace_mismatch"), ("bob SELL 1 AAPL @ 104", "not_found")]
    )
    def test_only_ones_own_of_the_same_side(self, market, sentence, code):
        order = market.order("ann SELL 10 AAPL @ 105")
        with pytest.raises(Refusal) as caught:
            self.replaced(market, "ann", order, sentence)
        assert caught.value.code == code
