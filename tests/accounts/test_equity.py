"""Snapshots of equity: what they count, how they follow each other, and what is read from them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import equity, portfolio, transfers, valuation
from accounts.models import EquitySnapshot
from marketdata import clock
from tests.locks import waiting_for_locks
from tests.patience import PATIENCE_SECONDS, soon, wait_until
from tests.venue import withdraw

V1 = "/api/v1/"
NOON = datetime(2030, 5, 15, 12, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """Sets the venue's clock: at(NOON)."""
    return lambda moment: monkeypatch.setattr(clock, "now", lambda: moment)


@pytest.fixture
def ann(venue):
    return venue.trader("ann", USD=1000)


def last(account) -> tuple[str, str]:
    row = EquitySnapshot.objects.filter(account=account).latest("taken_at")
    return str(int(row.equity)), str(int(row.paid_in))


def move(venue, amount: int) -> None:
    move_ = transfers.deposit if amount > 0 else withdraw
    move_(account=venue.accounts["ann"], asset=venue.assets["USD"], amount=Decimal(abs(amount)))


def test_a_snapshot_knows_equity_and_what_was_paid_in(venue, ann):
    venue.trader("bob", AAPL=10)
    venue.trader("eve")
    call_command("snapshot_equity")
    assert last(ann) == ("1000", "1000")
    assert not EquitySnapshot.objects.filter(account=venue.accounts["eve"]).exists(), "never held anything"
    assert last(venue.accounts["bob"]) == ("0", "0"), "nobody prices a share yet"
    venue.change("AAPL", maker_fee=0, taker_fee=0)
    venue.order("bob SELL 4 AAPL @ 100")
    venue.order("ann BUY 4 AAPL @ 100")
    move(venue, 500)
    move(venue, -200)
    venue.change("AAPL", price_band=None)
    venue.trader("cyd", USD=1000)
    venue.order("bob SELL 1 AAPL @ 150")
    venue.order("cyd BUY 1 AAPL @ 150")
    equity.take_snapshots()
    assert last(ann) == ("1500", "1300"), "four shares have gained 50 each"
    equity.take_snapshots()
    assert last(ann) == ("1500", "1300"), "nothing is counted twice"
    move(venue, -900)
    equity.take_snapshots()
    assert last(ann) == ("600", "400")


def test_a_snapshot_is_the_summarys_total(venue, ann):
    """Two shares of five are not settled."""
    venue.trader("bob", AAPL=10, BTC=1)
    venue.order("bob SELL 4 AAPL @ 100.37")
    venue.order("ann BUY 3 AAPL @ 100.37")
    venue.change("AAPL", settlement_days=2)
    venue.order("bob SELL 2 AAPL @ 99.11")
    venue.order("ann BUY 2 AAPL @ 99.11")
    equity.take_snapshots()
    usd = valuation.quote_asset("USD")
    for name in ("ann", "bob"):
        account = venue.accounts[name]
        found = portfolio.summary(account_id=account.pk, quote=usd)["total_value"]
        assert EquitySnapshot.objects.get(account=account).equity == Decimal(found)


def test_a_snapshots_prices_are_of_its_balances_moment(venue, ann, monkeypatch):
    """Ann buys at a new price between the look at the prices and the one at what she has."""
    venue.change("AAPL", maker_fee=0, taker_fee=0, price_band=None, reference_price=1)
    venue.trader("bob", AAPL=10)
    look = equity.load_pairs

    def look_and_trade():
        pairs = look()
        venue.order("bob SELL 10 AAPL @ 100")
        venue.order("ann BUY 10 AAPL @ 100")
        return pairs

    monkeypatch.setattr(equity, "load_pairs", look_and_trade)
    equity.take_snapshots()
    assert last(ann) == ("1000", "1000")
    monkeypatch.undo()
    equity.take_snapshots()
    assert last(ann) == ("1000", "1000")


def test_snapshots_come_each_hour_and_never_go_back(venue, ann, at):
    taken = []
    for minutes in (0, 20, 59, 60, 61, 30, 125):
        at(NOON + timedelta(minutes=minutes))
        taken.append(equity.take_when_due())
    assert taken == [1, 0, 0, 1, 0, 0, 1]
    at(NOON)
    equity.take_snapshots()
    moments = list(EquitySnapshot.objects.order_by("id").values_list("taken_at", flat=True))
    assert moments == sorted(moments) and len(set(moments)) == 4


async def test_one_process_takes_them(transactional_db, venue, ann, monkeypatch):
    monkeypatch.setattr(equity, "LOOK_SECONDS", 0.01)
    taken = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = equity.take_when_due

    def noticed() -> int:
        count = real()
        loop.call_soon_threadsafe(taken.set)
        return count

    monkeypatch.setattr(equity, "take_when_due", noticed)
    tasks = [asyncio.create_task(equity.run_snapshots()) for _ in range(2)]
    await soon(taken.wait())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await asyncio.to_thread(_count) == 1


def _count() -> int:
    try:
        return EquitySnapshot.objects.count()
    finally:
        connection.close()


@pytest.mark.parametrize(("days", "left"), [(1, [23, 24, 30]), (6, [23, 30])])
def test_after_a_while_one_a_day_is_kept(venue, ann, at, days, left):
    """Of the days, too, whose turn came while nothing ran."""
    start = (NOON - timedelta(days=equity.HOURLY_DAYS + days)).replace(hour=0)
    for hour in (0, 5, 23, 24, 30):
        at(start + timedelta(hours=hour))
        equity.take_snapshots()
    at(NOON)
    equity.take_snapshots()
    kept = [(row.taken_at - start) // timedelta(hours=1) for row in EquitySnapshot.objects.order_by("taken_at")]
    assert kept[:-1] == left


def test_two_at_once_take_turns(venue, ann, at, monkeypatch):
    """As a timer's command and the server at midnight: both would thin out the same day, and one would be undone."""
    start = (NOON - timedelta(days=equity.HOURLY_DAYS + 1)).replace(hour=0)
    for hour in (0, 5, 23):
        at(start + timedelta(hours=hour))
        equity.take_snapshots()
    seconds = count()
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(seconds=next(seconds)))
    look, others = equity.load_pairs, []

    def look_while_another_begins():
        pairs = look()
        if not others:
            others.append(pool.submit(_take))
            wait_until(lambda: others[0].done() or waiting_for_locks(), "the other one")
        return pairs

    monkeypatch.setattr(equity, "load_pairs", look_while_another_begins)
    with ThreadPoolExecutor(1) as pool:
        assert (equity.take_snapshots(), others[0].result(PATIENCE_SECONDS)) == (1, 1)
    assert EquitySnapshot.objects.count() == 3


def _take() -> int:
    try:
        return equity.take_snapshots()
    finally:
        connection.close()


LONG = """
INSERT INTO accounts_equitysnapshot (account_id, quote_id, taken_at, equity, paid_in, last_movement_id)
SELECT %s, (SELECT min(id) FROM marketdata_asset), %s - n * interval '1 hour', 1, 1, 0
FROM generate_series(1, 30000) AS n
"""


def test_thinning_out_reads_the_days_that_it_thins_out(venue, ann, at):
    """Once a day, however many snapshots there are by then."""
    at(NOON)
    with connection.cursor() as cursor:
        cursor.execute(LONG, [ann.pk, NOON - timedelta(days=1)])
        cursor.execute("ANALYZE accounts_equitysnapshot")
        with CaptureQueriesContext(connection) as asked:
            equity.take_snapshots()
            equity.take_snapshots()
        (thinned,) = [one["sql"] for one in asked if "DELETE FROM accounts_equitysnapshot" in one["sql"]]
        cursor.execute(f"EXPLAIN {thinned}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "taken_at" in plan and "Seq Scan on accounts_equitysnapshot" not in plan, plan


#: (equity and what was paid in over time, deepest fall, equity at the peak before it)
FALLS = [
    ([], 0, None),
    ([(100, 100)], 0, None),
    ([(100, 100), (150, 100), (120, 100), (160, 100), (150, 100)], 30, 150),
    ([(100, 100), (50, 50), (150, 150)], 0, None),
    ([(100, 100), (190, 200), (205, 200)], 10, 100),
    ([(100, 100), (0, 100)], 100, 100),
]


@pytest.mark.parametrize(("points", "fall", "equity_then"), FALLS)
def test_the_deepest_fall(points, fall, equity_then):
    assert equity.deepest_fall([(Decimal(a), Decimal(b)) for a, b in points]) == (fall, equity_then)


def put(account, moment: datetime, worth: int, paid_in: int = 1000, movement: int | None = None) -> None:
    newest = account.movements.latest("id").pk if movement is None else movement
    EquitySnapshot.objects.create(
        account=account, quote=valuation.quote_asset("USD"), taken_at=moment, equity=worth, paid_in=paid_in,
        last_movement_id=newest,
    )  # fmt: skip


#: (hours from midnight and equity of the snapshots, days since the first deposit, the day's profit)
TODAYS = [
    ([], 0, "0"),
    ([], 3, None),
    ([(-1, 900)], 3, "100"),
    ([(-30, 900), (-1, 950)], 3, "50"),
    ([(-1, 900), (0.001, 990)], 3, "10"),
    ([(-0.01, 900), (0.4, 990)], 3, "100"),
    ([(0.2, 990)], 3, "10"),
    ([(5, 990)], 3, None),
]


@pytest.mark.parametrize(("snapshots", "days", "profit"), TODAYS)
def test_the_days_profit(venue, at, snapshots, days, profit):
    cyd, midnight = venue.trader("cyd"), equity.midnight_before(NOON)
    at(NOON - timedelta(days=days))
    venue.trader("cyd", USD=1000)
    for hours, worth in snapshots:
        put(cyd, midnight + timedelta(hours=hours), worth)
    at(NOON)
    found = portfolio.summary(account_id=cyd.pk, quote=venue.assets["USD"])
    assert found["todays_pnl"] == profit


def test_the_days_profit_does_not_count_what_was_paid_in_since(venue, ann, at):
    put(ann, equity.midnight_before(NOON), 900)
    move(venue, 500)
    move(venue, -100)
    at(NOON)
    assert portfolio.summary(account_id=ann.pk, quote=venue.assets["USD"])["todays_pnl"] == "100"


def test_history_over_rest(api, at):
    ann = api.venue.accounts["ann"]
    for hours, worth in ((0, 1000), (0.5, 1010), (1, 1020), (2.9, 1030), (30, 1100)):
        put(ann, NOON + timedelta(hours=hours), worth)
    at(NOON + timedelta(hours=31))
    path = V1 + "portfolio/history/"
    found = api("GET", path).json
    assert (found["quote"], found["interval"]) == ("USD", "1h")
    assert [(point["time"][11:16], point["equity"], point["pnl"]) for point in found["points"]] == [
        ("12:00", "1010", "10"),
        ("13:00", "1020", "20"),
        ("14:00", "1030", "30"),
        ("18:00", "1100", "100"),
    ]
    daily = api("GET", path + "?interval=1d").json["points"]
    assert [(point["time"][8:10], point["equity"]) for point in daily] == [("15", "1030"), ("16", "1100")]
    assert api("GET", path + "?interval=1D").json["points"] == daily
    part = api("GET", path + "?start=2030-05-15T13:00:00Z&end=2030-05-15T15:00:00Z").json["points"]
    assert [point["equity"] for point in part] == ["1020", "1030"]
    assert api("GET", path, token=api.tokens["bob"]).json["points"] == []
    assert api("GET", path + "?interval=5m").status == api("GET", path + "?start=x").status == 400


def test_drawdown_in_the_metrics(api):
    for minute, (worth, paid_in) in enumerate([(1000, 1000), (1200, 1000), (900, 1000), (1900, 2000)]):
        put(api.venue.accounts["ann"], NOON + timedelta(minutes=minute), worth, paid_in)
    found = api("GET", V1 + "portfolio/metrics/").json
    assert (found["max_drawdown"], found["max_drawdown_percent"]) == ("300", "25")
