"""The order book that trades: price-time priority over whole ticks and lots.

Two steps. `plan` and `plan_amend` look and tell everything that would happen, without touching anything;
the caller checks funds, and drops the plan or gives it to `execute`, which cannot fail. In between the book
must not change.

Rules
- A trade happens at the maker's price. Better prices go first, then earlier orders; nobody is skipped.
- Market and IOC orders never rest: what is not filled expires. A market order that finds the other side
  empty is refused (`no_liquidity`). FOK fills whole or is refused (`cannot_fill`). A post-only order that
  would meet anybody, the account's own orders included, is refused (`would_take`).
- A market order by budget takes whole lots as long as the budget pays for one at the next price in line. It
  does not look past that price for a cheaper one, which a seller's walk would otherwise find.
- An account does not trade with itself. EXPIRE_TAKER: the incoming order ends where it meets an own one; if
  it has filled nothing by then it is refused (`self_trade`), else its remainder expires. EXPIRE_MAKER: the
  resting order expires and matching goes on. EXPIRE_BOTH: the resting order and the incoming remainder
  expire.
- An iceberg shows a part (`display`) and hides the rest. When the part is taken the next one comes to the back of the
  queue of its price; an incoming order takes all that is shown at a price before it takes what comes up there, and
  that before the next price. Icebergs are not amended (ValueError).
- An amendment to the same or a smaller quantity at the same price keeps its place. Any other leaves its
  place and comes in again as a taker of the new terms, with the same id. Refused, it changes nothing.

Invariants
- Best bid < best ask, but while orders are collected for an auction (see exchange.engine.auction).
- `orders` holds exactly the resting orders; each has `remaining` > 0.
- Two books that were given the same commands have the same `state_hash`.

Cost: the best price is one look; cancelling does not depend on the depth; a price level that appears or
empties costs log(levels). Memory follows the resting orders, not the cancelled ones.

Known limits: prices are positive. Ids are the caller's, and must not be used again while they rest. One thread.
"""

from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice

from exchange.engine.digest import hash_rows, rows_of
from exchange.engine.ladder import Ladder, Level
from exchange.engine.orders import (
    BUY,
    CANNOT_FILL,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    GTC,
    IOC,
    NO_LIQUIDITY,
    SELF_TRADE,
    SELL,
    WOULD_TAKE,
    FullPlan,
    Order,
    Plan,
)

__all__ = [
    "BUY", "SELL", "GTC", "IOC", "FOK", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH",
    "CANNOT_FILL", "NO_LIQUIDITY", "SELF_TRADE", "WOULD_TAKE",
    "Order", "Plan", "Book", "hash_rows",
]  # fmt: skip

# Why a walk through the other side ended.
SATISFIED, EXHAUSTED, STOPPED = "satisfied", "exhausted", "stopped by an own order"


class Book:
    """One market's resting orders, and the only code that matches them."""

    __slots__ = ("orders", "refilled", "_ladders", "_icebergs")

    def __init__(self):
        self.orders: dict[int, Order] = {}
        #: Icebergs that went to the back of their queue, in this order, since somebody last emptied this.
        self.refilled: list[Order] = []
        #: Resting orders that have something hidden.
        self._icebergs: dict[int, Order] = {}
        self._ladders = {BUY: Ladder(BUY), SELL: Ladder(SELL)}

    def __len__(self) -> int:
        return len(self.orders)

    def plan(
        self,
        order: Order,
        time_in_force: str = GTC,
        post_only: bool = False,
        prevention: str = EXPIRE_TAKER,
        budget: int | None = None,
        without: Collection[int] = (),
    ) -> Plan:
        """What would happen if this order came in now, the orders `without` taken out before.

        `budget` (ticks × lots) is for market orders only, in place of a quantity, which is then 0.
        """
        side, price = order.side, order.price
        heap = self._ladders[-side].heap
        if price is not None and (not heap or heap[0] > side * price):
            if time_in_force == GTC:
                return Plan(order, order.remaining)
            plan = FullPlan(order, 0)
            _conclude(plan, order.remaining, EXHAUSTED, time_in_force, prevention)
            return plan
        plan = FullPlan(order, 0)
        if not heap:
            return plan.refuse(NO_LIQUIDITY)
        if post_only:
            return plan.refuse(WOULD_TAKE)
        if price is None and time_in_force == GTC:
            time_in_force = IOC
        end = self._match(plan, price, order.remaining, prevention, budget, without)
        _conclude(plan, order.remaining, end, time_in_force, prevention)
        return plan

    def plan_amend(
        self,
        order_id: int,
        price: int,
        quantity: int,
        post_only: bool = False,
        prevention: str = EXPIRE_TAKER,
        without: Collection[int] = (),
    ) -> Plan:
        """What would happen if a resting order got these terms now, the orders `without` taken out before.

        `quantity` is the new total, with what is filled already, and must be above that (ValueError).
        KeyError when the order does not rest here.
        """
        order = self.orders[order_id]
        if order.display:
            raise ValueError(f"order {order_id} is an iceberg: it is not amended")
        lots = quantity - (order.quantity - order.remaining)
        if lots <= 0:
            raise ValueError(f"order {order_id} has filled as much as the new quantity of {quantity} lots")
        plan = FullPlan(order, lots, price, quantity)
        if price == order.price and quantity <= order.quantity:
            plan.keeps_place = True
            return plan
        heap = self._ladders[-order.side].heap
        if not heap or heap[0] > order.side * price:
            return plan
        if post_only:
            return plan.refuse(WOULD_TAKE)
        _conclude(plan, lots, self._match(plan, price, lots, prevention, None, without), GTC, prevention)
        return plan

    def execute(self, plan: Plan) -> None:
        """Do what the plan says. It must not be a refusal, nor the book have changed since."""
        order = plan.order
        if type(plan) is not Plan:
            assert plan.refusal is None, f"a refused plan is never executed: {plan.refusal}"
            if plan.quantity is not None:
                self._take_terms(plan)
            if plan.keeps_place:
                return
            if plan.matches or plan.expired_makers:
                self._take_makers(plan)
        if plan.rests:
            if order.display:
                self._hide(order, order.remaining)
            self.orders[order.id] = order
            self._ladders[order.side].append(order)

    def cancel(self, order_id: int) -> Order:
        """Take a resting order out and return it, `remaining` as it was. KeyError when it is not here."""
        order = self.orders.pop(order_id)
        self._ladders[order.side].remove(order)
        if order.display:
            self._icebergs.pop(order_id, None)
        return order

    def fill(self, order: Order, lots: int) -> bool:
        """Take lots off a resting order, as an auction does; whether what is left goes to the back of its queue.

        Up to all of it: what an iceberg has hidden comes out once more than it shows is gone.
        """
        ladder = self._ladders[order.side]
        if lots < order.remaining:
            ladder.reduce(order, lots)
            return False
        left = order.remaining + order.hidden - lots
        ladder.remove(order)
        if not left:
            order.remaining = 0
            if order.display:
                self._hide(order, 0)
            del self.orders[order.id]
            return False
        self._hide(order, left)
        ladder.append(order)
        return True

    def restore(self, order: Order, *, may_cross: bool = False) -> None:
        """Append an order that rests already, as when loading a saved book in queue order.

        ValueError when it cannot be part of this book: twice the same id, nothing remaining, or a price
        that crosses, unless orders are collected for an auction.
        """
        heap = self._ladders[-order.side].heap
        if order.id in self.orders or order.remaining <= 0:
            raise ValueError(f"not a resting order, or one that rests already: {order}")
        if heap and heap[0] <= order.side * order.price and not may_cross:
            raise ValueError(f"the book would be crossed by {order}")
        self.orders[order.id] = order
        self._ladders[order.side].append(order)
        if order.hidden:
            self._icebergs[order.id] = order

    def best(self, side: int) -> int | None:
        """The best price of that side's resting orders, in ticks; None when there are none."""
        return self._ladders[side].best()

    def depth(self, side: int, limit: int | None = None) -> list[tuple[int, int]]:
        """(price, total lots) of a side's levels, best first; at most `limit` of them."""
        return [(level.price, level.total) for level in islice(self._ladders[side].walk(), limit)]

    def reachable(
        self,
        side: int,
        *,
        price: int | None,
        lots: int | None = None,
        budget: int | None = None,
        account: int | None = None,
    ) -> Iterator[Order]:
        """The resting orders that an incoming order of `side` could meet, best first.

        The walk ends at the limit price, or when `lots` or `budget` are used up. Orders of `account` are in
        it but use nothing up, because EXPIRE_MAKER passes over them: name the account, and no prevention
        reaches further than this. The book must not change while the answer is read.
        """
        for level in self._ladders[-side].walk():
            if price is not None and level.key > side * price:
                return
            for maker in level:
                wanted = lots if budget is None else budget // level.price
                if wanted == 0:
                    return
                yield maker
                if wanted is None or maker.account == account:
                    continue
                taken = min(wanted, maker.remaining)
                if budget is None:
                    lots -= taken
                else:
                    budget -= taken * level.price
                if taken < maker.remaining:
                    return

    def drain_changes(self) -> list[tuple[int, int, int]]:
        """(side, price, total lots) of each level touched since the last drain; total 0 means gone.

        Bids first, best price first. They pile up until drained.
        """
        return self._ladders[BUY].drain_changes() + self._ladders[SELL].drain_changes()

    def state_hash(self) -> str:
        """A digest of all that decides how the book goes on; see `hash_rows`."""
        return hash_rows(
            row
            for side in (BUY, SELL)
            for level in self._ladders[side].walk()
            for order in level
            for row in rows_of(order)
        )

    def _match(
        self, plan: FullPlan, price: int | None, lots: int, prevention: str, budget: int | None,
        without: Collection[int],
    ) -> str:  # fmt: skip
        """Walk the other side (not empty), note in the plan whom the order meets, tell why the walk ended."""
        order = plan.order
        account, limit = order.account, None if price is None else order.side * price
        ladder = self._ladders[-order.side]
        # Most walks end at the best level, which is one look; only a longer one pays for walking.
        level, further = ladder.levels[ladder.heap[0]], None
        matches = plan.matches = []
        filled = notional = 0
        end = None
        while end is None:
            maker, maker_price = level.next, level.price
            while maker is not level:
                wanted = lots - filled if budget is None else (budget - notional) // maker_price
                if not wanted:
                    end = SATISFIED
                    break
                available = maker.remaining
                if maker.account == account:
                    if prevention != EXPIRE_TAKER:
                        plan.expired_makers += (maker,)
                    if prevention != EXPIRE_MAKER:
                        end = STOPPED
                        break
                elif maker.id not in without:
                    traded = available if available < wanted else wanted
                    matches.append((maker, traded))
                    filled += traded
                    notional += traded * maker_price
                    # A budget may still pay for a lot at the next price, but only once this maker is used up.
                    if traded == wanted and (traded < available or budget is None or budget == notional):
                        end = SATISFIED
                        break
                maker = maker.next
            else:
                if self._icebergs:
                    filled, notional, end = self._match_hidden(plan, level, lots, budget, filled, notional, without)
                    if end is not None:
                        break
                if further is None:
                    further = ladder.walk()
                    next(further)
                level = next(further, None)
                if level is None or (limit is not None and level.key > limit):
                    end = EXHAUSTED
        plan.filled, plan.notional = filled, notional
        return end

    def _match_hidden(
        self, plan: FullPlan, level: Level, lots: int, budget: int | None, filled: int, notional: int,
        without: Collection[int],
    ) -> tuple[int, int, str | None]:  # fmt: skip
        """What is shown at this level is taken: go on with what its icebergs bring up, each at the back in its turn."""
        account, price = plan.order.account, level.price
        queue = deque((o, o.hidden) for o in level if o.hidden and o.account != account and o.id not in without)
        while queue:
            maker, hidden = queue.popleft()
            wanted = lots - filled if budget is None else (budget - notional) // price
            if not wanted:
                return filled, notional, SATISFIED
            shown = min(maker.display, hidden)
            traded = min(shown, wanted)
            plan.matches.append((maker, traded))
            filled += traded
            notional += traded * price
            if traded == wanted and (traded < shown or budget is None or budget == notional):
                return filled, notional, SATISFIED
            if hidden > shown:
                queue.append((maker, hidden - shown))
        return filled, notional, None

    def _hide(self, order: Order, left: int) -> None:
        """Of all that is left of an iceberg show a part."""
        order.remaining = min(order.display, left)
        order.hidden = left - order.remaining
        if order.hidden:
            self._icebergs[order.id] = order
        else:
            self._icebergs.pop(order.id, None)

    def _take_makers(self, plan: FullPlan) -> None:
        """Trade with the makers of the plan and remove the expired ones."""
        order = plan.order
        makers = self._ladders[-order.side]
        for maker, lots in plan.matches:
            if lots == maker.remaining:
                makers.remove(maker)
                if maker.hidden:
                    self._hide(maker, maker.hidden)
                    makers.append(maker)
                    self.refilled.append(maker)
                    continue
                maker.remaining = 0
                del self.orders[maker.id]
            else:
                makers.reduce(maker, lots)
        for maker in plan.expired_makers:
            makers.remove(maker)
            del self.orders[maker.id]
            if maker.display:
                self._icebergs.pop(maker.id, None)
        if order.quantity:
            order.remaining -= plan.filled

    def _take_terms(self, plan: FullPlan) -> None:
        """Give an amended order its new terms; unless it keeps its place it leaves the book here."""
        order, ladder = plan.order, self._ladders[plan.order.side]
        remaining = plan.quantity - (order.quantity - order.remaining)
        if plan.keeps_place:
            ladder.reduce(order, order.remaining - remaining)
        else:
            ladder.remove(order)
            del self.orders[order.id]
            order.price, order.remaining = plan.price, remaining
        order.quantity = plan.quantity


def _conclude(plan: FullPlan, lots: int, end: str, time_in_force: str, prevention: str) -> None:
    """Decide what becomes of the lots that the walk left unfilled; an order by budget has none."""
    unfilled = lots - plan.filled if lots else 0
    if time_in_force == FOK and end != SATISFIED:
        plan.refuse(CANNOT_FILL)
    elif end == STOPPED and prevention == EXPIRE_TAKER and not plan.filled:
        plan.refuse(SELF_TRADE)
    elif end == STOPPED or time_in_force != GTC:
        plan.rests, plan.expires = 0, unfilled
    else:
        plan.rests = unfilled
