"""One transaction of the matcher: a few commands of a few markets, decided in memory under locks, written in one go.

Lock order: market rows by id, then account rows by id. Everything that a command needs is locked before it is
planned; a plan that reaches an account which is not (the estimate before the lock was too small) ends the batch
there, and the rest comes again with that account named. A refusal answers one command and leaves no trace. Until
`write` has run and the caller has committed, the live books are ahead of the database: if anything fails, the
caller discards them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from accounts import ledger
from exchange import commands as c
from exchange import rendering, spot, store, validation
from exchange.books import LiveBook
from exchange.commands import Amend, Cancel, CancelAll, Command, Place, Refresh, Replay
from exchange.depth import Delta
from exchange.journal import Kind, amend_row, place_row
from exchange.live import LiveOrder, new_order
from exchange.registry import Registry
from marketdata import clock, units
from marketdata.models import Market
from marketdata.refusals import Refusal

#: What a command came to: an order object, a list of them, a Replay, or the Refusal.
Outcome = dict | list | Replay | Refusal


class Unlocked(Exception):
    """The plan of a command meets accounts that this batch has not locked."""

    def __init__(self, accounts: set[int]):
        self.accounts = accounts


@dataclass(slots=True)
class TradeRecord:
    """A match on its way to the database; its id comes when the batch knows how many there are."""

    live: LiveBook
    match: object
    sequence: int
    fills: list[dict]


@dataclass(slots=True)
class Batch:
    """Call `lock`, `decide`, `write` in this order inside one transaction."""

    registry: Registry
    commands: Sequence[Command]
    extra_accounts: frozenset[int] = frozenset()
    outcomes: list[Outcome] = field(default_factory=list)
    unlocked: set[int] = field(default_factory=set)
    deltas: list[Delta] = field(default_factory=list)

    books: dict[int, LiveBook] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)
    first_sequences: dict[int, int] = field(default_factory=dict)
    sheet: ledger.Sheet | None = None
    known: dict = field(default_factory=dict)
    new_orders: dict[int, tuple[LiveBook, LiveOrder, str | None]] = field(default_factory=dict)
    touched: dict[int, tuple[LiveBook, LiveOrder]] = field(default_factory=dict)
    trades: list[TradeRecord] = field(default_factory=list)
    journal: list[tuple] = field(default_factory=list)
    notes: list[tuple[int, dict | TradeRecord]] = field(default_factory=list)
    where: dict[int, store.Found] = field(default_factory=dict)
    moment: object = None
    ids: Iterator[int] | None = None

    # Locking

    def lock(self, cursor) -> None:
        """Find the markets, lock them, bring their books up to date, then lock every account within reach."""
        self.where = self._locate(cursor)
        self._lock_markets(cursor)
        self.known = store.known_client_ids(cursor, [cmd for cmd in self.commands if isinstance(cmd, Place)])
        self.moment = clock.now()
        scales = {}
        for live in self.books.values():
            spec = live.spec
            scales[spec.base_id] = ledger.AssetScale(spec.base, spec.base_decimals)
            scales[spec.quote_id] = ledger.AssetScale(spec.quote, spec.quote_decimals)
        self.sheet = ledger.open_sheet(cursor, self._accounts(), scales, self.moment)
        self.ids = iter(
            ledger.take_ids(cursor, "exchange_order_id_seq", sum(isinstance(cmd, Place) for cmd in self.commands))
        )

    def _locate(self, cursor) -> dict[int, store.Found]:
        """Where the orders named by amendments and cancellations are: from the live books, else from the database."""
        wanted = {cmd.order_id for cmd in self.commands if isinstance(cmd, Amend | Cancel)}
        where = {}
        for order_id in wanted:
            for live in self.registry.books.values():
                order = live.book.orders.get(order_id)
                if order is not None:
                    where[order_id] = store.Found(live.spec.id, order.account, True)
        where.update(store.find_orders(cursor, wanted - where.keys()))
        return where

    def _lock_markets(self, cursor) -> None:
        ids = {cmd.spec.id for cmd in self.commands if isinstance(cmd, Place)}
        ids.update(found.market_id for found in self.where.values() if found.is_open)
        for cmd in self.commands:
            if isinstance(cmd, Refresh):
                ids.add(cmd.market_id)
            elif isinstance(cmd, CancelAll):
                ids.update([cmd.market_id] if cmd.market_id else store.markets_with_open_orders(cursor, cmd.account))
        for row in store.lock_markets(cursor, ids):
            live = self.registry.refresh(cursor, row)
            self.books[row.id] = live
            self.status[row.id] = row.status if row.is_active else Market.Status.CLOSED
            self.first_sequences[row.id] = live.sequence + 1

    def _accounts(self) -> set[int]:
        """The submitters, the fee accounts, and whoever's resting orders the placements and amendments could meet."""
        accounts = set(self.extra_accounts)
        demand = defaultdict(lambda: [None, 0, False])
        for cmd in self.commands:
            if isinstance(cmd, Place) and cmd.spec.id in self.books:
                accounts.add(cmd.account)
                self._add_demand(demand, cmd.spec.id, cmd.side, cmd.price, cmd.quantity, cmd.budget)
            elif isinstance(cmd, Amend):
                accounts.add(cmd.account)
                self._add_amend_demand(demand, cmd)
            elif isinstance(cmd, CancelAll):
                accounts.add(cmd.account)
            elif isinstance(cmd, Cancel) and (found := self.where.get(cmd.order_id)):
                accounts.add(found.account_id)
        for (market_id, side), (price, lots, unlimited) in demand.items():
            book = self.books[market_id].book
            accounts.update(
                maker.account for maker in book.reachable(side, price=None if unlimited else price, lots=lots)
            )
        accounts.update(live.fees for live in self.books.values())
        return accounts

    def _add_demand(self, demand, market_id: int, side: int, price: int | None, lots: int, budget: int | None) -> None:
        live, entry = self.books[market_id], demand[market_id, side]
        if price is None:
            entry[2] = True
        elif entry[0] is None or side * price > side * entry[0]:
            entry[0] = price
        if budget is not None:
            lots = budget // ((live.book.best(-side) or 1) * live.spec.notional_units) + 1
        entry[1] += lots

    def _add_amend_demand(self, demand, cmd: Amend) -> None:
        found = self.where.get(cmd.order_id)
        live = self.books.get(found.market_id) if found else None
        order = live.book.orders.get(cmd.order_id) if live else None
        if order is not None:
            price = order.price if cmd.price is None else int(cmd.price / live.spec.tick_size)
            lots = order.remaining if cmd.quantity is None else int(cmd.quantity / live.spec.lot_size)
            self._add_demand(demand, live.spec.id, order.side, price, lots, None)

    # Deciding

    def decide(self) -> None:
        """Each command in turn, until all are done or one would touch an account that is not locked."""
        handlers = {
            Place: self._place,
            Amend: self._amend,
            Cancel: self._cancel,
            CancelAll: self._cancel_all,
            Refresh: self._refresh,
        }
        for cmd in self.commands:
            try:
                self.outcomes.append(handlers[type(cmd)](cmd))
            except Refusal as refusal:
                self.outcomes.append(refusal)
            except Unlocked as reached:
                assert reached.accounts - self.extra_accounts, "an account that was asked for could not be locked"
                self.unlocked = reached.accounts
                return

    def _place(self, cmd: Place) -> Outcome:
        if cmd.client_order_id is not None and (known := self.known.get((cmd.account, cmd.client_order_id))):
            return _replay(cmd, *known)
        live = self.books.get(cmd.spec.id)
        if live is None:
            raise c.MarketClosed(f"{cmd.spec.symbol} is gone.")
        self._check_market(live)
        if not self.sheet.holders[cmd.account].is_active:
            raise c.AccountInactive("This account may not place orders; ask the operator.")
        if cmd.spec.version != live.spec.version:
            validation.refit(cmd, live.spec)
        _check_band(live, cmd.price)
        if cmd.time_in_force == "GTC" and live.open_orders[cmd.account] >= live.spec.max_open_orders:
            raise c.TooManyOpenOrders(
                f"At most {live.spec.max_open_orders} open orders in {live.spec.symbol}; cancel some."
            )
        order = self._order(cmd, live)
        plan = live.plan(order)
        self._check_plan(plan)
        if order.budget is not None and not plan.filled and not plan.expired_makers:
            raise c.QuantityOutOfRange("The amount does not buy a single lot at the best price.")
        spot.reserve(self.sheet, live.spec, order, plan)
        return self._enter(cmd, live, order, plan)

    def _order(self, cmd: Place, live: LiveBook) -> LiveOrder:
        return new_order(
            id=next(self.ids),
            account=cmd.account,
            side=cmd.side,
            price=cmd.price,
            quantity=cmd.quantity,
            client_order_id=cmd.client_order_id,
            type=cmd.type,
            time_in_force=cmd.time_in_force,
            post_only=cmd.post_only,
            prevention=cmd.prevention,
            budget=cmd.budget,
            maker_rate=live.spec.maker_rate,
            taker_rate=live.spec.taker_rate,
            created_at=self.moment,
        )

    def _enter(self, cmd: Place, live: LiveBook, order: LiveOrder, plan) -> dict:
        """After this line nothing may fail: the book changes, then the money follows."""
        sequence = live.sequence
        if plan.rests or plan.matches or plan.expired_makers:
            sequence = self._record(live, Kind.PLACE, order.id, place_row(order, order.budget))
        matches = live.enter(order, plan, sequence, self.moment)
        self.new_orders[order.id] = (live, order, cmd.fingerprint)
        if cmd.client_order_id is not None:
            self.known[cmd.account, cmd.client_order_id] = (order.id, cmd.fingerprint)
        return self._settle(live, order, plan, matches)

    def _settle(self, live: LiveBook, order: LiveOrder, plan, matches) -> dict:
        """Money and notes of an order that has just met the book; its answer."""
        sheet, spec = self.sheet, live.spec
        spot.free_filled(sheet, spec, order, plan.filled)
        answer = self._note(live, order)
        answer["fills"] = []
        for match in matches:
            maker = match.maker
            spot.free_filled(sheet, spec, maker, match.lots)
            buy, sell = (order, maker) if order.side > 0 else (maker, order)
            buyer_fee, seller_fee = (
                (match.taker_fee, match.maker_fee) if order.side > 0 else (match.maker_fee, match.taker_fee)
            )
            spot.settle(
                sheet,
                spec,
                reference=len(self.trades),
                fees=live.fees,
                buyer=buy.account,
                seller=sell.account,
                lots=match.lots,
                notional=match.notional,
                buyer_fee=buyer_fee,
                seller_fee=seller_fee,
            )
            self._touch(live, maker)
            record = TradeRecord(live, match, live.sequence, answer["fills"])
            self.trades.append(record)
            self.notes += [(order.account, record), (maker.account, record)]
        for maker in plan.expired_makers:
            spot.release_rest(sheet, spec, maker)
            self._touch(live, maker)
        if not order.is_open() and order.remaining:
            spot.release_rest(sheet, spec, order)
        return answer

    def _amend(self, cmd: Amend) -> Outcome:
        live, order = self._open_order(cmd.account, cmd.order_id)
        self._check_market(live)
        price, quantity = _new_terms(live, order, cmd)
        plan = live.book.plan_amend(
            order.id, price=price, quantity=quantity, post_only=order.post_only, prevention=order.prevention
        )
        self._check_plan(plan)
        spot.change_reserve(self.sheet, live.spec, order, price=price, remaining=quantity - order.filled)
        sequence = self._record(live, Kind.AMEND, order.id, amend_row(price, quantity, order.prevention))
        matches = live.amend(plan, sequence, self.moment)
        self.touched[order.id] = (live, order)
        answer = self._settle(live, order, plan, matches)
        return _without_older_fills(order, plan, answer)

    def _cancel(self, cmd: Cancel) -> Outcome:
        live, order = self._open_order(cmd.account, cmd.order_id)
        if cmd.account is not None:
            self._check_not_halted(live)
        return self._take_out(live, order)

    def _cancel_all(self, cmd: CancelAll) -> Outcome:
        """Of one market, or of all that are not halted."""
        if cmd.market_id is not None and cmd.market_id in self.books:
            self._check_not_halted(self.books[cmd.market_id])
        answers = []
        for live in self.books.values():
            halted = self.status[live.spec.id] == Market.Status.HALTED
            if cmd.market_id in (None, live.spec.id) and live.open_orders[cmd.account] and not halted:
                mine = [order for order in live.book.orders.values() if order.account == cmd.account]
                answers += [self._take_out(live, order) for order in mine]
        return answers

    def _refresh(self, cmd: Refresh) -> Outcome:
        """Locking the market has done it."""
        return {}

    def _take_out(self, live: LiveBook, order: LiveOrder) -> dict:
        spot.release_rest(self.sheet, live.spec, order)
        self._record(live, Kind.CANCEL, order.id, {})
        live.cancel(order.id, self.moment)
        self._touch(live, order)
        answer = self.notes[-1][1]["order"]
        return {**answer, "fills": None if order.filled else []}

    # Checks

    def _open_order(self, account: int | None, order_id: int) -> tuple[LiveBook, LiveOrder]:
        """The order if it rests and belongs to the account; UnknownOrder or OrderNotOpen otherwise."""
        for live in self.books.values():
            order = live.book.orders.get(order_id)
            if order is not None and account in (None, order.account):
                return live, order
        found = self.where.get(order_id)
        if order_id in self.new_orders:
            order = self.new_orders[order_id][1]
            found = store.Found(0, order.account, False)
        if found is None or account not in (None, found.account_id):
            raise c.UnknownOrder(f"You have no order {order_id}.")
        raise c.OrderNotOpen(f"Order {order_id} is no longer open.")

    def _check_market(self, live: LiveBook) -> None:
        status = self.status[live.spec.id]
        if status == Market.Status.OPEN:
            return
        if status == Market.Status.CLOSED:
            raise c.MarketClosed(f"{live.spec.symbol} is closed.")
        hint = (
            "only cancellations are taken"
            if status == Market.Status.CANCEL_ONLY
            else "nothing moves until the operator reopens it"
        )
        raise c.MarketHalted(f"{live.spec.symbol} is halted: {hint}.")

    def _check_not_halted(self, live: LiveBook) -> None:
        if self.status[live.spec.id] == Market.Status.HALTED:
            self._check_market(live)

    def _check_plan(self, plan) -> None:
        if plan.refusal:
            raise c.ENGINE_REFUSALS[plan.refusal]
        reached = {maker.account for maker, _ in plan.matches}
        if not reached <= self.sheet.holders.keys():
            raise Unlocked(reached)

    # Records

    def _record(self, live: LiveBook, kind: str, order_id: int, row: dict) -> int:
        live.sequence += 1
        self.journal.append((live.spec.id, live.sequence, kind, order_id, row, self.moment))
        return live.sequence

    def _touch(self, live: LiveBook, order: LiveOrder) -> None:
        if order.id not in self.new_orders:
            self.touched[order.id] = (live, order)
        self._note(live, order)

    def _note(self, live: LiveBook, order: LiveOrder) -> dict:
        """Remember the order's state for its owner's events; the same dictionary serves the answer."""
        rendered = rendering.live_order(live.spec, order)
        self.notes.append((order.account, {"type": "order", "order": rendered}))
        return dict(rendered)

    # Writing

    def write(self, cursor) -> str:
        """Everything in one round trip; returns the transaction's id, by which an unknown commit can be resolved.

        "" if nothing changed.
        """
        if not self.new_orders and not self.journal:
            return ""
        trade_ids, journal_ids = store.take_trade_ids(cursor, len(self.trades))
        self._name_trades(trade_ids)
        statements = store.order_statements(self.new_orders.values(), self.touched.values())
        if self.trades:
            statements += store.trade_statements(self.trades, trade_ids, self.moment)
        statements += self.sheet.statements(journal_ids)
        if self.journal:
            statements += store.journal_statements(self.journal, self.books, self.trades, self.moment)
        return store.execute(cursor, statements)

    def _name_trades(self, trade_ids: list[int]) -> None:
        """Give trades their ids wherever they are mentioned: journals, fills of answers, events, the tape."""
        for index, (kind, reference, *rest) in enumerate(self.sheet.journals):
            self.sheet.journals[index] = (kind, trade_ids[reference], *rest)
        names = {id(record): trade_id for record, trade_id in zip(self.trades, trade_ids, strict=True)}
        for record, trade_id in zip(self.trades, trade_ids, strict=True):
            record.fills.append(self._fill(record, trade_id, "TAKER"))
        for account, note in self.notes:
            self.sheet.emit(
                account, note if isinstance(note, dict) else self._fill_event(account, note, names[id(note)])
            )
        tape = defaultdict(list)
        for record, trade_id in zip(self.trades, trade_ids, strict=True):
            spec = record.live.spec
            tape[spec.id].append(rendering.live_trade(spec, trade_id, record.match, self.moment))
        for market_id, live in self.books.items():
            if live.sequence >= self.first_sequences[market_id]:
                changes = live.book.drain_changes()
                self.deltas.append(
                    Delta(
                        market_id,
                        live.spec.symbol,
                        self.first_sequences[market_id],
                        live.sequence,
                        changes,
                        tape[market_id],
                    )
                )

    def _fill(self, record: TradeRecord, trade_id: int, role: str) -> dict:
        return rendering.live_fill(record.live.spec, trade_id, record.match, role=role, moment=self.moment)

    def _fill_event(self, account: int, record: TradeRecord, trade_id: int) -> dict:
        taker = record.match.taker
        order, role = (taker, "TAKER") if taker.account == account else (record.match.maker, "MAKER")
        spec = record.live.spec
        fill = {"order_id": order.id, "symbol": spec.symbol, "side": "BUY" if order.side > 0 else "SELL"}
        return {"type": "fill", "fill": {**fill, **self._fill(record, trade_id, role)}}


def _replay(cmd: Place, order_id: int, fingerprint: str | None) -> Replay:
    if fingerprint != cmd.fingerprint:
        raise c.ClientOrderIdReused(
            f"client_order_id {cmd.client_order_id!r} belongs to order {order_id}, which has other terms; use a new id."
        )
    return Replay(order_id)


def _check_band(live: LiveBook, price: int | None) -> None:
    """A limit price must be near the market: nobody trades by a typing error."""
    if price is None or (band := live.band()) is None:
        return
    market_price, low, high = band
    if not low <= price <= high:
        spec = live.spec
        raise c.PriceOutOfBand(
            f"Price {spec.price_text(price)} is out of band: the market price of {spec.symbol} is "
            f"{units.plain(market_price)}, "
            f"valid are {spec.price_text(low)} to {spec.price_text(high)}."
        )


def _new_terms(live: LiveBook, order: LiveOrder, cmd: Amend) -> tuple[int, int]:
    """The amended price and quantity in ticks and lots, checked."""
    spec = live.spec
    price = order.price if cmd.price is None else validation.ticks(spec, cmd.price)
    quantity = order.quantity if cmd.quantity is None else validation.lots(spec, cmd.quantity)
    if quantity <= order.filled:
        raise c.QuantityOutOfRange(
            f"{spec.quantity_text(order.filled)} are filled already; "
            "the new quantity must be above that, or cancel the order."
        )
    validation.check_size(spec, price, quantity, None)
    if price != order.price:
        _check_band(live, price)
    return price, quantity


def _without_older_fills(order: LiveOrder, plan, answer: dict) -> dict:
    """An amendment's answer knows only the fills it made; None tells the door to read them all."""
    if order.filled != plan.filled:
        answer["fills"] = None
    return answer
