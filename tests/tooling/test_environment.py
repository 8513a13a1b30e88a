"""Settings that are none: one line that says what is expected, and no traceback."""

import os
import subprocess
import sys
from functools import partial

import pytest

from config import environment
from tests.tooling.support import ROOT

RATIO = "a number above 0 with at most 8 decimals, below 1,000"
ORIGIN = "origins such as https://trade.example.com"
HOSTS = "hosts without scheme, port and path, such as trade.example.com"
#: variable, what it is set to, words of the answer
WRONG = [
    ("PORT", "abc", "PORT must be a whole number from 0 to 65,535, not 'abc'."),
    ("PORT", "70000", "PORT must be a whole number from 0 to 65,535"),
    ("WORKERS", "-1", "WORKERS must be a whole number from 0 to 256"),
    ("WORKERS", "1.5", "WORKERS must be a whole number"),
    ("SIMULATOR_SPEED", "fast", "SIMULATOR_SPEED must be a number above 0 and at most 1,000,000, not 'fast'."),
    ("SIMULATOR_SPEED", "1e308", "SIMULATOR_SPEED must be a number above 0 and at most 1,000,000"),
    ("SOCKET_STALL_SECONDS", "1e300", "SOCKET_STALL_SECONDS must be a number above 0 and at most 86,400"),
    ("ACCESS_TOKEN_MINUTES", "1" + 18 * "0", "ACCESS_TOKEN_MINUTES must be a whole number from 1 to 525,600"),
    ("ACCESS_TOKEN_MINUTES", "5000000000", "ACCESS_TOKEN_MINUTES must be a whole number from 1 to 525,600"),
    ("TRUSTED_PROXIES", "1000", "TRUSTED_PROXIES must be a whole number from 0 to 100"),
    ("CORS_ALLOWED_ORIGINS", "foo", f"CORS_ALLOWED_ORIGINS must be {ORIGIN}, not 'foo'."),
    ("CORS_ALLOWED_ORIGINS", "*", f"CORS_ALLOWED_ORIGINS must be {ORIGIN}"),
    ("CORS_ALLOWED_ORIGINS", "https://a.example.com,https://b.example.com/", f"CORS_ALLOWED_ORIGINS must be {ORIGIN}"),
    ("CSRF_TRUSTED_ORIGINS", "a.example.com", f"CSRF_TRUSTED_ORIGINS must be {ORIGIN}"),
    ("CSRF_TRUSTED_ORIGINS", "https://a.example.com:port", f"CSRF_TRUSTED_ORIGINS must be {ORIGIN}"),
    ("ALLOWED_HOSTS", "http://x", f"ALLOWED_HOSTS must be {HOSTS}, .example.com, 192.0.2.7 or [::1], not 'http://x'."),
    *[
        ("ALLOWED_HOSTS", word, f"ALLOWED_HOSTS must be {HOSTS}")
        for word in ("x:8000", "x/api", "a b", "*.x.com", "::1", "a_b", "x.com.", "a,https://b", "localhost;x")
    ],
    ("STOP_OUT_LEVEL", "half", f"STOP_OUT_LEVEL must be {RATIO}, not 'half'."),
    ("MARGIN_CALL_LEVEL", "-1", "MARGIN_CALL_LEVEL must be a number above 0"),
    ("MARGIN_CALL_LEVEL", "0.4", "MARGIN_CALL_LEVEL must be at least STOP_OUT_LEVEL, which is 0.5, not '0.4'."),
    ("STOP_OUT_LEVEL", "1.1", "MARGIN_CALL_LEVEL must be at least STOP_OUT_LEVEL, which is 1.1, not '1'."),
    ("STOP_OUT_LEVEL", "0.333333333", f"STOP_OUT_LEVEL must be {RATIO}"),
    ("STOP_OUT_LEVEL", "1e-30", f"STOP_OUT_LEVEL must be {RATIO}"),
    ("STOP_OUT_LEVEL", f"0.{'1' * 101}", f"STOP_OUT_LEVEL must be {RATIO}"),
    ("MARGIN_CALL_LEVEL", "0.999999999", f"MARGIN_CALL_LEVEL must be {RATIO}"),
    ("REDIS_URL", "garbage", "REDIS_URL must be a URL such as redis://"),
    ("REDIS_URL", "redis://host:abc/0", "REDIS_URL must be a URL such as redis://"),
    ("DATABASE_URL", "postgresql://localhost:abc/x", "DATABASE_URL must be a URL such as postgresql://"),
    ("DATABASE_URL", "mysql://localhost/x", "DATABASE_URL must be a URL such as postgresql://"),
    ("DATA_DIR", "/etc/passwd", "DATA_DIR must be a folder, or where one can be made, not '/etc/passwd'."),
    ("DATA_DIR", "/etc/passwd/below", "DATA_DIR must be a folder"),
    ("DATA_DIR", "/proc/nowhere", "DATA_DIR must be a folder that can be written to"),
    ("SEED_DEMO", "maybe", "SEED_DEMO must be on or off, not 'maybe'."),
    ("RATE_LIMIT_USER", "banana", "RATE_LIMIT_USER must be requests/seconds, such as 600/60, not 'banana'."),
    ("RATE_LIMIT_ANONYMOUS", "0/60", "RATE_LIMIT_ANONYMOUS must be requests/seconds"),
    ("RATE_LIMIT_LOGIN_FAILURES", "10/0", "RATE_LIMIT_LOGIN_FAILURES must be requests/seconds"),
    ("RATE_LIMITS", "maybe", "RATE_LIMITS must be on or off, not 'maybe'."),
    ("SIMULATOR", "banana", "SIMULATOR must be on or off"),
    ("QUOTE_STALE_SECONDS", "1e300", "QUOTE_STALE_SECONDS must be a number above 0 and at most 31,536,000"),
    ("QUOTE_STALE_SECONDS", "soon", "QUOTE_STALE_SECONDS must be a number above 0"),
    ("TWELVE_DATA_CREDITS_PER_DAY", "many", "TWELVE_DATA_CREDITS_PER_DAY must be a whole number"),
    ("ALLTICK_PLAN", "gold", "ALLTICK_PLAN must be one of free, basic, premium, professional"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT must be one of text, json"),
    ("KEEP_JOURNAL_DAYS", "0", "KEEP_JOURNAL_DAYS must be a whole number from 1"),
]
ORIGINS = "https://a.example.com,http://127.0.0.1:3000, capacitor://localhost,https://*.example.com"
#: function, its arguments, what the variable is set to, what is read
READ = [
    (environment.whole, (7,), None, 7),
    (environment.whole, (7,), "", 7),
    (environment.whole, (7,), " 12 ", 12),
    (partial(environment.seconds, most=9), (5,), "0.5", 0.5),
    (partial(environment.seconds, most=9), (None,), "9", 9.0),
    (partial(environment.seconds, most=9), (None,), None, None),
    (environment.origins, (), None, []),
    (environment.origins, (), ORIGINS, [word.strip() for word in ORIGINS.split(",")]),
    (environment.origins, ("null",), "null", ["null"]),
    (environment.hosts, ("a,b",), None, ["a", "b"]),
    (environment.hosts, ("a,b",), "", ["a", "b"]),
    (environment.hosts, ("a,b",), " , ", ["a", "b"]),
    (environment.hosts, ("a",), "*", ["*"]),
    (environment.hosts, ("a",), "X.com, .y.com,10.0.0.1, [::1],c-1,", ["X.com", ".y.com", "10.0.0.1", "[::1]", "c-1"]),
    (environment.choice, ("text", "json"), "JSON", "json"),
    (environment.choice, ("text", "json"), None, "text"),
    (environment.flag, (True,), "off", False),
    (environment.flag, (True,), "", True),
    (environment.flag, (), " On ", True),
    (environment.flag, (True,), "0", False),
    (environment.ratio, ("0.5",), None, "0.5"),
    (environment.ratio, ("0.5",), " 0.3333333300 ", "0.3333333300"),
    (environment.ratio, ("0.5",), "1e-8", "1e-8"),
    (environment.rate, ("12/60",), None, "12/60"),
    (environment.rate, ("12/60",), " 600 / 60 ", "600/60"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_one_line(name, value, words):
    command = [sys.executable, "-c", "import config.settings"]
    surroundings = {key: text for key, text in os.environ.items() if key != "SECRET_KEY"} | {name: value}
    answer = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.startswith(words) and answer.stderr.count("\n") == 1


@pytest.mark.parametrize(("function", "arguments", "value", "expected"), READ)
def test_read(monkeypatch, function, arguments, value, expected):
    monkeypatch.delenv("A_SETTING", raising=False)
    if value is not None:
        monkeypatch.setenv("A_SETTING", value)
    assert function("A_SETTING", *arguments) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, 30), ("", 30), ("never", None), ("Never", None), ("3", 3)])
def test_days(monkeypatch, value, expected):
    monkeypatch.delenv("A_SETTING", raising=False)
    if value is not None:
        monkeypatch.setenv("A_SETTING", value)
    assert environment.days("A_SETTING", 30, least=2) == expected
    monkeypatch.setenv("A_SETTING", "1")
    with pytest.raises(SystemExit, match="from 2 to 36,500 or never, not '1'"):
        environment.days("A_SETTING", 30, least=2)
