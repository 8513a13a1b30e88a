"""The private socket: snapshot, events without a gap, resuming, and trading."""

import socket
import time

import pytest
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import Account
from exchange.streams import user as user_socket
from exchange.streams.account_feeds import account_feeds
from exchange.streams.outbox import running
from exchange.streams.sockets import addresses
from marketdata import markets
from tests.patience import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connect(server, token_of):
    """An authenticated socket, and its snapshot."""
    opened = []

    def make(name: str):
        client = server.client("/ws/user/")
        opened.append(client)
        client.send({"type": "authenticate", "token": token_of(name)})
        return client, client.next()

    yield make
    for client in opened:
        client.close()


def short(event: dict) -> str:
    """An event as a line of a table."""
    if event["type"] == "order":
        order = event["order"]
        return f"order {order['side']} {order['filled_quantity']}/{order['quantity']} {order['status']}"
    if event["type"] == "fill":
        fill = event["fill"]
        return f"fill {fill['role']} {fill['quantity']}@{fill['price']} fee {fill['fee']}"
    return f"balance {event['asset']} {event['available']}+{event['reserved']}"


def test_snapshot_holds_open_orders_and_balances(venue, connect):
    venue.trader("ann", USD=1000)
    order = venue.order("ann BUY 5 AAPL @ 100")
    _, snapshot = connect("ann")
    assert (snapshot["type"], snapshot["sequence"]) == (
        "snapshot",
        Account.objects.get(user__username="ann").event_sequence,
    )
    assert snapshot["orders"] == [order]
    assert snapshot["balances"] == [{"asset": "USD", "available": "499.5", "reserved": "500.5", "total": "1000"}]
    assert snapshot["positions"] == []


def test_orders_in_events_out(venue, connect):
    venue.trader("ann", USD=1000)
    venue.trader("bob", AAPL=10)
    client, snapshot = connect("ann")
    sequence = snapshot["sequence"]
    table = [
        ("ann BUY 5 AAPL @ 100", ["order BUY 0/5 OPEN", "balance USD 499.5+500.5"]),
        (
            "bob SELL 2 AAPL @ 100",
            [
                "order BUY 2/5 PARTIALLY_FILLED",
                "fill MAKER 2@100 fee 0.2",
                "balance USD 499.5+300.3",
                "balance AAPL 2+0",
            ],
        ),
        (
            "bob SELL 3 AAPL @ 99",
            ["order BUY 5/5 FILLED", "fill MAKER 3@100 fee 0.3", "balance USD 499.5+0", "balance AAPL 5+0"],
        ),
    ]
    for sentence, expected in table:
        venue.order(sentence)
        events = client.take(len(expected))
        assert sorted(map(short, events)) == sorted(expected)
        assert [event["sequence"] for event in events] == list(range(sequence + 1, sequence + 1 + len(expected)))
        sequence += len(expected)


def test_a_deposit_is_heard(venue, connect):
    venue.trader("ann")
    client, _ = connect("ann")
    venue.trader("ann", USD=7)
    assert short(client.next()) == "balance USD 7+0"


def test_nobody_hears_of_others(venue, connect):
    venue.trader("ann", USD=1000)
    venue.trader("eve", USD=1000)
    client, snapshot = connect("eve")
    venue.order("ann BUY 1 AAPL @ 100")
    venue.order("eve BUY 2 AAPL @ 90")
    event = client.next()
    assert (event["sequence"], short(event)) == (snapshot["sequence"] + 1, "order BUY 0/2 OPEN")


def test_resume_replays_everything_after_and_goes_on_live(venue, connect):
    venue.trader("ann", USD=1_000_000)
    for _ in range(150):  # more batches than a page holds
        venue.order("ann BUY 1 AAPL @ 100")
    client, snapshot = connect("ann")
    client.send({"type": "resume", "after": 3})
    assert client.next() == {"type": "resumed", "after": 3}
    venue.order("ann BUY 1 AAPL @ 101")
    last = Account.objects.get(user__username="ann").event_sequence
    assert last == snapshot["sequence"] + 2
    assert [event["sequence"] for event in client.take(last - 3)] == list(range(4, last + 1))
    client.send({"type": "ping"})
    assert client.next() == {"type": "pong"}


def test_events_while_others_trade_have_no_gap_and_no_double(venue, connect):
    """Several clients connect while orders flow; each sees every sequence after its snapshot once."""
    venue.trader("ann", USD=10_000_000, AAPL=10_000)
    venue.trader("bob", USD=10_000_000, AAPL=10_000)
    clients = []
    for number in range(60):
        venue.order(f"ann BUY 2 AAPL @ {100 - number % 3}")
        venue.order(f"bob SELL 1 AAPL @ {100 - number % 3}")
        if number % 20 == 0:
            clients.append(connect("ann"))
    last = Account.objects.get(user__username="ann").event_sequence
    for client, snapshot in clients:
        sequences = [event["sequence"] for event in client.take(last - snapshot["sequence"])]
        assert sequences == list(range(snapshot["sequence"] + 1, last + 1))


def test_the_authorization_header_works_too(venue, server, token_of):
    venue.trader("ann", USD=5)
    with server.client("/ws/user", additional_headers={"Authorization": f"Bearer {token_of('ann')}"}) as client:
        assert client.next()["type"] == "snapshot"


def expired_token(user) -> str:
    token = RefreshToken.for_user(user).access_token
    token.set_exp(from_time=token.current_time, lifetime=-token.lifetime)
    return str(token)


BAD_TOKENS = [
    ("nonsense", "token_invalid"),
    ("", "token_invalid"),
    (None, "token_invalid"),
    (["x"], "token_invalid"),
    ("ü", "token_invalid"),
    ("x" * 5000, "token_invalid"),
    (expired_token, "token_expired"),
    (lambda user: str(RefreshToken.for_user(user)), "token_invalid"),
]


def test_a_bad_token_is_closed_with_4401(venue, server):
    user = venue.trader("ann").user
    for token, code in BAD_TOKENS:
        with server.client("/ws/user/") as client:
            client.send({"type": "authenticate", "token": token(user) if callable(token) else token})
            (error,), close_code = client.rest()
        assert (error["code"], close_code) == (code, 4401), token


def test_a_bad_authorization_header_is_closed_with_4401(venue, server):
    for value in ("Bearer nonsense", "Basic YTpi", ""):
        with server.client("/ws/user/", additional_headers={"Authorization": value}) as client:
            assert client.rest()[1] == 4401


def test_silence_is_closed_with_4401(venue, server, monkeypatch):
    monkeypatch.setattr(user_socket, "AUTHENTICATE_SECONDS", 0.2)
    began = time.monotonic()
    with server.client("/ws/user/") as client:
        (error,), close_code = client.rest()
    assert (error["code"], close_code) == ("not_authenticated", 4401)
    assert time.monotonic() - began < 3


def test_nothing_but_authenticate_is_taken_before_it(venue, server, token_of):
    venue.trader("ann")
    with server.client("/ws/user/") as client:
        for message in ({"type": "resume", "after": 0}, {"type": "place"}, {"type": "snapshot"}):
            client.send(message)
            assert client.next()["code"] == "not_authenticated"
        client.send({"type": "authenticate", "token": token_of("ann")})
        assert client.next()["type"] == "snapshot"


def test_a_deactivated_user_is_closed(venue, connect):
    account = venue.trader("ann", USD=5)
    client, _ = connect("ann")
    type(account.user).objects.filter(pk=account.user.pk).update(is_active=False)
    (error,), close_code = client.rest()
    assert (error["code"], close_code) == ("token_invalid", 4401)


BAD_MESSAGES = [
    ({"type": "resume"}, "bad_message"),
    ({"type": "resume", "after": -1}, "bad_message"),
    ({"type": "resume", "after": "1"}, "bad_message"),
    ({"type": "resume", "after": 2**63}, "bad_message"),
    ({"type": "resume", "after": 1_000_000}, "bad_sequence"),
    ({"type": "authenticate", "token": "again"}, "bad_message"),
    ({"type": "unheard-of"}, "bad_message"),
    ({"type": ["place"]}, "bad_message"),
    ({"type": {}}, "bad_message"),
    ({"type": "place", "id": {}}, "bad_message"),
    ({"type": "place", "id": "x" * 65}, "bad_message"),
    ({"type": "place", "id": 2**63}, "bad_message"),
    ({"type": "ping", "id": 2**63}, "bad_message"),
    ({"type": "ping", "id": 0.5}, "bad_message"),
    ({"type": "ping", "id": [1]}, "bad_message"),
]


def test_bad_messages_are_answered(venue, connect):
    venue.trader("ann")
    client, _ = connect("ann")
    for message, code in BAD_MESSAGES:
        client.send(message)
        assert client.next()["code"] == code, message
        client.send({"type": "ping", "id": 5})
        assert client.next() == {"type": "pong", "id": 5}


@pytest.mark.parametrize("name", [7, "seven"])
def test_a_refused_message_keeps_its_name(venue, connect, name):
    venue.trader("ann")
    client, _ = connect("ann")
    client.send({"type": "unheard-of", "id": name})
    assert client.next()["id"] == name


def result_of(client) -> dict:
    return client.until(lambda message: message["type"] == "result")


def test_place_amend_cancel_over_the_socket(venue, connect):
    venue.trader("ann", USD=1000)
    client, _ = connect("ann")
    client.send({"type": "place", "id": 1, "symbol": "AAPL", "side": "buy", "quantity": 5, "price": 100.25})
    placed = result_of(client)
    order = placed["order"]
    assert (placed["id"], placed["status"], placed["replayed"]) == (1, 201, False)
    assert (order["price"], order["quantity"], order["status"]) == ("100.25", "5", "OPEN")
    client.send({"type": "amend", "id": "two", "order_id": order["id"], "quantity": "3"})
    amended = result_of(client)
    assert (amended["id"], amended["status"], amended["order"]["quantity"]) == ("two", 200, "3")
    client.send({"type": "cancel", "order_id": order["id"]})
    cancelled = result_of(client)
    assert (cancelled["id"], cancelled["status"], cancelled["order"]["status"]) == (None, 200, "CANCELLED")
    assert venue.funds("ann", "USD") == "1000+0"


@pytest.mark.parametrize(
    ("change", "code"),
    [({"min_quantity": 3}, "quantity_out_of_range"), ({"min_notional": 900}, "below_min_notional"),
     ({"is_active": False}, "unknown_market")],
)  # fmt: skip
def test_an_order_sent_again_after_the_market_was_edited(venue, connect, change, code):
    venue.trader("ann", USD=1000)
    client, _ = connect("ann")
    order = {"type": "place", "symbol": "AAPL", "side": "buy", "quantity": 2, "price": 100, "client_order_id": "one"}
    client.send(order)
    first = result_of(client)
    venue.change("AAPL", **change)
    client.send(order)
    again = result_of(client)
    assert (again["status"], again.get("replayed"), again.get("order")) == (200, True, first["order"])
    client.send(order | {"client_order_id": "two"})
    assert result_of(client)["error"]["code"] == code


def test_an_order_of_another_type_over_the_socket(venue, connect):
    venue.trader("ann", USD=1000)
    venue.trader("bob", AAPL=5)
    venue.order("bob SELL 5 AAPL @ 100")
    client, _ = connect("ann")
    client.send({"type": "place", "order_type": "market", "symbol": "AAPL", "side": "BUY", "quantity": 2})
    order = result_of(client)["order"]
    assert (order["type"], order["status"], order["average_price"]) == ("MARKET", "FILLED", "100")


def test_orders_keep_their_order_and_many_wait_for_one_commit(venue, connect):
    venue.trader("ann", USD=1_000_000)
    client, _ = connect("ann")
    for number in range(200):
        client.send(
            {
                "type": "place",
                "id": number,
                "symbol": "AAPL",
                "side": "BUY",
                "quantity": "1",
                "price": f"{90 + number % 5}",
            }
        )
    results = [result_of(client) for _ in range(200)]
    assert {result["status"] for result in results} == {201}
    ids = [result["order"]["id"] for result in sorted(results, key=lambda result: result["id"])]
    assert ids == sorted(ids)


REFUSED = [
    ({"type": "place"}, 400, "invalid"),
    ({"type": "place", "symbol": "NOTHING", "side": "BUY", "quantity": "1", "price": "1"}, 404, "unknown_market"),
    ({"type": "place", "symbol": "AAPL", "side": "BUY", "quantity": "1", "price": "1.001"}, 422, "bad_tick_size"),
    (
        {"type": "place", "symbol": "AAPL", "side": "BUY", "quantity": "99", "price": "99"},
        422,
        "insufficient_funds",
    ),
    ({"type": "place", "symbol": "AAPL", "side": "BUY", "quantity": "1", "prize": "1"}, 400, "invalid"),
    ({"type": "place", "symbol": 7, "side": "BUY", "quantity": "1", "price": "1"}, 400, "invalid"),
    ({"type": "amend", "order_id": 12345, "quantity": "1"}, 404, "not_found"),
    ({"type": "cancel", "order_id": 10**30}, 404, "not_found"),
    ({"type": "cancel", "order_id": "1"}, 400, "bad_message"),
    ({"type": "cancel", "order_id": 1, "quantity": 1}, 400, "bad_message"),
]


def test_refusals_are_results(venue, connect):
    venue.trader("ann", USD=100)
    client, _ = connect("ann")
    for message, status, code in REFUSED:
        client.send({"id": 9, **message})
        result = client.next()
        found = (result["type"], result["id"], result["status"], result["error"]["code"])
        assert found == ("result", 9, status, code), message


def test_commands_that_cannot_be_looked_up_are_results_too(venue, connect, database_away):
    """The market is not remembered, and the database that knows it is away: the socket outlives that."""
    venue.trader("ann", USD=100)
    client, _ = connect("ann")
    place = {"type": "place", "id": 7, "symbol": "AAPL", "side": "BUY", "price": "1", "quantity": 1}
    markets.forget()
    with database_away():
        client.send(place)
        result = client.next()
    assert (result["id"], result["status"], result["error"]["code"]) == (7, 503, "unavailable")
    client.send({**place, "id": 8})
    assert client.until(lambda message: message["type"] == "result")["status"] == 201


def test_the_rate_limit_counts_orders_here_too(venue, connect, settings):
    settings.RATE_LIMIT_USER = "2/60"
    venue.trader("ann", USD=1000)
    client, _ = connect("ann")
    for number in range(3):
        client.send({"type": "cancel", "id": number, "order_id": 1})
    assert sorted(client.next()["status"] for _ in range(3)) == [404, 404, 429]


def test_sockets_that_vanish_leave_nothing(venue, server, token_of):
    """Cut off at any moment: while authenticating, while the snapshot is read, in the middle of a replay."""
    venue.trader("ann", USD=1_000_000)
    for _ in range(100):
        venue.order("ann BUY 1 AAPL @ 100")
    token = token_of("ann")
    for number in range(24):
        client = server.client("/ws/user/")
        client.send({"type": "authenticate", "token": token})
        if number % 3 > 0:
            assert client.next()["type"] == "snapshot"
            for _ in range(5):
                client.send({"type": "resume", "after": 0})
        if number % 3 > 1:
            client.until(lambda message: message.get("sequence", 0) > 20)
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: not server.server.server_state.tasks, "the server to end all sockets")
    assert not account_feeds.by_account
    assert not addresses
    wait_until(lambda: not any(each.stalled_seconds() for each in list(running)), "all pumps to end")
