"""The live books of this process: the engine's book with its market's filters, sequence and last price.

A `LiveBook` belongs to the writer. It is trusted only under the market's lock and only at the row's
sequence; anything else is brought up from the journal, or thrown away and loaded again. Start-up, crash recovery
and catching up with another process are the same code path, because a command that is settled and one that is done
again from the journal (exchange.redoing) go through the same functions here.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from heapq import heappush

from accounts.house import House
from exchange import bands, loading
from exchange.engine import auction
from exchange.engine.auction import Uncross
from exchange.engine.book import BUY, NO_LIQUIDITY, SELL, Book, Plan
from exchange.live import LiveOrder, Status, fee_on
from exchange.models import OrderType
from exchange.open_orders import OpenOrders
from exchange.phases import ALWAYS_OPEN, State
from exchange.reducing import Reducing
from exchange.waiting import WaitingRoom
from marketdata.markets import MarketSpec

SIDES = loading.SIDES
SIDE_NAMES = {side: name for name, side in SIDES.items()}

#: Times in force that only end an order in time: to the engine they are GTC.
RESTING = {"DAY": "GTC", "GTD": "GTC", "AUC": "GTC"}

#: What is sent to the book as a market order, within its protection price.
MARKET_WHEN_TRIGGERED = frozenset({OrderType.STOP_LOSS, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP})

#: A change of the visible book: (side, price in ticks, total lots now; 0 is gone).
Change = tuple[int, int, int]


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

    __slots__ = (
        "spec", "book", "waiting", "sequence", "last_price", "open_orders", "fees", "_band", "session", "collecting",
        "expiring", "next_change", "house", "reducing",
    )  # fmt: skip

    def __init__(self, spec: MarketSpec, fees: int):
        self.spec = spec
        self.fees = fees
        self.house: House | None = None
        self.reducing = Reducing()
        self.book = Book()
        self.waiting = WaitingRoom()
        self.sequence = 0
        self.last_price: Decimal | None = None
        self.open_orders = OpenOrders()
        self._band: tuple = (None, None, None)
        self.take_session(ALWAYS_OPEN)
        #: (moment, order id) of what ends in time, a heap; an order that ended otherwise may still be in it.
        self.expiring: list[tuple[str, int]] = []
        #: (spec, session, when the phase changes next): see exchange.sessions.
        self.next_change: tuple = (None, None, "")

    def take_session(self, session: State) -> None:
        """What a PHASE row says."""
        self.session, self.collecting = session, session.is_collecting

    # Commands, live and again

    def plan(self, order: LiveOrder, without: Collection[int] = ()) -> Plan:
        """What would happen if this order came in now, the orders `without` taken out before."""
        if self.collecting:
            return auction.plan_entry(self.book, order)
        budget = None if order.budget is None else order.budget // self.spec.notional_units
        force = RESTING.get(order.time_in_force, order.time_in_force)
        return self.book.plan(order, force, order.post_only, order.prevention, budget, without)

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
            self.open_orders.add(order)
            self._note_end(order)
            self.reducing.note(order)
        else:
            order.status = Status.EXPIRED if order.remaining else Status.FILLED
        order.priority, order.updated_at = sequence, moment
        if self.book.refilled:
            self._note_refills(sequence)
        if order.list_id is not None:
            self.waiting.join(order)
            self.waiting.changed(order)
        if matches:
            self._traded(matches, moment)
        return matches

    def _note_refills(self, sequence: int) -> None:
        """The new places of icebergs that brought up what they hide."""
        for place, order in enumerate(self.book.refilled, 1):
            order.priority, order.place = sequence, place
        self.book.refilled.clear()

    def _traded(self, matches: list[Match], moment: datetime) -> None:
        """The last price, and whom the prices trigger: trades of one command move one way, so two of them say all."""
        first, last = matches[0].price, matches[-1].price
        self.last_price = self.spec.price(last)
        if self.waiting.triggers.waiting and self.spec.trigger_by == "LAST":
            self.waiting.observe(first, moment)
            if last != first:
                self.waiting.observe(last, moment)

    def plan_amend(
        self, order_id: int, price: int, quantity: int, prevention: str, post_only: bool = False,
        without: Collection[int] = (),
    ) -> Plan:  # fmt: skip
        """What would happen if a resting order got these terms now, the orders `without` taken out before."""
        if self.collecting:
            return auction.plan_amendment(self.book, order_id, price, quantity)
        return self.book.plan_amend(order_id, price, quantity, post_only, prevention, without)

    def amend(self, plan: Plan, sequence: int, moment: datetime) -> list[Match]:
        """Execute the plan of an amendment."""
        order = plan.order
        self.book.execute(plan)
        matches = self._fill(order, plan, moment)
        order.updated_at = moment
        if not plan.keeps_place:
            order.priority = sequence
        if self.book.refilled:
            self._note_refills(sequence)
        if plan.rests:
            order.status = Status.PARTIALLY_FILLED if order.filled else Status.OPEN
        else:
            order.status = Status.EXPIRED if order.remaining else Status.FILLED
            self._closed(order)
        if matches:
            self._traded(matches, moment)
        return matches

    def cancel(self, order_id: int, moment: datetime, reason: str = "") -> LiveOrder:
        """Take a live order out; KeyError when it does not rest here nor wait."""
        return self.end(order_id, Status.CANCELLED, reason, moment)

    def end(self, order_id: int, status: str, reason: str, moment: datetime) -> LiveOrder:
        """The same, for any reason."""
        if order_id in self.waiting.orders:
            order = self.waiting.leave(order_id)
        else:
            order = self.book.cancel(order_id)
        order.status, order.reason, order.updated_at = Status(status), reason, moment
        if order.status == Status.EXPIRED and (heir := self.waiting.heir(order)) is not None:
            heir.shared = 0
        self._closed(order)
        return order

    def find(self, order_id: int) -> LiveOrder | None:
        """An order that lives here: it rests or it waits."""
        return self.book.orders.get(order_id) or self.waiting.orders.get(order_id)

    # Orders that wait

    def wait(self, order: LiveOrder, sequence: int, moment: datetime) -> None:
        """An accepted order that does not meet the book yet."""
        order.status, order.priority, order.updated_at = Status.PENDING, sequence, moment
        self.open_orders.add(order)
        self.waiting.enter(order)
        self._note_end(order)

    def plan_waiting(self, order: LiveOrder, lots: int) -> Plan:
        """What would happen if so many lots of a waiting order went to the book now. One without a limit of its own
        does not rest.
        """
        force = "IOC" if order.type in MARKET_WHEN_TRIGGERED else RESTING.get(order.time_in_force, order.time_in_force)
        # It may go on waiting, with all that it has.
        whole, order.remaining = order.remaining, lots
        try:
            return self.book.plan(order, time_in_force=force, post_only=order.post_only, prevention=order.prevention)
        finally:
            order.remaining = whole

    def trigger(self, order: LiveOrder, plan: Plan, lots: int, sequence: int, moment: datetime) -> list[Match]:
        """Execute the plan of an order that waited, and is now of so many lots; one that the book refuses expires."""
        self.waiting.leave(order.id)
        order.quantity = order.remaining = lots
        order.triggered_at, order.waits_for, order.shared = moment, None, 0
        self.open_orders.drop(order)
        if plan.refusal is None:
            matches = self.enter(order, plan, sequence, moment)
            if not matches and order.status == Status.EXPIRED:
                order.reason = NO_LIQUIDITY
            return matches
        order.status, order.reason, order.updated_at = Status.EXPIRED, plan.refusal, moment
        if order.list_id is not None:
            self.waiting.changed(order)
        return []

    def arm(self, order: LiveOrder, shared: int, moment: datetime) -> None:
        """Let the stop of a bracket wait for its price."""
        order.shared, order.updated_at = shared, moment
        price = self.last_price if self.spec.trigger_by == "LAST" else None
        self.waiting.arm(order, None if price is None else self.spec.ticks(price), moment)

    def _fill(self, taker: LiveOrder, plan: Plan, moment: datetime) -> list[Match]:
        matches = []
        for maker, lots in plan.matches:
            matches.append(self._match(maker, taker, maker.price, lots))
            self._was_filled(maker, moment)
        for maker in plan.expired_makers:
            maker.status, maker.updated_at = Status.EXPIRED, moment
            self._closed(maker)
        return matches

    def _match(self, maker: LiveOrder, taker: LiveOrder, price: int, lots: int) -> Match:
        """One execution, with what both sides pay noted on their orders."""
        notional = self.spec.notional(price, lots)
        taker_fee = fee_on(notional, taker.taker_rate)
        # A rebate is never more than the taker pays.
        maker_fee = max(fee_on(notional, maker.maker_rate), -taker_fee)
        maker.filled_notional += notional
        maker.fee += maker_fee
        taker.filled_notional += notional
        taker.fee += taker_fee
        return Match(maker, taker, price, lots, notional, maker_fee, taker_fee)

    def _was_filled(self, order: LiveOrder, moment: datetime) -> None:
        """The state of a resting order that has just traded."""
        order.updated_at = moment
        if order.remaining:
            order.status = Status.PARTIALLY_FILLED
            if order.list_id is not None:
                self.waiting.changed(order)
        elif order.status != Status.FILLED:  # an iceberg may be met several times
            order.status = Status.FILLED
            self._closed(order)

    def _closed(self, order: LiveOrder) -> None:
        self.open_orders.drop(order)
        self.reducing.drop(order)
        if order.list_id is not None:
            self.waiting.changed(order)

    def _note_end(self, order: LiveOrder) -> None:
        """An order that now lives: exchange.upkeep ends it in time."""
        if order.expires_at is not None:
            heappush(self.expiring, (order.expires_at, order.id))

    def _budget_is_spent(self, order: LiveOrder, plan: Plan) -> bool:
        """Whether what is left of the budget could not have bought one more lot where the walk ended."""
        left = order.budget // self.spec.notional_units - plan.notional
        price = self.book.best(-order.side) or (plan.matches[-1][0].price if plan.matches else 0)
        return left < price

    # Auctions

    def reference(self) -> int | None:
        """The last price in ticks, or the market's reference price until the first trade. In an auction it decides
        between several.
        """
        price = self.last_price or self.spec.reference_price
        return None if price is None else max(1, int(price / self.spec.tick_size))

    def shown_session(self) -> dict | None:
        """What readers of the book need to know of the session; None in a market that never had one."""
        if self.session is ALWAYS_OPEN:
            return None
        return {"phase": self.session.phase, "until": self.session.until, "reference": self.reference()}

    def uncross(self, plan: Uncross, sequence: int, moment: datetime) -> list[Match]:
        """Hold the auction. The later order of each match counts as the taker."""
        filled: Counter[LiveOrder] = Counter()
        matches = []
        for buy, sell, lots in plan.matches:
            maker, taker = sorted((buy, sell), key=lambda order: (order.priority, order.place, order.id))
            matches.append(self._match(maker, taker, plan.call.price, lots))
            filled[buy] += lots
            filled[sell] += lots
        for place, (order, lots) in enumerate(filled.items()):
            if self.book.fill(order, lots):
                order.priority, order.place = sequence, place
            self._was_filled(order, moment)
        self._traded(matches, moment)
        return matches

    # From the database

    def load(self, cursor, sequence: int, last_price: Decimal | None, *, kept: loading.Kept | None = None) -> None:
        """The open orders of the database, in queue order, as they stand at `sequence`.

        The caller holds the market's lock, or brings what was `kept` of another moment (see exchange.checkpoints).
        """
        self.book, self.waiting, self.open_orders, self.expiring = Book(), WaitingRoom(), OpenOrders(), []
        self.reducing.clear()
        kept = kept or loading.Kept()
        self.take_session(State.of(kept.session or loading.session(cursor, self.spec)))
        for order in loading.live_orders(cursor, self.spec, kept.rows):
            self.open_orders.add(order)
            self._note_end(order)
            if order.status == Status.PENDING:
                self.waiting.enter(order)
            else:
                self.book.restore(order, may_cross=self.collecting)
                self.waiting.join(order)
                self.reducing.note(order)
        if kept.due is None:
            loading.make_due(cursor, self.waiting)
        else:
            self.waiting.due.update(kept.due)
        self.book.drain_changes()
        self.sequence, self.last_price = sequence, last_price

    def levels(self) -> list[Change]:
        """The whole visible book, as changes to an empty one."""
        return [(side, price, lots) for side in (BUY, SELL) for price, lots in self.book.depth(side)]

    # Filters that move with the price

    def band(self, mark: Decimal | None) -> tuple[Decimal, int, int] | None:
        """(market price, lowest, highest allowed price in ticks), or None while there is no price or no band. The
        market price is the last one, on margin markets the mark.
        """
        price = mark or self.last_price or self.spec.reference_price
        spec, at, band = self._band
        if spec is not self.spec or at != price:
            band = bands.around(self.spec, price)
            self._band = (self.spec, price, band)
        return band
