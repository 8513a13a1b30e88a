"""Keys for bots: made, shown once, signed with, limited, revoked; the same on the lean way and the stock way."""

from datetime import timedelta
from ipaddress import ip_network

import pytest

from accounts import api_keys, authentication
from accounts.models import ApiKey, User
from marketdata import clock
from marketdata.throttling import windows
from tests.security.bots import signature

KEYS, ORDERS, WALLET = "/api/v1/api-keys/", "/api/v1/orders/", "/api/v1/wallet/"
ORDER = {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"}
OFF = {"X-API-SIGN": "0" * 64}


def test_the_secret_is_shown_once_and_stored_sealed(api, bot):
    made = bot("READ", "TRADE", name="grid", allowed_ips=["10.0.0.0/8", "::1"]).made
    row = ApiKey.objects.get()
    assert made["secret"].encode() not in bytes(row.sealed_secret) and len(made["secret"]) == 64
    (listed,) = api("GET", KEYS).json["results"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["name"], listed["allowed_ips"], listed["is_active"]) == ("grid", ["10.0.0.0/8", "::1/128"], True)
    assert api("GET", f"{KEYS}{row.pk}/").json == listed
    assert api("GET", f"{KEYS}{row.pk}/", token=api.tokens["bob"]).status == 404
    assert api("DELETE", f"{KEYS}{row.pk}/", token=api.tokens["bob"]).status == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "", "permissions": ["READ"]}, 400, "invalid"),
        ({"name": "x", "permissions": []}, 400, "invalid"),
        ({"name": "x", "permissions": ["OWN"]}, 400, "invalid"),
        ({"name": "x", "allowed_ips": ["10.0.0.300"]}, 400, "invalid"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 400, "invalid"),
    ],
)
def test_keys_that_cannot_be(api, body, status, code):
    reply = api("POST", KEYS, body)
    assert (reply.status, reply.code) == (status, code)


def test_a_user_has_so_many_keys(api, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS_PER_USER", 2)
    replies = [api("POST", KEYS, {"name": "x"}).status for _ in range(3)]
    assert replies == [201, 201, 422]
    assert api("DELETE", KEYS).json == {"revoked": 2}
    assert api("POST", KEYS, {"name": "x"}).status == 201


@pytest.mark.parametrize(("query", "body"), [("?id={}", None), ("", {"id": "{}"})])
def test_one_key_of_the_list_is_revoked_by_its_id(api, bot, query, body):
    made, other = bot("READ").made["id"], bot("READ", "TRADE").made["id"]
    body = body and {"id": made}
    assert api("DELETE", KEYS + query.format(made), body, token=api.tokens["bob"]).status == 404
    assert api("DELETE", KEYS + query.format(made), body).json == {"revoked": 1}
    assert list(ApiKey.objects.filter(is_active=True).values_list("pk", flat=True)) == [other]


@pytest.mark.parametrize(("query", "body"), [("?key=1", None), ("?id=x", None), ("", {"key": "x"}), ("", [1])])
def test_a_slip_does_not_revoke_all_keys(api, bot, query, body):
    bot("READ")
    assert api("DELETE", KEYS + query, body).status == 400
    assert ApiKey.objects.filter(is_active=True).exists()


@pytest.mark.parametrize("lean", [True, False])
def test_a_signed_request_is_the_users(api, bot, settings, lean):
    settings.LEAN = lean
    trader = bot("READ", "TRADE")
    order = trader("POST", ORDERS, ORDER)
    assert order.status == 201
    before = api.stock_requests
    assert trader("POST", "/api/orders", ORDER).status == 201
    assert (api.stock_requests == before) == lean
    assert trader("GET", f"{ORDERS}?symbol=AAPL&side=buy").json["count"] == 2
    assert trader("DELETE", f"{ORDERS}{order.json['id']}/").json["status"] == "CANCELLED"
    assert trader("GET", f"{WALLET}?note=%C3%A4%20b").status == 200


#: what is wrong: (how the request is made, status, code)
BAD = {
    "another secret": (lambda b: b("POST", ORDERS, ORDER, **OFF), 401, "signature_invalid"),
    "no signature": (lambda b: b("POST", ORDERS, ORDER, **{"X-API-SIGN": None}), 401, "signature_invalid"),
    "odd signature": (lambda b: b("POST", ORDERS, ORDER, **{"X-API-SIGN": "é"}), 401, "signature_invalid"),
    "another timestamp": (lambda b: b("POST", ORDERS, ORDER, **{"X-API-TIMESTAMP": "1"}), 401, "signature_invalid"),
    "too old": (lambda b: b("POST", ORDERS, ORDER, age_ms=5_500), 401, "timestamp_out_of_window"),
    "of the future": (lambda b: b("POST", ORDERS, ORDER, age_ms=-3_000), 401, "timestamp_out_of_window"),
    "window too wide": (
        lambda b: b("POST", ORDERS, ORDER, **{"X-API-RECV-WINDOW": "60001"}), 401, "timestamp_out_of_window",
    ),
    "narrow window": (
        lambda b: b("POST", ORDERS, ORDER, age_ms=500, **{"X-API-RECV-WINDOW": "100"}), 401, "timestamp_out_of_window",
    ),
    "unknown key": (lambda b: b("POST", ORDERS, ORDER, **{"X-API-KEY": "nobody"}), 401, "api_key_invalid"),
    "NUL key": (lambda b: b("POST", ORDERS, ORDER, **{"X-API-KEY": "\x00"}), 401, "api_key_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("lean", [True, False])
def test_what_is_refused(bot, settings, lean):
    settings.LEAN = lean
    trader = bot("READ", "TRADE")
    assert trader("POST", ORDERS, ORDER, age_ms=20_000, **{"X-API-RECV-WINDOW": "60000"}).status == 201
    answers = {name: (reply := case[0](trader)) and (reply.status, reply.code) for name, case in BAD.items()}
    assert answers == {name: case[1:] for name, case in BAD.items()}
    assert "less than 1000 ms ahead" in trader("GET", ORDERS, age_ms=-3_000).json["detail"]


def test_what_was_signed_is_what_counts(api, bot):
    """The signature of one request opens no other: another body, path, query or method."""
    trader = bot("READ", "TRADE")
    signed = trader.headers("GET", f"{ORDERS}?side=BUY", b"")
    tried = [
        ("GET", f"{ORDERS}?side=BUY", None),
        ("GET", f"{ORDERS}?side=SELL", None),
        ("GET", WALLET, None),
        ("DELETE", f"{ORDERS}?side=BUY", None),
        ("POST", f"{ORDERS}?side=BUY", ORDER),
    ]
    replies = [api(*request, headers=signed, token=None).status for request in tried]
    assert replies == [200, 401, 401, 401, 401]


def test_a_broken_body_is_verified_before_it_is_parsed(bot):
    trader = bot("READ", "TRADE")
    assert trader("POST", ORDERS, b"{", **OFF).code == "signature_invalid"
    assert trader("POST", ORDERS, b"{").status == 400


@pytest.mark.parametrize("lean", [True, False])
def test_permissions(api, bot, settings, lean):
    settings.LEAN = lean
    mine = api.venue.order("ann BUY 9 AAPL @ 98")["id"]
    requests = {
        "read": ("GET", WALLET, None),
        "place": ("POST", ORDERS, ORDER),
        "cancel": ("DELETE", f"{ORDERS}{mine}/", None),
        "withdraw": ("POST", f"{WALLET}withdraw/", {"amount": "1"}),
        "deposit": ("POST", WALLET, {"amount": "1"}),
        "keys": ("GET", KEYS, None),
        "make a key": ("POST", KEYS, {"name": "x"}),
        "second factor": ("POST", "/api/v1/me/totp/", None),
    }
    allowed = {}
    for permission in ("READ", "WITHDRAW", "TRADE"):
        trader = bot(permission)
        replies = {name: trader(*request) for name, request in requests.items()}
        allowed[permission] = {name for name, reply in replies.items() if reply.status < 300}
        assert {reply.code for reply in replies.values() if reply.status >= 300} == {"permission_denied"}
    assert allowed == {"READ": {"read"}, "WITHDRAW": {"withdraw"}, "TRADE": {"place", "cancel"}}


def test_addresses(bot, settings):
    settings.TRUSTED_PROXIES = 1
    listed = bot("READ", allowed_ips=["10.1.0.0/16", "2001:db8::1"])
    tried = ["10.1.2.3", "10.2.0.1", "2001:db8::1", "2001:db8::2", "::ffff:10.1.0.9", "nonsense"]
    answers = [listed("GET", WALLET, headers={"X-Forwarded-For": address}) for address in tried]
    assert [reply.status for reply in answers] == [200, 403, 200, 403, 200, 403]
    assert answers[1].code == "ip_not_allowed"


#: What was asked for, what it stands for, a caller within it and one outside.
MAPPED = [
    ("::ffff:127.0.0.1", "127.0.0.1/32", "127.0.0.1", "127.0.0.2"),
    ("::ffff:10.1.2.3/112", "10.1.0.0/16", "::ffff:10.1.0.9", "10.2.0.9"),
    ("::ffff:0:0/96", "0.0.0.0/0", "10.1.0.9", "2001:db8::1"),
    ("::fffe:0:0/95", "::fffe:0:0/95", "::fffe:10.1.0.9", "2001:db8::1"),
]


@pytest.mark.parametrize(("asked", "meant", "inside", "outside"), MAPPED)
@pytest.mark.parametrize("is_stored_as_asked", [False, True])
def test_a_mapped_network_is_the_ipv4_network(bot, settings, asked, meant, inside, outside, is_stored_as_asked):
    """Also in keys that were stored before that held."""
    settings.TRUSTED_PROXIES = 1
    trader = bot("READ", allowed_ips=[asked])
    assert trader.made["allowed_ips"] == [meant]
    if is_stored_as_asked:
        ApiKey.objects.update(allowed_ips=[str(ip_network(asked, strict=False))])
    answers = [trader("GET", WALLET, headers={"X-Forwarded-For": address}) for address in (inside, outside)]
    assert [reply.status for reply in answers] == [200, 403]


@pytest.mark.parametrize("lean", [True, False])
def test_revoking_is_noticed_at_once(api, bot, settings, lean):
    settings.LEAN = lean
    trader = bot("READ", "TRADE")
    assert trader("POST", ORDERS, ORDER).status == 201
    assert api("DELETE", f"{KEYS}{trader.made['id']}/").json["is_active"] is False
    assert trader("POST", ORDERS, ORDER).code == "api_key_invalid"
    assert bytes(ApiKey.objects.get().sealed_secret) == b""


def test_other_processes_notice_soon(api, bot, monkeypatch):
    trader = bot("READ", "TRADE")
    assert trader("POST", ORDERS, ORDER).status == 201
    ApiKey.objects.update(is_active=False)
    assert trader("POST", ORDERS, ORDER).status == 201
    later = api_keys.time.monotonic() + api_keys.KEY_SECONDS
    monkeypatch.setattr(api_keys.time, "monotonic", lambda: later)
    assert trader("POST", ORDERS, ORDER).code == "api_key_invalid"


def test_a_deactivated_user_has_no_keys(bot):
    trader = bot("READ")
    assert trader("GET", WALLET).status == 200
    user = User.objects.get(username="ann")
    user.is_active = False
    user.save()
    assert trader("GET", WALLET).code == "api_key_invalid"


def test_expiry(bot, monkeypatch):
    soon = clock.now() + timedelta(seconds=30)
    trader = bot("READ", expires_at=clock.text(soon))
    assert trader("GET", WALLET).status == 200
    monkeypatch.setattr(api_keys.clock, "now", lambda: soon)
    assert trader("GET", WALLET, age_ms=-30_000).code == "api_key_invalid"


def test_another_server_secret_opens_nothing(bot, settings):
    trader, old = bot("READ"), settings.SECRET_KEY
    settings.SECRET_KEY = "another" * 8
    authentication.forget()
    assert trader("GET", WALLET).code == "api_key_invalid"
    settings.SECRET_KEY_FALLBACKS = [old]
    assert trader("GET", WALLET).status == 200


def test_last_use_is_noted_once_a_minute(bot, monkeypatch):
    trader = bot("READ", "TRADE")
    assert trader.made["last_used_at"] is None
    assert trader("POST", ORDERS, ORDER, **OFF).status == 401
    assert ApiKey.objects.get().last_used_at is None
    trader("POST", ORDERS, ORDER)
    first = ApiKey.objects.get().last_used_at
    trader("POST", ORDERS, ORDER)
    assert first is not None and ApiKey.objects.get().last_used_at == first
    minute = timedelta(seconds=api_keys.TOUCH_SECONDS + 1)
    ApiKey.objects.update(last_used_at=first - minute)
    api_keys.forget()
    trader("POST", ORDERS, ORDER)
    assert ApiKey.objects.get().last_used_at > first


@pytest.mark.parametrize("lean", [True, False])
def test_each_key_has_a_limit_of_its_own(api, bot, settings, lean):
    one, two = bot("READ", "TRADE"), bot("READ", "TRADE")
    settings.LEAN, settings.RATE_LIMIT_KEY = lean, "2/60"
    windows.clear()
    assert [one("POST", ORDERS, ORDER).status for _ in range(3)] == [201, 201, 429]
    reply = two("POST", ORDERS, ORDER)
    assert (reply.status, reply.headers["ratelimit-policy"]) == (201, '"default";q=2;w=60')
    assert api("POST", ORDERS, ORDER).status == 201


def test_a_key_signs_for_the_key_whatever_else_is_sent(api, bot):
    trader = bot("READ", trader="bob")
    headers = trader.headers("GET", ORDERS, b"")
    api.venue.order("ann BUY 9 AAPL @ 98")
    assert api("GET", ORDERS, headers=headers).json["count"] == 0


def test_every_signature_is_compared_in_constant_time(bot, monkeypatch):
    compared = []
    real = api_keys.hmac.compare_digest
    monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    trader = bot("READ")
    assert trader("GET", WALLET, **OFF).status == 401
    assert [pair for pair in compared if pair[1] == b"0" * 64]


def test_the_signature_is_the_documented_one():
    """Made with openssl: printf '1700000000000GET/api/v1/wallet/' | openssl dgst -sha256 -hmac secret."""
    assert signature("secret", 1700000000000, b"GET/api/v1/wallet/") == DOCUMENTED


DOCUMENTED = "b393e4b300a5735e235a5424cf188ec8fde8fb0e95118c8b7aee191760ad917b"
