"""When an order ends by itself: DAY at the close of its market's session, GTD at a moment that its owner named.

The moment is fixed under the market's lock when the order is accepted. No order trades after it, whatever else runs or
does not: each batch ends what is due before its first command (see exchange.upkeep); exchange.clockwork makes sure that
there is such a batch when nobody else trades.

Rules: a market without a calendar never closes; its DAY orders end with the day in UTC. A DAY order given while its
market is closed cannot be: nothing is taken then. A later change of a calendar does not move the ends of orders that
were accepted before.
"""

from datetime import datetime

from exchange.commands import OrderRefusal, Place
from marketdata import clock
from marketdata.calendar import end_of_utc_day
from marketdata.markets import MarketSpec


class ExpiryInPast(OrderRefusal):
    code, title = "expiry_in_past", "The order would have ended already"


class NoSession(OrderRefusal):
    code, title = "no_session", "No session lies ahead"


def complete(cmd: Place, spec: MarketSpec, moment: datetime) -> None:
    """Give a DAY order its end, and refuse what would have ended."""
    if cmd.time_in_force == "DAY":
        cmd.more = {**(cmd.more or {}), "expires_at": clock.text(day_end(spec, moment))}
    elif cmd.more and (end := cmd.more.get("expires_at")) and end <= (now := clock.text(moment)):
        raise ExpiryInPast(f"expires_at is {end}, and it is {now} now: name a later moment.")


def day_end(spec: MarketSpec, now: datetime) -> datetime:
    """The close of the session that is on or comes next."""
    calendar = spec.rules.calendar
    if calendar is None:
        return end_of_utc_day(now.date())
    end = calendar.session_end(now)
    if end is None:
        raise NoSession(f"{spec.symbol} has no session in its calendar; use GTC or GTD.")
    return end
