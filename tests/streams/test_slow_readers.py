"""Readers that cannot keep up: conflated first, then closed, and nothing of them is kept. Raw TCP, because
libraries always read.
"""

import base64
import gc
import json
import os
import socket
import struct
import time

import pytest

from exchange import orders
from exchange.streams import lifecycle, outbox
from exchange.streams.consumers import OrderBookConsumer
from exchange.streams.feeds import feeds
from tests.patience import wait_until
from tests.streams.support import LiveServer, Mirror

pytestmark = pytest.mark.django_db(transaction=True)


class RawClient:
    """A WebSocket client that reads only when told to."""

    def __init__(self, server: LiveServer, path: str):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(15)
        self.socket.connect(("127.0.0.1", server.port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        assert b"101" in self.stream.readline()
        while self.stream.readline() != b"\r\n":
            pass

    def frame(self) -> tuple[int, bytes] | None:
        """(opcode, payload) of the next frame; None at the end of the connection."""
        try:
            head = self.stream.read(2)
            if len(head) < 2:
                return None
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            return head[0] & 15, self.stream.read(size)
        except ConnectionError:
            return None

    def closing(self) -> tuple[int, str] | None:
        """Read to the end; the close frame's code and reason, None if the connection just ended."""
        while (found := self.frame()) is not None:
            if found[0] == 8:
                return struct.unpack("!H", found[1][:2])[0], found[1][2:].decode()
        return None

    def closed_by_server(self) -> bool:
        """Whether the kernel knows that the other side is gone, without reading anything."""
        state = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state != 1


@pytest.fixture
def slow_server(venue, monkeypatch, settings):
    """Small buffers and short patience."""
    settings.SOCKET_STALL_SECONDS = 0.5
    monkeypatch.setattr(outbox, "MAX_FRAMES", 5)
    live = LiveServer(send_buffer_bytes=4096).start()
    yield live
    live.stop()


@pytest.fixture
def deep_book(venue):
    """A book of 800 levels, so that a snapshot is far bigger than any buffer."""
    venue.trader("ann", USD=10**9)
    venue.change("AAPL", price_band=None)
    orders.place_many([venue.command(f"ann BUY 1 AAPL @ {100 + level / 100}") for level in range(800)])


def resync_until_stuck(client: RawClient) -> None:
    """Ask for whole snapshots without reading them, until the server cannot write any more."""
    text = json.dumps({"type": "resync"}).encode()
    mask = b"\x00" * 4
    message = bytes([0x81, 0x80 | len(text)]) + mask + text
    for _ in range(30):
        client.socket.sendall(message)
        try:
            wait_until_stuck(0.15)
            return
        except TimeoutError:
            continue
    raise AssertionError("the server could write it all")


def wait_until_stuck(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(each.stalled_seconds() > 0.1 for each in list(outbox.running)):
            return
        time.sleep(0.01)
    raise TimeoutError


def sockets_alive() -> int:
    gc.collect()
    return sum(type(each) is OrderBookConsumer for each in gc.get_objects())


def test_a_peer_that_never_reads_is_dropped_and_freed(slow_server, deep_book, monkeypatch):
    monkeypatch.setattr(outbox, "PARTING_SECONDS", 0.3)
    client = RawClient(slow_server, "/ws/orderbook/AAPL/")
    resync_until_stuck(client)
    wait_until(lambda: slow_server.open_connections() == 0, "the server to let go of the connection")
    wait_until(client.closed_by_server, "the kernel to be told")
    wait_until(lambda: sockets_alive() == 0, "the socket's memory to be free")
    assert not slow_server.server.server_state.tasks
    client.socket.close()


def test_a_peer_that_reads_again_in_time_gets_1013(slow_server, deep_book):
    client = RawClient(slow_server, "/ws/orderbook/AAPL/")
    resync_until_stuck(client)
    wait_until(lambda: not list(outbox.running), "the watch to give it up")
    assert client.closing() == (1013, "too_slow")
    client.socket.close()


def test_a_peer_that_falls_behind_and_catches_up_stays_consistent(venue, slow_server, deep_book, settings):
    """Its queue of five updates overflows; when it reads again it gets a snapshot and goes on from there."""
    settings.SOCKET_STALL_SECONDS = 30
    client = RawClient(slow_server, "/ws/orderbook/AAPL/")
    resync_until_stuck(client)
    with slow_server.client("/ws/orderbook/AAPL/") as other:  # each update is out before the next order
        mirror = Mirror()
        mirror.take(other.next())
        for level in range(12):
            venue.order(f"ann BUY 1 AAPL @ {50 + level}")
            mirror.follow(other, mirror.sequence + 1)
    behind = Mirror()
    kinds = []
    while behind.sequence != mirror.sequence:
        message = json.loads(client.frame()[1])
        behind.take(message)
        kinds.append(message["type"])
    assert behind.sides == mirror.sides
    assert kinds.count("update") <= 5
    client.socket.close()


def test_a_feed_lives_on_for_the_one_who_fell_behind(venue, slow_server, deep_book, settings, monkeypatch):
    """Nobody else listens while it reads what was queued: the feed that it comes back to still moves."""
    settings.SOCKET_STALL_SECONDS = 30
    monkeypatch.setattr(lifecycle, "CHECK_SECONDS", 0.01)
    client = RawClient(slow_server, "/ws/orderbook/AAPL/")
    resync_until_stuck(client)
    (feed,) = feeds.by_market.values()
    while not feed.behind:
        venue.order("ann BUY 1 AAPL @ 50")
        wait_until(lambda: feed._told == feed.shown.sequence, "the update to be told")
    passes = count_passes(monkeypatch)
    wait_until(lambda: passes[0] > 1, "the safety net to look at all feeds")
    behind = Mirror()
    while behind.sequence != feed.shown.sequence:
        behind.take(json.loads(client.frame()[1]))
    venue.order("ann BUY 1 AAPL @ 49")
    behind.take(json.loads(client.frame()[1]))
    assert behind.sides["bids"]["49"] == "1"
    client.socket.close()


def count_passes(monkeypatch) -> list[int]:
    """How often the safety net has looked at the feeds from now on."""
    passes, check = [0], feeds.check

    async def counted():
        await check()
        passes[0] += 1

    monkeypatch.setattr(feeds, "check", counted)
    return passes


def test_others_are_not_held_up(venue, slow_server, deep_book):
    stuck = RawClient(slow_server, "/ws/orderbook/AAPL/")
    resync_until_stuck(stuck)
    with slow_server.client("/ws/orderbook/AAPL/") as client:
        mirror = Mirror()
        mirror.take(client.next())
        venue.order("ann BUY 1 AAPL @ 42")
        mirror.follow(client, mirror.sequence + 1)
        assert mirror.sides["bids"]["42"] == "1"
    stuck.socket.close()
