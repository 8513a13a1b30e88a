"""The live books of this process: the engine's book with its market's filters, sequence and last price.

A `LiveBook` belongs to the writer thread. It is trusted only under the market's lock and only at the row's
sequence; anything else is brought up from the journal, or thrown away and loaded again. Start-up, crash recovery
and catching up with another process are the same code path, because doing a command live and doing it again from
the journal are the same three functions: `enter`, `amend`, `cancel`.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil, floor
from typing import NamedTuple

from exchange import journal
from exchange.engine.book import BUY, SELL, Book, Plan
from exchange.live import RATE_ONE, LiveOrder, Status, fee_on, new_order
from exchange.models import Order as OrderRow
from marketdata import units
from marketdata.markets import RATE_DECIMALS, MarketSpec

SIDES = {"BUY": BUY, "SELL": SELL}
SIDE_NAMES = {BUY: "BUY", SELL: "SELL"}

#: A change of the visible book: (side, price in ticks, total lots now; 0 is gone).
Change = tuple[int, int, int]


class House(NamedTuple):
    """The house's accounts of a margin market, beside the one for fees."""

    clearing: int
    insurance: int


@dataclass(frozen=True, slots=True)
class Match:
    """One execution: who, how much, at which price, and what each side pays. Money in quote units."""

    maker: LiveOrder
    taker: LiveOrder
    price: int
    lots: int
    notional: int
    maker_fee: int
    taker_fee: int


class LiveBook:
    """One market's book at `sequence`."""

    __slots__ = ("spec", "book", "sequence", "last_price", "open_orders", "fees", "house", "reducing", "_band")

    def __init__(self, spec: MarketSpec, fees: int):
        self.spec = spec
        self.fees = fees
        self.house: House | None = None
        #: Resting reduce-only orders by account and id.
        self.reducing: dict[int, dict[int, LiveOrder]] = {}
        self.book = Book()
        self.sequence = 0
        self.last_price: Decimal | None = None
        self.open_orders: Counter[int] = Counter()
        self._band: tuple = (None, None, None)

    # Commands, live and again

    def plan(self, order: LiveOrder) -> Plan:
        budget = None if order.budget is None else order.budget // self.spec.notional_units
        return self.book.plan(
            order,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            prevention=order.prevention,
            budget=budget,
        )

    def enter(self, order: LiveOrder, plan: Plan, sequence: int, moment: datetime) -> list[Match]:
        """Execute the plan of a new order; every order that took part is up to date afterwards."""
        self.book.execute(plan)
        matches = self._fill(order, plan, moment)
        if order.budget is not None:
            order.quantity, order.remaining = plan.filled, 0
            spent = self._budget_is_spent(order, plan)
            order.status = Status.FILLED if plan.filled and spent else Status.EXPIRED
        elif plan.rests:
            order.status = Status.PARTIALLY_FILLED if plan.filled else Status.OPEN
            self._opened(order)
        else:
            order.status = Status.EXPIRED if order.remaining else Status.FILLED
        order.priority, order.updated_at = sequence, moment
        return matches

    def amend(self, plan: Plan, sequence: int, moment: datetime) -> list[Match]:
        """Execute the plan of an amendment."""
        order = plan.order
        self.book.execute(plan)
        matches = self._fill(order, plan, moment)
        order.updated_at = moment
        if not plan.keeps_place:
            order.priority = sequence
        if plan.rests:
            order.status = Status.PARTIALLY_FILLED if order.filled else Status.OPEN
        else:
            order.status = Status.EXPIRED if order.remaining else Status.FILLED
            self._closed(order)
        return matches

    def cancel(self, order_id: int, moment: datetime) -> LiveOrder:
        """Take an open order out; KeyError when it does not rest here."""
        order = self.book.cancel(order_id)
        order.status, order.updated_at = Status.CANCELLED, moment
        self._closed(order)
        return order

    def _fill(self, taker: LiveOrder, plan: Plan, moment: datetime) -> list[Match]:
        matches = []
        for maker, lots in plan.matches:
            notional = self.spec.notional(maker.price, lots)
            match = Match(
                maker,
                taker,
                maker.price,
                lots,
                notional,
                fee_on(notional, maker.maker_rate),
                fee_on(notional, taker.taker_rate),
            )
            matches.append(match)
            maker.filled_notional += notional
            maker.fee += match.maker_fee
            taker.filled_notional += notional
            taker.fee += match.taker_fee
            maker.status, maker.updated_at = Status.PARTIALLY_FILLED, moment
            if not maker.remaining:
                maker.status = Status.FILLED
                self._closed(maker)
        for maker in plan.expired_makers:
            maker.status, maker.updated_at = Status.EXPIRED, moment
            self._closed(maker)
        if matches:
            self.last_price = self.spec.price(matches[-1].price)
        return matches

    def _opened(self, order: LiveOrder) -> None:
        self.open_orders[order.account] += 1
        if order.reduce_only:
            self.reducing.setdefault(order.account, {})[order.id] = order

    def _closed(self, order: LiveOrder) -> None:
        if order.reduce_only:
            self.reducing[order.account].pop(order.id)
            if not self.reducing[order.account]:
                del self.reducing[order.account]
        self.open_orders[order.account] -= 1
        if not self.open_orders[order.account]:
            del self.open_orders[order.account]

    def _budget_is_spent(self, order: LiveOrder, plan: Plan) -> bool:
        """Whether what is left of the budget could not have bought one more lot where the walk ended."""
        left = order.budget // self.spec.notional_units - plan.notional
        price = self.book.best(-order.side) or (plan.matches[-1][0].price if plan.matches else 0)
        return left < price

    # Keeping up

    def catch_up(self, cursor, until: int) -> None:
        """Do again what other processes did, from the journal; the book is at `until` afterwards."""
        for sequence, kind, order_id, command, created_at in journal.read(cursor, self.spec.id, self.sequence, until):
            assert sequence == self.sequence + 1, (
                f"{self.spec.symbol}: journal jumps from {self.sequence} to {sequence}"
            )
            self.redo(sequence, kind, order_id, command, created_at)
        assert self.sequence == until, f"{self.spec.symbol}: journal ends at {self.sequence}, the market is at {until}"

    def redo(self, sequence: int, kind: str, order_id: int, command: dict, moment: datetime) -> list[Match]:
        """One journal row."""
        self.sequence = sequence
        if kind == journal.Kind.PLACE:
            order = journal.order_of(order_id, command, moment)
            return self.enter(order, self.plan(order), sequence, moment)
        if kind == journal.Kind.AMEND:
            per_lot = command.pop("margin_per_lot", None)
            self.book.orders[order_id].margin_per_lot = per_lot
            return self.amend(self.book.plan_amend(order_id, **command), sequence, moment)
        self.cancel(order_id, moment)
        return []

    def load(self, cursor, sequence: int, last_price: Decimal | None) -> None:
        """The open orders of the database, in queue order, as they stand at `sequence`.

        The caller holds the market's lock.
        """
        self.book, self.open_orders, self.reducing = Book(), Counter(), {}
        for order in load_open_orders(cursor, self.spec):
            self.book.restore(order)
            self._opened(order)
        self.book.drain_changes()
        self.sequence, self.last_price = sequence, last_price

    def levels(self) -> list[Change]:
        """The whole visible book, as changes to an empty one."""
        return [(side, price, lots) for side in (BUY, SELL) for price, lots in self.book.depth(side)]

    # Filters that move with the price

    def band(self, mark: Decimal | None = None) -> tuple[Decimal, int, int] | None:
        """(market price, lowest, highest allowed price in ticks), or None while there is no price or no band. The
        market price is the last one, on margin markets the mark.
        """
        price = mark or self.last_price or self.spec.reference_price
        spec, at, band = self._band
        if spec is not self.spec or at != price:
            band = self._band_around(price)
            self._band = (self.spec, price, band)
        return band

    def _band_around(self, price: Decimal | None) -> tuple[Decimal, int, int] | None:
        if price is None or self.spec.price_band is None:
            return None
        width = units.to_units(self.spec.price_band, RATE_DECIMALS)
        ticks = price / self.spec.tick_size
        low, high = ticks * (RATE_ONE - width) / RATE_ONE, ticks * (RATE_ONE + width) / RATE_ONE
        return price, max(1, ceil(low)), floor(high)


OPEN_ORDERS = """
SELECT id, account_id, side, price, quantity, filled_quantity, client_order_id, type, time_in_force, post_only,
self_trade_prevention, maker_rate, taker_rate, filled_notional, fee, status, priority, created_at, updated_at,
reduce_only, margin_per_lot FROM
exchange_order WHERE market_id = %s AND status IN ('OPEN', 'PARTIALLY_FILLED') ORDER BY priority, id
"""


def load_open_orders(cursor, spec: MarketSpec):
    """Each open order of a market as a LiveOrder, in queue order."""
    cursor.execute(OPEN_ORDERS, [spec.id])
    for row in cursor:
        yield _live(spec, row)


def _live(spec: MarketSpec, row: tuple) -> LiveOrder:
    quantity, filled = spec.lots(row[4]), spec.lots(row[5])
    order = new_order(
        id=row[0],
        account=row[1],
        side=SIDES[row[2]],
        price=spec.ticks(row[3]),
        quantity=quantity,
        client_order_id=row[6],
        type=row[7],
        time_in_force=row[8],
        post_only=row[9],
        prevention=row[10],
        budget=None,
        maker_rate=units.to_units(row[11], RATE_DECIMALS),
        taker_rate=units.to_units(row[12], RATE_DECIMALS),
        created_at=row[17],
        reduce_only=row[19],
        margin_per_lot=None if row[20] is None else units.to_units(row[20], spec.contract.settlement_decimals),
    )
    order.remaining = quantity - filled
    order.filled_notional = units.to_units(row[13], spec.quote_decimals)
    order.fee = units.to_units(row[14], spec.quote_decimals)
    order.status, order.priority, order.updated_at = OrderRow.Status(row[15]), row[16], row[18]
    return order
