"""Scenarios: what a file means at a moment, and what is said of one that cannot be played."""

from math import log

import pytest

from exchange.simulator.scenario import Conditions, ScenarioError, built_in, duration, load, parse


def event(**terms) -> str:
    """One event, written as TOML."""
    lines = [f"{key} = {'true' if value is True else repr(value)}" for key, value in terms.items()]
    return "\n".join(["[[event]]", *lines])


def at(text: str, *moments: float, symbol: str = "AAPL", before: float | None = None) -> list[Conditions]:
    scenario = parse(text)
    return [scenario.conditions(symbol, moment - 0.5 if before is None else before, moment) for moment in moments]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("1h30m", 5400), ("2m", 120), ("1h1m1.5s", 3661.5), (0, 0)],
)
def test_durations(written, seconds):
    assert duration(written) == seconds


@pytest.mark.parametrize("written",
    ["", "90", "1 h", "s", "-1s", "1s1m", -1, True, None, [], float("nan"), float("inf")],
)
def test_what_is_no_duration(written):
    with pytest.raises((ValueError, TypeError)):
        duration(written)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(at="1m", action="halt", duration="1m")], {59: None, 60: "HALTED", 119: "HALTED", 120: "OPEN"}),
        ([event(at=10, action="cancel_only")], {9: None, 10: "CANCEL_ONLY", 9999: "CANCEL_ONLY"}),
        (
            [event(at=10, action="halt"), event(at=20, action="cancel_only"), event(at=30, action="reopen")],
            {15: "HALTED", 20: "CANCEL_ONLY", 30: "OPEN", 500: "OPEN"},
        ),
        (
            [event(at=10, action="halt", duration=5, every=60)],
            {9: None, 12: "HALTED", 15: "OPEN", 69: "OPEN", 70: "HALTED", 74: "HALTED", 75: "OPEN"},
        ),
        ([event(at=10, action="halt", markets=["MSFT"])], {20: None}),
        ([event(at=10, action="halt", markets=["aapl"])], {20: "HALTED"}),
    ],
    ids=["a minute", "for good", "in stages", "again and again", "elsewhere", "any case"],
)
def test_status(events, expected):
    text = "\n".join(events)
    assert {moment: one.status for moment, one in zip(expected, at(text, *expected), strict=True)} == expected


@pytest.mark.parametrize(
    ("before", "now", "jumps"), [(0, 0.5, 0), (9.5, 10, 1), (10, 10.5, 0), (9, 31, 2), (29.5, 30, 1), (0, 1000, 50)]
)
def test_news_come_once_each_time(before, now, jumps):
    text = event(at=10, action="news", size=0.01, every=20)
    assert at(text, now, before=before)[0].jump == pytest.approx(jumps * log(1.01))


def test_news_at_the_start_belong_to_the_first_step():
    assert [one.jump for one in at(event(at=0, action="news", size=-0.5), 0.5, 1.0)] == pytest.approx([log(0.5), 0])


def test_a_flash_crash_falls_and_comes_back():
    text = event(at=100, action="flash_crash", size=-0.1, duration=50)
    found = at(text, 99, 100, 105, 110, 130, 149, 150)
    assert [round(one.displacement / log(0.9), 3) for one in found] == [0, 0, 0.5, 1, 0.25, 0.001, 0]
    assert [one.pressure for one in found] == [0, -1, -1, 0, 0, 0, 0]
    assert [one.spread_factor > 1 > one.depth_factor for one in found] == [False, *[True] * 5, False]


def test_what_overlaps_multiplies():
    text = "\n".join([
        event(at=0, action="widen", factor=2, depth=0.5, duration=10),
        event(at=5, action="widen", factor=3, duration=10),
        event(at=5, action="volatility", factor=4.0, duration=10),
        event(at=8, action="outage", duration=1),
    ])  # fmt: skip
    early, middle, blind, late, after = at(text, 1, 6, 8, 12, 20)
    assert (early.spread_factor, early.depth_factor, early.volatility_factor) == (2, 0.5, 1)
    assert (middle.spread_factor, middle.depth_factor, middle.volatility_factor) == (6, 0.5, 4)
    assert blind.is_blind and blind.spread_factor > 6 and not middle.is_blind
    assert (late.spread_factor, late.depth_factor) == (3, 1)
    assert after == Conditions()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = \n", "(at line 1, column 9)"),
        ("speed = 3", "line 1, speed is not known here"),
        ("title = 3", "line 1, title must be text"),
        ('seed = "x"', "line 1, seed must be a whole number"),
        ("event = 3", "line 1, event must be written [[event]]"),
        (event(at=1, action="explode"), "line 3, event 1, action must be one of halt"),
        (event(at=1), "line 1, event 1, action must be one of"),
        (event(action="halt"), "line 1, event 1, at is missing: halt needs it"),
        (event(at="soon", action="halt"), "line 2, event 1, at must be a time such as 90"),
        (event(at=-1, action="halt"), "event 1, at must be a time"),
        (event(at=1, action="halt", size=0.1), "line 4, event 1, size has no meaning for halt"),
        (event(at=1, action="news"), "event 1, size is missing: news needs it"),
        (event(at=1, action="news", size=0), "line 4, event 1, size must be a part of the price"),
        (event(at=1, action="news", size=-1), "size must be a part of the price between -0.9 and 9"),
        (event(at=1, action="news", size="big"), "size must be a part of the price"),
        (event(at=1, action="widen", factor=0, duration=5), "factor must be a number from 0.1 to 100"),
        (event(at=1, action="widen", factor=2, duration=5, depth=0), "depth must be a number above 0"),
        (event(at=1, action="outage", duration=0), "duration must be a time"),
        (event(at=1, action="outage", duration=True), "duration must be a time"),
        (event(at=1, action="halt", duration=60, every=60), "line 5, event 1, every must be longer than the duration"),
        (event(at=1, action="halt", markets="AAPL"), "line 4, event 1, markets must be a list of symbols"),
        (event(at=1, action="halt", markets=[]), "markets must be a list of symbols"),
        (f"# first\n{event(at=1, action='halt')}\n\n{event(at=2, action='halt', colour=1)}", "line 9, event 2, colour"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, said):
    with pytest.raises(ScenarioError) as caught:
        parse(text, source="day.toml")
    assert str(caught.value).startswith("day.toml: ")
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ScenarioError) as caught:
        parse("\n".join([event(at="x", action="halt"), event(at=1, action="news"), "speed = 1"]))
    assert len(str(caught.value).splitlines()) == 3


def test_no_file_of_that_name_tells_which_there_are(tmp_path):
    with pytest.raises(ScenarioError, match="bad_day, circuit_breaker, feed_outage, flash_crash, halted_minute"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", built_in())
def test_what_comes_along_can_be_played(name):
    scenario = load(name)
    assert scenario.title and scenario.events
    moments = range(0, 3600, 5)
    symbols = scenario.symbols() or {"AAPL"}
    assert any(scenario.conditions(symbol, now - 5, now) != Conditions() for symbol in symbols for now in moments)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('title = "Mine"\nseed = 4\n' + event(at=1, action="halt"))
    scenario = load(path)
    assert (scenario.title, scenario.seed, len(scenario.events)) == ("Mine", 4, 1)
