"""The committed book that everybody may read: price levels at a sequence, apart from the live book being matched.

The writer feeds a view after each commit, other processes' changes come through the journal or the hub.
Changes carry the sequences they span and absolute totals, so that applying them twice, or overlapping, is harmless
and a gap is noticed. A view may be read from any thread.
"""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from threading import Lock

import orjson

from exchange.engine import auction
from exchange.engine.book import BUY
from marketdata.calendar import COLLECTING
from marketdata.markets import MarketSpec


@dataclass(slots=True)
class Delta:
    """What one batch changed in one market: levels with their totals after it, and the trades it made (as the tape
    shows them).
    """

    market_id: int
    symbol: str
    first_sequence: int
    sequence: int
    changes: list[tuple[int, int, int]]
    trades: list[dict] = field(default_factory=list)
    whole: bool = False
    #: Phase, its end and the reference price in ticks, of a market with sessions; None: as before.
    session: dict | None = None
    #: What a tick and a lot are, in a market's first batch: until then they may have been edited. None: as before.
    grid: tuple[str, str] | None = None

    def message(self) -> list:
        """The fields in order, as they travel between processes; `Delta(*message)` makes it again."""
        return [
            self.market_id, self.symbol, self.first_sequence, self.sequence, self.changes, self.trades, self.whole,
            self.session, self.grid,
        ]  # fmt: skip


class BookView:
    """Levels of one market's committed book.

    Bids are kept under negative prices, so that both sides sort best first.
    """

    def __init__(self, spec: MarketSpec):
        self.spec = spec
        self.sequence = -1
        self.session: dict | None = None
        self._totals: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self._prices: dict[int, list[int]] = {1: [], -1: []}
        self._lock = Lock()
        self._snapshots: dict[int, dict] = {}
        self._rendered: dict[int, orjson.Fragment] = {}

    def apply(self, delta: Delta) -> bool:
        """Take a delta in. False when changes before it are missing, or it counts in other ticks and lots than the
        view's spec, so that the view must be refreshed.
        """
        with self._lock:
            if delta.sequence <= self.sequence:
                return True
            if delta.grid is not None and tuple(delta.grid) != self.spec.grid:
                return False
            if delta.whole:
                self._totals, self._prices = {1: {}, -1: {}}, {1: [], -1: []}
            elif delta.first_sequence > self.sequence + 1:
                return False
            for side, price, total in delta.changes:
                self._set(side, -price if side == BUY else price, total)
            self.sequence = delta.sequence
            self.session = delta.session or self.session
            self._forget_snapshots()
            return True

    def change_filters(self, spec: MarketSpec) -> None:
        """Show the levels under an operator's new filters."""
        with self._lock:
            self.spec = spec
            self._forget_snapshots()

    def _forget_snapshots(self) -> None:
        self._snapshots.clear()
        self._rendered.clear()

    def _set(self, side: int, key: int, total: int) -> None:
        totals, prices = self._totals[side], self._prices[side]
        if total:
            if key not in totals:
                insort(prices, key)
            totals[key] = total
        elif key in totals:
            del totals[key]
            del prices[bisect_left(prices, key)]

    def best(self, side: int) -> int | None:
        """The best price of a side in ticks."""
        with self._lock:
            prices = self._prices[side]
            return abs(prices[0]) if prices else None

    def levels(self) -> tuple[int, list[tuple[int, int, int]]]:
        """The sequence, and every level at it as (side, price, total): one consistent copy."""
        with self._lock:
            return self.sequence, [
                (side, abs(key), total) for side, totals in self._totals.items() for key, total in totals.items()
            ]

    def coming(self, side: int, depth: int, known: int | None) -> tuple[list[tuple[int, int, int]], int | None]:
        """The levels among the best `depth` of a side that lie beyond the one that this gave last, as (side, price,
        total); and the last of the best now, for the next call. None: there are no others.
        """
        with self._lock:
            prices, totals = self._prices[side], self._totals[side]
            first = len(prices) if known is None else bisect_right(prices, known)
            found = [(side, abs(key), totals[key]) for key in prices[first:depth]]
            return found, prices[depth - 1] if len(prices) > depth else None

    def snapshot(self, depth: int) -> dict:
        """{symbol, sequence, bids, asks} with [price, quantity] strings, best first.

        The same object until the book changes.
        """
        with self._lock:
            return self._snapshot(depth)

    def rendered(self, depth: int) -> orjson.Fragment:
        """The same as JSON, made once until the book changes."""
        with self._lock:
            found = self._rendered.get(depth)
            if found is None:
                found = self._rendered[depth] = orjson.Fragment(orjson.dumps(self._snapshot(depth)))
            return found

    def _snapshot(self, depth: int) -> dict:
        found = self._snapshots.get(depth)
        if found is None:
            found = self._snapshots[depth] = {
                "symbol": self.spec.symbol,
                "sequence": self.sequence,
                "bids": self._side(1, depth),
                "asks": self._side(-1, depth),
            }
            if (found_auction := self._auction()) is not None:
                found["auction"] = found_auction
        return found

    def auction(self) -> dict | None:
        """The price and volume that the auction would have now, from what is shown; None outside of call phases."""
        with self._lock:
            return self._auction()

    def _auction(self) -> dict | None:
        session = self.session
        if session is None or session["phase"] not in COLLECTING:
            return None
        bids, asks = ([(abs(key), self._totals[side][key]) for key in self._prices[side]] for side in (1, -1))
        call = auction.call(bids, asks, session["reference"])
        return {
            "phase": session["phase"],
            "until": session["until"],
            "price": None if call is None else self.spec.price_text(call.price),
            "quantity": self.spec.quantity_text(call.lots if call else 0),
            "surplus": self.spec.quantity_text(call.surplus if call else 0),
        }

    def _side(self, side: int, depth: int) -> list[list[str]]:
        totals = self._totals[side]
        spec = self.spec
        return [[spec.price_text(abs(key)), spec.quantity_text(totals[key])] for key in self._prices[side][:depth]]

    def texts(self, changes: list[tuple[int, int, int]], side: int) -> list[list[str]]:
        """Changed levels of one side as [price, quantity] strings; quantity "0" removes a level."""
        return [
            [self.spec.price_text(price), self.spec.quantity_text(total)] for s, price, total in changes if s == side
        ]
