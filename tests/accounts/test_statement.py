"""The statement: reconciles with the balance, walks without gap or repetition, and leaves as CSV."""

import csv
import io
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import statement, transfers
from accounts.models import Balance, Entry
from config import pagination
from exchange import orders
from tests.audit import sessions

V1 = "/api/v1/"
LEDGER = V1 + "ledger/"


def walk(api, target: str, **terms) -> list[dict]:
    """All lines, page by page."""
    lines = []
    while target:
        page = api("GET", target, **terms).json
        assert page["previous"] is None and ("cursor=" not in target or page["count"] is None)
        lines += page["results"]
        target = page["next"] and page["next"].removeprefix("http://testserver")
    return lines


@pytest.fixture
def history(api):
    """Two traders with a random past."""
    sessions.random_session(api.venue, seed=3, commands=150)
    return api


def test_statements_reconcile_with_balances_for_everybody(history):
    for name in ("ann", "bob"):
        account, token = history.venue.accounts[name], history.tokens[name]
        everything = walk(history, LEDGER + "?page_size=37", token=token)
        assert [line["id"] for line in everything] == list(
            Entry.objects.filter(account=account).order_by("-id").values_list("id", flat=True)
        )
        for balance in Balance.objects.filter(account=account).select_related("asset"):
            lines = walk(history, f"{LEDGER}?asset={balance.asset.symbol.lower()}&page_size=11", token=token)
            assert lines == [line for line in everything if line["asset"] == balance.asset.symbol]
            running = Decimal(0)
            for line in reversed(lines):
                running += Decimal(line["amount"])
                assert Decimal(line["balance_after"]) == running
            assert running == balance.total


def test_numbered_pages_are_the_walk_cut_up(history):
    ids = [line["id"] for line in walk(history, LEDGER)]
    for asset in ("", "asset=USD&"):
        lines = [line["id"] for line in walk(history, f"{LEDGER}?{asset}")]
        pages, target = [], f"{LEDGER}?{asset}page=1&page_size=7"
        while target:
            page = history("GET", target).json
            assert page["count"] == len(lines) <= len(ids)
            pages += [line["id"] for line in page["results"]]
            target = page["next"] and page["next"].removeprefix("http://testserver")
        assert pages == lines
    assert history("GET", LEDGER + "?page=2&page_size=7").json["results"][0]["id"] == ids[7]
    assert history("GET", LEDGER + "?page=999").status == 404


def test_short_histories_are_counted_in_a_walk_too(history, monkeypatch):
    count = len(walk(history, LEDGER))
    assert [history("GET", f"{LEDGER}?page_size={size}").json["count"] for size in (7, 500)] == [count, count]
    monkeypatch.setattr(pagination, "COUNTED", count - 1)
    assert [history("GET", f"{LEDGER}?page_size={size}").json["count"] for size in (7, 500)] == [None, count]


PAGINGS = ("", "page_size=7", "page_size=500", "page=2", "page=2&page_size=7")


def test_a_busy_account_still_gets_its_count(api):
    """Whatever the page's size, and for one asset as for all."""
    ann, usd, btc = api.venue.accounts["ann"], api.venue.assets["USD"], api.venue.assets["BTC"]
    for _ in range(260):
        transfers.deposit(account=ann, asset=usd, amount=Decimal(1))
    transfers.deposit(account=ann, asset=btc, amount=Decimal(1))
    everything = Entry.objects.filter(account=ann)
    for query, entries in (("", everything), ("asset=usd&", everything.filter(asset=usd))):
        counts = {api("GET", f"{LEDGER}?{query}{more}").json["count"] for more in PAGINGS}
        assert counts == {entries.count()} and entries.count() > 260
        walked = api("GET", f"{LEDGER}?{query}cursor=").json
        assert walked["count"] is None and len(walked["results"]) == 50


def test_a_line(api):
    line = api("GET", LEDGER + "?asset=USD").json["results"][0]
    assert line.keys() == set(statement.COLUMNS)
    assert [line[name] for name in ("kind", "amount", "balance_after")] == ["DEPOSIT", "100000", "100000"]


def test_what_is_not_there(api):
    assert api("GET", LEDGER + "?asset=NOPE").code == "not_found"
    assert api("GET", LEDGER + "?cursor=xx").status == 400
    assert api("GET", LEDGER + "?asset=BTC").json["results"] == []
    assert api("GET", LEDGER, token=None).status == 401


def test_a_page_costs_the_same_wherever_it_lies(history):
    account = history.venue.accounts["ann"]
    lines = statement.Statement(account_id=account.pk, asset_id=None)
    for before in (None, Entry.objects.filter(account=account).order_by("id")[12].pk):
        with CaptureQueriesContext(connection) as queries:
            assert lines.newest(before=before, limit=10)
        assert len(queries) == 1


def test_csv_is_the_whole_history(history, monkeypatch):
    monkeypatch.setattr(statement, "EXPORT_ROWS", 7)
    reply = history("GET", LEDGER, headers={"Accept": "text/csv"})
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert "statement.csv" in reply.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
    lines = walk(history, LEDGER)
    assert rows == [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]
    assert len(rows) > 20


def test_json_for_those_who_take_anything_or_like_it_better(api):
    likes_json = ("*/*", "application/json, text/csv", "text/html", "", "text/csv;q=0.5, application/json")
    likes_csv = ("application/json;q=0.5, text/csv", "text/csv;charset=utf-8, */*;q=0.1")
    for accept in (*likes_json, *likes_csv):
        kind = api("GET", LEDGER, headers={"Accept": accept}).headers["content-type"]
        assert kind.startswith("application/json" if accept in likes_json else "text/csv"), accept


def test_a_reason_cannot_become_a_formula_or_break_a_line(api):
    ann, usd = api.venue.accounts["ann"], api.venue.assets["USD"]
    reasons = ['=HYPERLINK("x")', "-1+1", "a,b\nc", "@x"]
    for reason in reasons:
        transfers.adjust(account=ann, asset=usd, amount=Decimal("-1.5"), reason=reason, actor_id=None)
    reply = api("GET", LEDGER + "?asset=USD", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))[:4]
    assert [row["reason"] for row in rows] == ["'@x", "a,b\nc", "'-1+1", "'=HYPERLINK(\"x\")"]
    assert {row["amount"] for row in rows} == {"-1.5"}


def test_an_asset_bought_and_sold_in_one_batch_is_on_the_statement(venue):
    """Its balance ends where it began, at nothing, and is written all the same."""
    venue.trader("ann", USD=1000)
    venue.trader("bob", AAPL=5)
    venue.trader("cyd", USD=1000)
    venue.order("bob SELL 5 AAPL @ 100")
    venue.order("cyd BUY 5 AAPL @ 99")
    orders.place_many([venue.command("ann BUY 5 AAPL @ 100"), venue.command("ann SELL 5 AAPL @ 99")])
    lines = statement.Statement(account_id=venue.accounts["ann"].pk, asset_id=venue.assets["AAPL"].pk)
    assert [line.amount for line in lines.newest(before=None, limit=9)] == [-5, 5]
