"""What else may go: events beyond what resuming needs, short candles, old keys and logins. What may not, stays."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection, connections
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken

from accounts import events
from accounts.models import AccountEvent, IdempotentRequest
from exchange import candle_proof, retention
from exchange.models import EventFloor
from marketdata import clock
from marketdata.candle_intervals import INTERVALS
from marketdata.candles import page
from marketdata.models import Candle, ExternalCandle, Market
from tests.retention.history import days_ago, trade_for_long, violations

#: Tables of which nothing may ever go.
FOR_EVER = (
    "exchange_order", "exchange_trade", "exchange_fill", "accounts_journal", "accounts_entry", "accounts_balance",
    "accounts_movement", "accounts_holding", "accounts_realization", "accounts_equitysnapshot", "accounts_withdrawal",
)  # fmt: skip


def counts() -> dict[str, int]:
    with connection.cursor() as cursor:
        found = {}
        for table in (*FOR_EVER, "exchange_bookcommand", "accounts_accountevent", "marketdata_candle"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            found[table] = cursor.fetchone()[0]
    return found


@pytest.mark.parametrize("rows", [3, 5_000])
def test_everything_at_once_under_an_audit(venue, monkeypatch, rows):
    monkeypatch.setattr("exchange.retention.parts.BATCH_ROWS", rows)
    trade_for_long(venue)
    before = counts()
    call_command("prune")
    assert counts() == before, "without --yes nothing goes"
    call_command("prune", "--yes")
    after = counts()
    assert {table for table in before if after[table] < before[table]} == {
        "exchange_bookcommand", "accounts_accountevent", "marketdata_candle",
    }  # fmt: skip
    assert violations() == {}
    call_command("prune", "--yes")
    assert counts() == after
    trade_for_long(venue, seed=20, commands=40)
    assert violations() == {}


def test_events_that_are_gone_are_said_to_be(venue, monkeypatch):
    monkeypatch.setattr(events, "ROWS", 1)
    for days in (60, 50, 0):
        with days_ago(days):
            ann = venue.trader("ann", USD=100)
            bob = venue.trader("bob", USD=100) if days else None
    last = events.after(account_id=ann.id, sequence=0, limit=100)[0][-1]["sequence"]
    kept = events.after(account_id=ann.id, sequence=2, limit=100)[0]
    looks = []

    def prune_after_the_first_look(execute, *args):
        answer = execute(*args)
        looks.append(answer)
        if len(looks) == 1:
            call_command("prune", "events", "--yes")
        return answer

    with connection.execute_wrapper(prune_after_the_first_look):
        found, has_more = events.after(account_id=ann.id, sequence=0, limit=100)
    assert ([event["sequence"] for event in found], has_more) == ([1], True), "no gap among them"
    with pytest.raises(events.EventsGone, match="Events up to 2 are no longer kept") as gone:
        events.after(account_id=ann.id, sequence=1, limit=100)
    assert (gone.value.code, gone.value.status) == ("events_gone", 410)
    assert events.after(account_id=ann.id, sequence=2, limit=100) == (kept, False)
    assert events.after(account_id=ann.id, sequence=last, limit=100) == ([], False)
    bobs = venue.accounts["bob"].id
    assert AccountEvent.objects.filter(account=bobs).count() == 1, "the last one stays, however old"
    assert EventFloor.objects.get(account=bobs).until == 1
    assert violations() == {}
    assert bob is None


def test_the_route_answers_gone(venue, client, settings):
    with days_ago(60):
        ann = venue.trader("ann", USD=100)
    venue.trader("ann", USD=100)
    call_command("prune", "events", "--yes")
    token = RefreshToken.for_user(ann.user).access_token
    answer = client.get("/api/events/", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (410, "events_gone")
    answer = client.get("/api/events/?after=1", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200 and len(answer.json()["events"]) == 1


def test_short_candles_go_and_the_longer_ones_stay(venue):
    trade_for_long(venue, commands=60)
    market = Market.objects.get(symbol="AAPL")
    longer = list(Candle.objects.exclude(interval_seconds=1).order_by("pk").values())
    days = page(market_id=market.id, interval=INTERVALS["1d"])
    call_command("prune", "candles", "--yes")
    old = clock.now() - timedelta(days=30)
    assert not Candle.objects.filter(interval_seconds=1, open_time__lt=old).exists()
    assert Candle.objects.filter(interval_seconds=1).exists()
    assert list(Candle.objects.exclude(interval_seconds=1).order_by("pk").values()) == longer
    assert page(market_id=market.id, interval=INTERVALS["1d"]) == days
    assert candle_proof.first_difference(market.id) is None
    candle_proof.rebuild(market.id)
    assert not Candle.objects.filter(interval_seconds=1, open_time__lt=old).exists(), "a rebuild brings none back"
    assert violations() == {}


def test_rows_that_are_old_by_themselves(venue, settings):
    settings.KEEP_EXTERNAL_CANDLES_DAYS = 365
    ann, market = venue.trader("ann", USD=1), Market.objects.get(symbol="AAPL")
    made = {}
    for days in (400, 100, 40, 0):
        moment = clock.now() - timedelta(days=days)
        key = IdempotentRequest.objects.create(account=ann, key=f"k{days}", fingerprint="", status=201, body={})
        IdempotentRequest.objects.filter(pk=key.pk).update(created_at=moment)
        token = OutstandingToken.objects.create(user=ann.user, jti=f"j{days}", token="t", expires_at=moment)
        BlacklistedToken.objects.create(token=token)
        Session.objects.create(session_key=f"s{days}", session_data="", expire_date=moment)
        bar = {name: Decimal(1) for name in ("open", "high", "low", "close")}
        ExternalCandle.objects.create(market=market, source="x", interval="1d", open_time=moment, **bar)
        made[days] = moment
    call_command("prune", "--yes")
    assert set(IdempotentRequest.objects.values_list("key", flat=True)) == {"k40", "k0"}
    assert set(OutstandingToken.objects.filter(token="t").values_list("jti", flat=True)) == {"j0"}
    assert BlacklistedToken.objects.count() == 1
    assert set(Session.objects.values_list("session_key", flat=True)) == {"s0"}
    assert ExternalCandle.objects.count() == 3


def test_what_is_kept_for_ever_stays(venue, settings):
    settings.KEEP_JOURNAL_DAYS = settings.KEEP_EVENTS_DAYS = settings.KEEP_SECOND_CANDLES_DAYS = None
    trade_for_long(venue, commands=40)
    before = counts()
    call_command("prune", "--yes")
    assert counts() == before


def test_one_at_a_time(venue):
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [retention.LOCK])
        with pytest.raises(CommandError, match="another process"):
            call_command("prune", "--yes")
    finally:
        other.close()


def test_a_connection_that_is_cut_is_told_in_a_line(venue, monkeypatch):
    """Between two transactions, where nothing closes the connection for us."""

    def cut(cutoff):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        yield 0

    journal = replace(retention.PARTS[0], prune=cut)
    monkeypatch.setattr(retention, "PARTS", (journal,))
    try:
        with pytest.raises(CommandError, match="^stopped: .*connection.* run it again"):
            call_command("prune", "journal", "--yes")
    finally:
        connection.close()


def test_the_table_says_what_may_go(venue, capsys):
    trade_for_long(venue, commands=40)
    call_command("prune")
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line and line[0] != "N"}
    assert set(rows) == {"part", *(part.name for part in retention.PARTS)}
    assert rows["journal"][1:3] == ["90", "days"] and int(rows["journal"][-1].replace(",", "")) > 20
    assert rows["imported"][1] == "ever" and "Nothing was deleted" in out
    with pytest.raises(CommandError) as error:
        call_command("prune", "trades")
    assert error.value.returncode == 2 and "journal" in str(error.value)
