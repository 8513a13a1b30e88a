"""What every price provider speaks: quotes now, bars of the past, and a stream of ticks.

Invariants: prices are Decimals read from the raw text, never floats; times are aware UTC datetimes; a method either
returns what it was asked for or raises a ProviderError that says what to do next. A tick is what the provider said, not
what is believed: `marketdata.gate` decides that.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

#: A plain or scientific number, nothing else that Decimal would take ("1_000", "Infinity", digits of other scripts).
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
#: Seconds since 1970 stay below, milliseconds above it.
FIRST_MILLISECOND = 100_000_000_000


@dataclass(frozen=True, slots=True)
class Tick:
    """One price of one symbol. Unknown parts are None; `at` is the provider's time."""

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Bar:
    """Open, high, low, close and volume of one interval that starts at `open_time`."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)


class ProviderError(Exception):
    """Something went wrong at a provider; trying again later is right."""

    kind = "failed"


class Disconnected(ProviderError):
    """No connection, a connection that broke or fell silent, or a server that failed."""

    kind = "disconnected"


class RateLimited(ProviderError):
    """The provider wants us slower. `wait_seconds` from now on nothing will be answered."""

    kind = "rate_limited"

    def __init__(self, detail: str, *, wait_seconds: float):
        super().__init__(detail)
        self.wait_seconds = wait_seconds


class Rejected(ProviderError):
    """The provider will not answer this, however often it is asked: a wrong parameter or an unknown symbol."""

    kind = "rejected"


class NoData(Rejected):
    """The symbol is known, but has nothing in that time."""

    kind = "no_data"


class KeyMissing(ProviderError):
    """No key is set, or a library is not installed: only an operator can help."""

    kind = "no_key"


class KeyRefused(ProviderError):
    """The key is wrong or has expired."""

    kind = "key_refused"


class NotInPlan(ProviderError):
    """The key's plan does not include this; another way may work."""

    kind = "not_in_plan"


class Garbled(ProviderError):
    """An answer that cannot be read."""

    kind = "garbled"


class PriceProvider(Protocol):
    """A source of prices. One instance serves one process; its limits count every request it makes."""

    name: str
    #: What happened, by kind: messages, garbled, heartbeats, requests, rate_limited …
    counters: Counter

    def groups(self, symbols: Sequence[str]) -> list[list[str]]:
        """The symbols, parted into sets that one stream can carry."""

    def poll_seconds(self, symbols: Sequence[str]) -> float:
        """The shortest pause between two calls of `quotes` that the plan sustains all day."""

    async def quotes(self, symbols: Sequence[str]) -> list[Tick]:
        """The newest price of each symbol; symbols that the provider does not know are missing."""

    async def history(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Bar]:
        """At most `limit` bars, oldest first: those from `start` on, or the newest before `end` without it."""

    def stream(self, symbols: Sequence[str]) -> AsyncIterator[Tick]:
        """Ticks of one connection until it ends, which raises a ProviderError: reconnecting is the caller's."""

    async def close(self) -> None:
        """Give connections back."""


def parse_json(text: str | bytes):
    """JSON with exact numbers: fractions become Decimal. Garbled when it is none."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise Garbled(f"not JSON: {str(text[:80])!r}") from error


def number(value) -> Decimal | None:
    """A price or quantity as the provider wrote it; None for nothing at all. Garbled when it is no number.

    NaN and infinities stay what they are: the gate counts and drops them.
    """
    if value is None or value == "":
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str):
        text = value.strip()
        if NUMBER.fullmatch(text) or text.lower() in {"nan", "infinity", "-infinity", "inf", "-inf"}:
            return Decimal(text)
    raise Garbled(f"not a number: {str(value)[:40]!r}")


def required(value) -> Decimal:
    """A number that must be there."""
    found = number(value)
    if found is None:
        raise Garbled("a number is missing")
    return found


def moment(value) -> datetime:
    """Seconds or milliseconds since 1970, as number or text, told apart by their size."""
    count = required(value)
    if not count.is_finite():
        raise Garbled("not a time")
    try:
        seconds = count / 1000 if abs(count) >= FIRST_MILLISECOND else count
        whole = int(seconds)
        return datetime.fromtimestamp(whole, UTC).replace(microsecond=int((seconds - whole) * 1_000_000))
    except (ValueError, ArithmeticError, OSError) as error:
        raise Garbled(f"not a time: {str(value)[:40]!r}") from error
