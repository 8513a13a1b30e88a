"""The order book's socket: a snapshot, then updates that connect; nobody ever sees a gap."""

import random
import time
from decimal import Decimal

import pytest
from websockets.exceptions import InvalidStatus

from exchange.barrier import view
from exchange.streams import feeds as feeds_module
from marketdata import markets
from marketdata.markets import by_symbol
from tests.patience import wait_until
from tests.streams.support import LiveServer, Mirror

pytestmark = pytest.mark.django_db(transaction=True)


def snapshot_of(symbol: str, depth: int = 1000) -> dict:
    return view(by_symbol(symbol)).snapshot(depth)


PATHS = ["/ws/orderbook/AAPL/", "/ws/orderbook/AAPL", "/ws/orderbook/?symbol=AAPL", "/ws/orderbook?symbol=aaplusd"]


def test_snapshot_on_connect(venue, server):
    venue.trader("ann", USD=10_000)
    for sentence in ("ann BUY 5 AAPL @ 99.5", "ann BUY 7 AAPL @ 99.5", "ann BUY 1 AAPL @ 99"):
        venue.order(sentence)
    bids = [["99.5", "12"], ["99", "1"]]
    for path in PATHS:
        with server.client(path) as client:
            assert client.next() == {"type": "snapshot", "symbol": "AAPL", "sequence": 3, "bids": bids, "asks": []}


def test_orders_in_updates_out(venue, server):
    venue.trader("ann", USD=10_000)
    venue.trader("bob", AAPL=100)
    orders = {}
    table = [
        ("ann BUY 5 AAPL @ 99", [["99", "5"]], []),
        ("bob SELL 4 AAPL @ 101", [], [["101", "4"]]),
        ("bob SELL 6 AAPL @ 101", [], [["101", "10"]]),
        ("bob SELL 2 AAPL @ 99", [["99", "3"]], []),
        ("bob SELL 3 AAPL @ 98.5", [["99", "0"]], []),
        ("ann BUY 12 AAPL @ 101", [["101", "2"]], [["101", "0"]]),
    ]
    with server.client("/ws/orderbook/AAPL/") as client:
        assert client.next()["sequence"] == 0
        for sequence, (sentence, bids, asks) in enumerate(table, start=1):
            orders[sequence] = venue.order(sentence)
            expected = {"symbol": "AAPL", "first_sequence": sequence, "sequence": sequence, "bids": bids, "asks": asks}
            assert client.next() == {"type": "update", **expected}
        venue.cancel("ann", orders[6])
        assert client.next()["bids"] == [["101", "0"]]


def test_snapshot_and_updates_make_the_next_snapshot(venue, server):
    """Random orders; clients that come at different times keep the same book, and it is the database's."""
    dice = random.Random(7)
    venue.trader("ann", USD=10_000_000, AAPL=100_000)
    venue.trader("bob", USD=10_000_000, AAPL=100_000)
    clients = [server.client("/ws/orderbook/AAPL/")]
    open_orders = []
    for number in range(300):
        name = dice.choice(["ann", "bob"])
        if open_orders and dice.random() < 0.3:
            owner, order = open_orders.pop(dice.randrange(len(open_orders)))
            if venue.stored(order)["status"] in ("OPEN", "PARTIALLY_FILLED"):
                venue.cancel(owner, order)
        else:
            side, price = dice.choice(["BUY", "SELL"]), dice.randint(9_950, 10_050) / 100
            terms = {"self_trade_prevention": "EXPIRE_MAKER"}
            open_orders.append((name, venue.order(f"{name} {side} {dice.randint(1, 20)} AAPL @ {price}", **terms)))
        if number % 60 == 30:
            clients.append(server.client("/ws/orderbook/AAPL/"))
    expected = snapshot_of("AAPL")
    for client in clients:
        with client:
            assert Mirror().follow(client, expected["sequence"]) == expected


def test_levels_that_come_among_those_of_a_snapshot_are_told(venue, server, monkeypatch):
    """A snapshot ends somewhere; what lay behind that is heard of once it lies before, though nobody touched it."""
    monkeypatch.setattr(feeds_module, "SNAPSHOT_LEVELS", 3)
    venue.trader("ann", USD=100_000)
    venue.trader("bob", AAPL=100, USD=100_000)
    for price in range(101, 109):
        venue.order(f"bob SELL 1 AAPL @ {price}")
        venue.order(f"bob BUY 1 AAPL @ {price - 10}")
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        assert [len(levels) for levels in mirror.sides.values()] == [3, 3]
        sentences = ("BUY 2 AAPL @ 102", "SELL 2 AAPL @ 97", "BUY 1 AAPL @ 93", "BUY 3 AAPL @ 105")
        for number, sentence in enumerate(sentences, 17):
            venue.order(f"ann {sentence}")
            mirror.follow(client, number)
            best = snapshot_of("AAPL", 3)
            for side, levels in mirror.sides.items():
                prices = sorted(levels, key=Decimal, reverse=side == "bids")[:3]
                assert [[price, levels[price]] for price in prices] == best[side]


def test_a_burst_is_conflated(venue, server):
    venue.trader("ann", USD=10_000_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        began = time.monotonic()
        for number in range(200):
            venue.order(f"ann BUY 1 AAPL @ {100 + number % 7}")
        messages = 0
        while mirror.sequence < 200:
            mirror.take(client.next())
            messages += 1
        assert messages <= (time.monotonic() - began) / 0.1 + 2
    assert mirror == snapshot_of("AAPL")


def test_depth_gives_snapshots_of_that_depth(venue, server):
    venue.trader("ann", USD=10_000)
    for price in (100, 99, 98):
        venue.order(f"ann BUY 1 AAPL @ {price}")
    with server.client("/ws/orderbook/AAPL/") as client:
        client.next()
        client.send({"depth": 2})
        assert client.next()["bids"] == [["100", "1"], ["99", "1"]]
        venue.order("ann BUY 1 AAPL @ 97")  # too deep to be seen
        venue.order("ann BUY 1 AAPL @ 99")
        seen = client.until(lambda message: message["sequence"] == 5)
        assert (seen["type"], seen["bids"]) == ("snapshot", [["100", "1"], ["99", "2"]])
        client.send({"depth": 1})
        assert client.next()["bids"] == [["100", "1"]]


def test_depth_is_only_told_when_it_changed(venue, server):
    venue.trader("ann", USD=10_000)
    venue.order("ann BUY 1 AAPL @ 100")
    with server.client("/ws/orderbook/AAPL/") as shallow, server.client("/ws/orderbook/AAPL/") as whole:
        shallow.next(), whole.next()
        shallow.send({"depth": 1})
        assert shallow.next()["sequence"] == 1
        venue.order("ann BUY 1 AAPL @ 99")
        assert whole.next()["sequence"] == 2
        venue.order("ann BUY 1 AAPL @ 101")
        assert whole.next()["sequence"] == 3
        assert shallow.next()["sequence"] == 3


def test_resync_gives_a_fresh_snapshot(venue, server):
    venue.trader("ann", USD=10_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        client.next()
        client.send({"type": "resync"})
        assert client.next()["type"] == "snapshot"
        venue.order("ann BUY 1 AAPL @ 99")
        assert client.next()["first_sequence"] == 1


BAD_MESSAGES = [
    ("not json", "bad_message"),
    ("[1, 2]", "bad_message"),
    ('"depth"', "bad_message"),
    ('{"type": "resync", "type": "resync"}', "bad_message"),
    ("[" * 10_000, "bad_message"),
    ('{"depth": NaN}', "bad_message"),
    (b"\x00\x01", "bad_message"),
    ({"type": "unheard-of"}, "bad_message"),
    ({"type": ["resync"]}, "bad_message"),
    ({}, "bad_message"),
    ({"depth": 0}, "bad_message"),
    ({"depth": 51}, "bad_message"),
    ({"depth": "10"}, "bad_message"),
    ({"depth": True}, "bad_message"),
    ({"depth": 10**400}, "bad_message"),
    ({"type": "resync", "padding": "x" * 70_000}, "message_too_big"),
]


def test_a_bad_message_is_answered_and_the_socket_stays_open(venue, server):
    with server.client("/ws/orderbook/AAPL/") as client:
        client.next()
        for message, code in BAD_MESSAGES:
            client.send(message)
            error = client.next()
            assert (error["type"], error["code"]) == ("error", code), message
            assert error["detail"]
            client.send({"type": "ping"})
            assert client.next() == {"type": "pong"}


UNKNOWN = [
    ("/ws/orderbook/NOTHING/", "unknown_market"),
    ("/ws/orderbook/", "unknown_market"),
    ("/ws/orderbook/%00/", "unknown_market"),
    ("/ws/trades/?symbol=NOTHING", "unknown_market"),
    ("/ws/nowhere/", "not_found"),
    ("/", "not_found"),
]


def test_unknown_symbols_and_paths_are_told_and_closed(venue, server):
    for path, code in UNKNOWN:
        with server.client(path) as client:
            (error,), close_code = client.rest()
        assert (error["type"], error["code"], close_code) == ("error", code, 4404), path
        assert client.socket.close_reason == code, path


AT_ONCE = [
    ("/ws/orderbook/AAPL/", None),
    ("/ws/trades/?symbol=AAPL", None),
    ("/ws/prices/", None),
    ("/ws/market/", {"type": "subscribe", "symbols": ["AAPL"]}),
    ("/ws/user/", {"type": "authenticate"}),
]


def test_who_comes_while_the_database_is_away_is_told_to_try_again(venue, server, token_of, database_away):
    venue.trader("ann", USD=1)
    token = token_of("ann")
    markets.forget()
    with database_away():
        for path, message in AT_ONCE:
            with server.client(path) as client:
                if message is not None:
                    client.send({**message, "token": token})
                (error,), close_code = client.rest()
            assert (error["type"], error["code"], close_code) == ("error", "unavailable", 1013), path


def test_too_many_messages_are_closed(venue, server):
    with server.client("/ws/orderbook/AAPL/") as client:
        for _ in range(60):
            client.send({"type": "ping"})
        messages, close_code = client.rest()
    assert close_code == 4429
    assert messages[-1]["code"] == "too_many"


def test_too_many_sockets_from_one_address(venue, server, settings):
    settings.SOCKETS_PER_ADDRESS = 2
    with server.client("/ws/orderbook/AAPL/") as first, server.client("/ws/orderbook/AAPL/") as second:
        first.next(), second.next()
        with server.client("/ws/orderbook/AAPL/") as third:
            assert third.rest()[1] == 4429
    wait_until(lambda: server.open_connections() == 0, "both to be gone")
    with server.client("/ws/orderbook/AAPL/") as again:
        assert again.next()["type"] == "snapshot"


ORIGINS = [
    (None, True),
    ("http://127.0.0.1:8000", True),
    ("https://localhost", True),
    ("https://page.example", True),
    ("https://evil.example", False),
    ("https://localhost.evil.example", False),
    ("null", False),
    ("http://[", False),
]


def test_origins(venue, server, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://page.example"]
    for origin, is_welcome in ORIGINS:
        if is_welcome:
            with server.client("/ws/orderbook/AAPL/", origin=origin) as client:
                assert client.next()["type"] == "snapshot", origin
        else:
            with pytest.raises(InvalidStatus, match="403"):
                server.client("/ws/orderbook/AAPL/", origin=origin)


def test_a_server_without_lifespan_starts_with_its_first_socket(venue):
    venue.trader("ann", USD=1_000)
    server = LiveServer(has_lifespan=False).start()
    try:
        clients = [server.client("/ws/orderbook/AAPL/") for _ in range(3)]
        for client in clients:
            assert client.next()["sequence"] == 0
        venue.order("ann BUY 1 AAPL @ 99")
        for client in clients:
            with client:
                assert client.next()["bids"] == [["99", "1"]]
    finally:
        server.stop()


def test_new_filters_of_an_untouched_market_start_everybody_anew(venue, server):
    venue.trader("ann", USD=1_000)
    with server.client("/ws/orderbook/AAPL/") as client:
        client.next()
        venue.change("AAPL", tick_size=Decimal("0.5"))
        assert client.next() == {"type": "snapshot", "symbol": "AAPL", "sequence": 0, "bids": [], "asks": []}
        venue.order("ann BUY 1 AAPL @ 99.5")
        assert client.next()["bids"] == [["99.5", "1"]]
