"""Guessing passwords, over the API and in the admin: the same count, in the database."""

import pytest
from django.test import Client as Browser

from accounts.models import User
from marketdata.throttling import windows
from tests.venue import PASSWORD

TOKEN = "/api/v1/token/"


@pytest.fixture
def three(api, settings):
    settings.RATE_LIMIT_LOGIN_FAILURES = "3/300"
    User.objects.create_superuser("boss", password=PASSWORD)
    return api


def guess(api, name: str = "boss", password: str = "wrong", **terms):
    return api("POST", TOKEN, {"username": name, "password": password}, token=None, **terms)


def admin(password: str):
    return Browser().post("/admin/login/", {"username": "boss", "password": password})


def test_other_processes_know(three, caplog):
    """What this process counts in memory plays no part in it. The log tells of it, but not of whom."""
    for _ in range(3):
        assert guess(three).code == "invalid_credentials"
        windows.clear()
    locked = guess(three, password=PASSWORD)
    assert (locked.status, locked.code) == (429, "throttled") and 290 <= int(locked.headers["retry-after"]) <= 300
    assert "Locking out somebody at /api/v1/token/" in caplog.text
    assert "boss" not in caplog.text and "127.0.0.1" not in caplog.text


def test_the_admin_counts_too_and_says_when_to_come_back(three):
    assert [admin("wrong").status_code for _ in range(2)] == [200, 200]
    last = admin("wrong")
    assert last.status_code == 429 and 290 <= int(last["Retry-After"]) <= 300
    assert admin(PASSWORD).status_code == 429
    assert guess(three, password=PASSWORD).code == "throttled"
    assert guess(three, "ann", PASSWORD).status == 200


def test_the_right_password_ends_the_count(three):
    for _ in range(3):
        assert [guess(three).status, guess(three, password=PASSWORD).status] == [401, 200]


def test_failures_while_locked_out_do_not_prolong_it(three):
    from axes.models import AccessAttempt

    [guess(three) for _ in range(3)]
    before = AccessAttempt.objects.get().attempt_time
    assert [guess(three).status for _ in range(3)] == [429] * 3
    assert AccessAttempt.objects.get().attempt_time == before


def test_an_operator_lifts_it(three):
    from axes.models import AccessAttempt

    [guess(three) for _ in range(4)]
    browser = Browser()
    browser.force_login(
        User.objects.create_superuser("chief", password=PASSWORD), "django.contrib.auth.backends.ModelBackend"
    )
    row = AccessAttempt.objects.get()
    assert row.username == "boss" and PASSWORD not in str(row.__dict__)
    assert browser.get("/admin/axes/accessattempt/").status_code == 200
    assert browser.post(f"/admin/axes/accessattempt/{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert guess(three, password=PASSWORD).status == 200


def test_an_address_that_tries_many_names_is_stopped(three, settings):
    settings.RATE_LIMIT_LOGIN_FAILURES = "1/300"
    codes = [guess(three, f"name{number}").code for number in range(11)]
    assert codes == ["invalid_credentials"] * 10 + ["throttled"]


@pytest.mark.parametrize("name", ["\x01", "ß" * 150, "'; DROP TABLE x"])
def test_odd_names(three, name):
    assert guess(three, name).status in (400, 401)
