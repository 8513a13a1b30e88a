"""DAY and GTD: an order ends at its moment, whoever looks and however late."""

from datetime import time

import pytest

from exchange import clockwork, lists, orders, upkeep
from exchange.expiry import ExpiryInPast
from exchange.models import BookCommand
from exchange.sequencer import sequencer
from marketdata import clock
from tests.patience import PATIENCE_SECONDS


def gtd(day, sentence: str, until: str) -> dict:
    return day.venue.order(f"{sentence} GTD", expires_at=day.moment(until))


class TestGoodTillDate:
    def test_it_ends_at_its_moment_and_gives_its_funds_back(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        assert (order["time_in_force"], order["expires_at"]) == ("GTD", "2026-11-23T12:30:00.000000Z")
        day.at("2026-11-23 12:29:59")
        assert day.status(order) == "OPEN 0/10"
        day.at("2026-11-23 12:30")
        assert day.status(order) == "EXPIRED 0/10"
        assert day.venue.stored(order)["reason"] == "expired"
        assert day.venue.funds("ann", "USD") == "1000000+0"

    def test_nobody_trades_with_it_after_that_even_if_nobody_looked(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        day.at("2026-11-23 12:31", look=False)
        assert day.venue.order("bob SELL 4 AAPL @ 100 IOC")["status"] == "EXPIRED"
        assert day.status(order) == "EXPIRED 0/10"

    def test_what_comes_due_once_the_accounts_to_lock_are_chosen_is_done_with_its_own_locked(self, day, monkeypatch):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        day.at("2026-11-23 12:31", look=False)
        monkeypatch.setattr(upkeep, "reach", lambda live: set())
        assert day.venue.order("bob SELL 4 AAPL @ 101")["status"] == "OPEN"
        assert day.status(order) == "EXPIRED 0/10"

    def test_one_filled_in_part_keeps_its_fills(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        day.venue.order("bob SELL 4 AAPL @ 100")
        day.at("2026-11-23 13:00")
        assert day.status(order) == "EXPIRED 4/10"

    def test_doing_it_twice_does_nothing_twice(self, day):
        orders = [gtd(day, f"ann BUY {n} AAPL @ 100", f"2026-11-23 12:3{n}") for n in (1, 2, 3)]
        day.at("2026-11-23 12:33")
        assert clockwork.look() == 0
        assert BookCommand.objects.filter(kind="EXPIRE").count() == 3
        assert {day.status(order).split()[0] for order in orders} == {"EXPIRED"}

    def test_a_process_that_was_down_catches_up_first(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        sequencer.stop()  # the books are gone, as after a crash
        day.at("2026-11-24 12:00", look=False)
        assert day.venue.order("bob SELL 10 AAPL @ 100")["status"] == "OPEN"
        assert day.status(order) == "EXPIRED 0/10"

    def test_what_ended_otherwise_does_not_end_again(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        day.venue.cancel("ann", order)
        day.at("2026-11-23 13:00")
        assert day.status(order) == "CANCELLED 0/10"

    def test_a_halted_market_is_left_alone_until_it_reopens(self, day):
        order = gtd(day, "ann BUY 10 AAPL @ 100", "2026-11-23 12:30")
        day.venue.change("AAPL", status="HALTED")
        day.at("2026-11-23 13:00")
        assert day.status(order) == "OPEN 0/10"
        day.venue.change("AAPL", status="OPEN")
        day.at("2026-11-23 13:01")
        assert day.status(order) == "EXPIRED 0/10"

    def test_many_accounts_at_once(self, day):
        """The accounts of what is due are locked, although no command names them."""
        for name in ("ann", "bob", "cid"):
            gtd(day, f"{name} BUY 1 AAPL @ 100", "2026-11-23 12:30")
        day.at("2026-11-23 12:30", look=False)
        assert day.venue.order("ann BUY 1 AAPL @ 99")["status"] == "OPEN"
        assert day.venue.book() == "1@99 |"

    def test_sent_again_after_its_end_it_is_the_first_one(self, day):
        terms = {"expires_at": day.moment("2026-11-23 12:30"), "client_order_id": "a"}
        first = day.venue.order("ann BUY 10 AAPL @ 100 GTD", **terms)
        day.at("2026-11-23 12:31")
        again = orders.place(day.venue.command("ann BUY 10 AAPL @ 100 GTD", **terms))
        assert (again.replayed, again.order["id"], again.order["status"]) == (True, first["id"], "EXPIRED")
        assert day.refused("ann BUY 11 AAPL @ 100 GTD", **terms) == "client_order_id_reused"

    def test_so_is_a_list_and_an_order_in_the_place_of_another(self, day):
        until = {"time_in_force": "GTD", "expires_at": day.moment("2026-11-23 12:30")}
        entry = {"profit": 104, "stop": 96, **until, "client_order_id": "list"}
        members = day.venue.bracket("ann BUY 10 AAPL @ 100", **entry)
        old = day.venue.order("bob SELL 10 AAPL @ 105")
        new = day.venue.command("bob SELL 10 AAPL @ 104", **until, client_order_id="new")
        placed = orders.place(lists.replacing(new, old["id"])).order
        day.at("2026-11-23 12:31")
        assert [one["id"] for one in day.venue.bracket("ann BUY 10 AAPL @ 100", **entry)] == [
            one["id"] for one in members
        ]
        again = day.venue.command("bob SELL 10 AAPL @ 104", **until, client_order_id="new")
        assert orders.place(lists.replacing(again, old["id"])).order["id"] == placed["id"]


class TestDay:
    def test_without_a_calendar_it_ends_with_the_day_in_utc(self, day):
        order = day.venue.order("ann BUY 10 AAPL @ 100 DAY")
        assert order["expires_at"] == "2026-11-24T00:00:00.000000Z"
        day.at("2026-11-23 23:59:59")
        assert day.status(order) == "OPEN 0/10"
        day.at("2026-11-24 00:00")
        assert day.status(order) == "EXPIRED 0/10"

    def test_with_a_calendar_it_ends_with_the_session(self, day):
        day.sessions(pre_open=None, closing=None, opens=time(9, 30), closes=time(16))
        day.at("2026-11-23 15:00")
        order = day.venue.order("ann BUY 10 AAPL @ 100 DAY")
        assert order["expires_at"] == "2026-11-23T21:00:00.000000Z"

    def test_sent_again_it_is_the_same_order(self, day):
        first = day.venue.order("ann BUY 10 AAPL @ 100 DAY", client_order_id="a")
        day.at("2026-11-23 12:01")
        assert day.venue.order("ann BUY 10 AAPL @ 100 DAY", client_order_id="a")["id"] == first["id"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("sentence", "terms", "code"),
        [
            ("ann BUY 10 AAPL @ 100 GTD", {}, "invalid"),
            ("ann BUY 10 AAPL @ 100", {"expires_at": "2026-11-23 13:00"}, "invalid"),
            ("ann BUY 10 AAPL @ 100 GTD", {"expires_at": "2026-11-23 12:00"}, "expiry_in_past"),
            ("ann BUY 10 AAPL @ 100 GTD", {"expires_at": "2020-01-01 00:00"}, "expiry_in_past"),
            ("ann BUY 10 AAPL MARKET DAY", {}, "invalid"),
            ("ann BUY 10 AAPL MARKET GTD", {"expires_at": "2026-11-23 13:00"}, "invalid"),
        ],
    )
    def test_each_has_its_code(self, day, sentence, terms, code):
        terms = {name: day.moment(text) for name, text in terms.items()}
        assert day.refused(sentence, **terms) == code

    def test_the_entry_of_a_list_too_and_an_order_in_the_place_of_another(self, day):
        past = {"time_in_force": "GTD", "expires_at": day.moment("2026-11-23 12:00")}
        with pytest.raises(ExpiryInPast):
            day.venue.bracket("ann BUY 10 AAPL @ 100", profit=104, stop=96, **past)
        old = day.venue.order("bob SELL 10 AAPL @ 105")
        with pytest.raises(ExpiryInPast):
            orders.place(lists.replacing(day.venue.command("bob SELL 10 AAPL @ 104", **past), old["id"]))
        assert day.status(old) == "OPEN 0/10"

    def test_what_ends_between_door_and_lock_is_refused(self, day):
        command = day.venue.command("ann BUY 10 AAPL @ 100 GTD", expires_at=day.moment("2026-11-23 12:30"))
        clock.stand(day.moment("2026-11-23 12:30"))
        (future,) = sequencer.submit([command])
        assert future.result(PATIENCE_SECONDS).code == "expiry_in_past"
