"""Books that are deeper than a snapshot, kept by many sockets: at each sequence their best levels are the venue's.

Two processes trade, tick and lot are edited before the first order and fees later, the hub loses one message of ten,
and sockets come and ask anew at any time.
"""

import json
import random
import threading
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosed

from exchange.barrier import view
from exchange.streams import feeds as feeds_module
from marketdata.markets import by_symbol
from tests.patience import wait_until
from tests.streams.support import Mirror, OtherProcess

pytestmark = pytest.mark.django_db(transaction=True)
DEPTH = 4
ORDERS = 120
EXPIRE_OWN = {"self_trade_prevention": "EXPIRE_MAKER"}
SIDES = ("bids", "asks")


class Recorded:
    """A socket of the market whose messages are all kept, by a thread that reads them."""

    def __init__(self, server):
        self.client, self.messages = server.client("/ws/orderbook/AAPL/"), []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while True:
                self.messages.append(json.loads(self.client.socket.recv()))
        except ConnectionClosed:
            pass

    def end(self, sequence: int) -> None:
        """Close it once it has heard of that sequence."""
        wait_until(lambda: self.messages and self.messages[-1].get("sequence", -1) >= sequence, "the last update")
        self.client.close()
        self._thread.join()


def losing(monkeypatch, dice: random.Random) -> None:
    """The feeds hear nine of ten."""
    receive = feeds_module.feeds.receive
    monkeypatch.setattr(feeds_module.feeds, "receive", lambda delta: dice.random() < 0.1 or receive(delta))


def any_order(dice: random.Random) -> tuple[str, str]:
    """A side, and an order on it: most rest behind the best, some eat through many levels."""
    side = dice.choice(["BUY", "SELL"])
    is_large = dice.random() < 0.15
    behind = -20 if is_large else dice.randint(-3, 25)
    price = Decimal(2_000 - behind if side == "BUY" else 2_000 + behind) / 20
    return side, f"{side} {2 * dice.randint(1, 10) * (15 if is_large else 1)} AAPL @ {price}"


def best(levels: dict[str, str], side: str) -> list[list[str]]:
    prices = sorted(levels, key=Decimal, reverse=side == "bids")[:DEPTH]
    return [[price, levels[price]] for price in prices]


@pytest.mark.parametrize("seed", [2, 3])
def test_books_kept_by_updates_are_the_venues_at_each_sequence(venue, server, monkeypatch, seed):
    dice, books = random.Random(seed), {}
    monkeypatch.setattr(feeds_module, "SNAPSHOT_LEVELS", DEPTH)
    monkeypatch.setattr(feeds_module, "TICK_SECONDS", 0.01)
    losing(monkeypatch, random.Random(seed))
    accounts = {name: venue.trader(name, USD=10_000_000, AAPL=100_000) for name in ("ann", "bob", "BUY", "SELL")}
    sockets, open_orders = [Recorded(server)], []
    view(by_symbol("AAPL"))
    venue.change("AAPL", tick_size=Decimal("0.05"), lot_size=Decimal(2), min_quantity=None)
    with OtherProcess() as other:
        for number in range(ORDERS):
            side, sentence = any_order(dice)
            if dice.random() < 0.4:
                other.order(accounts[side].id, sentence)
            elif open_orders and dice.random() < 0.4:
                owner, order = open_orders.pop(dice.randrange(len(open_orders)))
                if venue.stored(order)["status"] in ("OPEN", "PARTIALLY_FILLED"):
                    venue.cancel(owner, order)
            else:
                owner = dice.choice(["ann", "bob"])
                open_orders.append((owner, venue.order(f"{owner} {sentence}", **EXPIRE_OWN)))
            if number % 30 == 10:
                venue.change("AAPL", maker_fee=Decimal(dice.randint(0, 5)) / 10_000)
                sockets.append(Recorded(server))
                sockets[0].client.send({"type": "resync"})
            book = view(by_symbol("AAPL")).snapshot(ORDERS)
            books[book["sequence"]] = {one: dict(book[one]) for one in SIDES}
    for socket in sockets:
        socket.end(max(books))
        compare(socket.messages, books)


def compare(messages: list[dict], books: dict[int, dict]) -> None:
    """What a socket keeps is the venue's best levels, and nothing that the venue has not."""
    mirror, compared = Mirror(), 0
    for message in messages:
        mirror.take(message)
        if book := books.get(mirror.sequence):
            compared += 1
            for side, levels in mirror.sides.items():
                assert best(levels, side) == best(book[side], side)
                assert levels.items() <= book[side].items()
    assert compared
