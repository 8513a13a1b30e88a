"""A venue that has traded for long: an old session, a middle one, and orders of today on top of what still rests."""

from contextlib import contextmanager

from exchange import audit
from exchange.audit.replay import replay
from marketdata import clock
from marketdata.models import Market
from tests.audit import sessions

DAY = 86_400


@contextmanager
def days_ago(days: float):
    """Let the venue's clock be that far back."""
    clock.shift(-days * DAY)
    try:
        yield
    finally:
        clock.shift(0)


def trade_for_long(venue, *, seed: int = 1, commands: int = 120) -> None:
    """Sessions of 200 and 100 days ago and of now; orders of each rest over the next."""
    for number, days in enumerate((200, 100, 0)):
        with days_ago(days):
            sessions.random_session(venue, seed=seed + number, commands=commands)


def violations() -> dict[str, int]:
    """What the audit finds."""
    return {finding.name: finding.violations for finding in audit.run() if finding.violations}


def replays() -> dict[str, tuple[int, int, str]]:
    """Of each market: where its replay begins and ends, and the first difference; held against the stored hash."""
    found = {}
    for market in Market.objects.order_by("symbol"):
        result = replay(market.id)
        assert result.difference or result.state_hash == result.stored_hash
        found[market.symbol] = (result.begins, result.until, result.difference.text if result.difference else "")
    return found
