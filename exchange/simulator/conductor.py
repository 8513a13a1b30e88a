"""Carries a scenario's market status out, as an operator would: halts, cancel-only, reopenings.

A status is set once, when the schedule changes its mind, so an operator has the last word in between; a CLOSED market
is left closed, and what an operator or a rule has halted is left as it is. Whoever ends a run opens again what it had
halted; what a killed process left halted, the next run opens before it begins. The market's row tells a schedule's
halt from an operator's.
"""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F

from exchange.simulator.scenario import ORDINARY, Conditions, Scenario
from marketdata.models import Market

CLOSED_TO_TRADING = (Market.Status.HALTED, Market.Status.CANCEL_ONLY)


class Conductor:
    """One scenario, or none, for all markets of a run. Its methods that take a symbol may be called in any order."""

    def __init__(self, scenario: Scenario | None):
        self._scenario = scenario
        self._imposed: dict[str, str] = {}

    def conditions(self, symbol: str, before: float, now: float) -> Conditions:
        """What holds in the market at `now`, in simulated seconds from the start; jumps are those since `before`."""
        return self._scenario.conditions(symbol, before, now) if self._scenario else ORDINARY

    def impose(self, symbol: str, status: str | None) -> None:
        """Give the market this status unless it was given before; None leaves it. Database."""
        if status is None or self._imposed.get(symbol) == status:
            return
        _change(symbol, status)
        self._imposed[symbol] = status  # only now: a change that failed is made at the next step

    def is_imposed(self, symbol: str, status: str | None) -> bool:
        """Whether `impose` would do nothing."""
        return status is None or self._imposed.get(symbol) == status

    def restore(self) -> None:
        """Open what this run has halted and nobody has changed since. Database."""
        self.heal(self._imposed)
        self._imposed.clear()

    @staticmethod
    def heal(symbols: Iterable[str]) -> None:
        """Open those of the markets that a schedule has halted, and nobody has changed since. Database."""
        halted = Market.objects.filter(status=F("scheduled_status"), status__in=CLOSED_TO_TRADING)
        for symbol in halted.filter(symbol__in=list(symbols)).values_list("symbol", flat=True):
            _change(symbol, Market.Status.OPEN)


def _change(symbol: str, status: str) -> None:
    with transaction.atomic():
        # Under the row's lock: an operator may be halting it at this moment.
        market = Market.objects.select_for_update(no_key=True).filter(symbol=symbol).first()
        if market is None or market.status in (status, Market.Status.CLOSED):
            return
        if market.status in CLOSED_TO_TRADING and market.status != market.scheduled_status:
            return
        market.status = market.scheduled_status = status
        market.save(update_fields=["status", "scheduled_status"])
