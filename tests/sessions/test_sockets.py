"""Over sockets: cancelling what is open when one ends, and the indicative price of an auction."""

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError

from exchange import orders, transaction
from exchange.commands import NotAccepting
from exchange.models import Order
from exchange.sequencer import ATTEMPTS
from exchange.streams import last_wishes
from marketdata import clock
from tests.patience import wait_until
from tests.sessions.conftest import day
from tests.streams.conftest import server, token_of

__all__ = ["day", "server", "token_of"]


@pytest.fixture
def connect(server, token_of):
    """An authenticated socket of ann's, its snapshot read."""
    opened = []

    def make():
        client = server.client("/ws/user/")
        opened.append(client)
        client.send({"type": "authenticate", "token": token_of("ann")})
        assert client.next()["type"] == "snapshot"
        return client

    yield make
    for client in opened:
        client.close()


def test_what_is_open_is_cancelled_when_the_socket_ends(venue, connect):
    venue.trader("ann", USD=1000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    plain, wishing = connect(), connect()
    wishing.send({"type": "cancel_on_disconnect", "on": True})
    assert wishing.next() == {"type": "cancel_on_disconnect", "on": True}
    plain.close()
    wishing.send({"type": "place", "id": 1, "symbol": "AAPL", "side": "buy", "price": "99", "quantity": 1})
    wishing.close()
    wait_until(lambda: not Order.objects.filter(status="OPEN").exists(), "no open orders")
    assert venue.stored(order)["status"] == "CANCELLED"
    assert venue.funds("ann", "USD") == "1000+0"


def test_what_is_open_is_cancelled_although_the_database_is_away_when_the_socket_ends(venue, connect, monkeypatch):
    venue.trader("ann", USD=1000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    with monkeypatch.context() as ahead:
        ahead.setattr(clock, "_offset", timedelta(minutes=1))
        later = venue.order("ann BUY 1 AAPL @ 99")  # as if placed through another socket meanwhile
    wishing, settle, failures = connect(), transaction.settle, [OperationalError("away")] * (ATTEMPTS + 1)
    wishing.send({"type": "cancel_on_disconnect", "on": True})
    assert wishing.next()["on"] is True

    def settle_later(*arguments):
        if failures:
            raise failures.pop()
        settle(*arguments)

    monkeypatch.setattr(transaction, "settle", settle_later)
    monkeypatch.setattr(last_wishes, "PAUSE_SECONDS", 0.01)
    wishing.close()
    wait_until(lambda: not last_wishes._tasks and not failures, "the end of trying")
    assert [venue.stored(one)["status"] for one in (order, later)] == ["CANCELLED", "OPEN"]


def test_it_can_be_taken_back(venue, server, connect):
    venue.trader("ann", USD=1000)
    client = connect()
    for on in (True, False):
        client.send({"type": "cancel_on_disconnect", "on": on})
        assert client.next()["on"] is on
    client.send({"type": "cancel_on_disconnect", "on": 1})
    assert client.next()["type"] == "error"
    order = venue.order("ann BUY 1 AAPL @ 100")
    client.close()
    wait_until(lambda: server.open_connections() == 0, "the server to notice")
    assert not last_wishes._tasks
    assert venue.stored(order)["status"] == "OPEN"


def test_the_book_tells_the_indicative_price_while_orders_are_collected(day, server):
    day.sessions()
    day.at("2026-11-23 14:10")
    client = server.client("/ws/orderbook/AAPL/")
    snapshot = client.next()
    nothing = {"phase": "PRE_OPEN", "until": None, "price": None, "quantity": "0", "surplus": "0"}
    assert snapshot["auction"] == nothing
    day.venue.order("ann BUY 10 AAPL @ 101")
    assert client.next()["auction"] == nothing
    day.venue.order("bob SELL 4 AAPL @ 99")
    update = client.next()
    assert update["auction"] == {**nothing, "price": "101", "quantity": "4", "surplus": "6"}
    day.at("2026-11-23 14:30")
    opened = client.next()
    assert "auction" not in opened
    assert (opened["bids"], opened["asks"]) == ([["101", "6"]], [["99", "0"]])
    client.close()


def test_who_follows_many_markets_is_told_when_an_auction_begins_and_ends_though_no_level_changes(day, server):
    day.venue.order("ann BUY 10 AAPL @ 90")
    day.venue.order("bob SELL 10 AAPL @ 110")
    day.sessions()
    day.at("2026-11-23 13:00")
    client = server.client("/ws/market/")
    client.send({"type": "subscribe", "symbols": ["AAPL"], "order_book": True})

    def next_book():
        return next(message for message in iter(client.next, None) if message["type"] == "order_book")

    assert "auction" not in next_book()
    for moment, phase in (("2026-11-23 14:10", "PRE_OPEN"), ("2026-11-23 14:30", None)):
        day.at(moment)
        book = next_book()
        assert (book.get("auction") or {}).get("phase") == phase
        assert (book["bids"], book["asks"]) == ([["90", "10"]], [["110", "10"]])
    client.close()


@pytest.mark.parametrize(
    ("error", "tried"), [(NotAccepting(), 3), (OperationalError("cut"), 3), (RuntimeError("a bug"), 1)]
)
def test_only_what_passes_is_tried_again(monkeypatch, error, tried):
    calls = []

    async def fail_twice(**terms):
        calls.append(terms)
        if len(calls) < 3:
            raise error

    monkeypatch.setattr(orders, "cancel_all_async", fail_twice)
    monkeypatch.setattr(last_wishes, "PAUSE_SECONDS", 0)
    asyncio.run(last_wishes._cancel_all(7, []))
    assert len(calls) == tried


def test_none_is_left_trying_when_the_server_has_stopped(monkeypatch, caplog):
    """It would begin a new writer behind the one that was ended."""

    async def fail(**terms):
        raise NotAccepting

    async def stop():
        last_wishes.cancel_all(7, [])
        await last_wishes.finish()
        return len(asyncio.all_tasks()) - 1

    monkeypatch.setattr(orders, "cancel_all_async", fail)
    monkeypatch.setattr(last_wishes, "STOP_SECONDS", 0.01)
    assert asyncio.run(stop()) == 0
    assert "the last wish of 7 stays undone" in caplog.text
