"""What a market asks beyond its filters: sessions, safety nets, deferred settlement. Most markets ask nothing of it.

`Rules` belongs to one version of a market's row, like the MarketSpec that carries it. A market that asks nothing has
`NO_RULES` itself, so that one comparison tells.
"""

from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache

from marketdata import clock, units
from marketdata.calendar import CONTINUOUS, Calendar, Hours
from marketdata.models import Market
from marketdata.session_models import TradingCalendar


@dataclass(frozen=True, slots=True)
class Rules:
    """Money in quote units. None and 0 mean that there is no such rule."""

    calendar: Calendar | None = None
    settlement_days: int = 0
    max_notional: int | None = None
    max_order_ratio: int | None = None
    volatility_band: Decimal | None = None
    auction_seconds: int = 120
    max_interruptions: int | None = None


NO_RULES = Rules()
#: The times of a day's session, in order.
DAY_TIMES = ("pre_open", "opens", "closing", "closes")


def rules_of(market: Market) -> Rules:
    """The rules of a row with its quote asset loaded."""
    limit = market.max_notional
    rules = Rules(
        calendar=_calendar_of(market),
        settlement_days=market.settlement_days,
        max_notional=None if limit is None else units.to_units(limit, market.quote.decimals),
        max_order_ratio=market.max_order_ratio,
        volatility_band=market.volatility_band,
        auction_seconds=market.auction_seconds,
        max_interruptions=market.max_interruptions,
    )
    return NO_RULES if rules == NO_RULES else rules


def session_row(market: Market, now: datetime) -> dict:
    """The phase of a market as the wire shows it, and what the calendar has next."""
    state = market.session or {}
    calendar = _calendar_of(market)
    change = calendar.next_change(now) if calendar else None
    # No batch has looked at the calendar yet. The first one will, before its first command.
    is_new = calendar is not None and state.get("since") is None
    return {
        "phase": calendar.phase_at(now) if is_new else state.get("phase", CONTINUOUS),
        "until": state.get("until"),
        "next_phase": change and change.phase,
        "next_change_at": change and clock.text(change.at),
    }


def hours_row(market: Market) -> dict | None:
    """A market's calendar as the wire shows it; None for one that never closes."""
    calendar = _calendar_of(market)
    return calendar and {
        "time_zone": calendar.time_zone,
        "week": [
            {"weekday": weekday, **{name: _local(getattr(day, name)) for name in DAY_TIMES}}
            for weekday, day in calendar.week
        ],
        "holidays": [{"day": day.isoformat(), "closes_early": _local(early)} for day, early in calendar.exceptions],
    }


def _local(time_of_day: time | None) -> str | None:
    return None if time_of_day is None else time_of_day.isoformat()


def _calendar_of(market: Market) -> Calendar | None:
    """The calendar that the market follows, as of the row's version."""
    return None if market.calendar_id is None else _read(market.calendar_id, market.pk, market.version)


@lru_cache(maxsize=1024)
def _read(calendar_id: int, market_id: int, version: int) -> Calendar:
    """A calendar as it stands. Each change of it counts up the version of every market that follows it: of each by
    itself, so that a version alone does not say how old the calendar is.
    """
    row = TradingCalendar.objects.prefetch_related("hours", "holidays").get(pk=calendar_id)
    return Calendar(
        row.time_zone,
        tuple((h.weekday, Hours(h.opens, h.closes, h.pre_open, h.closing)) for h in row.hours.all()),
        tuple((h.day, h.closes_early) for h in row.holidays.all()),
    )
