"""Bad days on file: a TOML file schedules halts, crashes, news and outages, so that they can be replayed exactly.

    title = "A flash crash at lunch"

    [[event]]
    at = "2m"                  # from the start of the simulation, in simulated time; seconds when a plain number
    action = "flash_crash"
    markets = ["BTC_USDT"]     # all simulated markets when left out
    size = -0.06
    duration = "90s"
    every = "1h"               # again each hour; once when left out

A Scenario is pure: what holds in a market at a moment follows from the file and the time alone, so a run needs to
remember nothing. Overlapping events multiply (spread, depth, volatility), add (prices) or give way to the latest
(market status). Known limit: the line of a mistake is found for the usual `[[event]]` form, not for inline tables.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log1p
from pathlib import Path
from types import MappingProxyType

BUILT_IN = Path(__file__).with_name("scenarios")
#: A flash crash falls for this part of its duration and spends the rest on coming back.
FALLING_PART = 0.2
#: What makers do meanwhile: quotes this many times as far away, this part of the size.
CRASH_SPREAD, CRASH_DEPTH = 4.0, 0.25
#: ... and while they are blind.
OUTAGE_SPREAD, OUTAGE_DEPTH = 3.0, 0.5

HALT, CANCEL_ONLY, REOPEN, NEWS = "halt", "cancel_only", "reopen", "news"
FLASH_CRASH, WIDEN, OUTAGE, VOLATILITY = "flash_crash", "widen", "outage", "volatility"
#: action: (keys that it needs, keys that it may have) besides `at`, `markets` and `every`.
ACTIONS = {
    HALT: (set(), {"duration"}),
    CANCEL_ONLY: (set(), {"duration"}),
    REOPEN: (set(), set()),
    NEWS: ({"size"}, set()),
    FLASH_CRASH: ({"size", "duration"}, set()),
    WIDEN: ({"factor", "duration"}, {"depth"}),
    OUTAGE: ({"duration"}, set()),
    VOLATILITY: ({"factor", "duration"}, set()),
}
STATUSES = {HALT: "HALTED", CANCEL_ONLY: "CANCEL_ONLY", REOPEN: "OPEN"}
COMMON = {"at", "action", "markets", "every"}
TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


class ScenarioError(Exception):
    """The file cannot be played. One line a mistake, each with its line, event and key."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens. Times in simulated seconds; `markets` None: all."""

    action: str
    at: float
    duration: float | None = None
    every: float | None = None
    markets: frozenset[str] | None = None
    size: float = 0.0
    factor: float = 1.0
    depth: float = 1.0

    def elapsed(self, seconds: float) -> float | None:
        """Since it last began; None when it has not begun yet."""
        if seconds < self.at:
            return None
        return (seconds - self.at) % self.every if self.every else seconds - self.at

    def progress(self, seconds: float) -> float | None:
        """How much of its duration has passed, from 0 to below 1; None when it is not going on."""
        elapsed = self.elapsed(seconds)
        return elapsed / self.duration if elapsed is not None and elapsed < self.duration else None

    def beginnings(self, after: float, until: float) -> int:
        """How often it begins in (after, until]; what begins at 0 belongs to the first step."""
        return self._begun(until) - self._begun(after)

    def _begun(self, seconds: float) -> int:
        if seconds < self.at or seconds <= 0:
            return 0
        return 1 + int((seconds - self.at) // self.every) if self.every else 1


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds in a market at a moment. `status`: what the schedule wants, None while it wants nothing.

    `jump` and `displacement` are logarithms: the first stays for good, the second is gone when its event is over.
    `pressure`: -1 while somebody has to sell, 1 while somebody has to buy.
    """

    status: str | None = None
    jump: float = 0.0
    displacement: float = 0.0
    spread_factor: float = 1.0
    depth_factor: float = 1.0
    volatility_factor: float = 1.0
    is_blind: bool = False
    pressure: int = 0


ORDINARY = Conditions()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A schedule of events. `seed` is a wish: whoever runs it may take another."""

    title: str
    events: tuple[Event, ...]
    seed: int | None = None

    def symbols(self) -> set[str]:
        """The markets that it names."""
        return set().union(*(event.markets or () for event in self.events))

    def conditions(self, symbol: str, before: float, now: float) -> Conditions:
        """What holds at `now`; jumps are those since `before`. Both in simulated seconds."""
        events = [event for event in self.events if event.markets is None or symbol in event.markets]
        going_on = [(event, progress) for event in events if event.duration is not None
                    and (progress := event.progress(now)) is not None]  # fmt: skip
        spread = depth = volatility = 1.0
        displacement, pressure = 0.0, 0
        for event, progress in going_on:
            if event.action == FLASH_CRASH:
                displacement += log1p(event.size) * _crash_shape(progress)
                pressure = (1 if event.size > 0 else -1) if progress < FALLING_PART else pressure
            widened, thinned = _quoting(event)
            spread, depth = spread * widened, depth * thinned
            volatility *= event.factor if event.action == VOLATILITY else 1.0
        return Conditions(
            status=_status(events, now),
            jump=sum(log1p(event.size) * event.beginnings(before, now) for event in events if event.action == NEWS),
            displacement=displacement,
            spread_factor=spread,
            depth_factor=depth,
            volatility_factor=volatility,
            is_blind=any(event.action == OUTAGE for event, _ in going_on),
            pressure=pressure,
        )


def _crash_shape(progress: float) -> float:
    """How much of the move shows: straight to the bottom, then back, fast at first."""
    if progress < FALLING_PART:
        return progress / FALLING_PART
    return (1 - (progress - FALLING_PART) / (1 - FALLING_PART)) ** 2


def _quoting(event: Event) -> tuple[float, float]:
    """By how much makers widen and thin out while the event goes on."""
    match event.action:
        case "flash_crash":
            return CRASH_SPREAD, CRASH_DEPTH
        case "outage":
            return OUTAGE_SPREAD, OUTAGE_DEPTH
        case "widen":
            return event.factor, event.depth
    return 1.0, 1.0


def _status(events: list[Event], now: float) -> str | None:
    """Of all changes of status so far, the latest; of two at once, the one that stands later in the file."""
    latest, status = -1.0, None
    for event in events:
        elapsed = event.elapsed(now) if event.action in STATUSES else None
        if elapsed is None:
            continue
        is_over = event.duration is not None and elapsed >= event.duration
        moment = now - elapsed + (event.duration if is_over else 0)
        if moment >= latest:
            latest, status = moment, "OPEN" if is_over else STATUSES[event.action]
    return status


# Reading


def built_in() -> list[str]:
    """The names of the scenarios that come along."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load(name: str | Path) -> Scenario:
    """From a file, or one that comes along, by its name. ScenarioError says all that is wrong with it."""
    path = Path(name)
    if str(name) in built_in():
        path = BUILT_IN / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(built_in())
        raise ScenarioError(f"cannot read {path}: {error}. Scenarios that come along: {known}.") from None
    return parse(text, source=path.name)


def parse(text: str, *, source: str = "scenario") -> Scenario:
    """The scenario in a TOML text."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source}: {error}") from None
    reader = _Reader(text, source)
    scenario = reader.scenario(content)
    if reader.mistakes:
        raise ScenarioError("\n".join(reader.mistakes))
    return scenario


class _Reader:
    """Reads the tables and collects mistakes."""

    def __init__(self, text: str, source: str):
        self.mistakes: list[str] = []
        self._lines = text.splitlines()
        self._source = source

    def scenario(self, content: dict) -> Scenario:
        for key in content.keys() - {"title", "seed", "event"}:
            self._wrong(None, key, "is not known here; there are title, seed and [[event]]")
        title, seed, tables = content.get("title", self._source), content.get("seed"), content.get("event", [])
        if not isinstance(title, str):
            self._wrong(None, "title", "must be text")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            self._wrong(None, "seed", "must be a whole number")
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._wrong(None, "event", "must be written [[event]]")
            tables = []
        events = [self._event(number, table) for number, table in enumerate(tables, 1)]
        return Scenario(str(title), tuple(event for event in events if event), seed)

    def _event(self, number: int, table: dict) -> Event | None:
        action = table.get("action")
        if not isinstance(action, str) or action not in ACTIONS:
            self._wrong(number, "action", f"must be one of {', '.join(ACTIONS)}")
            return None
        needed, allowed = ACTIONS[action]
        before = len(self.mistakes)
        for key in sorted(({"at"} | needed) - table.keys()):
            self._wrong(number, key, f"is missing: {action} needs it")
        for key in table:
            if key not in COMMON | needed | allowed:
                self._wrong(number, key, f"has no meaning for {action}")
        values = {key: self._value(number, key, table[key]) for key in table if key in READERS}
        if len(self.mistakes) > before:
            return None
        event = Event(action=action, **values)
        if event.every is not None and event.duration is not None and event.duration >= event.every:
            self._wrong(number, "every", "must be longer than the duration")
        return event

    def _value(self, number: int, key: str, value):
        read, expected = READERS[key]
        try:
            return read(value)
        except (TypeError, ValueError):
            self._wrong(number, key, f"must be {expected}, not {value!r}")
            return None

    def _wrong(self, number: int | None, key: str, what: str) -> None:
        line = self._line(number, key)
        place = [f"line {line}"] if line else []
        place += [f"event {number}"] if number else []
        self.mistakes.append(f"{self._source}: {', '.join([*place, key])} {what}")

    def _line(self, number: int | None, key: str) -> int | None:
        """Where the key stands; else where its event begins."""
        table, found = 0, None
        for position, line in enumerate(self._lines, 1):
            if re.match(r"\s*\[\[\s*event\s*\]\]", line):
                table += 1
                found = position if table == number else found
            elif table == (number or 0) and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return position
        return found


def duration(value: str | float) -> float:
    """Seconds of "90s" or "1h30m", or a number of them. ValueError or TypeError for anything else."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        parts = TIME.fullmatch(value.strip())
        if not parts or not any(parts.groups()):
            raise ValueError
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds
    return _number(value, least=0)


def _span(value) -> float:
    seconds = duration(value)
    if not seconds:
        raise ValueError
    return seconds


def _number(value, *, least: float, most: float = float("inf"), is_open: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError
    if not least <= value <= most or (is_open and value == least):
        raise ValueError
    return float(value)


def _size(value) -> float:
    size = _number(value, least=-0.9, most=9)
    if not size:
        raise ValueError
    return size


def _markets(value) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(isinstance(symbol, str) and symbol for symbol in value):
        raise TypeError
    return frozenset(symbol.upper() for symbol in value)


A_TIME = 'a time such as 90, "90s" or "1h30m"'
READERS: MappingProxyType[str, tuple[Callable, str]] = MappingProxyType({
    "at": (duration, A_TIME),
    "duration": (_span, A_TIME),
    "every": (_span, A_TIME),
    "markets": (_markets, "a list of symbols"),
    "size": (_size, "a part of the price between -0.9 and 9, not 0"),
    "factor": (lambda value: _number(value, least=0.1, most=100), "a number from 0.1 to 100"),
    "depth": (lambda value: _number(value, least=0, most=10, is_open=True), "a number above 0, at most 10"),
})  # fmt: skip
