"""The tape's socket: what was traded lately, then every trade once, in order."""

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def traded(venue):
    """Ann buys from Bob, one at a time."""
    venue.trader("ann", USD=1_000_000)
    venue.trader("bob", AAPL=1_000)

    def trade(count: int, price: int = 100) -> None:
        for _ in range(count):
            venue.order(f"bob SELL 1 AAPL @ {price}")
            venue.order(f"ann BUY 1 AAPL @ {price}")

    return trade


def test_the_last_fifty_on_connect_oldest_first(server, traded):
    traded(55)
    with server.client("/ws/trades/?symbol=AAPL") as client:
        message = client.next()
    ids = [trade["trade_id"] for trade in message["trades"]]
    assert (message["type"], message["symbol"], message["sequence"]) == ("trades", "AAPL", 110)
    assert len(ids) == 50 and ids == sorted(ids)


def test_an_empty_tape_says_so(venue, server):
    with server.client("/ws/trades/AAPL/") as client:
        assert client.next() == {"type": "trades", "symbol": "AAPL", "sequence": 0, "trades": []}


def test_trades_as_they_happen_show_nobody(venue, server, traded):
    with server.client("/ws/trades/?symbol=AAPL") as client:
        client.next()
        venue.order("bob SELL 3 AAPL @ 101")
        venue.order("ann BUY 2 AAPL @ 102")
        message = client.next()
    (trade,) = message["trades"]
    assert trade.keys() == {"trade_id", "symbol", "price", "quantity", "side", "executed_at"}
    assert (trade["symbol"], trade["price"], trade["quantity"], trade["side"]) == ("AAPL", "101", "2", "BUY")


def test_each_trade_once_whenever_the_client_came(server, traded):
    clients = [server.client("/ws/trades/?symbol=AAPL")]
    for _ in range(4):
        traded(10)
        clients.append(server.client("/ws/trades/?symbol=AAPL"))
    traded(5)
    seen = []
    for client in clients:
        with client:
            ids = []
            while len(ids) < 45:
                ids += [trade["trade_id"] for trade in client.next()["trades"]]
            seen.append(ids)
    assert all(ids == seen[0] for ids in seen)
    assert seen[0] == sorted(set(seen[0]))
