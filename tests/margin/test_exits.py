"""Stops at the mark and what they may still do: where new risk is stopped, and when little is left to reduce."""

from decimal import Decimal

import pytest

from exchange import clockwork, orders, positions, preview
from exchange.audit import replay
from exchange.mark_price import Mark
from exchange.sequencer import sequencer
from marketdata import clock
from marketdata.markets import by_symbol
from marketdata.refusals import Refusal
from tests.margin.test_rules import STOPS
from tests.margin.test_settlement import trade
from tests.patience import PATIENCE_SECONDS


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
    sequencer.submit([Mark(spec.id, spec.ticks(Decimal(price)))])[0].result(PATIENCE_SECONDS)


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
        assert clockwork.due_markets(clock.now()) == set()
        sequencer.registry.forget()
        fx.terms("EURUSD", holidays=[])
        assert clockwork.due_markets(clock.now()) == {by_symbol("EURUSD").id}
        mark_reaches("1.09600")  # whatever comes next: they were reached
        assert [state(fx, each)[0] for each in stops] == ["FILLED", "FILLED"]


def close(venue, quantity: str | None = None) -> positions.Done:
    """ann's position, all or part of it."""
    terms = {"account_id": venue.accounts["ann"].id, "symbol": "EURUSD", "client_order_id": None}
    return positions.close(quantity=quantity and Decimal(quantity), **terms)


def profit(venue, quantity: str, price: str = "1.10500") -> dict:
    return venue.order(f"ann SELL {quantity} EURUSD @ {price}", reduce_only=True)


@pytest.fixture(params=[False, True], ids=["remembered", "from the journal"])
def forget(request):
    """Whether this process knows the book so far, or begins anew."""
    return sequencer.registry.forget if request.param else lambda: None


class TestStopsThatReduce:
    """They take what there is, whatever else was to take it."""

    @pytest.mark.parametrize("terms", [{}, {"type": "STOP_LIMIT", "price": Decimal("1.09000")}])
    def test_of_a_position_closed_in_part_one_takes_the_rest(self, fx, terms, forget):
        order = stop(fx, "ann", "1", reduce_only=True, **terms)
        close(fx, "0.4")
        forget()
        mark_reaches("1.09400")
        assert (state(fx, order), fx.stored(order)["quantity"]) == (("FILLED", None, "0.6"), "0.6")
        assert fx.position("ann", "EURUSD") == "flat"

    def test_another_process_learns_how_much_it_took(self, fx):
        """Its book is at the moment before the stop is reached."""
        order = stop(fx, "ann", "1", reduce_only=True)
        close(fx, "0.4")
        books, sequencer.registry.books = dict(sequencer.registry.books), {}
        mark_reaches("1.09400")
        sequencer.registry.books = books
        fx.order("cat BUY 0.1 EURUSD @ 1.09000")
        assert state(fx, order) == ("FILLED", None, "0.6")
        assert fx.position("cat", "EURUSD") == "flat"

    def test_of_a_position_on_the_other_side_it_takes_nothing(self, fx):
        order = stop(fx, "ann", "1", reduce_only=True)
        fx.order("ann SELL 2 EURUSD @ 1.09000 IOC")
        mark_reaches("1.09400")
        assert state(fx, order) == ("EXPIRED", "reduce_only", "0")
        assert fx.position("ann", "EURUSD").startswith("-1 ")

    @pytest.mark.parametrize("first", ["stop", "profit"])
    def test_a_resting_take_profit_order_is_not_in_the_way(self, fx, first, forget):
        if first == "stop":
            order, other = stop(fx, "ann", "1", reduce_only=True), profit(fx, "1")
        else:
            other, order = profit(fx, "1"), stop(fx, "ann", "1", reduce_only=True)
        forget()
        mark_reaches("1.09400")
        assert (state(fx, order), state(fx, other)[0]) == (("FILLED", None, "1"), "CANCELLED")
        assert fx.position("ann", "EURUSD") == "flat"

    def test_without_buyers_the_take_profit_order_stays(self, fx):
        order, other = stop(fx, "ann", "1", reduce_only=True), profit(fx, "1")
        orders.cancel_all(account_id=fx.accounts["cat"].id)
        mark_reaches("1.09400")
        assert (state(fx, order)[:2], state(fx, other)[0]) == (("EXPIRED", "no_liquidity"), "OPEN")

    def test_for_what_rests_of_it_the_others_make_room(self, fx, forget):
        """Of 1 it sells 0.4 at once and offers 0.4: the take-profit orders may have 0.2."""
        order = stop(fx, "ann", "0.8", reduce_only=True, type="STOP_LIMIT", price=Decimal("1.09300"))
        older, newer = profit(fx, "0.3"), profit(fx, "0.7", "1.10600")
        orders.cancel_all(account_id=fx.accounts["cat"].id)
        fx.order("cat BUY 0.4 EURUSD @ 1.09390")
        forget()
        mark_reaches("1.09400")
        assert state(fx, order) == ("PARTIALLY_FILLED", None, "0.4")
        assert [(state(fx, each)[0], fx.stored(each)["quantity"]) for each in (older, newer)] == [
            ("OPEN", "0.2"), ("CANCELLED", "0.7"),
        ]  # fmt: skip
        forget()
        fx.order("cat BUY 1 EURUSD @ 1.10500")
        assert [state(fx, each) for each in (order, older)] == [("FILLED", None, "0.8"), ("FILLED", None, "0.2")]
        assert fx.position("ann", "EURUSD") == "flat"

    def test_several_take_the_position_once(self, fx):
        placed = [stop(fx, "ann", "0.7", reduce_only=True) for _ in range(3)]
        mark_reaches("1.09400")
        assert [state(fx, each) for each in placed] == [
            ("FILLED", None, "0.7"), ("FILLED", None, "0.3"), ("EXPIRED", "reduce_only", "0"),
        ]  # fmt: skip

    def test_who_stands_behind_a_reduce_only_order_that_makes_way_is_met_under_lock(self, fx):
        """ann's plain order takes its position, so the one behind it is taken out, and dan's, which nobody expected the
        stop to reach, is met instead.
        """
        fx.trader("dan", USD=10_000)
        plain, other = fx.order("ann SELL 1 EURUSD @ 1.10500"), profit(fx, "1", "1.10510")
        behind = fx.order("dan SELL 1 EURUSD @ 1.10520")
        order = fx.order("bob BUY 2 EURUSD", type="STOP_LOSS", stop_price=Decimal("1.10400"))
        mark_reaches("1.10400")
        mark_reaches("1.10400")  # what a batch must leave, the next does first of all
        assert [state(fx, each) for each in (order, plain, other, behind)] == [
            ("FILLED", None, "2"), ("FILLED", None, "1"), ("CANCELLED", "unfillable", "0"), ("FILLED", None, "1"),
        ]  # fmt: skip


class TestClosing:
    """A closing at the market comes before what rests to reduce."""

    @pytest.mark.parametrize("quantity", [None, "1"])
    def test_all_of_it_ends_the_take_profit_orders(self, fx, quantity, forget):
        other = profit(fx, "1")
        forget()
        done = close(fx, quantity)
        assert (done.order["status"], done.position) == ("FILLED", None)
        assert state(fx, other)[0] == "CANCELLED"

    @pytest.mark.parametrize("how", ["IOC", "FOK"])
    def test_so_does_a_limit_order_that_never_rests(self, fx, how):
        other = profit(fx, "1")
        assert fx.order(f"ann SELL 1 EURUSD @ 1.09000 {how}", reduce_only=True)["status"] == "FILLED"
        assert (state(fx, other)[0], fx.position("ann", "EURUSD")) == ("CANCELLED", "flat")

    def test_part_of_it_leaves_them_what_they_can_still_reduce(self, fx, forget):
        older, newer, last = profit(fx, "0.5"), profit(fx, "0.3"), profit(fx, "0.2")
        close(fx, "0.4")
        assert [(state(fx, each)[0], fx.stored(each)["quantity"]) for each in (older, newer, last)] == [
            ("OPEN", "0.5"), ("OPEN", "0.1"), ("CANCELLED", "0.2"),
        ]  # fmt: skip
        forget()
        fx.order("cat BUY 1 EURUSD @ 1.10500")
        assert [state(fx, each)[0] for each in (older, newer)] == ["FILLED", "FILLED"]
        assert fx.position("ann", "EURUSD") == "flat"

    def test_the_last_lot_keeps_its_own(self, fx):
        other = profit(fx, "0.02")
        done = close(fx, "0.99")
        assert (state(fx, other)[0], fx.stored(other)["quantity"]) == ("OPEN", "0.01")
        assert (done.position["side"], done.position["quantity"]) == ("LONG", "0.01")

    def test_more_than_is_open_is_refused(self, fx):
        profit(fx, "1")
        with pytest.raises(Refusal, match="1 can be closed that way"):
            close(fx, "1.01")

    def test_orders_that_rest_still_share_the_position(self, fx):
        profit(fx, "0.6")
        assert fx.refused("ann SELL 0.5 EURUSD @ 1.10600", reduce_only=True) == "reduce_only"

    def bracket(self, fx) -> list[dict]:
        placed = fx.bracket("bob BUY 1 EURUSD @ 1.10000", profit="1.10500", stop="1.09500")
        fx.order("cat SELL 1 EURUSD @ 1.10000")
        return placed

    def test_all_under_a_bracket_ends_its_exits(self, fx, forget):
        _, other, order = self.bracket(fx)
        forget()
        positions.close(account_id=fx.accounts["bob"].id, symbol="EURUSD", quantity=None, client_order_id=None)
        assert (state(fx, other)[0], state(fx, order)[:2]) == ("CANCELLED", ("EXPIRED", "other_leg"))
        assert fx.position("bob", "EURUSD") == "flat"

    @pytest.mark.parametrize("way", ["stop", "profit"])
    def test_part_under_a_bracket_leaves_both_exits(self, fx, way, forget):
        _, other, order = self.bracket(fx)
        positions.close(account_id=fx.accounts["bob"].id, symbol="EURUSD", quantity=Decimal("0.4"), client_order_id="x")
        assert (state(fx, other)[0], fx.stored(other)["quantity"], state(fx, order)[0]) == ("OPEN", "0.6", "PENDING")
        forget()
        if way == "stop":
            mark_reaches("1.09400")
            assert (state(fx, order), state(fx, other)[1]) == (("FILLED", None, "0.6"), "other_leg")
        else:
            fx.order("cat BUY 1 EURUSD @ 1.10500")
            assert (state(fx, other), state(fx, order)[1]) == (("FILLED", None, "0.6"), "other_leg")
        assert fx.position("bob", "EURUSD") == "flat"


class TestTheMinimum:
    """ann has 0.05 left, where the market takes 0.1, or 50,000 dollars, at least: all of it can be closed, no part."""

    @pytest.fixture(params=["min_quantity", "min_notional"])
    def small(self, fx, request):
        close(fx, "0.95")
        fx.change("EURUSD", **{request.param: {"min_quantity": Decimal("0.1"), "min_notional": 50_000}[request.param]})
        fx.code = {"min_quantity": "quantity_out_of_range", "min_notional": "below_min_notional"}[request.param]
        return fx

    @pytest.mark.parametrize("quantity", [None, "0.05"])
    @pytest.mark.parametrize("way", ["close", "exit"])
    def test_all_that_is_left_is_closed(self, small, way, quantity):
        ann, terms = small.accounts["ann"], {"quantity": quantity and Decimal(quantity), "client_order_id": None}
        if way == "close":
            done = positions.close(account_id=ann.id, symbol="EURUSD", **terms)
        else:
            done = positions.exit_position(
                account_id=ann.id, position_id=small.last("ann", "EURUSD").id, **terms
            )
        assert (done.order["status"], small.position("ann", "EURUSD")) == ("FILLED", "flat")

    @pytest.mark.parametrize("sentence", ["ann SELL {} EURUSD @ 1.09390 IOC", "ann SELL {} EURUSD @ 1.10500"])
    def test_by_an_order_of_ones_own_too_but_no_part_of_it(self, small, sentence):
        assert small.refused(sentence.format("0.05")) == small.code
        assert small.refused(sentence.format("0.04"), reduce_only=True) == small.code
        assert small.refused(sentence.format("0.06"), reduce_only=True) == "reduce_only"
        order = small.order(sentence.format("0.05"), reduce_only=True)
        if order["status"] == "OPEN":
            order = small.amend("ann", order, price="1.09390")
        assert (order["status"], small.position("ann", "EURUSD")) == ("FILLED", "flat")

    def test_by_a_stop(self, small):
        with pytest.raises(Refusal) as caught:
            stop(small, "ann", "0.04", reduce_only=True)
        order = stop(small, "ann", "0.05", reduce_only=True)
        mark_reaches("1.09400")
        assert (caught.value.code, state(small, order)) == (small.code, ("FILLED", None, "0.05"))

    def test_after_an_operator_has_edited_the_market(self, small):
        command = small.command("ann SELL 0.05 EURUSD @ 1.09390 IOC", reduce_only=True)
        small.change("EURUSD", max_open_orders=7)
        assert orders.place(command).order["status"] == "FILLED"

    def test_who_asks_before_is_told_so(self, small):
        weighed = {
            quantity: preview.check(
                account_id=small.accounts["ann"].id, symbol="EURUSD", side="SELL", quantity=Decimal(quantity),
                price=Decimal("1.09390"), reduce_only=True,
            )["code"]
            for quantity in ("0.04", "0.05", "0.06")
        }  # fmt: skip
        assert weighed == {"0.04": small.code, "0.05": None, "0.06": "reduce_only"}

    def test_a_part_at_the_market_keeps_to_the_least_quantity(self, small):
        if small.code == "quantity_out_of_range":
            with pytest.raises(Refusal, match="is out of range"):
                close(small, "0.04")
        else:
            assert close(small, "0.04").order["status"] == "FILLED", "its worth is not known before"
