"""All open positions of users, by market, so that a new mark tells at once which accounts have too little. Pure.

A slot is one account's margin in one settlement asset. It keeps two sums over its positions, which each mark brings up
by differences: equity (collateral + unrealised profit) and what must stay (maintenance). Marking a market walks its
arrays once, with a few whole-number operations a position; nothing is searched and nothing allocated.

A slot is *low* while its equity is at most the call level of its used margin, or below maintenance. The index only
finds: whoever acts reads the account again under locks. Amounts are in the settlement asset's smallest units, each
position's rounded down once, so that a sum is off by less than one unit a position.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from marketdata.contracts import RATE_ONE, Tier

#: Marks are whole numbers of 2^-96 settlement units: a unit of the quote asset, which may have many more decimals, is
#: worth very few of them. A power of two, because shifting costs less than dividing.
SHIFT = 96
SCALE = 2**SHIFT


class Holding(NamedTuple):
    """One open position: signed lots, signed cost in quote units, reserved margin in settlement units."""

    market_id: int
    lots: int
    cost: int
    margin: int


class Value(NamedTuple):
    """What a market's mark makes of its positions: settlement units of a lot, and of one quote unit, times SCALE."""

    lot: int
    quote: int


class Key(NamedTuple):
    """An account's purse for margin."""

    account_id: int
    asset_id: int


class Level(NamedTuple):
    """Equity, used margin and maintenance of a slot, in settlement units."""

    equity: int
    used: int
    maintenance: int


@dataclass(slots=True)
class Row:
    """A market's positions, place by place."""

    tiers: Sequence[Tier]
    value: Value | None = None
    slots: list[int] = field(default_factory=list)
    lots: list[int] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    profits: list[int] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)


class RiskIndex:
    """Open positions under marks. `call_level` is the ratio of equity to used margin at which a slot is low."""

    def __init__(self, call_level: Decimal):
        self._call_level = int(call_level * RATE_ONE)
        self._rows: dict[int, Row] = {}
        self._keys: dict[Key, int] = {}
        self._names: list[Key] = []
        #: By slot: collateral + unrealised, used margin, maintenance, the equity that makes it low.
        self._equity: list[int] = []
        self._used: list[int] = []
        self._needed: list[int] = []
        self._floor: list[int] = []
        #: By slot: market -> place in the market's row.
        self._places: list[dict[int, int]] = []

    def __len__(self) -> int:
        """How many positions there are."""
        return sum(len(row.slots) for row in self._rows.values())

    def keys(self) -> Iterable[Key]:
        """The purses that have positions."""
        return (key for key, slot in self._keys.items() if self._places[slot])

    def level(self, key: Key) -> Level | None:
        slot = self._keys.get(key)
        return None if slot is None else Level(self._equity[slot], self._used[slot], self._needed[slot])

    def set_market(self, market_id: int, tiers: Sequence[Tier]) -> None:
        """Know a market, or its new terms."""
        row = self._rows.setdefault(market_id, Row(tiers))
        if row.tiers != tiers:
            row.tiers = tiers
            if row.value is not None:
                self.mark(market_id, row.value)

    def put(self, key: Key, collateral: int, holdings: Iterable[Holding]) -> bool:
        """What the purse has and holds, in place of what was known of it. Whether it is low now."""
        slot = self._slot(key)
        for market_id, place in list(self._places[slot].items()):
            self._take_out(market_id, place)
        self._equity[slot], self._used[slot], self._needed[slot] = collateral, 0, 0
        for holding in holdings:
            self._add(slot, holding)
        self._floor[slot] = self._used[slot] * self._call_level // RATE_ONE
        return self._is_low(slot)

    def mark(self, market_id: int, value: Value) -> list[Key]:
        """Value the market's positions anew; the purses among theirs that are low now."""
        row = self._rows.get(market_id)
        if row is None:
            return []
        row.value = value
        lot, quote = value
        profits, needs = row.profits, row.needs
        equity, needed, floor = self._equity, self._needed, self._floor
        low = []
        rate = row.tiers[0].maintenance if len(row.tiers) == 1 else None
        for place, slot in enumerate(row.slots):
            lots = row.lots[place]
            profit = (lots * lot - row.costs[place] * quote) >> SHIFT
            notional = abs(lots) * lot >> SHIFT
            need = notional * rate // RATE_ONE if rate is not None else in_slices(notional, row.tiers)
            equity[slot] += profit - profits[place]
            needed[slot] += need - needs[place]
            profits[place], needs[place] = profit, need
            if equity[slot] <= floor[slot] or equity[slot] < needed[slot]:
                low.append(slot)
        return [self._names[slot] for slot in low]

    def low(self, keys: Iterable[Key]) -> list[Key]:
        """Those that are low now that every market of a round has been marked."""
        return [key for key in keys if (slot := self._keys.get(key)) is not None and self._is_low(slot)]

    def _is_low(self, slot: int) -> bool:
        if not self._places[slot]:
            return False
        return self._equity[slot] <= self._floor[slot] or self._equity[slot] < self._needed[slot]

    def _slot(self, key: Key) -> int:
        slot = self._keys.get(key)
        if slot is None:
            slot = self._keys[key] = len(self._names)
            self._names.append(key)
            for column in (self._equity, self._used, self._needed, self._floor):
                column.append(0)
            self._places.append({})
        return slot

    def _add(self, slot: int, holding: Holding) -> None:
        row = self._rows[holding.market_id]
        self._places[slot][holding.market_id] = len(row.slots)
        profit = need = 0
        if row.value is not None:
            profit = (holding.lots * row.value.lot - holding.cost * row.value.quote) >> SHIFT
            need = in_slices(abs(holding.lots) * row.value.lot >> SHIFT, row.tiers)
        columns = (row.slots, row.lots, row.costs, row.profits, row.needs)
        for column, value in zip(columns, (slot, holding.lots, holding.cost, profit, need), strict=True):
            column.append(value)
        self._equity[slot] += profit
        self._needed[slot] += need
        self._used[slot] += holding.margin

    def _take_out(self, market_id: int, place: int) -> None:
        """Put the row's last position into the place of this one."""
        row = self._rows[market_id]
        del self._places[row.slots[place]][market_id]
        for column in (row.slots, row.lots, row.costs, row.profits, row.needs):
            last = column.pop()
            if place < len(column):
                column[place] = last
        if place < len(row.slots):
            self._places[row.slots[place]][market_id] = place


def in_slices(notional: int, tiers: Sequence[Tier]) -> int:
    """Maintenance margin of a notional: each slice at its own rate."""
    total, below = 0, 0
    for up_to, _, rate in tiers:
        end = notional if up_to is None else min(notional, up_to)
        total += (end - below) * rate // RATE_ONE
        if end == notional:
            return total
        below = end
    return total


def value_of(*, price: Decimal, lot: Decimal, size: Decimal, rate: Fraction, scale: int, quote_scale: int) -> Value:
    """A mark price as a Value. `rate`: settlement asset for one unit of the quote asset; `scale` and `quote_scale`:
    decimals of the settlement and the quote asset.
    """
    one = rate * 10**scale * SCALE
    return Value(int(Fraction(price) * Fraction(lot) * Fraction(size) * one), int(one / 10**quote_scale))


def touched(values: Mapping[int, Value], index: RiskIndex) -> list[Key]:
    """Mark all these markets, then tell which purses are low; each once."""
    found: dict[Key, None] = {}
    for market_id, value in values.items():
        found.update(dict.fromkeys(index.mark(market_id, value)))
    return index.low(found)
