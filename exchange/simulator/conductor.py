"""Carries a scenario's market status out, as an operator would: halts, cancel-only, reopenings.

A status is set once, when the schedule changes its mind, so an operator has the last word in between; a CLOSED market
is left closed. Whoever ends a run opens again what it had halted. Known limit: a process that is killed in the middle
of a halt leaves the market halted, until the schedule reopens it in the next run or an operator does.
"""

from exchange.simulator.scenario import ORDINARY, Conditions, Scenario
from marketdata import markets
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
        self._imposed[symbol] = status
        _change(symbol, status)

    def is_imposed(self, symbol: str, status: str | None) -> bool:
        """Whether `impose` would do nothing."""
        return status is None or self._imposed.get(symbol) == status

    @property
    def has_imposed(self) -> bool:
        return bool(self._imposed)

    def restore(self) -> None:
        """Open what this run has halted and nobody has changed since. Database."""
        for symbol, status in self._imposed.items():
            if status in CLOSED_TO_TRADING and Market.objects.filter(symbol=symbol, status=status).exists():
                _change(symbol, Market.Status.OPEN)
        self._imposed.clear()


def _change(symbol: str, status: str) -> None:
    market = Market.objects.filter(symbol=symbol).first()
    if market is None or market.status in (status, Market.Status.CLOSED):
        return
    market.status = status
    market.save(update_fields=["status"])
    markets.forget()
