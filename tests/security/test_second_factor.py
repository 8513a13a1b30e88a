"""TOTP: set up in two steps, wanted for withdrawals and by the admin, each code once, guesses slowed down."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client as Browser
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import idempotency, second_factor
from accounts.models import User, Withdrawal
from marketdata.refusals import Refusal
from tests.patience import wait_until
from tests.venue import PASSWORD

TOTP, CONFIRM, WITHDRAW = "/api/v1/me/totp/", "/api/v1/me/totp/confirm/", "/api/v1/wallet/withdraw/"


class Authenticator:
    """The user's phone: a clock that the test turns, and the codes of a device."""

    def __init__(self, traveller):
        self.traveller, self.now = traveller, datetime.now(UTC)

    def code(self, name: str = "ann", *, later: int = 30) -> str:
        """The code after so many seconds more."""
        self.now += timedelta(seconds=later)
        self.traveller.move_to(self.now)
        device = TOTPDevice.objects.get(user__username=name)
        return f"{totp(device.bin_key):06d}"


@pytest.fixture
def phone():
    with time_machine.travel(datetime.now(UTC), tick=False) as traveller:
        yield Authenticator(traveller)


@pytest.fixture
def protected(api, phone):
    """Ann has a second factor."""
    api("POST", TOTP)
    assert api("POST", CONFIRM, {"code": phone.code()}).json == {"enabled": True}
    return phone


def withdraw(api, code=None, key=None, amount="1", asset="USD", **terms):
    headers = {name: value for name, value in (("X-OTP", code), ("Idempotency-Key", key)) if value}
    return api("POST", WITHDRAW, {"amount": amount, "asset": asset}, headers=headers, **terms)


def at_once(*requests) -> list:
    """What they answer, each in a thread of its own."""
    ready = threading.Barrier(len(requests))

    def one(request):
        ready.wait()
        try:
            return request()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(one, requests))


def counted_failures() -> int:
    return TOTPDevice.objects.get().throttling_failure_count


def test_setting_up(api, phone):
    assert api("POST", CONFIRM, {"code": "123456"}).code == "totp_conflict"
    begun = api("POST", TOTP)
    query = parse_qs(urlsplit(begun.json["uri"]).query)
    assert (begun.status, query["secret"]) == (201, [begun.json["secret"]]) and begun.json["uri"].startswith("otpauth:")
    assert api("GET", TOTP).json == {"enabled": False} and withdraw(api).status == 201
    again = api("POST", TOTP)
    assert again.json["secret"] != begun.json["secret"]
    assert api("POST", CONFIRM, {"code": phone.code()}).json == {"enabled": True}
    assert api("POST", TOTP).code == "totp_conflict"
    assert api("GET", TOTP).json == {"enabled": True}
    assert api("GET", TOTP, token=api.tokens["bob"]).json == {"enabled": False}


def test_a_set_up_begun_anew_meanwhile_does_not_undo_one_that_is_confirmed(api, phone, monkeypatch):
    """Another tab begins while the code is taken: the user was told that it is on, and nothing was."""
    api("POST", TOTP)
    code, take, begun = phone.code(), second_factor._take, []

    def taken(*arguments):
        begin = ThreadPoolExecutor(1).submit(at_once, lambda: api("POST", TOTP))
        wait_until(lambda: begin.done() or _waits_for_a_lock(), "the other to begin, or to wait")
        begun.append(begin)
        return take(*arguments)

    monkeypatch.setattr(second_factor, "_take", taken)
    said = api("POST", CONFIRM, {"code": code}).json
    assert begun[0].result()[0].code == "totp_conflict"
    assert said == api("GET", TOTP).json == {"enabled": True}


def _waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def test_withdrawing_needs_a_fresh_code(api, protected):
    assert withdraw(api).code == "otp_required"
    code = protected.code()
    assert withdraw(api, code).status == 201
    assert withdraw(api, code).code == "otp_invalid"
    assert withdraw(api, protected.code(later=60)).status == 201
    assert withdraw(api, token=api.tokens["bob"]).status == 201
    assert Withdrawal.objects.count() == 3


def test_a_key_needs_the_code_too(api, protected, bot, phone):
    trader = bot("WITHDRAW")
    assert trader("POST", WITHDRAW, {"amount": "1"}).code == "otp_required"
    assert trader("POST", WITHDRAW, {"amount": "1"}, headers={"X-OTP": protected.code()}).status == 201


def test_the_first_answer_is_told_again_without_a_code(api, protected):
    first = withdraw(api, protected.code(), "k1")
    again = withdraw(api, None, "k1")
    assert (again.status, again.json["id"], again.headers["idempotent-replayed"]) == (201, first.json["id"], "true")
    assert withdraw(api, None, "k2").code == "otp_required"


KEYS = pytest.mark.parametrize("key", [None, "k1"])


@KEYS
def test_a_refused_withdrawal_spends_no_code(api, protected, key):
    code = protected.code()
    assert withdraw(api, code, key, amount="999999999").code == "insufficient_funds"
    assert withdraw(api, code, key, amount="0.0000000000001").status == 400
    assert withdraw(api, code, key).status == 201
    assert withdraw(api, code, "k2").code == "otp_invalid"


@pytest.mark.parametrize("code", [None, "000000"])
@pytest.mark.parametrize(
    ("terms", "status"), [({"amount": "abc"}, 400), ({"asset": "NONE"}, 404), ({"key": "a b"}, 400)]
)
def test_what_is_no_withdrawal_needs_no_code(api, protected, code, terms, status):
    assert withdraw(api, code, **terms).status == status
    assert counted_failures() == 0


def test_a_repeat_in_progress_leaves_the_code_alone(api, protected):
    """The first holds its claim and has not committed."""
    account_id, code = api.venue.accounts["ann"].pk, protected.code()
    with transaction.atomic():
        idempotency._claim(account_id, "k1")
        repeats = [withdraw(api, code, "k1"), withdraw(api, "000000", "k1"), withdraw(api, None, "k1")]
    assert {(reply.status, reply.code) for reply in repeats} == {(409, "idempotency_key_in_progress")}
    assert counted_failures() == 0
    assert withdraw(api, code, "k1").status == 201


def test_repeats_at_the_same_time_with_one_code_withdraw_once(api, protected):
    for number in range(5):
        code = protected.code(later=60)
        replies = at_once(*[lambda: withdraw(api, code, f"k{number}")] * 6)  # noqa: B023
        assert {reply.status for reply in replies} <= {201, 409}
        assert {reply.code for reply in replies if reply.status == 409} <= {"idempotency_key_in_progress"}
        assert len({reply.json["id"] for reply in replies if reply.status == 201}) == 1
        assert withdraw(api, code, f"k{number}").headers["idempotent-replayed"] == "true"
    assert Withdrawal.objects.count() == 5 and counted_failures() == 0


def test_one_code_is_for_one_withdrawal_whatever_its_key(api, protected):
    code = protected.code()
    replies = at_once(*(lambda key=key: withdraw(api, code, key) for key in ("k1", None, "k2", None, "k3", None)))
    assert sorted(reply.status for reply in replies)[0] == 201 and Withdrawal.objects.count() == 1
    assert {reply.code for reply in replies if reply.status != 201} <= {"otp_invalid", "throttled"}


def test_guesses_at_the_same_time_are_slowed_down(api, protected):
    """Each counts before the next is looked at, under whatever key it comes."""
    protected.code()
    replies = at_once(*(lambda key=key: withdraw(api, "000000", key) for key in ("k1", None, "k2", None, "k3", None)))
    assert sorted(reply.code for reply in replies) == ["otp_invalid"] + ["throttled"] * 5
    assert counted_failures() == 1
    assert withdraw(api, protected.code(later=30), "k1").status == 201


@pytest.mark.parametrize("code", ["000000", "12345", "١٢٣٤٥٦", "abcdef", "1234567"])
def test_wrong_codes(api, protected, code):
    headers = {"X-OTP": code.encode().decode("latin1")}
    assert api("POST", WITHDRAW, {"amount": "1"}, headers=headers).code == "otp_invalid"


def test_guesses_are_slowed_down(api, protected):
    protected.code()
    assert withdraw(api, "000000").code == "otp_invalid"
    refused = withdraw(api, protected.code(later=0))
    assert (refused.code, refused.status) == ("throttled", 429) and int(refused.headers["retry-after"]) >= 1
    protected.code(later=2)
    assert withdraw(api, "000000").code == "otp_invalid"
    protected.code(later=1)
    assert withdraw(api, "000000").code == "throttled"
    assert withdraw(api, protected.code(later=30)).status == 201


def test_removing_needs_a_code(api, protected):
    assert api("DELETE", TOTP).code == "otp_required"
    assert api("DELETE", TOTP, headers={"X-OTP": "000000"}).code == "otp_invalid"
    assert api("DELETE", TOTP, headers={"X-OTP": protected.code()}).json == {"enabled": False}
    assert withdraw(api).status == 201 and api("DELETE", TOTP).code == "totp_conflict"


def test_of_two_at_once_with_one_code_one_passes(api, protected):
    user_id, code = User.objects.get(username="ann").pk, protected.code()
    ready, outcomes = threading.Barrier(4), []

    def use():
        ready.wait()
        try:
            second_factor.require(user_id, code)
            outcomes.append("taken")
        except Refusal as refusal:
            outcomes.append(refusal.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(outcomes) == 4 and outcomes.count("taken") == 1


# The admin


@pytest.fixture
def boss(api):
    User.objects.create_superuser("boss", password=PASSWORD)
    return Browser()


def log_in(browser, code: str = "") -> int:
    answer = browser.post("/admin/login/", {"username": "boss", "password": PASSWORD, "otp_code": code})
    return answer.status_code


def device_of_boss() -> None:
    TOTPDevice.objects.create(user=User.objects.get(username="boss"), name="totp", confirmed=True)


def test_an_operator_without_a_second_factor_logs_in_by_password(boss):
    assert log_in(boss) == 302 and boss.get("/admin/").status_code == 200


def test_an_operator_with_one_needs_its_code(boss, phone):
    device_of_boss()
    assert log_in(boss) == 200 and boss.get("/admin/").status_code == 302
    code = phone.code("boss")
    assert log_in(boss, code) == 302 and boss.get("/admin/").status_code == 200
    assert log_in(Browser(), code) == 200


def test_a_session_from_before_logs_in_again(boss, phone):
    assert log_in(boss) == 302
    device_of_boss()
    assert boss.get("/admin/").status_code == 302
    assert log_in(boss, phone.code("boss")) == 302 and boss.get("/admin/").status_code == 200


def test_it_can_be_required_of_all_operators(boss, settings, phone):
    assert log_in(boss) == 302
    settings.ADMIN_REQUIRE_TOTP = True
    assert boss.get("/admin/").status_code == 302 and log_in(boss) == 200
    device_of_boss()
    assert log_in(boss, phone.code("boss")) == 302 and boss.get("/admin/").status_code == 200


def test_a_lost_one_is_removed_by_a_superuser(boss, api, phone):
    log_in(boss)
    ann = User.objects.get(username="ann")
    TOTPDevice.objects.create(user=ann, name="totp", confirmed=True)
    path = f"/admin/accounts/user/{ann.pk}/second-factor"
    assert boss.post(path, {"reason": "lost phone"}).status_code == 302
    assert not second_factor.is_enabled(ann.pk)


def test_nobody_reads_the_secrets_in_the_admin(boss):
    log_in(boss)
    assert boss.get("/admin/otp_totp/totpdevice/").status_code == 404
