"""The auditor's reckoning of orders that are more than plain: triggered ones, icebergs, and lists.

What waits for a price waits in the plain triggers of exchange.engine.reference_triggers. After each command, what
follows from it is done one by one: what must end first, then whom the prices have triggered, in their order.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from exchange.engine.orders import BUY, Order
from exchange.engine.reference_triggers import ReferenceTriggers
from tests.model.auditor import CANCELLED, EXPIRED, Auditor, Expected, Request, Terms

PENDING = "PENDING"
RISING, FALLING = 1, -1
STOPS, PROFITS = ("STOP_LOSS", "STOP_LIMIT", "TRAILING_STOP"), ("TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
MARKET_LIKE = ("STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP")
#: How far a stop market order may trade from its stop where the market has no band.
PROTECTION = Fraction(1, 10)


@dataclass(frozen=True)
class Special(Request):
    """A request with more terms."""

    stop_price: Fraction | None = None
    trail_amount: Fraction | None = None
    displayed: Fraction | None = None


@dataclass(frozen=True)
class Pair:
    """An OCO: the order that takes the profit, and the stop."""

    profit: Request
    stop: Special


class Iceberg(Order):
    __slots__ = ("display", "hidden")


class Trigger:
    """A waiting order as the triggers know it."""

    def __init__(self, order: Expected, terms: Terms, direction: int, stop: int):
        request = order.request
        self.id, self.direction, self.stop, self.trail_rate = order.id, direction, stop, 0
        self.trail = int((request.trail_amount or 0) / terms.tick)


class SpecialAuditor(Auditor):
    """An auditor who knows every type."""

    def __init__(self, markets: list[Terms]):
        super().__init__(markets)
        self.triggers = {terms.symbol: ReferenceTriggers() for terms in markets}
        self.others: dict[int, int] = {}
        self._ends: list[int] = []
        self._due: list[int] = []
        self._prices: list[Fraction] = []

    # What accounts hold

    def pending(self) -> list[Expected]:
        return [order for order in self.orders.values() if order.status == PENDING]

    def open_orders(self) -> list[Expected]:
        return [*super().open_orders(), *self.pending()]

    def reserve_of(self, order: Expected) -> Fraction:
        if order.status != PENDING:
            return super().reserve_of(order)
        terms, request = self.markets[order.request.symbol], order.request
        needed = self._required(terms, request.side, order.price, order.quantity)
        other = self.orders.get(self.others.get(order.id))
        return max(Fraction(0), needed - self.reserve_of(other)) if other is not None else needed

    # Placing

    def place(self, request: Request, order_id: int | None) -> Expected | str:
        if not isinstance(request, Special) or request.type == "LIMIT":
            return self._and_follow(super().place(request, order_id))
        terms = self.markets[request.symbol]
        code = self._misshapen_stop(terms, request)
        if code:
            return code
        known = self.names.get((request.account, request.client_order_id))
        if request.client_order_id is not None and known is not None:
            return self.orders[known] if self.orders[known].request == request else "client_order_id_reused"
        made = self._waiting(terms, request)
        if isinstance(made, str):
            return made
        needed = self._required(terms, request.side, made.price, made.quantity)
        if needed > self.available(request.account, self._paying(request)):
            return "insufficient_funds"
        return self._wait(terms, made, order_id)

    def place_pair(self, pair: Pair, order_ids: list[int] | None) -> list[Expected] | str:
        """Both or none."""
        profit, stop = pair.profit, pair.stop
        terms = self.markets[profit.symbol]
        code = self._misshapen(terms, profit.price, profit.quantity, None) or self._misshapen_stop(terms, stop)
        if code:
            return code
        ids = order_ids or [0, 0]
        first = self._trial(profit)
        if first is not None:
            return first
        made = self._waiting(terms, stop)
        if isinstance(made, str):
            return made
        middle = self._middle(terms)
        inside = profit.side * profit.price < profit.side * made.stop * terms.tick
        if middle is not None:
            inside = profit.side * profit.price < profit.side * middle * terms.tick and inside
        if not inside:
            return "bad_list_prices"
        needed = self._required(terms, profit.side, profit.price, profit.quantity)
        needed = max(needed, self._required(terms, stop.side, made.price, made.quantity))
        if needed > self.available(profit.account, self._paying(profit)):
            return "insufficient_funds"
        assert order_ids is not None, f"the venue refused what it must take: {pair}"
        taken = super().place(profit, ids[0])
        assert isinstance(taken, Expected), taken
        self.others[ids[0]], self.others[ids[1]] = ids[1], ids[0]
        return [replace(taken, fills=[*taken.fills]), self._wait(terms, made, ids[1])]

    def _trial(self, profit: Request) -> str | None:
        """Why the profit's order would be refused, if it would."""
        terms = self.markets[profit.symbol]
        if self._out_of_band(terms, profit.price):
            return "price_out_of_band"
        if self._open_orders(profit) + 2 > terms.max_open_orders:
            return "too_many_open_orders"
        plan = self.books[profit.symbol].plan(self._engine_order(terms, profit, 0), "GTC", True, profit.prevention)
        if plan.refusal:
            return plan.refusal
        needed = self._required(terms, profit.side, profit.price, profit.quantity)
        return "insufficient_funds" if needed > self.available(profit.account, self._paying(profit)) else None

    def _misshapen_stop(self, terms: Terms, request: Special) -> str | None:
        if request.price is not None and (request.price / terms.tick).denominator != 1:
            return "bad_tick_size"
        if (request.quantity / terms.lot).denominator != 1:
            return "bad_lot_size"
        for price in (request.stop_price, request.trail_amount):
            if price is not None and (price / terms.tick).denominator != 1:
                return "bad_tick_size"
        return self._misshapen(terms, request.price or request.stop_price, request.quantity, None)

    def _waiting(self, terms: Terms, request: Special) -> Expected | str:
        """The order as it would wait, its `price` the worst at which it may trade, or why it is refused."""
        direction = request.side if request.type in STOPS else -request.side
        middle = self._middle(terms)
        if request.trail_amount is not None:
            if middle is None:
                return "no_market_price"
            trail = int(request.trail_amount / terms.tick)
            if direction == FALLING and trail >= middle:
                return "bad_trail"
            stop = middle + direction * trail
        else:
            stop = int(request.stop_price / terms.tick)
            if middle is not None and direction * middle >= direction * stop:
                return "stop_would_trigger"
        width = terms.band or PROTECTION
        low, high = max(1, ceil(stop * (1 - width))) * terms.tick, floor(stop * (1 + width)) * terms.tick
        price = request.price
        if request.type in MARKET_LIKE:
            price = high if request.side == BUY else low
        elif not low <= price <= high:
            return "price_out_of_band"
        if code := self._misshapen(terms, price, request.quantity, None):
            return code
        if self._open_orders(request) >= terms.max_open_orders:
            return "too_many_open_orders"
        made = Expected(0, request, price, request.quantity, status=PENDING)
        made.stop, made.direction = stop, direction
        return made

    def _wait(self, terms: Terms, made: Expected, order_id: int | None) -> Expected:
        assert order_id is not None, f"the venue refused what it must take: {made.request}"
        made.id = order_id
        self.orders[order_id] = made
        request = made.request
        if request.client_order_id is not None:
            self.names[request.account, request.client_order_id] = order_id
        self.triggers[request.symbol].add(Trigger(made, terms, made.direction, made.stop))
        return replace(made)

    def _middle(self, terms: Terms) -> int | None:
        price = self.last_prices[terms.symbol]
        return None if price is None else max(1, int(price / terms.tick))

    def _open_orders(self, request: Request) -> int:
        mine = [o for o in self.pending() if o.request.symbol == request.symbol]
        return super()._open_orders(request) + sum(o.request.account == request.account for o in mine)

    def _engine_order(self, terms: Terms, request: Request, order_id: int) -> Order:
        order = super()._engine_order(terms, request, order_id)
        if getattr(request, "displayed", None) is None:
            return order
        iceberg = Iceberg(order.id, order.account, order.side, order.price, order.quantity)
        iceberg.display, iceberg.hidden = int(request.displayed / terms.lot), 0
        return iceberg

    # Ending and amending

    def cancel(self, account: int, order_id: int) -> Expected | str:
        order = self.orders.get(order_id)
        if order is None or order.request.account != account or order.status != PENDING:
            answer = super().cancel(account, order_id)
            if isinstance(answer, Expected):
                self._left(answer)
            return self._and_follow(answer)
        self.triggers[order.request.symbol].remove(order_id)
        order.status = CANCELLED
        self._left(order)
        return self._and_follow(order)

    def cancel_all(self, account: int, symbol: str | None) -> list[Expected]:
        mine = [order for order in self.open_orders() if order.request.account == account]
        mine = [order for order in mine if symbol in (None, order.request.symbol)]
        for order in mine:
            if order.status == PENDING:
                self.triggers[order.request.symbol].remove(order.id)
            else:
                self.books[order.request.symbol].cancel(order.id)
            order.status = CANCELLED
        return mine

    def amend(self, account: int, order_id: int, price, quantity) -> Expected | str:
        order = self.orders.get(order_id)
        if order is not None and order.request.account == account:
            if order.status == PENDING:
                return "order_pending"
            if order.id in self.others and order.status in ("OPEN", "PARTIALLY_FILLED"):
                return "order_not_amendable"
            is_special = getattr(order.request, "displayed", None) or order.request.type not in ("LIMIT", "MARKET")
            if is_special and order.status in ("OPEN", "PARTIALLY_FILLED"):
                return "order_not_amendable"
        return self._and_follow(super().amend(account, order_id, price, quantity))

    # What follows

    def _trade(self, terms: Terms, maker: Expected, taker: Expected, quantity: Fraction, price: Fraction) -> None:
        super()._trade(terms, maker, taker, quantity, price)
        self._prices.append((terms, price))
        for order in (maker, taker):
            self._left(order)

    def _left(self, order: Expected) -> None:
        """An order of a pair was filled, triggered or has ended: the other ends."""
        other = self.orders.get(self.others.get(order.id))
        if other is None or other.status not in ("OPEN", "PARTIALLY_FILLED", PENDING) or other.id in self._due:
            return
        if order.id not in self._ends:
            self._ends.append(other.id)

    def _execute(self, terms: Terms, taker: Expected, plan) -> None:
        super()._execute(terms, taker, plan)
        for maker in plan.expired_makers:
            self._left(self.orders[maker.id])
        if taker.status not in ("OPEN", "PARTIALLY_FILLED"):
            self._left(taker)
        self._observe()

    def _observe(self) -> None:
        if self._prices:
            for terms, price in dict.fromkeys((self._prices[0], self._prices[-1])):
                for trigger in self.triggers[terms.symbol].observe(int(price / terms.tick)):
                    if trigger.id not in self._ends:
                        self._due.append(trigger.id)
                        self._left(self.orders[trigger.id])
        self._prices = []

    def _and_follow(self, answer):
        """The answer as it was given, then all that follows from what was done."""
        if isinstance(answer, Expected):
            answer = replace(answer, fills=[*answer.fills])
        while self._ends or self._due:
            if self._ends:
                self._end(self.orders[self._ends.pop(0)])
            else:
                self._trigger(self.orders[self._due.pop(0)])
        return answer

    def _end(self, order: Expected) -> None:
        if order.status == PENDING:
            self.triggers[order.request.symbol].waiting.pop(order.id, None)
        elif order.status in ("OPEN", "PARTIALLY_FILLED"):
            self.books[order.request.symbol].cancel(order.id)
        else:
            return
        order.status = EXPIRED

    def _trigger(self, order: Expected) -> None:
        request, terms = order.request, self.markets[order.request.symbol]
        book = self.books[terms.symbol]
        engine_order = self._engine_order(terms, replace(request, price=order.price), order.id)
        force = "IOC" if request.type in MARKET_LIKE else request.time_in_force
        plan = book.plan(engine_order, force, request.post_only, request.prevention)
        if plan.refusal:
            order.status = EXPIRED
            return
        self._execute(terms, order, plan)
