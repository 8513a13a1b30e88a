"""`manage.py top`: one frame from two looks at a venue that trades, on a terminal, over a pipe and without a server."""

import io
import os
import pty
import sys
import termios
from http.server import BaseHTTPRequestHandler

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from config import watching
from config.management.commands import top
from tests.tooling.support import pages

AFTER = """
venue_commands_total{kind="place"} 30.0
venue_commands_total{kind="cancel"} 4.0
venue_refusals_total{code="would_take"} 3.0
venue_trades_total 8.0
venue_batch_seconds_sum{stage="commit"} 1.5
venue_batch_seconds_count{stage="commit"} 300.0
venue_batch_commands_sum 30.0
venue_batch_commands_count 10.0
venue_queue_commands 5.0
venue_workers 2.0
venue_sockets{kind="user"} 3.0
venue_sockets{kind="orderbook"} 4.0
venue_audit_violations 1.0
"""
BEFORE = AFTER.replace(" 30.0", " 10.0").replace(" 4.0", " 4.0").replace(" 1.5", " 0.5").replace(" 300.0", " 100.0")


def ticker(symbol: str, sequence: int) -> dict:
    numbers = {"last": "100.5", "bid": "100", "ask": None, "change_percent": "1.25", "quote_volume": "9", "trades": 7}
    return {"symbol": symbol, "sequence": sequence, **numbers}


@pytest.fixture
def between():
    """Two seconds in which twenty orders came."""
    statuses = {"AAPL": "OPEN", "BTC_USDT": "HALTED"}
    before = watching.Sample(100.0, watching.parse(BEFORE), [ticker("AAPL", 10)], statuses, (5e6, 9, 1, 0, 0.1, 100))
    now = watching.Sample(102.0, watching.parse(AFTER), [ticker("AAPL", 30)], statuses, (6e6, 9, 2, 3, 0.5, 140))
    return watching.Between(before, now)


def test_rates_and_means_are_of_what_happened_in_between(between):
    assert between.rates("venue_commands_total", "kind") == {"place": 10.0}
    assert between.mean("venue_batch_seconds", stage="commit") == pytest.approx(0.005)
    assert between.mean("venue_batch_seconds", stage="lock") == 0
    restarted = watching.Between(between.now, between.before)
    restarted.now.taken = 103.0
    assert restarted.grown("venue_commands_total", kind="place") == 10, "a server that began anew counts from 0"


def test_a_frame(between):
    text = "\n".join(watching.frame(between))
    for words in (
        "processes 2  sockets 7 (orderbook 4, user 3)", "! the last audit found 1 violations", "place 10.0",
        "commit 5.00", "waiting 5", "size 6.0 MB", "connections 9 (2 active)", "transactions/s 20.0",
        "! waiting for locks 3",
    ):  # fmt: skip
        assert words in text
    apple = next(line for line in text.splitlines() if line.startswith("AAPL")).split()
    assert apple == ["AAPL", "OPEN", "100.5", "100", "-", "1.25", "9", "7", "10.0"]
    assert next(line for line in text.splitlines() if line.startswith("BTC_USDT")).split()[1] == "HALTED"


def test_a_frame_fits_the_terminal(between):
    lines = watching.frame(between, width=40, height=8)
    assert len(lines) == 8 and max(map(len, lines)) <= 40 and lines[-1].startswith("… ")
    painted = watching.frame(between, is_colored=True)
    assert [line.replace("\033[1m", "").replace("\033[31m", "").replace("\033[0m", "") for line in painted] == (
        watching.frame(between)
    )
    assert any(line.startswith("\033[31m! ") for line in painted)


@pytest.fixture
def web(venue):
    """The venue's pages on a port, as a server process would answer them."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = Client().get(self.path, headers={"Authorization": self.headers.get("Authorization", "")})
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_):
            pass

    with pages(Door) as address:
        yield address


def warnings_in(frame: str) -> list[str]:
    """Its marked lines, but for who waits for a lock: on a busy machine somebody may, for the moment of the look."""
    return [line for line in frame.splitlines() if line.startswith("!") and "waiting for locks" not in line]


@pytest.mark.django_db(transaction=True)
def test_once(venue, web, settings, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # for the world outside: it knows nothing of this machine
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # made once, by the environment of then
    venue.trader("ann", USD=1_000)
    venue.order("ann BUY 1 AAPL @ 99.5")
    call_command("top", "--once", "--interval", "0.01", "--url", web)
    out = capsys.readouterr().out
    row = next(line.split() for line in out.splitlines() if line.startswith("AAPL"))
    assert row[:5] == ["AAPL", "OPEN", "-", "99.5", "-"] and warnings_in(out) == [] and "\033" not in out
    settings.METRICS_TOKEN = "s3cret"
    call_command("top", "--once", "--interval", "0.01", "--url", f"{web}/")
    assert warnings_in(capsys.readouterr().out) == []


@pytest.mark.django_db(transaction=True)
def test_without_a_server_it_shows_what_the_database_knows(venue, capsys):
    call_command("top", "--once", "--interval", "0.01", "--url", "http://127.0.0.1:9")
    out = capsys.readouterr().out
    assert "! no server answers at http://127.0.0.1:9" in out and "BTC_USDT  OPEN" in out
    with pytest.raises(CommandError):
        call_command("top", "--interval", "0")


@pytest.mark.django_db
def test_a_server_that_ends_in_the_midst_of_its_answer_does_not_end_it():
    class Ends(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"venue_workers 1")

        def log_message(self, *_):
            pass

    with pages(Ends) as address:
        assert f"no server answers at {address}: IncompleteRead" in watching.sample(address).error


@pytest.mark.django_db(transaction=True)
def test_a_pipe_that_closes_ends_it(venue):
    class Closing(io.StringIO):
        frames = 0

        def flush(self):
            self.frames += 1
            if self.frames > 2:
                raise BrokenPipeError

    out = Closing()
    call_command("top", "--interval", "0.01", "--url", "http://127.0.0.1:9", stdout=out)
    assert out.getvalue().count("VENUE") == 3


def test_q_ends_it_and_the_terminal_is_as_it_was(monkeypatch):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    try:
        with open(slave, closefd=False) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            with top._screen(True) as is_quit:
                assert termios.tcgetattr(slave) != before
                assert is_quit(0.01) is False
                os.write(master, b"xq")
                assert is_quit(30) is True
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)
