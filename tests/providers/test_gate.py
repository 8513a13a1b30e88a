"""Ticks in, prices or reasons out."""

from datetime import timedelta
from decimal import Decimal

import pytest

from marketdata.gate import REASONS, Believed, Gate, Source
from marketdata.providers.protocol import Garbled, Tick, moment, number, parse_json
from tests.providers.clocks import START


def source(**changes) -> Source:
    terms = {"spread": Decimal("0.001"), "band": Decimal("0.1"), "tick_size": Decimal("0.01"), **changes}
    return Source(market_id=1, symbol="AAPL", provider="ALLTICK", provider_symbol="AAPL.US", **terms)


def tick(bid=None, ask=None, last=None, *, seconds: float = 0) -> Tick:
    bid, ask, last = (None if text is None else Decimal(text) for text in (bid, ask, last))
    at = START + timedelta(seconds=seconds)
    return Tick("AAPL.US", bid, ask, last, at, at)


def opened(price: str = "100", **changes) -> Gate:
    """A gate that has believed this price a second before START."""
    at = START - timedelta(seconds=1)
    return Gate(source(**changes), Believed(Decimal(price), Decimal(price), Decimal(price), at, at))


def test_a_price_of_a_clock_that_was_put_back_holds_up_no_tick():
    at, price = START + timedelta(hours=1), Decimal(100)
    gate = Gate(source(), Believed(price, price, price, at, at))
    assert gate.check(tick(last="101"), START).mid == 101
    assert gate.check(tick(last="102", seconds=-1), START) == "backwards"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (tick(), "no_price"),
        (tick(bid="100"), "no_price"),
        (tick(last="NaN"), "nan"),
        (tick(last="sNaN"), "nan"),
        (tick(bid="100", ask="Infinity"), "nan"),
        (tick(last="0"), "not_positive"),
        (tick(last="-0.0"), "not_positive"),
        (tick(bid="-1", ask="100"), "not_positive"),
        (tick(bid="99", ask="101", last="0"), "not_positive"),
        (tick(last="1e25"), "out_of_range"),
        (tick(last="1e-25"), "out_of_range"),
        (tick(bid="100.01", ask="100"), "crossed"),
        (tick(bid="90", ask="110"), "too_wide"),
        (tick(last="100", seconds=11), "from_the_future"),
        (tick(last="101", seconds=-2), "backwards"),
        (tick(last="100", seconds=-1), "duplicate"),
        (tick(last="110.01"), "out_of_band"),
        (tick(last="89.99"), "out_of_band"),
    ],
)
def test_what_is_refused_and_why(bad, reason):
    gate = opened()
    before = gate.last
    assert gate.check(bad, START) == reason
    assert reason in REASONS
    assert gate.last is before


@pytest.mark.parametrize(
    ("good", "bid", "ask"),
    [
        (tick(last="100"), "99.95", "100.05"),
        (tick(last="110"), "109.94", "110.06"),
        (tick(last="90"), "89.95", "90.05"),
        (tick(bid="99.99", ask="100.01"), "99.95", "100.05"),
        (tick(bid="99", ask="101"), "99", "101"),
        (tick(bid="98.999", ask="101.001"), "98.99", "101.01"),
        (tick(bid="100", ask="100", last="5"), "99.95", "100.05"),
        (tick(last="100.5", seconds=10), "100.44", "100.56"),
        (tick(last="100.1", seconds=-1), "100.04", "100.16"),
    ],
)
def test_what_passes_gets_the_spread_and_the_tick(good, bid, ask):
    found = opened().check(good, START)
    assert (found.bid, found.ask) == (Decimal(bid), Decimal(ask))
    assert found.mid == (found.bid + found.ask) / 2


def test_a_price_too_small_for_the_markets_tick():
    assert opened("0.006").check(tick(last="0.006"), START) == "out_of_range"


def test_a_first_price_needs_a_second_one_that_agrees():
    gate = Gate(source())
    answers = [
        gate.check(tick(last=last, seconds=n), START + timedelta(seconds=9))
        for n, last in enumerate(["5000", "100", "100.1"])
    ]
    assert answers[:2] == ["unconfirmed", "unconfirmed"]
    assert answers[2].mid == Decimal("100.1")


def test_the_same_first_tick_twice_confirms_nothing():
    gate = Gate(source())
    assert [gate.check(tick(last="100"), START) for _ in range(3)] == ["unconfirmed"] * 3


def test_a_real_jump_is_believed_after_five_ticks_over_half_a_minute():
    gate = opened()
    answers = [gate.check(tick(last="150", seconds=n * 10), START + timedelta(seconds=n * 10)) for n in range(5)]
    assert answers[:4] == ["out_of_band"] * 4
    assert answers[4].mid == 150


def test_many_wrong_ticks_in_a_short_time_are_not_a_jump():
    gate = opened()
    moments = [START + timedelta(seconds=n / 10) for n in range(200)]
    answers = [gate.check(tick(last="150", seconds=n / 10), now) for n, now in enumerate(moments)]
    assert set(answers) == {"out_of_band"}


def test_spikes_in_between_don_t_add_up_to_a_jump():
    gate = opened()
    for n in range(100):
        now = START + timedelta(seconds=n * 10)
        assert isinstance(gate.check(tick(last="100", seconds=n * 10), now), Believed)
        assert gate.check(tick(last="150", seconds=n * 10 + 1), now) == "out_of_band"


def test_after_a_long_silence_two_agreeing_ticks_do():
    gate, later = opened(), 3600
    now = START + timedelta(seconds=later + 1)
    assert gate.check(tick(last="150", seconds=later), now) == "unconfirmed"
    assert gate.check(tick(last="150.1", seconds=later + 1), now).mid == Decimal("150.1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("187.50", "187.50"),
        (187, "187"),
        (Decimal("0.1"), "0.1"),
        ("1e3", "1E+3"),
        ("", None),
        (None, None),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_numbers_as_providers_write_them(written, read):
    found = number(written)
    assert (None if found is None else str(found)) == read


@pytest.mark.parametrize("nonsense", ["1_000", "٣", "12,5", "0x10", True, [], {}, "1e99999", "--1", 1.5])
def test_what_is_no_number(nonsense):
    with pytest.raises(Garbled):
        number(nonsense)


def test_json_keeps_the_digits():
    body = parse_json('{"price": 0.1000000000000000055511151231257827, "bad": NaN}')
    assert str(body["price"]) == "0.1000000000000000055511151231257827"
    assert body["bad"].is_nan()


@pytest.mark.parametrize("text", ["{", '{"price": 1e99999999999999999999}', "[" * 100_000])
def test_what_is_no_json(text):
    with pytest.raises(Garbled):
        parse_json(text)


@pytest.mark.parametrize("written", [1786000000, "1786000000", 1786000000000, "1786000000000", Decimal("1786000000")])
def test_seconds_and_milliseconds(written):
    assert moment(written).timestamp() == 1786000000


@pytest.mark.parametrize("nonsense", [None, "", "noon", 10**30, "NaN", Decimal("1e9999999")])
def test_what_is_no_time(nonsense):
    with pytest.raises(Garbled):
        moment(nonsense)
