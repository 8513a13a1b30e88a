"""What is remembered of a market between two looks: where its middle has been, and what each maker's stock used to be.

Built up anew after a restart, to nobody's harm: until then there is no trend, and every stock is an ordinary one.
"""

from math import exp, log

#: Averages of the middle of the book, and how long a trend needs before it counts.
SHORT_SECONDS, LONG_SECONDS, WARMING_SECONDS = 8.0, 90.0, 90.0
#: A stock that is kept this long becomes the ordinary one: its owner has found other ways to be rid of the risk.
STOCK_SECONDS = 600.0


class Trend:
    """Two exponential averages of the logarithm of a price."""

    def __init__(self):
        self._short = self._long = 0.0
        self._seconds = 0.0

    def note(self, price: float, seconds: float) -> None:
        """The price has been this for so long."""
        value = log(price)
        if not self._seconds:
            self._short = self._long = value
        self._short += (value - self._short) * (1 - exp(-seconds / SHORT_SECONDS))
        self._long += (value - self._long) * (1 - exp(-seconds / LONG_SECONDS))
        self._seconds += seconds

    def value(self) -> float | None:
        """The short average over the long one, as a logarithm; None while it is too new."""
        return self._short - self._long if self._seconds >= WARMING_SECONDS else None


class Stocks:
    """Lots of base by account, and what is ordinary for it."""

    def __init__(self):
        self._ordinary: dict[int, float] = {}

    def gained(self, account_id: int, lots: int, seconds: float) -> int:
        """What the account has gained against what was ordinary for it."""
        ordinary = self._ordinary.setdefault(account_id, float(lots))
        self._ordinary[account_id] = ordinary + (lots - ordinary) * (1 - exp(-seconds / STOCK_SECONDS))
        return round(lots - ordinary)

    def given(self, account_id: int, lots: int) -> None:
        """So many came as a gift, and say nothing about trading."""
        if account_id in self._ordinary:
            self._ordinary[account_id] += lots
