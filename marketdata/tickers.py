"""A market's last 24 hours in a few numbers, kept up trade by trade. Pure.

The window moves by whole minutes: it begins with the minute that the present moment minus 24 hours lies in, so it
is up to 59.999 seconds longer than a day. It is made of 1m candles, and like them it decides open and close by trade
id. Open, high, low and change are those of the window; a market that did not trade in it shows its last price in
their place and no change; one that never traded shows null.
"""

from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

from marketdata import clock, units
from marketdata.candle_intervals import MINUTE
from marketdata.candles import Folded
from marketdata.markets import MarketSpec

WINDOW_MINUTES = 24 * 60
PERCENT_DECIMALS = 4


def minute_of(moment: datetime) -> int:
    """The minute that the moment lies in, counted from the Unix epoch."""
    return int(moment.timestamp()) // MINUTE


@dataclass(slots=True)
class Window:
    """The minutes of one market that may still count, none before `first`. What lies before the forming one is summed
    once a minute.
    """

    first: int = 0
    minutes: dict[int, Folded] = field(default_factory=dict)
    _past: Folded | None = None
    _past_of: int | None = None

    def add(self, row: Folded) -> None:
        """A 1m candle, or what some trades add to one."""
        minute = row.open_second // MINUTE
        found = self.minutes.get(minute)
        if found is None:
            self.minutes[minute] = row
        else:
            found.add(row)
        if minute != self._past_of:
            self._past_of = None

    def reaches(self, now: int) -> bool:
        """Whether it has all that counts at the minute `now`: not if the clock was put back since minutes left it."""
        return self.first <= now - WINDOW_MINUTES

    def total(self, now: int) -> Folded | None:
        """One candle over the window that ends with the minute `now`; None when nothing was traded in it."""
        if self._past_of != now:
            self._sum_past(now)
        forming = self.minutes.get(now)
        if forming is None or self._past is None:
            return forming or self._past
        total = copy(self._past)
        total.add(forming)
        return total

    def _sum_past(self, now: int) -> None:
        self.first = max(self.first, now - WINDOW_MINUTES)
        self.minutes = {minute: row for minute, row in self.minutes.items() if minute >= self.first}
        self._past, self._past_of = None, now
        for minute, row in self.minutes.items():
            if minute == now:
                continue
            if self._past is None:
                self._past = copy(row)
            else:
                self._past.add(row)


def ticker(
    spec: MarketSpec,
    *,
    sequence: int,
    last: int | None,
    bid: int | None,
    ask: int | None,
    total: Folded | None,
    updated_at: datetime | None,
) -> dict:
    """The ticker object: decimal strings, null where there is nothing. `updated_at` is when the last trade was."""
    opened = total.open if total else last
    return {
        "symbol": spec.symbol,
        "sequence": sequence,
        "last": _price(spec, last),
        "bid": _price(spec, bid),
        "ask": _price(spec, ask),
        "mid": None if bid is None or ask is None else middle(spec, bid, ask),
        "open": _price(spec, opened),
        "high": _price(spec, total.high if total else last),
        "low": _price(spec, total.low if total else last),
        "volume": spec.quantity_text(total.volume) if total else "0",
        "quote_volume": spec.quote_text(total.quote_volume) if total else "0",
        "change": None if last is None else spec.price_text(last - opened),
        "change_percent": None if last is None else percent(last - opened, opened),
        "trades": total.trades if total else 0,
        "updated_at": None if updated_at is None else clock.text(updated_at),
    }


def _price(spec: MarketSpec, ticks: int | None) -> str | None:
    return None if ticks is None else spec.price_text(ticks)


def middle(spec: MarketSpec, bid: int, ask: int) -> str:
    """The exact middle: it may have one decimal more than a price."""
    return units.text((bid + ask) * spec.tick_units * 5, spec.price_decimals + 1)


def percent(part: int, whole: int) -> str:
    """part / whole in percent, rounded half away from zero to PERCENT_DECIMALS."""
    scaled = 2 * abs(part) * 10 ** (PERCENT_DECIMALS + 2)
    rounded = (scaled + whole) // (2 * whole)
    return units.text(rounded if part >= 0 else -rounded, PERCENT_DECIMALS)
