"""API keys and chosen accounts at the private socket: who gets in, what it may do, when it is closed."""

import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.hashers import make_password

from accounts import api_keys, competitions
from accounts.models import Account, Competition, User
from exchange.streams import account_feeds, queries, sockets
from marketdata import clock
from marketdata.models import Market
from tests.api.conftest import token_of as access_token
from tests.patience import PATIENCE_SECONDS
from tests.security.bots import signature
from tests.streams.conftest import server

__all__ = ["server"]


@pytest.fixture
def key_of(venue):
    """Makes a key of ann's: {"key", "secret", row}."""
    ann = venue.trader("ann", USD=1000)

    def make(*permissions: str, account: Account = ann, **terms) -> dict:
        terms = {"name": "bot", "allowed_ips": [], "expires_at": None} | terms
        row, secret = api_keys.create(account=account, permissions=list(permissions), **terms)
        return {"key": row.key, "secret": secret, "row": row}

    return make


@pytest.fixture
def contest(venue):
    now = clock.now()
    made = Competition.objects.create(
        name="Spring", starts_at=now, ends_at=now + timedelta(hours=1), starting_asset=venue.assets["USD"],
        starting_amount=Decimal(500),
    )  # fmt: skip
    made.markets.set(Market.objects.all())
    return made


def hello(made: dict, *, age_ms: int = 0, **changed) -> dict:
    timestamp = int(time.time() * 1000) - age_ms
    sign = signature(made["secret"], timestamp, b"GET/ws/user/")
    return {"type": "authenticate", "key": made["key"], "timestamp": timestamp, "sign": sign, **changed}


def answer(server, message: dict) -> dict:
    with server.client("/ws/user/") as client:
        client.send(message)
        return client.next()


def test_a_key_reads_and_trades(venue, server, key_of):
    with server.client("/ws/user/") as client:
        client.send(hello(key_of("READ", "TRADE")))
        assert client.next()["balances"][0]["available"] == "1000"
        client.send({"type": "place", "id": 1, "symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"})
        assert client.until(lambda m: m["type"] == "result")["status"] == 201
        assert client.until(lambda m: m["type"] == "balance")["available"] == "499.5"


def test_a_reading_key_does_not_trade(venue, server, key_of):
    with server.client("/ws/user/") as client:
        client.send(hello(key_of("READ")))
        client.next()
        for command in ({"type": "place"}, {"type": "amend", "order_id": 1}, {"type": "cancel", "order_id": 1}):
            client.send({**command, "id": 1})
            refused = client.next()
            assert (refused["status"], refused["error"]["code"]) == (403, "permission_denied")


def test_who_does_not_get_in(venue, server, key_of):
    good, trading, far = key_of("READ"), key_of("TRADE"), key_of("READ", allowed_ips=["203.0.113.7"])
    other = venue.trader("bob")
    messages = {
        "signature_invalid": hello(good, sign="0" * 64),
        "timestamp_out_of_window": hello(good, age_ms=6_000),
        "api_key_invalid": hello({"key": "nobody", "secret": "x"}),
        "permission_denied": hello(trading),
        "ip_not_allowed": hello(far),
        "not_found": hello(good, account=other.pk),
        "bad_message": hello(good, sign=["x"]),
    }
    assert {code: answer(server, message).get("code") for code, message in messages.items()} == {c: c for c in messages}
    assert answer(server, hello(good, age_ms=6_000, recv_window=60_000))["type"] == "snapshot"


def test_a_revoked_keys_socket_is_closed(venue, server, key_of):
    made, kept = key_of("READ"), key_of("READ")
    with server.client("/ws/user/") as client, server.client("/ws/user/") as other:
        client.send(hello(made))
        other.send(hello(kept))
        assert client.next()["type"] == other.next()["type"] == "snapshot"
        api_keys.revoke(user_id=User.objects.get(username="ann").pk, key_id=made["row"].pk)
        messages, code = client.rest()
        assert (messages[-1]["code"], code) == ("token_invalid", 4401)
        other.send({"type": "ping"})
        assert other.next()["type"] == "pong"
        assert sum(len(members) for members in account_feeds.account_feeds.by_account.values()) == 1


def change_password() -> str:
    """Ann's, as another process does it; the token of a login with the new one."""
    ann = User.objects.get(username="ann")
    User.objects.filter(pk=ann.pk).update(password=make_password("a-new-password-of-anns"))
    return access_token(Account.objects.get(user=ann))


def test_a_changed_password_closes_sockets_of_older_tokens(venue, server, key_of):
    """Keys are their own: they outlive it, as over REST."""
    made, old = key_of("READ"), access_token(venue.accounts["ann"])
    hellos = [{"type": "authenticate", "token": old}, hello(made)]
    with server.client("/ws/user/") as client, server.client("/ws/user/") as bot, server.client("/ws/user/") as fresh:
        for socket, message in zip((client, bot), hellos, strict=True):
            socket.send(message)
            assert socket.next()["type"] == "snapshot"
        fresh.send({"type": "authenticate", "token": change_password()})
        messages, code = client.rest()
        assert (messages[-1]["code"], code) == ("token_invalid", 4401)
        for socket in (bot, fresh):
            socket.send({"type": "ping", "id": 1})
            assert socket.until(lambda message: message["type"] != "snapshot") == {"type": "pong", "id": 1}
        assert sum(len(members) for members in account_feeds.account_feeds.by_account.values()) == 2


def test_who_joins_while_the_users_are_read_is_not_judged_by_that(venue, server, key_of, monkeypatch):
    """The password was read before it was changed, and compared after a socket came with the new one."""
    made, read = key_of("READ"), queries.account_heads
    has_read, may_go_on, has_gone_on = threading.Event(), threading.Event(), threading.Event()

    def slow(account_ids):
        if has_read.is_set():
            has_gone_on.set()
            return read(account_ids)
        heads = read(account_ids)
        has_read.set()
        may_go_on.wait(PATIENCE_SECONDS)
        return heads

    with server.client("/ws/user/") as bot, server.client("/ws/user/") as fresh:
        bot.send(hello(made))
        assert bot.next()["type"] == "snapshot"
        monkeypatch.setattr(queries, "account_heads", slow)
        assert has_read.wait(PATIENCE_SECONDS)
        fresh.send({"type": "authenticate", "token": change_password()})
        assert fresh.next()["type"] == "snapshot"
        may_go_on.set()
        assert has_gone_on.wait(PATIENCE_SECONDS)
        fresh.send({"type": "ping", "id": 1})
        assert fresh.next() == {"type": "pong", "id": 1}


def test_an_account_is_chosen_by_its_id(venue, server, contest):
    ann, bob = venue.trader("ann", USD=1000), venue.trader("bob")
    entry = competitions.enter(competition=contest, user=ann.user)
    token = access_token(ann)
    with server.client("/ws/user/") as client:
        client.send({"type": "authenticate", "token": token, "account": entry.account_id})
        assert [row["total"] for row in client.next()["balances"]] == ["500"]
        client.send({"type": "place", "id": 1, "symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "4"})
        assert client.until(lambda m: m["type"] == "result")["status"] == 201
    assert venue.funds("ann", "USD") == "1000+0"
    refused = answer(server, {"type": "authenticate", "token": token, "account": bob.pk})
    assert refused["code"] == "not_found"
    headers = {"Authorization": f"Bearer {token}", "X-Account": str(entry.account_id)}
    with server.client("/ws/user/", additional_headers=headers) as client:
        assert len(client.next()["orders"]) == 1


def test_a_line_of_the_clients_own_before_the_proxys_is_not_believed(settings):
    """Some proxies add a line to X-Forwarded-For instead of an address to its line."""
    settings.TRUSTED_PROXIES = 1
    lines = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.1.1.1")]
    assert sockets._address({"client": ("9.9.9.9", 1), "headers": lines}) == "1.1.1.1"
