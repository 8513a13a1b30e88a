"""Entries with margin positions: what is open counts where entries are ranked, and can be closed after the end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from accounts import competitions
from accounts.models import Account, CompetitionEntry, User
from exchange import closing, financing, kill_switch
from exchange.models import Order
from marketdata import clock
from marketdata.models import Market
from tests.margin import conftest as margin
from tests.venue import PASSWORD

V1 = "/api/v1/"
ORDERS, CLOSE = V1 + "orders/", V1 + "positions/close/"
venue = margin.venue


@pytest.fixture
def fx_contest(contest):
    """A competition with dollars on all margin markets that runs for a minute; seconds as `contest` takes them."""

    def make(**fields):
        competition = contest(**{"ends": 60, **fields})
        competition.markets.set(Market.objects.filter(kind=Market.Kind.MARGIN))
        return competition

    return make


def join(api, competition, name: str = "ann") -> dict:
    """The headers that choose the trader's new entry."""
    entry = api("POST", f"{V1}competitions/{competition.pk}/join/", token=api.tokens[name]).json
    api.venue.accounts[f"{name}'s entry"] = Account.objects.get(pk=entry["account"])
    return {"X-Account": str(entry["account"])}


def open_position(api, entry: dict, name: str, side: str, symbol: str, price: str, quantity: str = "1") -> dict:
    """The trader's entry trades that with a rich trader, who rests."""
    if "rich" not in api.venue.accounts:
        api.venue.trader("rich", USD=10_000_000)
    api.venue.order(f"rich {'SELL' if side == 'BUY' else 'BUY'} {quantity} {symbol} @ {price}")
    body = {"symbol": symbol, "side": side, "price": price, "quantity": quantity}
    placed = api("POST", ORDERS, body, headers=entry, token=api.tokens[name])
    assert (placed.status, placed.json["status"]) == (201, "FILLED"), placed.json
    return placed.json


def board(api, competition) -> list[tuple]:
    rows = api("GET", f"{V1}competitions/{competition.pk}/leaderboard/").json["results"]
    return [(row["rank"], row["username"], row["equity"]) for row in rows]


def total(api, entry: dict, name: str) -> str:
    """What the portfolio says that the entry is worth."""
    path = f"{V1}portfolio/summary/?quote=USD"
    return api("GET", path, headers=entry, token=api.tokens[name]).json["total_value"]


# Who leads


def test_what_is_open_counts(api, fx_contest):
    spring = fx_contest()
    ann, bob = join(api, spring), join(api, spring, "bob")
    assert board(api, spring) == [(1, "ann", "10000"), (1, "bob", "10000")]
    open_position(api, ann, "ann", "BUY", "EURUSD", "1.10000")
    api.venue.mark("EURUSD", "1.09783")
    assert board(api, spring) == [(1, "bob", "10000"), (2, "ann", "9783")]
    open_position(api, bob, "bob", "SELL", "USDJPY", "150.000", "0.5")
    api.venue.mark("USDJPY", "151.000")  # 50,000 yen lost, 331.13 dollars
    told = board(api, spring)
    assert [username for _, username, _ in told] == ["ann", "bob"] and Decimal(told[1][2]).quantize(1) == 9669
    assert {username: equity for _, username, equity in told} == {
        "ann": total(api, ann, "ann"), "bob": total(api, bob, "bob"),
    }  # fmt: skip
    clock.shift(61)
    assert closing.close_due() == [spring]
    api.venue.mark("EURUSD", "1.20000")
    assert board(api, spring) == told
    assert {entry.final_equity for entry in CompetitionEntry.objects.all()} == {Decimal(row[2]) for row in told}


def test_a_profit_that_nobody_can_price_is_named(api, fx_contest):
    spring = fx_contest()
    ann = join(api, spring)
    open_position(api, ann, "ann", "BUY", "EURGBP", "0.88000")
    api.venue.mark("EURGBP", "0.89000")
    Market.objects.filter(symbol__in=("GBPUSD", "EURUSD")).update(is_active=False)
    (row,) = api("GET", f"{V1}competitions/{spring.pk}/leaderboard/").json["results"]
    assert (row["equity"], row["unpriced"]) == ("10000", ["GBP"])
    summary = api("GET", V1 + "portfolio/summary/?quote=USD", headers=ann).json
    assert (summary["total_value"], summary["unpriced"]) == ("10000", ["GBP"])


def test_all_accounts_are_read_at_one_moment(api, fx_contest):
    """What a closing moves from positions to balances is in neither twice nor not at all."""
    spring = fx_contest()
    for name in ("ann", "bob"):
        open_position(api, join(api, spring, name), name, "BUY", "EURUSD", "1.10000")
    with CaptureQueriesContext(connection) as queries:
        competitions.leaderboard(spring)
    reads = [query["sql"] for query in queries if "accounts_balance" in query["sql"] or "_position" in query["sql"]]
    assert len(reads) == 1


# After the end


@pytest.mark.parametrize("is_closed", [False, True])
def test_positions_are_closed_after_the_end(api, fx_contest, is_closed):
    spring = fx_contest()
    entry = join(api, spring)
    open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    open_position(api, entry, "ann", "SELL", "GBPUSD", "1.25000", "0.2")
    clock.shift(61)
    assert not is_closed or closing.close_due() == [spring]
    api.venue.order("rich BUY 1 EURUSD @ 1.09900")
    api.venue.order("rich SELL 1 GBPUSD @ 1.25000")
    part = api("POST", CLOSE, {"symbol": "EURUSD", "quantity": "0.4"}, headers=entry)
    assert (part.status, part.json["order"]["status"], part.json["position"]["quantity"]) == (201, "FILLED", "0.6")
    exited = api("POST", f"{V1}positions/{part.json['position']['id']}/exit/", {}, headers=entry)
    assert (exited.status, exited.json["position"]) == (201, None)
    body = {"symbol": "GBPUSD", "side": "BUY", "price": "1.20000", "quantity": "0.2", "reduce_only": True}
    resting = api("POST", ORDERS, body, headers=entry)
    assert (resting.status, resting.json["status"]) == (201, "OPEN")
    amended = api("PUT", f"{ORDERS}{resting.json['id']}/", {"price": "1.25000"}, headers=entry)
    assert (amended.status, amended.json["status"]) == (200, "FILLED")
    assert [api.venue.position("ann's entry", symbol) for symbol in ("EURUSD", "GBPUSD")] == ["flat", "flat"]
    assert closing.close_due() == ([] if is_closed else [spring])
    assert board(api, spring) == [(1, "ann", "10000" if is_closed else "9900")]
    assert api.venue.is_sound()


def test_nothing_else_is_placed_after_the_end(api, fx_contest):
    entry = join(api, fx_contest())
    open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    api.venue.order("rich BUY 5 EURUSD @ 1.10000")
    clock.shift(61)
    sell = {"symbol": "EURUSD", "side": "SELL", "price": "1.10000", "quantity": "1"}
    refused = [
        (sell, "competition_closed"),
        ({**sell, "side": "BUY"}, "competition_closed"),
        ({**sell, "quantity": "1.01", "reduce_only": True}, "reduce_only"),
        ({**sell, "side": "BUY", "reduce_only": True}, "reduce_only"),
        ({**sell, "symbol": "GBPUSD", "price": "1.25000", "reduce_only": True}, "reduce_only"),
    ]
    count = Order.objects.count()
    for body, code in refused:
        reply = api("POST", ORDERS, body, headers=entry)
        assert (reply.status, reply.code) == (422, code), body
    assert Order.objects.count() == count


STOPS = {
    "nothing": (lambda entry: None, None),
    "the end": (lambda entry: clock.shift(61), "competition_closed"),
    "its owner": (lambda entry: kill_switch.pull(account_id=entry, by=kill_switch.OWNER), "account_inactive"),
}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("only_reduces", [False, True])
def test_weighing_an_order_tells_what_placing_it_will(api, fx_contest, stop, only_reduces):
    entry = join(api, fx_contest())
    open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    act, code = STOPS[stop]
    act(int(entry["X-Account"]))
    order = {"symbol": "EURUSD", "side": "SELL", "price": "1.10000", "quantity": "1", "reduce_only": only_reduces}
    said = api("POST", V1 + "margin/check/", order, headers=entry).json
    done = api("POST", ORDERS, order, headers=entry)
    if code is None or (only_reduces and code == "competition_closed"):
        assert (said["would_pass"], said["code"], done.status) == (True, None, 201)
    else:
        assert (said["would_pass"], said["code"], said["detail"]) == (False, code, done.json["detail"])
        assert done.code == code


def test_what_is_open_in_a_market_that_was_taken_out_can_be_closed(api, fx_contest):
    spring = fx_contest()
    entry = join(api, spring)
    open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    api.venue.order("rich BUY 1 EURUSD @ 1.10000")
    spring.markets.set(Market.objects.filter(symbol="GBPUSD"))
    competitions.apply_terms(spring)
    assert api("POST", CLOSE, {"symbol": "EURUSD"}, headers=entry).json["position"] is None


# Disqualified


@pytest.fixture
def operator():
    browser = Browser()
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    browser.force_login(boss, "django.contrib.auth.backends.ModelBackend")
    return browser


def decide(operator, verb: str, reason: str = "two accounts") -> str:
    """What an operator's decision about ann's entry leaves in the history of its page."""
    page = f"/admin/accounts/competitionentry/{CompetitionEntry.objects.get(user__username='ann', round=1).pk}/"
    assert operator.get(page + verb).status_code == 200
    assert operator.post(page + verb, {"reason": reason}).status_code == 302
    assert operator.get(page + "change/").status_code == 200
    return LogEntry.objects.latest("pk").get_change_message()


def test_a_disqualified_entry_has_no_rank_and_leaves_what_it_has(api, fx_contest, operator):
    spring = fx_contest()
    entry = join(api, spring)
    join(api, spring, "bob")
    opened = open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    api.venue.mark("EURUSD", "1.11000")
    body = {"symbol": "GBPUSD", "side": "BUY", "price": "1.20000", "quantity": "0.2"}
    resting = api("POST", ORDERS, body, headers=entry).json["id"]
    assert board(api, spring) == [(1, "ann", "11000"), (2, "bob", "10000")]
    assert decide(operator, "disqualify") == "Disqualified, 1 orders cancelled: two accounts"
    assert board(api, spring) == [(1, "bob", "10000"), (None, "ann", "11000")]
    told = api("GET", f"{V1}competitions/{spring.pk}/leaderboard/").json["results"]
    assert [row["disqualified"] for row in told] == [False, True]
    assert api("GET", f"{V1}competitions/{spring.pk}/").json["entry"]["disqualified_at"]
    assert Order.objects.filter(pk=resting, status="CANCELLED", reason="disqualified").exists()
    assert api("GET", f"{ORDERS}{opened['id']}/", headers=entry).json["fills"] == opened["fills"]

    competitions.apply_terms(spring)  # what an edit of the competition does
    assert api("POST", ORDERS, body, headers=entry).code == "competition_closed"
    less = {"symbol": "EURUSD", "side": "SELL", "price": "1.12000", "quantity": "0.4", "reduce_only": True}
    assert api("POST", ORDERS, less, headers=entry).status == 201
    api.venue.order("rich BUY 1 EURUSD @ 1.11000")
    assert api("POST", CLOSE, {"symbol": "EURUSD"}, headers=entry).status == 201
    assert api.venue.position("ann's entry", "EURUSD") == "flat"
    assert api.venue.is_sound()


def test_what_a_crash_while_disqualifying_leaves_open_is_cancelled_but_not_what_reduces(api, fx_contest):
    entry = join(api, fx_contest())
    open_position(api, entry, "ann", "BUY", "EURUSD", "1.10000")
    body = {"symbol": "GBPUSD", "side": "BUY", "price": "1.20000", "quantity": "0.2"}
    resting = api("POST", ORDERS, body, headers=entry).json["id"]
    competitions.disqualify(CompetitionEntry.objects.get())
    less = {"symbol": "EURUSD", "side": "SELL", "price": "1.12000", "quantity": "0.4", "reduce_only": True}
    stays = api("POST", ORDERS, less, headers=entry).json["id"]
    for _ in range(2):
        closing.look()
        orders_left = Order.objects.filter(pk__in=[resting, stays]).order_by("pk").values_list("status", "reason")
        assert list(orders_left) == [("CANCELLED", "disqualified"), ("OPEN", "")]


@pytest.mark.parametrize("is_closed", [False, True])
def test_reinstated(api, fx_contest, operator, is_closed):
    spring = fx_contest()
    entry = join(api, spring)
    join(api, spring, "bob")
    assert [decide(operator, "disqualify") for _ in range(2)] == ["Disqualified, 0 orders cancelled: two accounts"] * 2
    if is_closed:
        clock.shift(61)
        assert closing.close_due() == [spring]
    assert decide(operator, "reinstate", "one was his sister's") == "Reinstated: one was his sister's"
    assert board(api, spring) == [(1, "ann", "10000"), (1, "bob", "10000")]
    body = {"symbol": "GBPUSD", "side": "BUY", "price": "1.20000", "quantity": "0.2"}
    assert api("POST", ORDERS, body, headers=entry).status == (422 if is_closed else 201)


def test_the_next_round_begins_without_who_is_disqualified(api, fx_contest):
    spring = fx_contest()
    join(api, spring)
    join(api, spring, "bob")
    assert closing.disqualify(CompetitionEntry.objects.get(user__username="ann")) == 0
    clock.shift(61)
    assert closing.close_due() == [spring]
    assert board(api, spring) == [(1, "bob", "10000"), (None, "ann", "10000")]
    later = {"starts_at": clock.now() + timedelta(seconds=100), "ends_at": clock.now() + timedelta(seconds=200)}
    competitions.next_round(competition=spring, **later)
    assert list(CompetitionEntry.objects.filter(round=2).values_list("user__username", flat=True)) == ["bob"]
    assert api("POST", f"{V1}competitions/{spring.pk}/join/").status == 201


def test_the_final_standings_count_the_rollovers_of_the_round(api, fx_contest):
    """Nothing ran from its first day to two days after its end; what was rolled over after the end is later."""
    api.venue.terms("EURUSD", financing_long_rate=Decimal("0.036"), financing_short_rate=0, financing_days=360)
    clock.stand(datetime(2026, 3, 16, 12, tzinfo=UTC))
    api.venue.mark("EURUSD", "1.10000")
    spring = fx_contest(ends=3 * 86_400)
    entry = competitions.join(competition=spring, user=User.objects.get(username="ann"))[0]
    api.venue.accounts["entry"] = entry.account
    api.venue.trader("rich", USD=10_000_000)
    api.venue.order("rich SELL 1 EURUSD @ 1.10000")
    api.venue.order("entry BUY 1 EURUSD @ 1.10000")
    clock.stand(spring.ends_at + timedelta(days=2))
    assert closing.close_due() == [spring]
    entry.refresh_from_db()
    assert entry.final_equity == 10_000 - 3 * 11
    assert (financing.post_due(), financing.post_due()) == (4, 0), "the two rollovers since, of both"
    entry.refresh_from_db()
    assert entry.final_equity == 9_967 and api.venue.funds("entry", "USD") == "7745+2200"
    assert api.venue.is_sound()
