"""A trading day in a test: the clock stands until it is set, and what is due then happens.

    day.at("2026-11-23 14:30")          the clock jumps there, the clockwork looks once
    day.phase()                          "CONTINUOUS"
    day.check()                          audit clean, replay the same
"""

from datetime import UTC, datetime, time

import pytest

from exchange import audit, clockwork
from exchange.audit.replay import replay
from marketdata import clock, markets
from marketdata.models import Holiday, Market, TradingCalendar, TradingHours
from marketdata.refusals import Refusal
from tests.venue import Venue


class Day:
    """A venue and its clock."""

    def __init__(self, venue: Venue):
        self.venue = venue
        venue.trader("ann", USD=1_000_000, AAPL=10_000)
        venue.trader("bob", USD=1_000_000, AAPL=10_000)
        venue.trader("cid", USD=1_000_000, AAPL=10_000)

    @staticmethod
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    def at(self, text: str, *, look: bool = True) -> None:
        """Set the clock (UTC); without `look` nobody notices before the next command."""
        clock.stand(self.moment(text))
        if look:
            clockwork.work()

    def sessions(self, *, holidays: dict | None = None, symbol: str = "AAPL", **hours) -> TradingCalendar:
        """Weekdays in New York: pre-open 9:00, open 9:30, closing auction 15:50, close 16:00; other times by name."""
        calendar = TradingCalendar.objects.create(name=f"hours of {symbol}", time_zone="America/New_York")
        times = {"pre_open": time(9), "opens": time(9, 30), "closing": time(15, 50), "closes": time(16), **hours}
        for weekday in range(5):
            TradingHours.objects.create(calendar=calendar, weekday=weekday, **times)
        for day, early in (holidays or {}).items():
            Holiday.objects.create(calendar=calendar, day=day, closes_early=early)
        self.venue.change(symbol, calendar=calendar)
        return calendar

    def phase(self, symbol: str = "AAPL") -> str:
        session = Market.objects.values_list("session", flat=True).get(symbol=symbol)
        return session["phase"] if session else "CONTINUOUS"

    def status(self, order: dict) -> str:
        stored = self.venue.stored(order)
        return f"{stored['status']} {stored['filled_quantity']}/{stored['quantity']}"

    def refused(self, sentence: str, **terms) -> str:
        """The code of the refusal, at the door or under the lock."""
        with pytest.raises(Refusal) as caught:
            self.venue.order(sentence, **terms)
        return caught.value.code

    def check(self) -> None:
        """The books are right, and the journal makes them again."""
        markets.forget()
        broken = [finding for finding in audit.run() if finding.violations]
        assert not broken, [(finding.name, finding.offenders) for finding in broken]
        for market_id in Market.objects.values_list("pk", flat=True):
            difference = replay(market_id).difference
            assert difference is None, difference
