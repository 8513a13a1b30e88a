"""Mark prices: what positions are valued at, and how a print becomes one.

A print is a quote's middle, or a book's fair price: the middle one of best bid, best ask and last trade. The rule
against single prints: one within `jump` of the mark is the new mark at once; one further away is only doubted, and
becomes the mark when the next print lies within `jump` of it. So a wrong tick moves nothing, and a crash is a mark
from its second print on. While a print is doubted the mark grows older like any other.

A mark is stale `max_age_seconds` after its print was made, by the clock of whoever reads it, so that it needs nobody
to say so. Stale marks stop new margin orders and liquidations. Marks never go back in time, whichever process writes,
unless its clock was put back: a mark that lies in the future is stale and gives way. Reads are CACHE_SECONDS old at
most.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from marketdata import bulk, clock, units
from marketdata.gate import FUTURE
from marketdata.refusals import Refusal

CACHE_SECONDS = 0.2

READ = "SELECT market_id, price, bid, ask, marked_at, stale_at FROM marketdata_mark"
WHEN_NEWER = """
ON CONFLICT (market_id) DO UPDATE SET price = EXCLUDED.price, bid = EXCLUDED.bid, ask = EXCLUDED.ask,
    marked_at = EXCLUDED.marked_at, stale_at = EXCLUDED.stale_at
WHERE marketdata_mark.marked_at <= EXCLUDED.marked_at OR marketdata_mark.marked_at > %s
"""


class StalePrice(Refusal):
    """There is no mark price, or it is too old to decide anything by."""

    code, title = "stale_price", "The price is stale"


def is_stale(marked_at: datetime, stale_at: datetime) -> bool:
    """Whether nothing is decided by such a mark: it is too old, or was noted by a clock that has been put back since.
    """
    now = clock.now()
    return stale_at <= now or marked_at > now + FUTURE


@dataclass(frozen=True, slots=True)
class Mark:
    """Decimals in quote currency a base unit."""

    market_id: int
    price: Decimal
    bid: Decimal
    ask: Decimal
    marked_at: datetime
    stale_at: datetime

    @property
    def is_stale(self) -> bool:
        return is_stale(self.marked_at, self.stale_at)


@dataclass(frozen=True, slots=True)
class Print:
    """One observation of a market: bid, ask, what it holds for the fair price, and when it was made."""

    bid: Decimal
    ask: Decimal
    price: Decimal
    made_at: datetime


class Smoother:
    """One market's prints on their way to marks, by the rule above. Pure."""

    def __init__(self, jump: Decimal, mark: Decimal | None = None):
        self.jump = jump
        self.mark = mark
        self.doubted: Decimal | None = None
        self._last_made_at: datetime | None = None

    def take(self, observed: Print) -> bool:
        """Whether the print is a mark now. The same print again is no confirmation."""
        last = self._last_made_at
        if last is not None and last - FUTURE <= observed.made_at <= last:
            return False
        self._last_made_at = observed.made_at
        near_mark = self.mark is None or self._is_near(observed.price, self.mark)
        near_doubted = self.doubted is not None and self._is_near(observed.price, self.doubted)
        if near_mark or near_doubted:
            self.mark, self.doubted = observed.price, None
            return True
        self.doubted = observed.price
        return False

    def _is_near(self, price: Decimal, other: Decimal) -> bool:
        return abs(price - other) <= self.jump * other


def fair_price(bid: Decimal | None, ask: Decimal | None, last: Decimal | None) -> Decimal | None:
    """The middle one of the three; without one side of the book there is none: a lone order sets no price."""
    if bid is None or ask is None:
        return None
    return (bid + ask) / 2 if last is None else sorted((bid, ask, last))[1]


def mark_of(market_id: int, observed: Print, max_age_seconds: float) -> Mark:
    """The mark that a print makes."""
    stale_at = observed.made_at + timedelta(seconds=max_age_seconds)
    return Mark(market_id, observed.price, observed.bid, observed.ask, observed.made_at, stale_at)


# Writing


def write(marks: Iterable[Mark]) -> None:
    """Store marks, at most one a market, in one statement; older ones than stand there change nothing."""
    rows = list(marks)
    if not rows:
        return
    sql, values = bulk.insert(
        "marketdata_mark",
        [
            ("market_id", "bigint", [mark.market_id for mark in rows]),
            ("price", "numeric", [units.plain(mark.price) for mark in rows]),
            ("bid", "numeric", [units.plain(mark.bid) for mark in rows]),
            ("ask", "numeric", [units.plain(mark.ask) for mark in rows]),
            ("marked_at", "timestamptz", [mark.marked_at for mark in rows]),
            ("stale_at", "timestamptz", [mark.stale_at for mark in rows]),
        ],
        WHEN_NEWER,
    )
    with connection.cursor() as cursor:
        bulk.execute(cursor, [(sql, [*values, clock.now() + FUTURE])])
    forget()


# Reading


class _Cache:
    """All marks, as old as CACHE_SECONDS at most."""

    def __init__(self):
        self.by_market: dict[int, Mark] = {}
        self.loaded_at = float("-inf")

    def fresh(self) -> dict[int, Mark]:
        if time.monotonic() - self.loaded_at > CACHE_SECONDS:
            with connection.cursor() as cursor:
                self.load(cursor)
        return self.by_market

    def load(self, cursor) -> None:
        loaded_at = time.monotonic()
        cursor.execute(READ)
        self.by_market = {row[0]: Mark(*row) for row in cursor.fetchall()}
        self.loaded_at = loaded_at


_cache = _Cache()


def latest() -> dict[int, Mark]:
    """The mark of each market that ever had one, by market id, stale ones too."""
    return _cache.fresh()


def mark(market_id: int) -> Mark | None:
    return _cache.fresh().get(market_id)


def fresh(market_id: int, symbol: str) -> Mark:
    """The mark, if it may be acted on; StalePrice otherwise."""
    found = mark(market_id)
    if found is None:
        raise StalePrice(f"{symbol} has no mark price yet; try again when its prices flow.")
    if found.is_stale:
        raise StalePrice(f"The last price of {symbol} is from {clock.text(found.marked_at)}; try again shortly.")
    return found


def refresh(cursor) -> dict[int, Mark]:
    """Read them all again over this cursor, however old the cache is."""
    _cache.load(cursor)
    return _cache.by_market


def forget() -> None:
    """Drop the cache."""
    _cache.loaded_at = float("-inf")
