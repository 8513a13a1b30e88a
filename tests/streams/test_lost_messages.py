"""A channel layer may lose messages or swap them, and processes may die: it costs a moment, never a gap."""

import time

import pytest
from channels.layers import get_channel_layer

from accounts.models import Account
from exchange.barrier import view
from exchange.streams import feeds as feeds_module
from marketdata import hub
from marketdata.markets import by_symbol
from tests.patience import wait_until
from tests.streams.support import Mirror, OtherProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lost(monkeypatch):
    """A switch: while it is on, the channel layer swallows whatever is sent."""
    layer, send = get_channel_layer(), get_channel_layer().group_send
    state = {"is_on": False, "swallowed": 0}

    async def group_send(group, message):
        if state["is_on"]:
            state["swallowed"] += 1
        else:
            await send(group, message)

    monkeypatch.setattr(layer, "group_send", group_send, raising=False)
    return state


def test_lost_book_updates_are_made_up_for(venue, server, lost):
    venue.trader("ann", USD=100_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        venue.order("ann BUY 1 AAPL @ 99")
        mirror.follow(client, 1)
        lost["is_on"] = True
        for price in (98, 97, 96):
            venue.order(f"ann BUY 1 AAPL @ {price}")
        wait_until(lambda: lost["swallowed"] == 3, "the layer to swallow them")
        mirror.follow(client, 4)
        assert mirror == view(by_symbol("AAPL")).snapshot(10)
        lost["is_on"] = False
        venue.order("ann BUY 1 AAPL @ 95")
        mirror.follow(client, 5)
        assert mirror == view(by_symbol("AAPL")).snapshot(10)


def test_a_gap_is_filled_before_anything_after_it_is_told(venue, server, lost):
    """One lost in the middle: the next message reveals it at once, and the client still sees every sequence."""
    venue.trader("ann", USD=100_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        lost["is_on"] = True
        venue.order("ann BUY 1 AAPL @ 99")
        wait_until(lambda: lost["swallowed"] == 1, "the layer to swallow it")
        lost["is_on"] = False
        venue.order("ann BUY 2 AAPL @ 98")
        mirror.follow(client, 2)
    assert mirror.sides["bids"] == {"99": "1", "98": "2"}


def test_lost_trades_are_told_later_once(venue, server, lost):
    venue.trader("ann", USD=100_000)
    venue.trader("bob", AAPL=100)
    with server.client("/ws/trades/?symbol=AAPL") as client:
        client.next()
        for is_lost in (False, True, False, True):
            lost["is_on"] = is_lost
            venue.order("bob SELL 1 AAPL @ 100")
            venue.order("ann BUY 1 AAPL @ 100")
        ids = []
        while len(ids) < 4:
            ids += [trade["trade_id"] for trade in client.next()["trades"]]
    assert ids == sorted(set(ids))


def test_lost_account_events_are_read_from_the_table(venue, server, token_of, lost):
    venue.trader("ann", USD=100_000)
    with server.client("/ws/user/") as client:
        client.send({"type": "authenticate", "token": token_of("ann")})
        sequence = client.next()["sequence"]
        for is_lost in (False, True, True, False, True):
            lost["is_on"] = is_lost
            venue.order("ann BUY 1 AAPL @ 99")
        last = Account.objects.get(user__username="ann").event_sequence
        assert [event["sequence"] for event in client.take(last - sequence)] == list(range(sequence + 1, last + 1))


def test_swapped_deltas_are_put_in_order(venue, server, monkeypatch):
    """Two processes publish side by side; the later batch may come first. No snapshot, no catching up: just the
    updates.
    """
    caught_up = []
    kept = []
    receive = feeds_module.MarketFeed.receive

    def swap(feed, delta):
        kept.append(delta)
        if len(kept) == 2:
            receive(feed, kept[1])
            receive(feed, kept[0])

    venue.trader("ann", USD=100_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        monkeypatch.setattr(feeds_module.MarketFeed, "receive", swap)
        monkeypatch.setattr(feeds_module.MarketFeed, "_catch_up_once", lambda feed: caught_up.append(feed))
        venue.order("ann BUY 1 AAPL @ 99")
        venue.order("ann BUY 1 AAPL @ 98")
        mirror.follow(client, 2)
    assert mirror.sides["bids"] == {"99": "1", "98": "1"}
    assert not caught_up


def test_orders_of_another_process_arrive_through_redis(venue, server, token_of):
    ann, bob = venue.trader("ann", USD=100_000), venue.trader("bob", AAPL=100)
    with (
        server.client("/ws/orderbook/AAPL/") as book,
        server.client("/ws/trades/AAPL/") as tape,
        server.client("/ws/user/") as private,
        OtherProcess() as other,
    ):
        private.send({"type": "authenticate", "token": token_of("ann")})
        sequence = private.next()["sequence"]
        tape.next()
        mirror = Mirror()
        mirror.take(book.next())
        for number in range(10):  # by turns here and there
            other.order(ann.id, f"BUY 2 AAPL @ {100 + number}")
            venue.order(f"bob SELL 1 AAPL @ {100 + number}")
        other.order(bob.id, "SELL 5 AAPL @ 104")
        expected = view(by_symbol("AAPL")).snapshot(1000)
        assert mirror.follow(book, expected["sequence"]) == expected
        last = Account.objects.get(user__username="ann").event_sequence
        assert [event["sequence"] for event in private.take(last - sequence)] == list(range(sequence + 1, last + 1))
        ids = []
        while len(ids) < 15:
            ids += [trade["trade_id"] for trade in tape.next()["trades"]]
        assert ids == sorted(set(ids)) and len(ids) == 15


def test_another_process_is_heard_quickly(venue, server):
    """Not only by the safety net, which looks once a second."""
    ann = venue.trader("ann", USD=100_000)
    with server.client("/ws/orderbook/AAPL/") as client, OtherProcess() as other:
        client.next()
        other.order(ann.id, "BUY 1 AAPL @ 100")  # its connections are warm now
        client.next()
        delays = []
        for _ in range(5):
            other.order(ann.id, "BUY 1 AAPL @ 100")
            committed = time.monotonic()
            client.next()
            delays.append(time.monotonic() - committed)
    assert sorted(delays)[2] < 0.2


def test_the_hub_joins_again_after_listening_failed(venue, server, monkeypatch):
    venue.trader("ann", USD=100_000)
    layer = get_channel_layer()
    receive, failures = layer.receive, []

    async def fail_once(channel):
        message = await receive(channel)
        if not failures:
            failures.append(channel)
            raise ConnectionError("Redis is gone")
        return message

    monkeypatch.setattr(hub.hub, "_take", lambda message: None)  # the first message is lost with the connection
    monkeypatch.setattr(layer, "receive", fail_once, raising=False)
    monkeypatch.setattr(hub, "REJOIN_SECONDS", 0.1)
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        venue.order("ann BUY 1 AAPL @ 100")  # taken by the receive that waited before the patch
        venue.order("ann BUY 1 AAPL @ 100")
        wait_until(lambda: failures, "the failure")
        wait_until(lambda: hub.hub._channel not in (None, failures[0]), "the hub to join again")
        monkeypatch.undo()
        venue.order("ann BUY 1 AAPL @ 100")
        mirror.follow(client, 3)
        assert mirror.sides["bids"] == {"100": "3"}
