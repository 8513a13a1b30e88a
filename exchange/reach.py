"""What a batch must lock before it decides: which markets its commands concern, and which accounts they could touch.

The accounts are an estimate from the books as they stand: the submitters, the fee accounts, and whoever's resting
orders the placements and amendments of one side could meet together. Earlier commands of the same batch can make a
later one reach further; the batch notices (see exchange.batch) and asks again, so the estimate may be short but is
never trusted.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exchange import following, store, upkeep
from exchange.books import LiveBook
from exchange.commands import Amend, Cancel, CancelAll, Command, Place, Refresh
from exchange.lists import Replace
from exchange.mark_price import Mark
from exchange.store import Found


def locate(cursor, books: Iterable[LiveBook], commands: Sequence[Command]) -> dict[int, Found]:
    """Where the orders named by amendments and cancellations are: from the live books, else from the database."""
    wanted = {command.order_id for command in commands if isinstance(command, Amend | Cancel | Replace)}
    where = {}
    for live in books:
        for order_id in wanted & live.book.orders.keys():
            where[order_id] = Found(live.spec.id, live.book.orders[order_id].account, True)
        for order_id in wanted & live.waiting.orders.keys():
            where[order_id] = Found(live.spec.id, live.waiting.orders[order_id].account, True)
    where.update(store.find_orders(cursor, wanted - where.keys()))
    return where


def markets(cursor, commands: Sequence[Command], where: Mapping[int, Found], scattered: Iterable[int]) -> set[int]:
    """The ids of the markets that the commands concern, and of those where the accounts `scattered` have orders."""
    ids = {found.market_id for found in where.values() if found.is_open}
    for command in commands:
        if isinstance(command, Place):
            ids.add(command.spec.id)
        elif isinstance(command, Refresh | Mark):
            ids.add(command.market_id)
        elif isinstance(command, CancelAll):
            ids.update([command.market_id] if command.market_id else store.markets_of(cursor, command.account))
    for account in scattered:
        ids.update(store.markets_of(cursor, account))
    return ids


def gathered(
    cursor, scattered: Iterable[int], books: Collection[int], unreadable: Collection[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Of the accounts, which are locked by now: those that have orders in locked markets only, whose books are at hand
    or whose figures are unreadable. And of those again: who has orders in unreadable ones, where they stay.
    """
    found, unread = set(), set()
    for account in scattered:
        others = set(store.markets_of(cursor, account)) - set(books)
        if others <= set(unreadable):
            found.add(account)
            if others:
                unread.add(account)
    return frozenset(found), frozenset(unread)


def accounts(commands: Sequence[Command], books: Mapping[int, LiveBook], where: Mapping[int, Found]) -> set[int]:
    """Every account that the commands can be expected to touch."""
    touched = {live.fees for live in books.values()}
    touched.update(live.house.insurance for live in books.values() if live.house is not None)
    for live in books.values():
        touched |= upkeep.reach(live)
    demands: dict[tuple[int, int], Demand] = defaultdict(Demand)
    for command in commands:
        if isinstance(command, Cancel):
            if found := where.get(command.order_id):
                touched.add(found.account_id)
        elif isinstance(command, Mark):
            if live := books.get(command.market_id):
                touched |= command.reach(live)
        elif not isinstance(command, Refresh):
            touched.add(command.account)
        if isinstance(command, Place) and (live := books.get(command.spec.id)):
            demands[live.spec.id, command.side].add(command.side, command.price, _lots(live, command))
        elif isinstance(command, Amend):
            _add_amendment(demands, command, books, where)
    for (market_id, side), demand in demands.items():
        live = books[market_id]
        makers = list(demand.makers(live, side))
        touched.update(maker.account for maker in makers)
        if makers and live.waiting.triggers.waiting:
            prices = [maker.price for maker in makers]
            touched |= following.accounts(live, min(prices), max(prices), {side: demand.lots})
    for live in books.values():
        touched.update(live.find(order_id).account for order_id in live.waiting.due)
    return touched


@dataclass(slots=True)
class Demand:
    """What one side of a market is asked for by a batch: the most aggressive price, the sum of lots."""

    price: int | None = None
    lots: int = 0
    is_unlimited: bool = False

    def add(self, side: int, price: int | None, lots: int) -> None:
        self.lots += lots
        if price is None:
            self.is_unlimited = True
        elif self.price is None or side * price > side * self.price:
            self.price = price

    def makers(self, live: LiveBook, side: int):
        return live.book.reachable(side, price=None if self.is_unlimited else self.price, lots=self.lots)


def _lots(live: LiveBook, command: Place) -> int:
    """The quantity, or what the budget buys at the best price at most."""
    if command.budget is None:
        return command.quantity
    return command.budget // ((live.book.best(-command.side) or 1) * live.spec.notional_units) + 1


def _add_amendment(demands, command: Amend, books: Mapping[int, LiveBook], where: Mapping[int, Found]) -> None:
    found = where.get(command.order_id)
    live = books.get(found.market_id) if found else None
    order = live.book.orders.get(command.order_id) if live else None
    if order is not None:
        price = order.price if command.price is None else int(command.price / live.spec.tick_size)
        lots = order.remaining if command.quantity is None else int(command.quantity / live.spec.lot_size)
        demands[live.spec.id, order.side].add(order.side, price, lots)
