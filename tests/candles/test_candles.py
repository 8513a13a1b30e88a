"""Candles equal an independent recomputation from the tape, at every interval, whatever the clock did."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from itertools import product
from random import Random

import pytest
from django.core.management import call_command
from django.db import connection

from exchange import candle_proof
from marketdata import candles
from marketdata.candle_intervals import INTERVALS
from marketdata.markets import by_symbol
from marketdata.models import Candle, Market
from tests.candles import plain
from tests.candles.sessions import Clock, fund, random_session, tape, trade
from tests.streams.support import OtherProcess


def read(symbol="AAPL", interval="1m", **wanted) -> list[dict]:
    rows = candles.page(market_id=by_symbol(symbol).id, interval=INTERVALS[interval], **wanted)
    return [candles.shown(row) for row in rows]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bars(rows: list[dict]) -> list[str]:
    """`hh:mm open high low close volume trades` of each candle."""
    names = ("open", "high", "low", "close", "volume", "trades")
    return [f"{row['open_time'][11:16]} " + " ".join(str(row[name]) for name in names) for row in rows]


# The whole against plain code


@pytest.mark.parametrize("seed", [1, 2])
def test_every_interval_equals_the_tape_recomputed(venue, monkeypatch, seed):
    random_session(venue, Clock(monkeypatch), seed=seed, orders=250)
    for symbol in ("AAPL", "BTC_USDT"):
        trades = tape(symbol)
        assert len(trades) > 30
        for interval in plain.NAMES:
            assert read(symbol, interval, limit=candles.MAX_LIMIT) == plain.candles(trades, interval), interval
        assert candle_proof.first_difference(by_symbol(symbol).id) is None


def test_all_intervals_of_the_contract_are_there():
    assert list(INTERVALS) == plain.NAMES


@pytest.mark.parametrize("interval", plain.NAMES)
def test_borders_equal_the_calendar_and_the_database(db, interval):
    random, known = Random(interval), INTERVALS[interval]
    moments = [at("2000-01-01") + timedelta(seconds=random.uniform(0, 2e9)) for _ in range(50)]
    edges = product(("2024-02-29", "2023-12-31", "2024-12-30"), ("00:00", "23:59"))
    moments += [at(f"{day}T{time}") for day, time in edges]
    for moment in moments:
        opened = known.floor(moment)
        assert opened == plain.opens(moment, interval)
        assert known.floor(known.after(opened) - timedelta(microseconds=1)) == opened
        assert known.after(known.after(opened, 7), -7) == known.ceiling(opened) == opened
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {known.floor_sql('t')} FROM unnest(%s::timestamptz[]) AS t", [moments])
        assert [row[0] for row in cursor] == [known.floor(moment) for moment in moments]


BORDERS = [
    # two trades a moment apart, and the two candles they open
    ("1d", "2028-02-28T23:59:59.999999", "2028-02-29T00:00:00", "2028-02-28", "2028-02-29"),
    ("1d", "2027-02-28T23:59:59.999999", "2027-03-01T00:00:00", "2027-02-28", "2027-03-01"),
    ("1M", "2028-02-29T23:59:59.999999", "2028-03-01T00:00:00", "2028-02-01", "2028-03-01"),
    ("1M", "2027-12-31T23:59:59.999999", "2028-01-01T00:00:00", "2027-12-01", "2028-01-01"),
    ("1w", "2028-01-02T23:59:59.999999", "2028-01-03T00:00:00", "2027-12-27", "2028-01-03"),
    ("3d", "2027-12-30T23:59:59.999999", "2027-12-31T00:00:00", "2027-12-28", "2027-12-31"),
]


def test_borders_divide(venue, monkeypatch):
    fund(venue)
    for moment, price in {moment: n for n, border in enumerate(BORDERS) for moment in border[1:3]}.items():
        Clock(monkeypatch, at(moment))
        trade(venue, 100 + price)
    for interval, _, after, first, second in BORDERS:
        rows = read(interval=interval, start=at(first), end=at(after))
        assert [row["open_time"][:10] for row in rows if row["open_time"] >= first] == [first, second], interval


def test_two_processes_fold_into_the_same_candles(venue):
    fund(venue)
    ann, bob = venue.accounts["ann"].id, venue.accounts["bob"].id
    with OtherProcess() as other:
        for n in range(12):
            other.order(ann, f"SELL 2 AAPL @ {100 + n % 5}")
            venue.order(f"cyd BUY 1 AAPL @ {100 + n % 5}")
            other.order(bob, f"BUY 1 AAPL @ {100 + n % 5}")
    trades = tape("AAPL")
    assert len(trades) == 24
    for interval in plain.NAMES:
        assert read(interval=interval, limit=candles.MAX_LIMIT) == plain.candles(trades, interval), interval


# Order decides, not time


def test_a_clock_that_turns_back_puts_a_later_trade_into_an_older_candle(venue, monkeypatch):
    fund(venue)
    hands = Clock(monkeypatch, at("2030-05-01T10:00:30"))
    trade(venue, 100)
    hands.move(minutes=1)
    trade(venue, 101)
    hands.move(seconds=-65)
    trade(venue, 102)
    hands.move(seconds=-20)
    trade(venue, 99)
    assert bars(read()) == ["10:00 100 102 99 99 3 3", "10:01 101 101 101 101 1 1"]
    assert bars(read(interval="1h")) == ["10:00 100 102 99 99 4 4"]
    assert candle_proof.first_difference(by_symbol("AAPL").id) is None


def test_fold_and_merge_do_not_depend_on_the_order_of_their_parts():
    random, start = Random(5), at("2030-01-01T00:59:58")
    trades = [
        (random.choice([1, 2]), n, random.randint(90, 110), random.randint(1, 9), n * 7, moment)
        for n, moment in enumerate(start + timedelta(seconds=n % 5) for n in range(60))
    ]
    whole = {(r.market_id, r.interval_seconds, r.open_second): r for r in candles.fold(trades)}
    random.shuffle(trades)
    parts = {}
    for part in (trades[:20], trades[20:25], trades[25:]):
        for row in candles.fold(part):
            key = (row.market_id, row.interval_seconds, row.open_second)
            if key in parts:
                parts[key].add(row)
            else:
                parts[key] = row
    assert parts == whole and len(whole) == 2 * (5 + 2 + 2 + 1)


def test_one_batch_in_one_market_is_four_rows():
    now = at("2030-01-01")
    rows = candles.fold([(1, n, 100, 1, 100, now) for n in range(100)])
    assert [(row.interval_seconds, row.trades) for row in rows] == [(1, 100), (60, 100), (3600, 100), (86400, 100)]


# Pages


@pytest.fixture
def spread(venue, monkeypatch):
    """Trades in minutes 0, 1, 4 and 7 after ten o'clock; the clock stands in minute 9."""
    fund(venue)
    hands = Clock(monkeypatch, at("2030-05-01T10:00:30"))
    for minutes, price in ((0, 100), (1, 101), (3, 102), (3, 103)):
        hands.move(minutes=minutes)
        trade(venue, price)
    hands.move(minutes=2)


PAGES = [
    ({}, "10:00 10:01 10:04 10:07"),
    ({"limit": 2}, "10:04 10:07"),
    ({"end": "10:04"}, "10:00 10:01 10:04"),
    ({"end": "10:04:59", "limit": 1}, "10:04"),
    ({"start": "10:01"}, "10:01 10:04 10:07"),
    ({"start": "10:00:00.000001", "limit": 2}, "10:01 10:04"),
    ({"start": "10:02", "end": "10:04"}, "10:04"),
    ({"start": "10:05", "end": "10:04"}, ""),
    ({"start": "10:08"}, ""),
    ({"interval": "3m", "limit": 2}, "10:03 10:06"),
    ({"interval": "3m", "start": "10:00", "limit": 2}, "10:00 10:03"),
    ({"interval": "3m", "start": "10:01", "end": "10:05"}, "10:03"),
    ({"fill": True}, "10:00 10:01 10:02 10:03 10:04 10:05 10:06 10:07 10:08 10:09"),
    ({"fill": True, "limit": 3}, "10:07 10:08 10:09"),
    ({"fill": True, "start": "10:02", "limit": 2}, "10:02 10:03"),
    ({"fill": True, "start": "09:58", "end": "10:01"}, "10:00 10:01"),
    ({"fill": True, "start": "09:58", "limit": 2}, "10:00 10:01"),
    ({"fill": True, "start": "00:00", "limit": 3}, "10:00 10:01 10:02"),
    ({"fill": True, "start": "09:00", "end": "10:02", "limit": 9}, "10:00 10:01 10:02"),
    ({"fill": True, "start": "09:00", "end": "09:59"}, ""),
    ({"fill": True, "start": "10:05", "end": "10:04"}, ""),
    ({"fill": True, "interval": "3m", "start": "00:00", "limit": 2}, "10:00 10:03"),
    ({"fill": True, "interval": "3m"}, "10:00 10:03 10:06 10:09"),
    ({"fill": True, "interval": "1M", "start": "10:00"}, ""),
    ({"fill": True, "interval": "1M"}, "00:00"),
]


def test_pages(spread):
    for wanted, times in PAGES:
        moments = {name: at(f"2030-05-01T{wanted[name]}") for name in ("start", "end") if name in wanted}
        assert " ".join(row["open_time"][11:16] for row in read(**(wanted | moments))) == times, wanted
    # gaps carry the close before them
    assert bars(read(fill=True, start=at("2030-05-01T10:02"), limit=3)) == [
        "10:02 101 101 101 101 0 0",
        "10:03 101 101 101 101 0 0",
        "10:04 102 102 102 102 1 1",
    ]
    # a market that never traded has no candles, even filled
    assert read("BTC_USDT") == read("BTC_USDT", fill=True) == read("BTC_USDT", fill=True, start=at("2020-01-01")) == []
    # moments far away are only far away
    for interval, moment in product(("1s", "1w", "1M"), ("0001-01-01", "1969-12-31", "9999-12-31T23:59:59")):
        for wanted in ({"start": at(moment)}, {"end": at(moment)}, {"start": at(moment), "end": at(moment)}):
            for fill in (False, True):
                assert len(read(interval=interval, fill=fill, limit=5, **wanted)) <= 5
    # nor do they cut the page short
    assert len(read(fill=True, start=at("1969-12-31"), limit=5)) == 5


def test_seconds_are_filled_where_the_1s_candles_before_them_are_no_longer_kept(venue, monkeypatch):
    """From the last minute on whose seconds are not known; never as if nothing had been traded in them."""
    fund(venue)
    hands = Clock(monkeypatch, at("2030-05-01T10:00:10"))
    for seconds, price in ((0, 100), (10, 101), (170, 102), (5, 103)):
        hands.move(seconds=seconds)  # 10:00:10 10:00:20 10:03:10 10:03:15
        trade(venue, price)
    hands.move(seconds=3)

    def filled(**wanted) -> list[str]:
        moments = {name: at(f"2030-05-01T{wanted[name]}") for name in ("start", "end") if name in wanted}
        rows = read(interval="1s", fill=True, **(wanted | moments))
        return [f"{row['open_time'][11:19]} {row['close']} {row['trades']}" for row in rows]

    seconds = Candle.objects.filter(interval_seconds=1)
    seconds.filter(open_time__lt=at("2030-05-01T10:03")).delete()
    assert filled(limit=9) == filled(start="10:03:10")
    assert filled(start="10:00:15", limit=2) == ["10:01:00 101 0", "10:01:01 101 0"]
    assert filled(start="10:03:09", limit=3) == ["10:03:09 101 0", "10:03:10 102 1", "10:03:11 102 0"]
    seconds.filter(open_time__lt=at("2030-05-01T10:03:12")).delete()
    kept = ["10:03:15 103 1", "10:03:16 103 0", "10:03:17 103 0", "10:03:18 103 0"]
    assert filled() == filled(start="10:00:15") == filled(start="10:03:12") == kept
    seconds.delete()
    assert filled() == []
    hands.move(seconds=50)
    assert filled(limit=2) == ["10:04:07 103 0", "10:04:08 103 0"]
    for start in ("09:00:00", "10:03:30", "10:04:00"):
        assert filled(start=start, limit=2) == ["10:04:00 103 0", "10:04:01 103 0"]
    assert filled(start="10:04:02", end="10:04:02") == ["10:04:02 103 0"]
    assert filled(start="10:03:30", end="10:03:59") == []
    trade(venue, 104)
    assert filled(limit=2) == ["10:04:07 103 0", "10:04:08 104 1"]
    assert filled(end="10:04:01", limit=3) == ["10:04:00 103 0", "10:04:01 103 0"]


# Rebuilding


def command(*arguments) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("rebuild_candles", *arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


DAMAGES = [
    "UPDATE marketdata_candle SET close = close + 0.01 WHERE interval_seconds = 60",
    "UPDATE marketdata_candle SET quote_volume = quote_volume + 0.00000001 WHERE interval_seconds = 86400",
    "UPDATE marketdata_candle SET last_trade_id = last_trade_id + 1 WHERE interval_seconds = 1",
    "DELETE FROM marketdata_candle WHERE interval_seconds = 3600",
    "INSERT INTO marketdata_candle (market_id, interval_seconds, open_time, open, high, low, close, volume,"
    " quote_volume, trades, first_trade_id, last_trade_id) SELECT market_id, 60, open_time - interval '1 day', open,"
    " high, low, close, volume, quote_volume, trades, first_trade_id, last_trade_id FROM marketdata_candle"
    " WHERE interval_seconds = 86400",
    "DELETE FROM marketdata_candle",
]


def test_the_check_finds_any_damage_and_the_rebuild_mends_it(venue, monkeypatch):
    random_session(venue, Clock(monkeypatch), seed=3, orders=60)
    before = {name: read(interval=name, limit=candles.MAX_LIMIT) for name in INTERVALS}
    assert command("--check")[0] == 0
    for damage in DAMAGES:
        with connection.cursor() as cursor:
            cursor.execute(damage)
        code, text = command("--check", "--market", "aapl")
        assert (code, "differs" in text, "BTC_USDT" in text) == (1, True, False), damage
        assert command()[0] == command("--check")[0] == 0
    assert {name: read(interval=name, limit=candles.MAX_LIMIT) for name in INTERVALS} == before


def test_trading_goes_on_from_rebuilt_candles(venue):
    fund(venue)
    trade(venue, 100)
    candle_proof.rebuild(Market.objects.get(symbol="AAPL").id)
    trade(venue, 101, quantity=3)
    assert sum(Decimal(row["volume"]) for row in read(interval="1d")) == 4
    assert command("--check")[0] == 0
