"""Registering, tokens, wallet, events over REST."""

import threading
from collections import Counter
from datetime import datetime, timedelta

import jwt
import pytest
from django.db import connection, transaction
from jwt import api_jwt
from rest_framework_simplejwt.tokens import AccessToken

from accounts import authentication, idempotency, verified
from accounts.models import Account, Journal, User
from config import settings as config_settings
from marketdata import throttling
from marketdata.models import Asset
from tests.patience import PATIENCE_SECONDS
from tests.venue import PASSWORD

ANN = {"username": "ann", "password": PASSWORD}
V1 = "/api/v1/"


def test_register_log_in_me_log_out(api):
    reply = api(
        "POST", V1 + "register/", {"username": "Cleo", "password": PASSWORD, "email": "c@example.org"}, token=None
    )
    assert reply.status == 201 and reply.json["username"] == "Cleo" and "password" not in reply.json
    pair = api("POST", V1 + "token/", {"username": "CLEO", "password": PASSWORD}, token=None)
    assert pair.status == 200
    me = api("GET", V1 + "me/", token=pair.json["access"])
    assert me.json == reply.json and me.json["account_id"] == Account.objects.get(user__username="Cleo").pk
    new = api("POST", V1 + "token/refresh/", {"refresh": pair.json["refresh"]}, token=None)
    assert new.status == 200 and new.json["refresh"] != pair.json["refresh"]
    assert api("POST", V1 + "token/refresh/", {"refresh": pair.json["refresh"]}, token=None).code == "token_invalid"
    assert api("POST", V1 + "token/blacklist/", {"refresh": new.json["refresh"]}, token=None).json == {}
    assert api("POST", V1 + "token/refresh/", {"refresh": new.json["refresh"]}, token=None).code == "token_invalid"


#: route | what is asked for | what may be null and then means the same as left out
OPTIONAL = [
    ("register/", {"username": "Cleo", "password": PASSWORD}, ("email",)),
    ("wallet/", {"amount": "5"}, ("asset",)),
    ("wallet/withdraw/", {"amount": "5"}, ("asset",)),
    ("api-keys/", {}, ("name", "permissions", "allowed_ips", "expires_at")),
]


@pytest.mark.parametrize(("path", "body", "optional"), OPTIONAL)
def test_null_is_as_good_as_left_out(api, path, body, optional):
    def answered(body):
        fields = api("POST", V1 + path, body).json
        return {name: fields[name] for name in fields if name in ("email", "amount", *optional)}

    left_out = answered(body)
    body = {**body, "username": "Dora"} if "username" in body else body
    assert left_out and answered({**body, **dict.fromkeys(optional)}) == left_out


def test_null_for_what_is_needed_or_would_revoke_everything_is_refused(api):
    api("POST", V1 + "api-keys/", {"name": "bot"})
    asked = [("POST", "wallet/", {"amount": None}), ("POST", "register/", {"username": None, "password": PASSWORD})]
    for method, path, body in [*asked, ("DELETE", "api-keys/", {"id": None})]:
        assert api(method, V1 + path, body).code == "invalid", path
    assert api("GET", V1 + "api-keys/").json["results"][0]["is_active"]


#: what a client sends with every request, whoever it is now
STALE = [
    {"Authorization": "Bearer x.y.z"},
    {"Authorization": "Basic YTpi"},
    {"X-API-KEY": "gone", "X-API-TIMESTAMP": "1", "X-API-SIGN": "00"},
    {"X-Account": "999999"},
]


@pytest.mark.parametrize("stale", STALE)
def test_coming_in_and_going_out_look_at_no_token_or_key(api, settings, stale):
    settings.RATE_LIMITS, settings.RATE_LIMIT_ANONYMOUS = True, "5/300"

    def post(path, body):
        return api("POST", V1 + path, body, headers=stale, token=None)

    assert post("register/", {"username": "Cleo", "password": PASSWORD}).status == 201
    pair = post("token/", {"username": "Cleo", "password": PASSWORD})
    renewed = post("token/refresh/", {"refresh": pair.json["refresh"]})
    assert [pair.status, renewed.status] == [200, 200]
    assert post("token/blacklist/", {"refresh": renewed.json["refresh"]}).json == {}
    over = [post("token/refresh/", {"refresh": renewed.json["refresh"]}).status for _ in range(2)]
    assert over == [401, 429]  # counted by address


def test_a_good_token_does_not_count_where_nobody_looks_at_it(api, settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_ANONYMOUS = True, "1/300"
    assert [api("POST", V1 + "token/", ANN).status for _ in range(2)] == [200, 429]
    assert api("GET", V1 + "me/").status == 200


def test_passwords_are_argon2(api, settings):
    settings.PASSWORD_HASHERS = config_settings.PASSWORD_HASHERS  # the suite's own are cheap
    assert api("POST", V1 + "register/", {"username": "Dora", "password": PASSWORD}, token=None).status == 201
    assert User.objects.get(username="Dora").password.startswith("argon2")


#: (what happens to ann, the code that her old access token gets)
ENDINGS = [
    (lambda user: setattr(user, "is_active", False), "token_invalid"),
    (lambda user: user.set_password("another-good-password"), "token_invalid"),
]


@pytest.mark.parametrize(("change", "code"), ENDINGS)
def test_a_changed_user_is_believed_anew_at_once(api, change, code):
    paths = ("me/", "wallet/", "orderbook/?symbol=AAPL")
    assert [api("GET", V1 + path).status for path in paths] == [200, 200, 200]
    user = User.objects.get(username="ann")
    change(user)
    user.save()
    assert [api("GET", V1 + path).code for path in paths] == [code] * 3
    assert api("POST", V1 + "orders/", {"symbol": "AAPL"}).code == code


def test_other_processes_notice_soon(api, monkeypatch):
    """A change that this process did not see happens to be a queryset's update."""
    assert api("GET", V1 + "me/").status == 200
    User.objects.filter(username="ann").update(is_active=False)
    assert api("GET", V1 + "me/").status == 200
    later = verified.time.monotonic() + verified.PRINCIPAL_SECONDS
    monkeypatch.setattr(verified.time, "monotonic", lambda: later)
    assert api("GET", V1 + "me/").code == "token_invalid"


#: what happens to the user behind this process's back | is the token still believed
RENEWED = [({}, True), ({"is_active": False}, False), ({"password": "another"}, False), ({"is_staff": True}, False)]


@pytest.mark.parametrize(("change", "is_believed"), RENEWED)
def test_tokens_in_use_are_read_again_together(api, monkeypatch, change, is_believed):
    """Past half of its time a token in use is renewed, without a request having to wait for it; or forgotten."""
    principal = authentication.principal_for_token(api.token)
    User.objects.filter(username="ann").update(**change)
    start, renewals = verified.time.monotonic(), []
    monkeypatch.setattr(verified.threads.lookups, "start", renewals.append)
    monkeypatch.setattr(verified.time, "monotonic", lambda: start + 0.6 * verified.PRINCIPAL_SECONDS)
    assert [authentication.cached_principal(api.token) for _ in range(3)] == [principal] * 3
    (renew,) = renewals
    renew()
    monkeypatch.setattr(verified.threads.lookups, "start", lambda renew: renew())
    monkeypatch.setattr(verified.time, "monotonic", lambda: start + 1.4 * verified.PRINCIPAL_SECONDS)
    assert (authentication.cached_principal(api.token) is not None) == is_believed


def test_a_renewal_does_not_bring_back_the_revoked(api, monkeypatch):
    authentication.principal_for_token(api.token)
    tokens = authentication._verified_tokens
    before = tokens._reread

    def reread_and_revoke(users):
        found = before(users)
        authentication.revoke(User.objects.get(username="ann").pk)
        return found

    authentication.cached_principal(api.token)
    monkeypatch.setattr(tokens, "_reread", reread_and_revoke)
    tokens.renew()
    assert authentication.cached_principal(api.token) is None


def test_tokens_of_the_wrong_kind(api):
    user = User.objects.get(username="ann")
    old = AccessToken.for_user(user)
    old.set_exp(lifetime=timedelta(seconds=-1))
    refresh = api("POST", V1 + "token/", ANN).json["refresh"]
    replies = [api("GET", V1 + "me/", token=token) for token in (str(old), refresh, "x.y.z", "é", None)]
    codes = ["token_expired", "token_invalid", "token_invalid", "token_invalid", "not_authenticated"]
    assert [reply.code for reply in replies] == codes
    assert {(reply.status, reply.headers["www-authenticate"]) for reply in replies} == {(401, 'Bearer realm="api"')}


def test_nothing_of_a_forged_token_reaches_the_database(api):
    """PostgreSQL cannot even be asked for the first two."""
    for jti in ("a\x00b", "\ud800", ["a"], None):
        forged = jwt.encode({"token_type": "refresh", "jti": jti, "exp": 2**32}, "as long as the secret of the venue")
        for path in ("token/refresh/", "token/blacklist/"):
            assert api("POST", V1 + path, {"refresh": forged}, token=None).code == "token_invalid", jti


def test_a_process_whose_clock_is_behind_believes_a_token_at_once(api, monkeypatch):
    pair = api("POST", V1 + "token/", ANN).json

    class Behind(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(seconds=4)

    monkeypatch.setattr(api_jwt, "datetime", Behind)
    assert api("GET", V1 + "me/", token=pair["access"]).status == 200
    assert api("POST", V1 + "token/refresh/", {"refresh": pair["refresh"]}).status == 200


def test_a_token_is_not_remembered_beyond_its_expiry(api, monkeypatch):
    principal = authentication.principal_for_token(api.token)
    assert authentication.cached_principal(api.token) == principal
    monkeypatch.setattr(authentication.time, "time", lambda: principal.expires_at)
    assert authentication.cached_principal(api.token) is None


def test_remembered_tokens_are_bounded(api, monkeypatch):
    monkeypatch.setattr(verified, "MAX_TOKENS", 3)
    user = User.objects.get(username="ann")
    tokens = [str(AccessToken.for_user(user)) for _ in range(2)]
    tokens += [*api.tokens.values(), api("POST", V1 + "token/", ANN, token=None).json["access"]]
    for token in tokens:
        authentication.principal_for_token(token)
    assert [authentication.cached_principal(token) is not None for token in tokens] == [False, False, True, True, True]


def test_failed_logins_are_limited_by_name_and_address(api, settings):
    settings.RATE_LIMIT_LOGIN_FAILURES = "3/300"
    wrong = {"username": "Ann", "password": "wrong"}
    codes = [api("POST", V1 + "token/", wrong, token=None).code for _ in range(4)]
    assert codes == ["invalid_credentials"] * 3 + ["throttled"]
    blocked = api("POST", V1 + "token/", ANN, token=None)
    assert blocked.code == "throttled" and 290 < int(blocked.headers["retry-after"]) <= 300
    assert api("POST", V1 + "token/", {"username": "bob", "password": PASSWORD}, token=None).status == 200


def test_successful_logins_are_not_limited(api, settings):
    settings.RATE_LIMIT_LOGIN_FAILURES = "2/300"
    assert {api("POST", V1 + "token/", ANN, token=None).status for _ in range(4)} == {200}


def test_registering_is_limited_by_address(api, settings):
    settings.RATE_LIMIT_REGISTER = "1/60"
    bodies = [{"username": name, "password": PASSWORD} for name in ("one", "two")]
    assert [api("POST", V1 + "register/", body, token=None).status for body in bodies] == [201, 429]


def test_a_class_behind_one_address_comes_in_at_once(api):
    """With the limits as they are by default, and mistakes: two names that are taken each, a wrong password or two."""
    met = Counter()
    for number in range(30):
        pupil = {"username": f"pupil{number}", "password": PASSWORD}
        wrong = {**pupil, "password": "wrong"}
        for path, body in [("register/", ANN), ("register/", ANN), ("register/", pupil), ("token/", wrong),
                           ("token/", wrong), ("token/", wrong), ("token/", pupil), ("markets/", None)]:  # fmt: skip
            answer = api("POST" if body else "GET", V1 + path, body, token=None)
            met[path, answer.status] += 1
    assert met == {
        ("register/", 409): 60, ("register/", 201): 30, ("token/", 401): 90, ("token/", 200): 30, ("markets/", 200): 30,
    }  # fmt: skip


def test_requests_are_limited_by_user_and_by_address(api, settings):
    settings.RATE_LIMIT_USER, settings.RATE_LIMIT_ANONYMOUS = "2/60", "3/60"
    paths = ["me/", "nothing/", "wallet/"]
    assert [api("GET", V1 + path).status for path in paths] == [200, 404, 429]
    assert [api("GET", V1 + "me/", token=token).status for token in (None, "bad", "bad", None)] == [401, 401, 401, 429]
    assert api("GET", V1 + "me/", token=api.tokens["bob"]).headers["ratelimit-policy"] == '"default";q=2;w=60'


def test_limits_off(api, settings):
    settings.RATE_LIMITS = False
    assert not {"ratelimit", "ratelimit-policy"} & api("GET", V1 + "me/").headers.keys()


def test_windows_are_bounded_and_end(monkeypatch):
    windows, rate = throttling.Windows(max_keys=2), throttling.rate("1/10")
    assert [windows.charge(key, rate).allowed for key in "aabb"] == [True, False, True, False]
    windows.charge("c", rate)
    assert len(windows) == 2 and windows.charge("a", rate).allowed
    later = throttling.time.monotonic() + 10
    monkeypatch.setattr(throttling.time, "monotonic", lambda: later)
    assert windows.charge("c", rate).allowed


#: (TRUSTED_PROXIES, X-Forwarded-For, address)
ADDRESSES = [
    (0, "6.6.6.6", "peer"),
    (1, None, "peer"),
    (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
    (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
    (3, "1.1.1.1", "1.1.1.1"),
    (1, "6.6.6.6, 1.1.1.1:4711", "1.1.1.1"),
    (1, "2001:db8::1", "2001:db8::1"),
    (1, "[2001:db8::1]:4711", "2001:db8::1"),
    (1, "fe80::1%eth0", "fe80::1"),
    (1, "6.6.6.6, unknown", "peer"),
    (1, "1.1.1.1:4711:1", "peer"),
]


@pytest.mark.parametrize(("proxies", "header", "address"), ADDRESSES)
def test_whose_word_is_taken_for_the_address(settings, proxies, header, address):
    settings.TRUSTED_PROXIES = proxies
    assert throttling.address_of("peer", header) == address


def deposit(api, amount="5", key=None, path="wallet/", **terms):
    return api("POST", V1 + path, {"asset": "usd", "amount": amount}, headers={"Idempotency-Key": key}, **terms)


def test_deposit_and_withdraw(api, settings):
    settings.WITHDRAWALS_INSTANT = True
    reply = deposit(api, "0.5")
    assert reply.status == 201
    assert reply.json["balances"][1] == {"asset": "USD", "available": "100000.5", "reserved": "0", "total": "100000.5"}
    reply = deposit(api, "100000.5", path="wallet/withdraw/")
    assert (reply.status, reply.json["status"]) == (201, "APPROVED")
    assert [row["asset"] for row in api("GET", V1 + "wallet/").json["balances"]] == ["AAPL", "USDT"]


def test_an_asset_that_is_no_longer_traded_is_paid_out_and_only_told_again_as_paid_in(api):
    first = deposit(api, key="k1")
    Asset.objects.filter(symbol="USD").update(is_active=False)
    again = deposit(api, key="k1")
    assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
    assert (deposit(api).status, deposit(api, key="k2").code) == (404, "not_found")
    assert deposit(api, path="wallet/withdraw/").status == 201


def test_an_idempotency_key_moves_money_once(api):
    first, again = deposit(api, key="k1"), deposit(api, "5.0", key="k1")
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert (again.status, again.body) == (201, first.body)
    assert deposit(api, "6", key="k1").code == "idempotency_key_reused"
    assert deposit(api, key="k1", path="wallet/withdraw/").code == "idempotency_key_reused"
    assert deposit(api, key="k1", token=api.tokens["bob"]).json["id"] != first.json["id"]
    assert deposit(api, key="a b").status == 400
    assert Journal.objects.filter(reason="faucet").count() == 2


def test_a_refused_request_may_be_tried_again_under_its_key(api):
    assert deposit(api, "10000001", key="k1").code == "faucet_limit"
    assert deposit(api, "1", key="k1").status == 201


def test_two_requests_under_one_key_at_the_same_time(api):
    """The first holds its claim until it has committed; meanwhile the second is told so."""
    account, claimed, done = api.venue.accounts["ann"], threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            idempotency._claim(account.pk, "k1")
            claimed.set()
            done.wait(PATIENCE_SECONDS)
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    assert claimed.wait(PATIENCE_SECONDS)
    reply = deposit(api, key="k1")
    done.set()
    thread.join()
    assert (reply.status, reply.code) == (409, "idempotency_key_in_progress")
    assert deposit(api, key="k1").status == 201


def test_the_faucet_can_be_closed(api, settings):
    settings.FAUCET = False
    assert (deposit(api).status, deposit(api).code) == (403, "faucet_closed")


def test_events_come_in_order_without_a_gap(api):
    api("POST", V1 + "orders/", {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"})
    api(
        "POST",
        V1 + "orders/",
        {"symbol": "AAPL", "side": "SELL", "price": "100", "quantity": "2"},
        token=api.tokens["bob"],
    )
    everything = api("GET", V1 + "events/").json
    numbers = [event["sequence"] for event in everything["events"]]
    assert numbers == list(range(1, len(numbers) + 1)) and not everything["has_more"]
    assert {event["type"] for event in everything["events"]} == {"balance", "order", "fill"}
    part = api("GET", V1 + "events/?after=2&limit=2").json
    assert part == {"events": everything["events"][2:4], "next": 4, "has_more": True}
    assert api("GET", V1 + f"events/?after={numbers[-1]}").json == {
        "events": [],
        "next": numbers[-1],
        "has_more": False,
    }
