"""Tickers equal a recomputation from the tape, and are never older than the last answer."""

from decimal import Decimal
from random import Random
from threading import Thread

import pytest

import exchange.tickers
from exchange import barrier, reading
from exchange.depth import Delta
from exchange.tickers import Board, board
from marketdata import tickers
from marketdata.candles import Folded
from marketdata.markets import by_symbol
from marketdata.models import Asset
from tests.candles import plain
from tests.candles.sessions import START, Clock, fund, random_session, tape, trade


def read(symbol="AAPL") -> dict:
    return board.read([by_symbol(symbol)])[0]


def figures(ticker: dict, names: str) -> str:
    return " ".join(str(ticker[name]) for name in names.split())


@pytest.mark.parametrize("seed", [1, 2])
def test_figures_equal_the_tape_recomputed_all_along(venue, monkeypatch, seed):
    hands = Clock(monkeypatch)
    for part in range(6):
        random_session(venue, hands, seed=seed * 100 + part, orders=25)
        if part == 3:
            board.forget()
        for symbol in ("AAPL", "BTC_USDT"):
            expected = plain.day(tape(symbol), hands.moment)
            assert {name: read(symbol)[name] for name in expected} == expected


def test_minutes_leave_the_window_after_a_day(venue, monkeypatch):
    hands = Clock(monkeypatch, START.replace(hour=10, minute=0, second=30))
    fund(venue)
    trade(venue, 100, quantity=5)
    hands.move(minutes=1)
    trade(venue, 104, quantity=2)
    names = "open high low last volume trades change change_percent"
    assert figures(read(), names) == "100 104 100 104 7 2 4 4"
    hands.move(hours=24, seconds=-61)
    assert figures(read(), names) == "100 104 100 104 7 2 4 4"
    hands.move(seconds=31)
    assert figures(read(), names) == "104 104 104 104 2 1 0 0"
    hands.move(minutes=2)
    assert figures(read(), names) == "104 104 104 104 0 0 0 0"
    board.forget()
    assert figures(read(), names) == "104 104 104 104 0 0 0 0"
    hands.move(hours=-1)  # it was an hour fast
    assert figures(read(), names) == "100 104 100 104 7 2 4 4"
    hands.move(hours=1)
    assert figures(read(), names) == "104 104 104 104 0 0 0 0"
    hands.move(hours=-1)
    assert figures(read(), names) == "100 104 100 104 7 2 4 4"


def test_best_prices_and_the_exact_middle(venue):
    fund(venue)
    assert figures(read(), "last bid ask mid open change change_percent volume") == "None " * 7 + "0"
    venue.order("ann BUY 1 AAPL @ 99.99")
    assert figures(read(), "bid ask mid") == "99.99 None None"
    venue.order("bob SELL 1 AAPL @ 100.02")
    assert figures(read(), "bid ask mid sequence updated_at") == "99.99 100.02 100.005 2 None"
    venue.order("cyd BUY 1 AAPL @ 100.02")
    assert figures(read(), "last bid ask mid sequence") == "100.02 99.99 None None 3"


PERCENTS = [(1, 3, "33.3333"), (2, 3, "66.6667"), (-1, 3, "-33.3333"), (0, 5, "0"), (1, 2_000_000, "0.0001")]


@pytest.mark.parametrize("part, whole, text", [*PERCENTS, (-1, 2_000_000, "-0.0001")])
def test_percent(part, whole, text):
    assert tickers.percent(part, whole) == text


def test_batches_may_come_twice_and_out_of_order(venue):
    """A board that hears everything, shuffled, counts each trade once."""
    spec, heard = by_symbol("AAPL"), []
    listener = heard.append
    fund(venue)
    read()
    reading.listeners.append(listener)
    try:
        other = Board()
        other.read([spec])
        for n in range(30):
            trade(venue, 100 + n % 7, quantity=1 + n)
    finally:
        reading.listeners.remove(listener)
    Random(4).shuffle(heard)
    for delta in heard + heard[:10]:
        other.take(Delta(*delta.message()))
    assert other.states[spec.id].sequence == 60 and not other.states[spec.id].held
    assert other.shown(spec) == read()


@pytest.mark.parametrize(("reader", "reload_sequences"), [("missed", 5_000), ("load", 0)])
def test_what_is_heard_while_the_tape_is_read_is_counted_too(venue, monkeypatch, reader, reload_sequences):
    """It comes after what is being read, and the next batches only connect to it."""
    spec, real = by_symbol("AAPL"), getattr(exchange.tickers, reader)
    fund(venue)
    other = Board()
    other.read([spec])
    for price in (100, 103):
        trade(venue, price)

    def slow(*args):
        found = real(*args)
        trade(venue, 101)
        return found

    monkeypatch.setattr(reading, "listeners", [*reading.listeners, other.take])
    with monkeypatch.context() as patch:
        patch.setattr(exchange.tickers, reader, slow)
        patch.setattr(exchange.tickers, "RELOAD_SEQUENCES", reload_sequences)
        other.reach([spec], {spec.id: 4})
    trade(venue, 102)
    assert (other.states[spec.id].sequence, other.states[spec.id].held) == (8, {})
    assert other.shown(spec) == read()


@pytest.mark.parametrize(
    ("edited", "price", "quantity"),
    [
        ({"tick_size": "0.05"}, "100.05", 1),
        ({"tick_size": "0.005"}, "100.005", 1),
        ({"lot_size": "10"}, "100", 10),
        ({"lot_size": "0.5"}, "100", "0.5"),
    ],
)
def test_tick_and_lot_that_were_edited_before_the_first_order(venue, caplog, edited, price, quantity):
    """Whatever was counted in the old ones by then."""
    fund(venue)
    Asset.objects.filter(symbol__in=["AAPL", "USD"]).update(decimals=6)
    read()
    venue.change("AAPL", **{name: Decimal(value) for name, value in edited.items()})
    for _ in range(2):
        trade(venue, price, quantity)
        assert read() == Board().read([by_symbol("AAPL")])[0]
    assert read()["last"] == price and not caplog.records


def test_what_was_never_heard_is_taken_from_the_tape(venue, monkeypatch):
    fund(venue)
    deaf = Board()
    deaf.read([by_symbol("AAPL")])
    for n in range(5):
        trade(venue, 100 + n)
    assert deaf.read([by_symbol("AAPL")])[0] == read()
    monkeypatch.setattr("exchange.tickers.RELOAD_SEQUENCES", 1)
    trade(venue, 99, quantity=9)
    assert deaf.read([by_symbol("AAPL")])[0] == read()
    assert figures(read(), "last trades volume") == "99 6 14"


def test_a_read_after_the_answer_sees_the_trade_while_others_trade(venue):
    """Readers and traders side by side: no ticker lacks what was answered before it was asked for."""
    fund(venue)
    seen = []

    def look():
        for _ in range(40):
            answered = barrier.view(by_symbol("AAPL")).sequence
            seen.append((answered, read()["sequence"]))

    readers = [Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(20):
        trade(venue, 100 + n)
        assert figures(read(), "trades last") == f"{n + 1} {100 + n}"
    for reader in readers:
        reader.join()
    assert len(seen) == 80 and all(sequence >= answered for answered, sequence in seen)


def test_a_window_equals_its_minutes_summed_anew():
    random, window, rows = Random(9), tickers.Window(), []
    for n in range(3_000):
        minute = max(0, n // 2 + random.choice([0, 0, 0, -1, -3]))
        price, quantity = random.randint(90, 110), random.randint(1, 5)
        sums = quantity, price * quantity, 1, n, n
        rows.append((minute, n, price, quantity))
        window.add(Folded(1, 60, minute * 60, price, price, price, price, *sums))
        if n % 50 == 0:
            now = n // 2
            counted = [row[1:] for row in rows if row[0] >= now - 1440]
            total = window.total(now)
            assert (total.open, total.close) == (counted[0][1], counted[-1][1])
            assert total.high == max(price for _, price, _ in counted)
            assert total.volume == sum(quantity for _, _, quantity in counted)
            assert total.trades == len(counted)
    assert len(window.minutes) <= 1_445
