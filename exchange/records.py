"""What a batch has decided, on its way to the database and to those who listen.

Orders are written with their state at the end of the batch; trades get their ids when it is known how many there
are; account events keep the order in which things happened. `statements` are for one round trip, together with the
sheet's balances and journals.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from accounts import holdings, positions
from accounts.ledger import Sheet
from accounts.positions import Positions
from exchange import deferred, rendering, store
from exchange.books import LiveBook, Match
from exchange.depth import Delta
from exchange.ids import JOURNAL, POSITION, TRADE, IdStock
from exchange.live import LiveOrder
from marketdata import bulk, candles
from marketdata.models import Market


@dataclass(slots=True, eq=False)
class TradeRecord:
    """A match that waits for its id; `fills` is the list in the taker's answer, `takers` what joins it."""

    live: LiveBook
    match: Match
    sequence: int
    fills: list[dict]
    id: int = 0
    takers: dict = field(default_factory=dict)

    def fill(self, role: str, moment: datetime) -> dict:
        return rendering.live_fill(self.live.spec, self.id, self.match, role=role, moment=moment)


@dataclass(slots=True)
class Records:
    """The rows and events of one batch."""

    moment: datetime
    new_orders: dict[int, tuple[LiveBook, LiveOrder, str | None]] = field(default_factory=dict)
    touched: dict[int, tuple[LiveBook, LiveOrder]] = field(default_factory=dict)
    trades: list[TradeRecord] = field(default_factory=list)
    journal: list[tuple] = field(default_factory=list)
    #: (account, order event) or (account, trade), in the order in which it happened.
    notes: list[tuple[int, dict | TradeRecord]] = field(default_factory=list)
    first_sequences: dict[int, int] = field(default_factory=dict)
    positions: Positions = field(default_factory=Positions)
    #: Further statements, for what only some commands change.
    extra: list[bulk.Statement] = field(default_factory=list)

    # While deciding

    def command(self, live: LiveBook, kind: str, order_id: int, row: dict) -> int:
        """Count the market's sequence up for a command that changes its book, and journal it."""
        live.sequence += 1
        self.first_sequences.setdefault(live.spec.id, live.sequence)
        self.journal.append((live.spec.id, live.sequence, kind, order_id, row, self.moment))
        return live.sequence

    def add(self, live: LiveBook, order: LiveOrder, fingerprint: str | None) -> None:
        """An order of this batch's own."""
        self.new_orders[order.id] = (live, order, fingerprint)

    def touch(self, live: LiveBook, order: LiveOrder) -> dict:
        """An order whose state changed: write it, tell its owner. Returns it rendered, a copy of the event's."""
        if order.id not in self.new_orders:
            self.touched[order.id] = (live, order)
        rendered = rendering.live_order(live.spec, order)
        self.notes.append((order.account, {"type": "order", "order": rendered}))
        return dict(rendered)

    def trade(self, live: LiveBook, match: Match, fills: list[dict]) -> None:
        """A match, of which both owners hear."""
        record = TradeRecord(live, match, live.sequence, fills)
        self.trades.append(record)
        self.notes += [(match.taker.account, record), (match.maker.account, record)]

    # At the end

    def statements(self, cursor, ids: IdStock, sheet: Sheet, books: dict[int, LiveBook]) -> list[bulk.Statement]:
        """All that the batch writes, for one round trip; numbers the trades and the events on the way."""
        if not self.new_orders and not self.journal:
            return []
        for live in books.values():
            self._note_waiting(live)
        trade_ids = ids.take(cursor, TRADE, len(self.trades))
        journal_ids = ids.take(cursor, JOURNAL, len(sheet.journals))
        self._name_trades(sheet, trade_ids)
        statements = store.order_statements(self.new_orders.values(), self.touched.values())
        if self.trades:
            statements += store.trade_statements(self.trades, self.moment)
            statements += deferred.statements(self.trades, self.moment)
            statements += self._candle_statements(books)
            statements += holdings.statements(sheet.holdings, self._own_fills(sheet), sheet.scales, self.moment)
        statements += self._position_statements(cursor, ids, sheet, trade_ids)
        statements += sheet.statements(journal_ids)
        if self.journal:
            statements += store.journal_statements(self.journal, books, self.trades, self.moment)
        return statements + self.extra

    def _note_waiting(self, live: LiveBook) -> None:
        """Write the stops that followed the price, and what is due and left for the next batch; nobody is told."""
        waiting = live.waiting
        left = {order_id: waiting.orders[order_id] for order_id in waiting.due if order_id in waiting.orders}
        for order_id, order in {**waiting.triggers.moved, **left}.items():
            if order_id not in self.new_orders:
                self.touched.setdefault(order_id, (live, order))
        waiting.triggers.moved.clear()

    def _position_statements(self, cursor, ids: IdStock, sheet: Sheet, trade_ids: list[int]) -> list[bulk.Statement]:
        changed = self.positions.changed
        new = [position for position in changed if position.is_new]
        for position, position_id in zip(new, ids.take(cursor, POSITION, len(new)), strict=True):
            position.id = position_id
        for position in changed:
            leverage = self.positions.leverage(position.account, position.spec)
            sheet.emit(position.account, positions.event(position, leverage))
        return positions.statements(self.positions, trade_ids, self.moment)

    def _candle_statements(self, books: dict[int, LiveBook]) -> list[bulk.Statement]:
        matches = [(r.live.spec.id, r.id, r.match) for r in self.trades]
        trades = [(market, id, m.price, m.lots, m.notional, self.moment) for market, id, m in matches]
        return candles.statements(candles.fold(trades), {market_id: books[market_id].spec for market_id in books})

    def _own_fills(self, sheet: Sheet) -> list[holdings.OwnFill]:
        """The users' shares of the trades, with what each owned before: the trade's journal knows."""
        journals = {reference: rows for _, reference, _, _, rows in sheet.journals}
        fills = []
        for record in self.trades:
            spec, match = record.live.spec, record.match
            if spec.kind != Market.Kind.SPOT or deferred.is_deferred(record.live):
                continue  # a position, not a purchase; or one that counts when it is settled
            sides = ((match.maker, match.maker_fee), (match.taker, match.taker_fee))
            base = spec.base_id
            rows = reversed(journals[record.id])  # of an account on both sides the first row tells
            owned = {account: after - amount for account, asset, amount, after in rows if asset == base}
            for order, fee in sides:
                if not sheet.holders[order.account].is_heard:
                    continue
                quantity = match.lots * spec.lot_units
                fills.append(
                    holdings.OwnFill(
                        order.account, base, spec.quote_id, order.side > 0, quantity, match.notional, fee,
                        owned[order.account], record.id,
                    )
                )  # fmt: skip
        return fills

    def _name_trades(self, sheet: Sheet, trade_ids: list[int]) -> None:
        """Give the trades their ids wherever they are mentioned: journals, answers, events."""
        for record, trade_id in zip(self.trades, trade_ids, strict=True):
            record.id = trade_id
            record.takers = record.fill("TAKER", self.moment)
            record.fills.append(record.takers)
        sheet.refer(trade_ids)
        for account, note in self.notes:
            sheet.emit(account, note if isinstance(note, dict) else self._fill_event(account, note))

    def _fill_event(self, account: int, record: TradeRecord) -> dict:
        taker, maker, spec = record.match.taker, record.match.maker, record.live.spec
        is_taker = taker.account == account
        order, fill = (taker, record.takers) if is_taker else (maker, record.fill("MAKER", self.moment))
        side = rendering.SIDE_NAMES[order.side]
        return {"type": "fill", "fill": {"order_id": order.id, "symbol": spec.symbol, "side": side, **fill}}

    def evidence(self) -> bulk.Statement:
        """A query that finds a row exactly if this batch was committed."""
        if self.new_orders:
            return "SELECT 1 FROM exchange_order WHERE id = %s", [next(iter(self.new_orders))]
        market_id, sequence, kind, order_id, _, moment = self.journal[0]
        return (
            "SELECT 1 FROM exchange_bookcommand WHERE market_id = %s AND sequence = %s"
            " AND kind = %s AND order_id = %s AND created_at = %s",
            [market_id, sequence, kind, order_id, moment],
        )

    def deltas(self, books: dict[int, LiveBook]) -> list[Delta]:
        """What changed in each market, for views and streams."""
        tape = defaultdict(list)
        for record in self.trades:
            spec = record.live.spec
            tape[spec.id].append(rendering.live_trade(spec, record.id, record.match, self.moment))
        deltas = []
        for market_id, first in self.first_sequences.items():
            live = books[market_id]
            changes = live.book.drain_changes()
            session = live.shown_session()
            delta = Delta(
                market_id, live.spec.symbol, first, live.sequence, changes, tape[market_id], session=session,
                grid=live.spec.grid if first == 1 else None,
            )  # fmt: skip
            deltas.append(delta)
        return deltas
