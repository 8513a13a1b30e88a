"""The specification of the order book, in the plainest code that says it.

The resting orders of a side are one flat list in priority order: better prices first, then earlier
arrivals. Every question is answered by reading that list from the front. It shares the words and shapes of
`exchange.engine.orders` with the book that trades, and no code; the two must agree on every plan, on the
depth and on the state hash, after any commands. Where they differ, this one is right until a reader of the
rules finds otherwise.

The rules, in the order in which they are applied to an incoming order:
 1. It meets the orders of the other side, in priority order, up to its limit price; a market order has no
    limit.
 2. A market order that meets an empty side is refused. A post-only order that meets anyone is refused.
 3. It takes each in turn, until it has its quantity, or its budget does not pay for one lot more at that
    maker's price.
 4. At an order of its own account, EXPIRE_TAKER and EXPIRE_BOTH end the walk; EXPIRE_MAKER and EXPIRE_BOTH
    expire the order met.
 5. Fill-or-kill that is not filled whole by then is refused. One that EXPIRE_TAKER ended before it filled a
    lot is refused.
 6. What is left unfilled expires for market and IOC orders and where rule 4 ended the walk. Else it rests,
    last at its price.
 7. Of an iceberg only its `display` stands in the queue. When that is taken, as much again comes up, last at its
    price, while there is any.

An amendment that does not raise the quantity, at the same price, changes only the quantity. Any other takes
the order out and sends what is left of it through rules 1 to 6 with the new terms.

Known limit: each command reads whole lists, so this is for books of hundreds of orders, not of millions.
"""

from bisect import insort
from collections.abc import Iterator
from hashlib import blake2b

from exchange.engine.orders import (
    BUY,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    GTC,
    SELL,
    FullPlan,
    Order,
    Plan,
)


class ReferenceBook:
    """One market's resting orders; the same verbs as `exchange.engine.book.Book`, which documents them."""

    def __init__(self):
        self.queues: dict[int, list[Order]] = {BUY: [], SELL: []}
        self.touched: set[tuple[int, int]] = set()

    @property
    def orders(self) -> dict[int, Order]:
        return {order.id: order for queue in self.queues.values() for order in queue}

    def __len__(self) -> int:
        return len(self.orders)

    def plan(
        self,
        order: Order,
        time_in_force: str = GTC,
        post_only: bool = False,
        prevention: str = EXPIRE_TAKER,
        budget: int | None = None,
    ) -> Plan:
        plan = FullPlan(order, 0)
        met = self._met(order.side, order.price)
        if order.price is None and not met:
            return plan.refuse("no_liquidity")
        if post_only and met:
            return plan.refuse("would_take")
        may_rest = order.price is not None and time_in_force == GTC
        return self._walk(plan, met, order.remaining, budget, prevention, time_in_force == FOK, may_rest)

    def plan_amend(
        self,
        order_id: int,
        price: int,
        quantity: int,
        post_only: bool = False,
        prevention: str = EXPIRE_TAKER,
    ) -> Plan:
        order = self.orders[order_id]
        if order.display:
            raise ValueError("an iceberg is not amended")
        filled_before = order.quantity - order.remaining
        if quantity <= filled_before:
            raise ValueError("the new quantity is filled already")
        plan = FullPlan(order, quantity - filled_before, price=price, quantity=quantity)
        if price == order.price and quantity <= order.quantity:
            plan.keeps_place = True
            return plan
        met = self._met(order.side, price)
        if post_only and met:
            return plan.refuse("would_take")
        return self._walk(plan, met, quantity - filled_before, None, prevention, False, True)

    def execute(self, plan: Plan) -> None:
        assert plan.refusal is None
        order = plan.order
        if plan.quantity is not None:
            self.touch(order)
            order.remaining = plan.quantity - (order.quantity - order.remaining)
            order.quantity = plan.quantity
            if plan.keeps_place:
                return
            self.queues[order.side].remove(order)
            order.price = plan.price
        for maker, lots in plan.matches:
            self.touch(maker)
            maker.remaining -= lots
            if maker.remaining == 0:
                self.queues[maker.side].remove(maker)
                if maker.hidden:
                    self.show(maker, maker.hidden)
                    self.append(maker)
        for maker in plan.expired_makers:
            self.touch(maker)
            self.queues[maker.side].remove(maker)
        if order.quantity > 0:
            order.remaining -= plan.filled
        if plan.rests:
            if order.display:
                self.show(order, order.remaining)
            self.append(order)

    def cancel(self, order_id: int) -> Order:
        order = self.orders[order_id]
        self.touch(order)
        self.queues[order.side].remove(order)
        return order

    def restore(self, order: Order) -> None:
        if order.id in self.orders or order.remaining <= 0 or self._met(order.side, order.price):
            raise ValueError("this order cannot rest in this book")
        self.append(order)

    def best(self, side: int) -> int | None:
        prices = [order.price for order in self.queues[side]]
        if not prices:
            return None
        return max(prices) if side == BUY else min(prices)

    def depth(self, side: int, limit: int | None = None) -> list[tuple[int, int]]:
        totals = {}
        for order in self.queues[side]:
            totals[order.price] = totals.get(order.price, 0) + order.remaining
        return sorted(totals.items(), reverse=side == BUY)[:limit]

    def reachable(
        self,
        side: int,
        *,
        price: int | None,
        lots: int | None = None,
        budget: int | None = None,
        account: int | None = None,
    ) -> Iterator[Order]:
        for maker in self._met(side, price):
            for_sale = maker.remaining
            if lots == 0 or (budget is not None and budget < maker.price):
                return
            yield maker
            if maker.account == account:
                continue
            while for_sale and lots != 0 and (budget is None or budget >= maker.price):
                for_sale -= 1
                if lots is not None:
                    lots -= 1
                if budget is not None:
                    budget -= maker.price
            if for_sale:
                return

    def drain_changes(self) -> list[tuple[int, int, int]]:
        totals = {side: dict(self.depth(side)) for side in (BUY, SELL)}
        touched = sorted(self.touched, key=lambda place: (-place[0], -place[0] * place[1]))
        self.touched = set()
        return [(side, price, totals[side].get(price, 0)) for side, price in touched]

    def state_hash(self) -> str:
        lines = [
            f"{order.side} {order.price} {order.id} {order.remaining} {order.quantity}\n"
            + (f"{order.side} {order.price} {order.id} {order.hidden} {order.display}\n" if order.display else "")
            for order in self.queues[BUY] + self.queues[SELL]
        ]
        return blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    def _met(self, side: int, price: int | None) -> list[Order]:
        """The resting orders that an incoming one could trade with, as far as prices go."""
        if price is None:
            return list(self.queues[-side])
        if side == BUY:
            return [maker for maker in self.queues[SELL] if maker.price <= price]
        return [maker for maker in self.queues[BUY] if maker.price >= price]

    def _walk(
        self,
        plan: FullPlan,
        met: list[Order],
        lots: int,
        budget: int | None,
        prevention: str,
        fill_or_kill: bool,
        may_rest: bool,
    ) -> Plan:
        """Rules 3 to 6."""
        plan.matches, plan.expired_makers = [], []
        whole = stopped = False
        line = [(maker, maker.remaining, maker.hidden) for maker in met]
        while line:
            maker, shown, hidden = line.pop(0)
            if budget is None:
                wanted = lots - plan.filled
            else:
                wanted = (budget - plan.notional) // maker.price
            if wanted == 0:
                whole = True
                break
            if maker.account == plan.order.account:
                if prevention in (EXPIRE_MAKER, EXPIRE_BOTH):
                    plan.expired_makers.append(maker)
                if prevention in (EXPIRE_TAKER, EXPIRE_BOTH):
                    stopped = True
                    break
                continue
            traded = min(wanted, shown)
            plan.matches.append((maker, traded))
            plan.filled += traded
            plan.notional += traded * maker.price
            if traded < shown:
                whole = True
                break
            if hidden:
                behind = sum(1 for other, _, _ in line if other.price == maker.price)
                part = min(maker.display, hidden)
                line.insert(behind, (maker, part, hidden - part))
        if (plan.filled == lots) if budget is None else (plan.notional == budget):
            whole = True
        unfilled = 0 if budget is not None else lots - plan.filled
        if fill_or_kill and not whole:
            return plan.refuse("cannot_fill")
        if stopped and prevention == EXPIRE_TAKER and plan.filled == 0:
            return plan.refuse("self_trade")
        rests = may_rest and not stopped
        plan.rests = unfilled if rests else 0
        plan.expires = 0 if rests else unfilled
        return plan

    def show(self, order: Order, left: int) -> None:
        """Rule 7."""
        order.remaining = min(order.display, left)
        order.hidden = left - order.remaining

    def append(self, order: Order) -> None:
        """`insort` puts the order behind all of its own price: that is time priority."""
        insort(self.queues[order.side], order, key=lambda other: -other.side * other.price)
        self.touch(order)

    def touch(self, order: Order) -> None:
        """Its level is told with the next changes."""
        self.touched.add((order.side, order.price))
