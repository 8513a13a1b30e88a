"""Sessions, settlement and the kill switch through the doors: REST, the command line."""

from datetime import time
from io import StringIO

import pytest
from django.core.management import call_command
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import User
from exchange.models import Settlement, Trade
from marketdata.api.shapes import MarketShape
from tests.api.conftest import api
from tests.sessions.conftest import day
from tests.venue import PASSWORD

__all__ = ["api", "day"]
V1 = "/api/v1/"


def token_of(user: User) -> str:
    return str(RefreshToken.for_user(user).access_token)


@pytest.fixture
def operator(api) -> str:
    """The token of an operator who may settle."""
    return token_of(User.objects.create_superuser("chief", password=PASSWORD))


def trade_later(api) -> int:
    """Ann buys 10 of bob; they settle a day later."""
    api.venue.change("AAPL", settlement_days=1)
    api.venue.order("bob SELL 10 AAPL @ 100")
    api.venue.order("ann BUY 10 AAPL @ 100")
    return Trade.objects.latest("id").id


class TestSettling:
    def test_an_operator_settles_a_trade_once(self, api, operator):
        number = trade_later(api)
        trade = api("GET", f"{V1}trades/{number}/").json
        assert (trade["is_settled"], trade["settled_at"]) == (False, None)
        assert api("POST", f"{V1}trades/{number}/settle/", {}).code == "permission_denied"
        settled = api("POST", f"{V1}trades/{number}/settle/", {}, token=operator)
        assert (settled.status, settled.json["is_settled"]) == (200, True)
        assert api("POST", f"{V1}trades/{number}/settle/", {}, token=operator).code == "already_settled"
        assert api("GET", f"{V1}trades/?symbol=AAPL").json["results"][0] == settled.json

    def test_one_that_settled_at_once_says_so(self, api, operator):
        api.venue.order("bob SELL 10 AAPL @ 100")
        api.venue.order("ann BUY 10 AAPL @ 100")
        number = Trade.objects.latest("id").id
        trade = api("GET", f"{V1}trades/{number}/").json
        assert (trade["is_settled"], trade["settled_at"]) == (True, trade["executed_at"])
        assert api("POST", f"{V1}trades/{number}/settle/", {}, token=operator).code == "not_deferred"
        assert api("POST", f"{V1}trades/{number + 1}/settle/", {}, token=operator).status == 404

    def test_holdings_show_what_is_not_settled(self, api):
        trade_later(api)
        lines = {row["asset"]: row for row in api("GET", V1 + "holdings/").json["results"]}
        assert (lines["AAPL"]["quantity"], lines["AAPL"]["to_receive"]) == ("1000", "10")
        lines = {row["asset"]: row for row in api("GET", V1 + "holdings/", token=api.tokens["bob"]).json["results"]}
        assert (lines["AAPL"]["to_deliver"], lines["AAPL"]["reserved"]) == ("10", "10")

    def test_an_asset_of_which_nothing_is_there_yet_has_a_line(self, api):
        api.venue.change("BTC_USDT", settlement_days=1)
        api.venue.order("bob SELL 1 BTC_USDT @ 50")
        api.venue.order("ann BUY 1 BTC_USDT @ 50")
        lines = {row["asset"]: row for row in api("GET", V1 + "holdings/").json["results"]}
        assert (lines["BTC"]["quantity"], lines["BTC"]["to_receive"]) == ("0", "1")


class TestKillSwitch:
    def test_pull_and_reset(self, api):
        api.venue.order("ann BUY 1 AAPL @ 50")
        assert api("GET", V1 + "kill-switch/").json == {"stopped": False, "stopped_by": None}
        pulled = api("POST", V1 + "kill-switch/", {}).json
        assert pulled == {"stopped": True, "stopped_by": "OWNER", "cancelled": 1}
        order = {"symbol": "AAPL", "side": "BUY", "price": "50", "quantity": 1}
        assert api("POST", V1 + "orders/", order).code == "account_inactive"
        assert api("DELETE", V1 + "kill-switch/").json == {"stopped": False, "stopped_by": None}
        assert api("POST", V1 + "orders/", order).status == 201


class TestMarkets:
    def test_a_market_shows_its_hours_and_is_closed_outside_of_them(self, day, api):
        shown = api("GET", V1 + "markets/AAPL/").json
        assert (shown["status"], shown["hours"]) == ("OPEN", None)
        day.sessions(holidays={"2026-11-26": None, "2026-11-27": time(13)}, pre_open=None)
        day.at("2026-11-23 14:00")
        shown = api("GET", V1 + "markets/AAPL/").json
        assert MarketShape().fields.keys() == shown.keys()
        assert (shown["status"], shown["session"]["phase"]) == ("CLOSED", "CLOSED")
        assert shown["hours"]["time_zone"] == "America/New_York"
        assert [row["weekday"] for row in shown["hours"]["week"]] == [0, 1, 2, 3, 4]
        assert shown["hours"]["week"][0] == {
            "weekday": 0, "pre_open": None, "opens": "09:30:00", "closing": "15:50:00", "closes": "16:00:00",
        }  # fmt: skip
        assert shown["hours"]["holidays"] == [
            {"day": "2026-11-26", "closes_early": None},
            {"day": "2026-11-27", "closes_early": "13:00:00"},
        ]
        day.at("2026-11-23 15:00")
        assert api("GET", V1 + "markets/AAPL/").json["status"] == "OPEN"
        day.venue.change("AAPL", status="HALTED")
        day.at("2026-11-23 22:00")
        assert api("GET", V1 + "markets/AAPL/").json["status"] == "HALTED", "the operators' word goes first"

    def test_a_market_tells_its_phase_and_what_comes_next(self, day, api):
        day.sessions()
        day.at("2026-11-23 14:10")
        market = api("GET", V1 + "markets/AAPL/", token=None).json
        session = {"phase": "PRE_OPEN", "until": None, "next_phase": "CONTINUOUS"}
        assert market["session"] == {**session, "next_change_at": "2026-11-23T14:30:00.000000Z"}
        plain = api("GET", V1 + "markets/BTC_USDT/", token=None).json["session"]
        assert plain == {"phase": "CONTINUOUS", "until": None, "next_phase": None, "next_change_at": None}

    def test_one_that_no_batch_has_seen_yet_tells_what_the_calendar_says(self, day, api):
        """Its first one would refuse an order with market_closed."""
        day.sessions()
        shown = api("GET", V1 + "markets/AAPL/").json
        assert (shown["status"], shown["session"]["phase"]) == ("CLOSED", "CLOSED")
        day.at("2026-11-23 14:10", look=False)
        assert api("GET", V1 + "markets/AAPL/").json["session"]["phase"] == "PRE_OPEN"

    def test_the_book_tells_the_indicative_price(self, day, api):
        day.sessions()
        day.at("2026-11-23 14:10")
        day.venue.order("ann BUY 10 AAPL @ 101")
        day.venue.order("bob SELL 4 AAPL @ 99")
        book = api("GET", V1 + "orderbook/AAPL/", token=None).json
        auction = {"phase": "PRE_OPEN", "until": None, "price": "101", "quantity": "4", "surplus": "6"}
        assert book["auction"] == auction
        day.at("2026-11-23 14:30")
        assert "auction" not in api("GET", V1 + "orderbook/AAPL/", token=None).json


def test_end_of_day_does_what_is_due_and_nothing_twice(day):
    day.venue.change("AAPL", settlement_days=1)
    day.venue.order("bob SELL 10 AAPL @ 100")
    day.venue.order("ann BUY 10 AAPL @ 100")
    order = day.venue.order("ann BUY 10 AAPL @ 99 DAY")
    day.at("2026-11-25 00:00", look=False)
    said = [StringIO(), StringIO()]
    for output in said:
        call_command("end_of_day", stdout=output)
    assert said[0].getvalue() == "1 markets kept up, 1 trades settled, 0 accounts with a fee tier\n"
    assert said[1].getvalue() == "0 markets kept up, 0 trades settled, 0 accounts with a fee tier\n"
    assert day.status(order) == "EXPIRED 0/10"
    assert Settlement.objects.get().settled_at == day.moment("2026-11-25 00:00")
