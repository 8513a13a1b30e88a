"""What a server must not start like, what a production deployment looks like, and the headers of safety."""

import os
import subprocess
import sys
from datetime import date, datetime, time

import pytest
from django.core.checks import run_checks
from django.db.models import fields

from config.checks import is_loopback, unsafe
from tests.patience import PATIENCE_SECONDS
from tests.tooling.support import ROOT

GOOD = "Zx8-vQ2mL0pR7tYc3Ws9Ha5Kf1Jd6Ng4Be0Uo2Ti8Mq7Vy3CPl5Xr1"


@pytest.mark.parametrize(
    ("debug", "host", "key", "reasons"),
    [
        (False, "0.0.0.0", GOOD, []),
        (True, "127.0.0.1", GOOD, []),
        (True, "localhost", GOOD, []),
        (True, "::1", GOOD, []),
        (True, "0.0.0.0", GOOD, ["DEBUG"]),
        (True, "::", GOOD, ["DEBUG"]),
        (True, "192.168.1.5", GOOD, ["DEBUG"]),
        (True, "venue.example", GOOD, ["DEBUG"]),
        (False, "127.0.0.1", "short", ["SECRET_KEY"]),
        (False, "127.0.0.1", "a" * 60, ["SECRET_KEY"]),
        (False, "127.0.0.1", "django-insecure-" + GOOD, ["SECRET_KEY"]),
        (False, "127.0.0.1", GOOD + "-changeme", ["SECRET_KEY"]),
        (True, "0.0.0.0", "", ["DEBUG", "SECRET_KEY"]),
    ],
)
def test_unsafe_starts(debug, host, key, reasons):
    found = unsafe(debug=debug, host=host, secret_key=key)
    assert [reason.split()[0] for reason in found] == reasons


@pytest.mark.parametrize(("host", "answer"), [("127.9.9.9", True), ("[::1]", True), ("0.0.0.0", False), ("", False)])
def test_loopback(host, answer):
    assert is_loopback(host) is answer


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "DATABASE_URL", "REDIS_URL", "HOME")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**kept, "SECRET_KEY": GOOD, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_a_production_deployment_is_clean(tmp_path):
    answer = run(
        "check", "--deploy", "--fail-level", "INFO",
        DATA_DIR=str(tmp_path), HOST="0.0.0.0", BEHIND_TLS="on", TRUSTED_PROXIES="1", ALLOWED_HOSTS="venue.example",
        CSRF_TRUSTED_ORIGINS="https://venue.example", CORS_ALLOWED_ORIGINS="https://page.example", FAUCET="off",
        SIMULATOR="off",
    )  # fmt: skip
    assert answer.returncode == 0 and "no issues" in answer.stdout + answer.stderr, answer.stderr


@pytest.mark.django_db
def test_the_checks_say_the_same_at_every_hour(monkeypatch):
    """Django holds defaults against the clock."""
    for hour in range(24):
        now = datetime.combine(date(2026, 11, 20), time(hour, second=3))
        monkeypatch.setattr(fields, "_get_naive_now", lambda now=now: now)
        assert [finding for finding in run_checks() if not finding.is_silenced()] == [], hour


@pytest.mark.parametrize(
    ("environment", "word"),
    [({"DEBUG": "on", "HOST": "0.0.0.0"}, "DEBUG"), ({"SECRET_KEY": "changeme"}, "SECRET_KEY")],
)
def test_serve_and_check_refuse(tmp_path, environment, word):
    for command in ("serve", "check"):
        answer = run(command, DATA_DIR=str(tmp_path), PORT="0", **environment)
        assert answer.returncode != 0 and word in answer.stderr, (command, answer)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_somebody_emptied_is_not_made_anew(tmp_path):
    """What was sealed with the old one would be lost without a word."""
    (tmp_path / "secret_key").write_text("\n")
    answer = run("check", DATA_DIR=str(tmp_path), SECRET_KEY="")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1), answer.stderr
    assert answer.stderr.startswith(f"{tmp_path / 'secret_key'} is empty: put back")
    assert (tmp_path / "secret_key").read_text() == "\n"


def test_headers(api):
    reply = api("GET", "/api/v1/markets/")
    expected = {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
    assert {name: reply.headers.get(name) for name in expected} == expected
    page = api("GET", "/api/docs/")
    assert page.status == 200 and "frame-ancestors 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        ([], "https://page.example", None),
        (["https://page.example"], "https://page.example", "https://page.example"),
        (["https://page.example"], "https://other.example", None),
    ],
)
def test_origins_are_those_of_the_settings(api, settings, allowed, origin, answer):
    settings.CORS_ALLOWED_ORIGINS = allowed
    reply = api("GET", "/api/v1/markets/", headers={"Origin": origin})
    assert reply.status == 200 and reply.headers.get("access-control-allow-origin") == answer


def test_a_page_may_send_our_headers(api, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://page.example"]
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    reply = api("OPTIONS", "/api/v1/orders/", headers=asking, token=None)
    allowed = set(reply.headers["access-control-allow-headers"].split(", "))
    assert {"x-account", "x-otp", "x-api-key", "x-api-sign", "x-api-timestamp", "x-api-recv-window"} <= allowed
