"""One transaction of the matcher: a few commands of a few markets, decided in memory under locks, written in one go.

Lock order: market rows by id, then account rows by id. Everything that a command needs is locked before it is planned;
a plan that reaches an account which is not (the estimate before the lock was too small) ends the batch there, and the
rest comes again with that account named. A refusal answers one command and leaves no trace. Until the caller has
committed, the live books are ahead of the database: if anything fails, the caller discards them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from accounts import ledger
from exchange import (
    admission,
    conditions,
    fee_tiers,
    following,
    limits,
    margin,
    paying,
    planning,
    reach,
    spot,
    store,
    upkeep,
    validation,
    writers,
)  # fmt: skip
from exchange import commands as c
from exchange.books import LiveBook
from exchange.commands import Amend, Cancel, CancelAll, Command, Place, Refresh, Replay
from exchange.depth import Delta
from exchange.engine.book import Plan
from exchange.ids import ORDER
from exchange.journal import Kind, amend_row, place_row
from exchange.live import LiveOrder, order_of
from exchange.payable import Unlocked
from exchange.records import Records
from exchange.registry import Registry
from marketdata import bulk
from marketdata.models import Market
from marketdata.refusals import Refusal, UnreadableMarket

#: What a command came to: an order object, a list of them, a Replay, or the Refusal.
Outcome = dict | list | Replay | Refusal


@dataclass(slots=True)
class Batch:
    """Call `lock` (which begins the transaction), `decide`, `statements` in this order."""

    registry: Registry
    commands: Sequence[Command]
    extra_accounts: frozenset[int] = frozenset()
    #: Accounts of which every market is locked where they have orders.
    scattered: frozenset[int] = frozenset()
    #: Those of them with orders in markets whose figures make no sense, where nothing can be taken back.
    unread: frozenset[int] = frozenset()
    #: Given the markets that are locked, more commands for them that have arrived meanwhile.
    late: Callable[[set[int]], list[Command]] = lambda _: []
    #: Whether the command at that place has come too late to be done (see exchange.relay).
    is_overdue: Callable[[int], bool] = lambda _: False
    outcomes: list[Outcome] = field(default_factory=list)
    unlocked: set[int] = field(default_factory=set)
    unscattered: set[int] = field(default_factory=set)
    deltas: list[Delta] = field(default_factory=list)
    books: dict[int, LiveBook] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)
    #: Locked markets whose figures make no book, and what is told to whoever wants something there.
    unreadable: dict[int, str] = field(default_factory=dict)
    where: dict[int, store.Found] = field(default_factory=dict)
    known: dict[tuple[int, str], tuple[int, str]] = field(default_factory=dict)
    sheet: ledger.Sheet | None = None
    records: Records | None = None
    ids: Iterator[int] | None = None
    margin_desk: margin.Desk | None = None
    #: Where something follows from what was done; how much of it was; where some is left (see exchange.following).
    stirred: list[LiveBook] = field(default_factory=list)
    followed: int = 0
    unfinished: set[int] = field(default_factory=set)
    cancelled: int = 0  # orders, by CancelAlls

    def lock(self, cursor) -> None:
        """Begin; lock the markets and bring their books up to date; lock every account within reach, and read it.

        One round trip if this process's books are up to date as they are, else one for each of the two kinds of lock.
        """
        fee_tiers.rates.refresh(cursor)
        self.where = reach.locate(cursor, self.registry.books.values(), self.commands)
        ids = reach.markets(cursor, self.commands, self.where, self.scattered)
        self.registry.prepare(ids)
        if not (self.registry.is_likely_current(ids) and self._lock_at_once(cursor, ids)):
            self._lock_in_turn(cursor, ids)
        if self.scattered:  # but for those who have gone to one more market meanwhile
            self.scattered, self.unread = reach.gathered(cursor, self.scattered, self.books, self.unreadable)
        self.ids = iter(self.registry.ids.take(cursor, ORDER, sum(cmd.orders for cmd in self._placements())))

    def _placements(self) -> list[Place]:
        return [command for command in self.commands if isinstance(command, Place)]

    def _lock_at_once(self, cursor, ids: set[int]) -> bool:
        """Lock the accounts that the books as they are let us expect; False, with no lock held, if the books had moved.
        """
        books = {market_id: self.registry.books[market_id] for market_id in ids}
        with writers.staying():
            opened = self._open(cursor, books, begin_markets=ids)
        if len(opened.markets) == len(ids) and self.registry.is_current(opened.markets):
            self._meet(cursor, opened.markets)
            self._take(cursor, opened)
            return True
        cursor.execute("ROLLBACK")
        return False

    def _lock_in_turn(self, cursor, ids: set[int]) -> None:
        """The markets first; what their books then say decides about the accounts.

        Waiting for the markets may have taken long: what came for them meanwhile joins; the next turn may be as far.
        """
        self._meet(cursor, store.begin(cursor, ids))
        self.commands = [*self.commands, *self.late(ids)]
        self._take(cursor, self._open(cursor, self.books))

    def _open(self, cursor, books: dict[int, LiveBook], **begin) -> store.Opened:
        accounts = reach.accounts(self.commands, books, self.where) | self.extra_accounts
        specs = [live.spec for live in books.values()]
        return store.open_accounts(cursor, accounts, specs, self._placements(), **begin)

    def _meet(self, cursor, rows: list[store.MarketRow]) -> None:
        for row in rows:
            try:
                self.books[row.id] = self.registry.refresh(cursor, row)
                self.status[row.id] = row.status if row.is_active else Market.Status.CLOSED
            except UnreadableMarket as refusal:
                self.unreadable[row.id] = refusal.detail

    def _take(self, cursor, opened: store.Opened) -> None:
        # The known ids were read under the accounts' locks: the same id may be on its way in another market.
        self.sheet, self.known = opened.sheet, opened.known
        self.records = Records(opened.sheet.moment, positions=opened.positions)
        self.margin_desk = margin.Desk(opened.positions, opened.sheet.moment, self.books, cursor)

    # Deciding

    def decide(self) -> None:
        """Each command in turn, until all are done or one would touch an account that is not locked."""
        handlers = {
            Place: self._place, Amend: self._amend, Cancel: self._cancel, CancelAll: self._cancel_all,
            Refresh: self._refresh,
        }  # fmt: skip
        if concerned := upkeep.run(self):
            self.unlocked = concerned
            return
        self.stirred += [live for live in self.books.values() if live.waiting.due]
        for cmd in self.commands:
            writers.breathe()
            if self.stirred and not self._follow():
                return
            if len(self.records.trades) >= c.BATCH_FILLS:
                return  # it is for the next batch
            if self.cancelled >= c.CANCELLED_AT_ONCE and type(cmd) is CancelAll:
                return
            try:
                if self.is_overdue(len(self.outcomes)):  # asked under the lock: whoever decides later comes after us
                    raise c.NotAccepting("The command came to its market too late; nothing was done. Try again.")
                handler = handlers.get(type(cmd))
                self.outcomes.append(handler(cmd) if handler else cmd.apply(self))
            except Refusal as refusal:
                self.outcomes.append(refusal.with_traceback(None))  # it leads back to this batch
            except Unlocked as reached:
                return self.lack(reached)
        self._follow()

    def _follow(self) -> bool:
        """Do what follows from the commands so far; False when the rest is for the next batch."""
        while self.stirred:
            live = self.stirred.pop()
            if not following.follow(self, live):
                self.unfinished.update(one.spec.id for one in (live, *self.stirred))
                return False
        return True

    def lack(self, reached: Unlocked) -> None:
        """End here: the rest is for a batch that locks more, what this one was asked for too unless that is done."""
        more = reached.accounts - self.extra_accounts or reached.scattered - self.scattered
        assert more, "an account that was asked for could not be locked"
        self.unlocked, self.unscattered = reached.accounts, reached.scattered
        if not (self.outcomes or self.followed):
            self.unlocked |= self.extra_accounts
            self.unscattered |= self.scattered

    def stir(self, live: LiveBook) -> None:
        """Something may follow in this market from what was done."""
        if live.waiting.due:
            self.stirred.append(live)

    def replay(self, cmd: Place) -> Replay | None:
        """The answer to a placement that was made before."""
        if cmd.client_order_id is not None and (known := self.known.get((cmd.account, cmd.client_order_id))):
            return admission.replay(cmd, *known)
        return None

    def market_of(self, cmd: Place) -> LiveBook:
        live = self.books.get(cmd.spec.id)
        self._check_readable(cmd.spec.id)
        if live is None:
            raise c.MarketClosed(f"{cmd.spec.symbol} is gone.")
        return live

    def _place(self, cmd: Place) -> Outcome:
        if known := self.replay(cmd):
            return known
        live = self.market_of(cmd)
        return self.accept(cmd, live, *self.admit(cmd, live))

    def check(self, cmd: Place, live: LiveBook) -> LiveOrder:
        """The order, if the market takes it; a Refusal otherwise. Nothing has changed."""
        self._check_market(live)
        if not cmd.is_liquidation:
            self._check_account(cmd.account, live, cmd.reduce_only)
        if cmd.spec.version != live.spec.version:
            validation.refit(cmd, live.spec)
        limits.check(self, live, cmd)
        if cmd.more:
            conditions.complete(cmd, live)
        elif not cmd.is_liquidation:
            admission.check_band(live, cmd.price)
        admission.check_room(live.spec, cmd, live.open_orders.count(cmd.account))
        order = order_of(cmd, next(self.ids), fee_tiers.rates.of(cmd.account, live.spec), self.records.moment)
        if not cmd.is_liquidation:
            limits.check_terms(live.spec, order.price, order.quantity, order.budget)
        if live.spec.contract is not None:
            self.margin_desk.check(self.sheet, live, order, cmd)
        return order

    def admit(self, cmd: Place, live: LiveBook) -> tuple[LiveOrder, Plan | None]:
        """The order with its funds set aside, and its plan (None if it is to wait), or a Refusal and no change."""
        order = self.check(cmd, live)
        return order, self.fund(live, order)

    def fund(self, live: LiveBook, order: LiveOrder) -> Plan | None:
        """The same for an order that is checked: its plan."""
        desk = self.desk(live)
        if order.stop is not None:
            desk.hold(self.sheet, live.spec, order)
            return None
        reserve = partial(desk.reserve, self.sheet, live.spec, order)
        return planning.prepare(self, live, order, partial(live.plan, order), reserve)

    def desk(self, live: LiveBook):
        """Who reserves, settles and releases there."""
        return spot if live.spec.contract is None else self.margin_desk

    def wait(self, cmd: Place, live: LiveBook, order: LiveOrder) -> dict:
        """Take an admitted order in that waits."""
        sequence = self.records.command(live, Kind.PLACE, order.id, place_row(order, None))
        live.wait(order, sequence, self.records.moment)
        self._remember(cmd, live, order)
        return {**self.records.touch(live, order), "fills": []}

    def _remember(self, cmd: Place, live: LiveBook, order: LiveOrder) -> None:
        self.records.add(live, order, cmd.fingerprint)
        if cmd.client_order_id is not None:
            self.known[cmd.account, cmd.client_order_id] = (order.id, cmd.fingerprint)

    def accept(self, cmd: Place, live: LiveBook, order: LiveOrder, plan: Plan | None) -> dict:
        """After this line nothing may fail: the book changes, then the money follows."""
        if plan is None:
            return self.wait(cmd, live, order)
        sequence = live.sequence
        if plan.rests or plan.matches or plan.expired_makers:
            sequence = self.records.command(live, Kind.PLACE, order.id, place_row(order, order.budget))
        matches = live.enter(order, plan, sequence, self.records.moment)
        self._remember(cmd, live, order)
        return self.settle(live, order, plan, matches)

    def settle(self, live: LiveBook, order: LiveOrder, plan, matches) -> dict:
        """Money and notes of an order that has just met the book; its answer."""
        sheet, spec = self.sheet, live.spec
        if spec.contract is None:
            spot.free_filled(sheet, spec, order, plan.filled)
        answer = self.records.touch(live, order)
        answer["fills"] = []
        for match, lots in paying.freed(matches):
            maker = match.maker
            spot.free_filled(sheet, spec, maker, lots)
            paying.pay(self, live, match)
            self.records.touch(live, maker)
            self.records.trade(live, match, answer["fills"])
        for maker in plan.expired_makers:
            spot.release_rest(sheet, spec, maker)
            self.records.touch(live, maker)
        if not order.is_open() and order.remaining:
            spot.release_rest(sheet, spec, order)
        if spec.contract is not None:
            self.margin_desk.finish(sheet, spec, order, plan)
        if live.reducing:
            self.margin_desk.take_out_excess(self, live, [order.account, *(maker.account for maker, _ in plan.matches)])
        self.stir(live)
        return answer

    def _amend(self, cmd: Amend) -> Outcome:
        live, order = self.open_order(cmd.account, cmd.order_id)
        self._check_market(live)
        self._check_account(cmd.account, live, order.reduce_only)
        conditions.check_amendable(order)
        limits.check_amendment(self, live, order.account)
        price, quantity = admission.new_terms(live, order, cmd)
        remaining = quantity - order.filled
        if live.spec.contract is not None:
            self.margin_desk.check_amendment(self.sheet, live, order, price, quantity)
        look = partial(live.plan_amend, order.id, price, quantity, order.prevention, order.post_only)
        change = partial(self.desk(live).change_reserve, self.sheet, live.spec, order, price=price, remaining=remaining)
        plan = planning.prepare(self, live, order, look, change)
        sequence = self.records.command(live, Kind.AMEND, order.id, amend_row(price, quantity, order))
        matches = live.amend(plan, sequence, self.records.moment)
        answer = self.settle(live, order, plan, matches)
        return admission.without_older_fills(order, plan, answer)

    def _cancel(self, cmd: Cancel) -> Outcome:
        live, order = self.open_order(cmd.account, cmd.order_id)
        if cmd.account is not None:
            self._check_not_halted(live)
        return self.cancel_order(live, order, cmd.reason)

    def _cancel_all(self, cmd: CancelAll) -> Outcome:
        """Of one market, or of all that are not halted and can be read; no more than CANCELLED_AT_ONCE."""
        self._check_readable(cmd.market_id)
        if cmd.market_id is not None and cmd.market_id in self.books:
            self._check_not_halted(self.books[cmd.market_id])
        answers = []
        for live in self.books.values():
            if cmd.market_id in (None, live.spec.id) and self.status[live.spec.id] != Market.Status.HALTED:
                mine = live.open_orders.of(cmd.account)
                if (limit := cmd.placed_before) is not None:
                    mine = [one for one in mine if live.find(one).created_at < limit]
                some = mine[: c.CANCELLED_AT_ONCE - len(answers)]
                answers += [self.cancel_order(live, live.find(one), cmd.reason) for one in some]
        self.cancelled += len(answers)
        return answers

    def _refresh(self, cmd: Refresh) -> Outcome:
        return {}  # locking the market has done it

    def cancel_order(self, live: LiveBook, order: LiveOrder, reason: str = "") -> dict:
        """Cancel an order: its owner does, or the venue for a reason."""
        writers.breathe()
        spot.release_rest(self.sheet, live.spec, order)
        return self.take_out(live, order, reason)

    def take_out(self, live: LiveBook, order: LiveOrder, reason: str = "") -> dict:
        """Cancel an order that holds nothing any more."""
        self.records.command(live, Kind.CANCEL, order.id, {"reason": reason} if reason else {})
        live.cancel(order.id, self.records.moment, reason)
        self.stir(live)
        return {**self.records.touch(live, order), "fills": None if order.filled else []}

    # Checks

    def open_order(self, account: int | None, order_id: int) -> tuple[LiveBook, LiveOrder]:
        """The order if it rests and belongs to the account; UnknownOrder or OrderNotOpen otherwise."""
        for live in self.books.values():
            order = live.find(order_id)
            if order is not None and account in (None, order.account):
                return live, order
        found = self.where.get(order_id)
        if order_id in self.records.new_orders:
            order = self.records.new_orders[order_id][1]
            found = store.Found(0, order.account, False)
        if found is None or account not in (None, found.account_id):
            raise c.UnknownOrder(f"You have no order {order_id}.")
        self._check_readable(found.market_id if found.is_open else None)
        raise c.OrderNotOpen(f"Order {order_id} is no longer open.")

    def _check_market(self, live: LiveBook) -> None:
        admission.check_status(live.spec, self.status[live.spec.id])

    def _check_account(self, account: int, live: LiveBook, only_reduces: bool) -> None:
        holder = self.sheet.holders[account]
        admission.check_account(holder, live.spec, self.records.moment, only_reduces=only_reduces)

    def _check_readable(self, market_id: int | None) -> None:
        if market_id in self.unreadable:
            raise UnreadableMarket(self.unreadable[market_id])

    def _check_not_halted(self, live: LiveBook) -> None:
        if self.status[live.spec.id] == Market.Status.HALTED:
            self._check_market(live)

    # Writing

    def statements(self, cursor) -> list[bulk.Statement]:
        """What to write for what was decided; nothing if nothing was."""
        statements = self.records.statements(cursor, self.registry.ids, self.sheet, self.books)
        self.deltas = self.records.deltas(self.books)
        return statements
