"""The private socket: positions in the snapshot, what fills change in sequence, live margin beside it."""

import pytest
from rest_framework_simplejwt.tokens import RefreshToken

from exchange.streams.margin_feed import messages_for
from marketdata import marks
from marketdata.models import Mark
from tests.margin_risk.test_unreadable import BAD, change
from tests.streams.support import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connect(venue):
    """An authenticated socket of a real server, and its snapshot."""
    server, opened = LiveServer().start(), []

    def make(name: str):
        client = server.client("/ws/user/")
        opened.append(client)
        token = str(RefreshToken.for_user(venue.accounts[name].user).access_token)
        client.send({"type": "authenticate", "token": token})
        return client, client.next()

    yield make
    for client in opened:
        client.close()
    server.stop()


def of_type(kind: str):
    return lambda message: message["type"] == kind


def test_the_snapshot_holds_open_positions(venue, connect):
    venue.trade("ann", "BUY", "rich", "2", "EURUSD", "1.10000")
    _, snapshot = connect("ann")
    (position,) = snapshot["positions"]
    names = ("symbol", "side", "quantity", "entry_price", "mark_price", "unrealized_pnl")
    assert [position[name] for name in names] == ["EURUSD", "LONG", "2", "1.1", "1.1", "0"]


def test_live_margin_follows_the_mark_and_takes_no_sequence(venue, connect):
    venue.trade("ann", "BUY", "rich", "2", "EURUSD", "1.10000")
    client, snapshot = connect("ann")
    assert client.until(of_type("margin"))["level"] == "227.2727"
    venue.mark("EURUSD", "1.09000")
    message = client.until(lambda message: message["type"] == "margin" and message["equity"] == "8000")
    assert (message["used"], message["free"], message["level"], message["unrealized_pnl"]) == (
        "4400", "3600", "181.8181", "-2000",
    )  # fmt: skip
    assert message["positions"] == [
        {"symbol": "EURUSD", "side": "LONG", "quantity": "2", "mark_price": "1.09", "unrealized_pnl": "-2000"}
    ]
    assert "sequence" not in message
    venue.order("ann BUY 0.01 EURUSD @ 1.00000")
    assert client.until(of_type("order"))["sequence"] == snapshot["sequence"] + 1


def test_calls_and_liquidations_are_events_without_a_gap(venue, connect):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.order("rich BUY 10 EURUSD @ 1.07900")
    client, snapshot = connect("ann")
    venue.mark("EURUSD", "1.07900")
    venue.watch()
    heard = []
    while not (heard and heard[-1]["type"] == "liquidation" and heard[-1]["outcome"] != "UNDER_WAY"):
        heard.append(client.until(lambda message: message["type"] != "margin"))
    first = snapshot["sequence"] + 1
    assert [message["sequence"] for message in heard] == list(range(first, first + len(heard)))
    kinds = {message["type"] for message in heard}
    assert {"margin_call", "liquidation", "order", "fill", "position", "balance"} <= kinds


def test_of_what_nobody_knows_the_worth_nothing_is_said_and_others_hear_of_theirs(venue):
    venue.contract("GBPJPY", "GBP", "JPY", "0.001")
    venue.mark("GBPJPY", "190.000")
    venue.trade("ann", "BUY", "rich", "0.1", "GBPJPY", "190.000")
    venue.trade("bob", "BUY", "rich", "1", "EURUSD", "1.10000")
    Mark.objects.exclude(market__symbol__in=("EURUSD", "GBPJPY")).delete()
    marks.forget()
    ann, bob = (venue.accounts[name].id for name in ("ann", "bob"))
    told = messages_for([ann, bob])
    assert (told.get(ann, []), [message["equity"] for message in told[bob]]) == ([], ["10000"])


def test_who_has_no_positions_hears_of_no_margin(venue, connect):
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    client, _ = connect("bob")
    venue.mark("EURUSD", "1.09000")
    watching, _ = connect("ann")
    watching.until(of_type("margin"))
    client.send({"type": "ping"})
    assert client.next() == {"type": "pong"}


def test_when_the_last_position_is_closed_margin_is_told_once_more(venue, connect):
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    client, _ = connect("ann")
    assert client.until(of_type("margin"))["used"] == "2200"
    venue.trade("ann", "SELL", "rich", "1", "EURUSD", "1.11000")
    last = client.until(lambda message: message["type"] == "margin" and not message["positions"])
    assert [last[name] for name in ("asset", "equity", "used", "free", "level")] == ["USD", "11000", "0", "11000", None]
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    assert client.until(of_type("margin"))["used"] == "2200"


def test_who_holds_something_in_a_market_that_makes_no_sense_is_not_left_waiting(venue, connect):
    """Nothing can be told, so the socket ends: one that stayed open would never tell anything."""
    venue.trade("ann", "BUY", "rich", "0.1", BAD, "1.10000")
    change("0.000000000000000001")
    client, first = connect("ann")
    assert (first["type"], first["code"]) == ("error", "market_unreadable")
    assert client.rest() == ([], 1013)
    change("0.00001")
    assert connect("ann")[1]["type"] == "snapshot"


def test_nothing_is_said_twice(venue, connect):
    """Two rounds at the same marks are one message."""
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    client, _ = connect("ann")
    client.until(of_type("margin"))
    for equity, mark in (("9000", "1.09000"), ("8000", "1.08000")):
        venue.mark("EURUSD", mark)
        assert client.until(of_type("margin"))["equity"] == equity
