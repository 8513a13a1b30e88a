"""Rebuilding a book from its journal, and comparing what comes out with what the database says.

The journal of one market goes to a fresh book through the same code that recovers after a crash. Every match
that the book makes on the way must be the stored trade: same sequence, maker, taker, price and quantity. At the
end its open orders must be the database's, in the same queue order (that is the state hash), and each with the
same status, place, fills and fees. So a replay that is the same proves price-time priority: the engine is known
to keep it, and the stored trades are what the engine makes of the stored commands.

Where older rows of the journal have been deleted (exchange.retention) the replay begins at the newest checkpoint, which
was proved by this same replay before they went.

All of one market is read from one consistent snapshot, without locks. Known limits: memory follows the open
orders; one market at a time, at the engine's speed less the reading of rows.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db import connection

from exchange import checkpoints, journal, redoing
from exchange.audit import snapshot
from exchange.books import SIDE_NAMES, LiveBook, Match
from exchange.engine.book import BUY, SELL
from exchange.live import LiveOrder, Status
from exchange.loading import live_orders
from exchange.phases import State
from marketdata import markets
from marketdata.models import Market
from marketdata.units import plain

CHUNK_ROWS = 5_000
#: Commands between two calls of `progress`.
PROGRESS_COMMANDS = 2_000
#: What two books must agree on for each open order; side, price and quantities are in the hash already.
COMPARED = ("side", "price", "quantity", "remaining", "status", "priority", "filled_notional", "fee", "account",
            "client_order_id", "maker_rate", "taker_rate", "post_only", "prevention", "type", "stop", "direction",
            "trail", "trail_rate", "display", "hidden", "place", "list_id", "list_role", "waits_for", "shared",
            "expires_at", "reduce_only", "margin_per_lot")  # fmt: skip

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Difference:
    """Where the journal and the database part: the first sequence, and what each side says."""

    sequence: int
    text: str


@dataclass(slots=True)
class Replayed:
    """What the replay of one market came to. `state_hash` is the replayed book's, `stored_hash` the database's."""

    symbol: str
    until: int
    live: LiveBook
    commands: int = 0
    trades: int = 0
    state_hash: str = ""
    stored_hash: str = ""
    difference: Difference | None = None
    seconds: float = 0.0
    #: The sequence of the checkpoint at which it began; 0 for the empty book.
    begins: int = 0
    touched: dict[int, int] = field(default_factory=dict)

    @property
    def commands_per_second(self) -> int:
        return int(self.commands / self.seconds) if self.seconds else 0


def replay(market_id: int, *, until: int | None = None, progress: Progress | None = None) -> Replayed:
    """Rebuild a market's book up to `until` (None: to its head, and compare it with the open orders).

    checkpoints.NotKept when `until` lies before what is kept of the journal.
    """
    started = time.perf_counter()
    with snapshot() as cursor:
        market = Market.objects.get(pk=market_id)
        end = market.sequence if until is None else min(until, market.sequence)
        result = Replayed(market.symbol, end, LiveBook(markets.load_spec(market_id), fees=0))
        result.difference = feed(cursor, result, market_id, progress)
        result.state_hash = result.live.book.state_hash()
        if until is None and result.difference is None:
            result.difference = _compare_heads(cursor, result, market)
    result.seconds = time.perf_counter() - started
    return result


def feed(cursor, result: Replayed, market_id: int, progress: Progress | None = None) -> Difference | None:
    """Every command in turn from the newest checkpoint on, against the stored trades; None when all agree."""
    live, begins = result.live, _newest_checkpoint(cursor, result, market_id)
    try:
        checkpoints.load(cursor, live, begins)
    except Exception as error:
        return Difference(begins.sequence, f"the checkpoint is no book: {type(error).__name__}: {error}")
    trades = _Trades(market_id, begins.last_trade_id)
    for sequence, kind, order_id, command, created_at in journal.read(cursor, market_id, live.sequence, result.until):
        if sequence != live.sequence + 1:
            return Difference(live.sequence + 1, f"the journal has no such row: after {live.sequence} comes {sequence}")
        try:
            matches = redoing.redo(live, sequence, kind, order_id, command, created_at)
        except Exception as error:
            # Whatever a tampered row makes the engine raise is the finding, not a failure of the replay.
            return Difference(sequence, f"{kind} of order {order_id} cannot be done: {type(error).__name__}: {error}")
        if difference := trades.compare(live, sequence, matches):
            return difference
        _touch(result, sequence, order_id, matches)
        if not sequence % PROGRESS_COMMANDS:
            live.book.drain_changes()
            if progress:
                progress(sequence, result.until)
    if live.sequence != result.until:
        return Difference(live.sequence + 1, f"the journal ends at {live.sequence}, the market is at {result.until}")
    return trades.left_over(result.until)


def _newest_checkpoint(cursor, result: Replayed, market_id: int) -> checkpoints.Checkpoint:
    """Where the replay begins."""
    last = checkpoints.newest(cursor, market_id)
    if last.sequence > result.until:
        raise checkpoints.NotKept(
            f"the journal of {result.symbol} is kept from sequence {last.sequence} on, {result.until} is before that"
        )
    result.begins = last.sequence
    return last


def _touch(result: Replayed, sequence: int, order_id: int, matches: list[Match]) -> None:
    """Remember which command last changed each open order, to name it when the order differs."""
    result.commands, result.trades = result.commands + 1, result.trades + len(matches)
    for changed in (order_id, *(match.maker.id for match in matches)):
        if changed in result.live.book.orders:
            result.touched[changed] = sequence
        else:
            result.touched.pop(changed, None)


class _Trades:
    """The stored trades of a market in the order in which they were made, a chunk at a time."""

    def __init__(self, market_id: int, after: int):
        self._rows = self._read(market_id, after)
        self._next = next(self._rows, None)

    @staticmethod
    def _read(market_id: int, after: int) -> Iterator[tuple]:
        with connection.cursor() as cursor:
            while True:
                cursor.execute(
                    "SELECT id, sequence, maker_order_id, taker_order_id, price, quantity, taker_side"
                    " FROM exchange_trade WHERE market_id = %s AND id > %s ORDER BY id LIMIT %s",
                    [market_id, after, CHUNK_ROWS],
                )
                rows = cursor.fetchall()
                yield from rows
                if len(rows) < CHUNK_ROWS:
                    return
                after = rows[-1][0]

    def compare(self, live: LiveBook, sequence: int, matches: list[Match]) -> Difference | None:
        """The stored trades of this sequence must be these matches."""
        spec = live.spec
        for match in matches:
            maker, taker = match.maker, match.taker
            price, quantity = spec.price(match.price), spec.quantity(match.lots)
            made = (sequence, maker.id, taker.id, price, quantity, SIDE_NAMES[taker.side])
            stored = self._next
            if stored is None or stored[1:] != made:
                return Difference(sequence, f"replayed {_trade_text(made)}, stored {_stored_text(stored)}")
            self._next = next(self._rows, None)
        if self._next is not None and self._next[1] <= sequence:
            return Difference(sequence, f"stored {_stored_text(self._next)}, which the replay does not make")
        return None

    def left_over(self, until: int) -> Difference | None:
        """Nothing may be left of the trades up to `until`."""
        if self._next is None or self._next[1] > until:
            return None
        return Difference(self._next[1], f"stored {_stored_text(self._next)}, which the replay does not make")


def _trade_text(trade: tuple) -> str:
    sequence, maker, taker, price, quantity, side = trade
    return f"{side} {plain(quantity)} @ {plain(price)} of taker {taker} with maker {maker} at sequence {sequence}"


def _stored_text(row: tuple | None) -> str:
    return "no further trade" if row is None else f"trade {row[0]}: {_trade_text(row[1:])}"


# The two heads


def _compare_heads(cursor, result: Replayed, market: Market) -> Difference | None:
    """The replayed book against the open orders in the database."""
    live = result.live
    try:
        stored = list(live_orders(cursor, live.spec))
        head = LiveBook(live.spec, fees=0)
        for order in stored:
            if order.status == Status.PENDING:
                head.waiting.enter(order)
            else:
                head.book.restore(order, may_cross=live.collecting)
    except Exception as error:
        # Rows that make no book (crossed, off the tick, doubled) are the finding.
        return Difference(result.until, f"the database's open orders are no book: {type(error).__name__}: {error}")
    result.stored_hash = head.book.state_hash()
    if difference := first_order_that_differs(result, head):
        return difference
    if result.stored_hash != result.state_hash:
        return _first_place_that_differs(result, head)
    if live.session != State.of(market.session):
        return Difference(result.until, f"replayed session {live.session}, stored {market.session}")
    if live.last_price != market.last_price:
        return Difference(result.until, f"replayed last price {live.last_price}, stored {market.last_price}")
    return None


def first_order_that_differs(result: Replayed, head: LiveBook) -> Difference | None:
    """Of the orders that are not the same in the replayed book and another, the one with the lowest sequence."""
    replayed, stored = ({**live.book.orders, **live.waiting.orders} for live in (result.live, head))
    found = []
    for order_id in replayed.keys() | stored.keys():
        text = _order_difference(replayed.get(order_id), stored.get(order_id))
        if text:
            sequence = result.touched.get(order_id, result.until)
            found.append((sequence, order_id, text))
    if not found:
        return None
    sequence, order_id, text = min(found)
    return Difference(sequence, f"order {order_id}: {text} (orders that differ: {len(found)})")


def _order_difference(replayed: LiveOrder | None, stored: LiveOrder | None) -> str:
    if replayed is None:
        return f"open in the database ({stored.status}), not in the replayed book"
    if stored is None:
        return "open in the replayed book, not in the database"
    for name in COMPARED:
        ours, theirs = getattr(replayed, name), getattr(stored, name)
        if ours != theirs:
            return f"replayed {name} {ours}, stored {theirs}"
    return ""


def _first_place_that_differs(result: Replayed, head: LiveBook) -> Difference:
    """Same orders, other queue: the first place where the two disagree."""
    for side in (BUY, SELL):
        for ours, theirs in zip(queue(result.live, side), queue(head, side), strict=True):
            if ours.id != theirs.id:
                return Difference(
                    min(ours.priority, theirs.priority),
                    f"order {ours.id} is next in the replayed queue, {theirs.id} in the stored one",
                )
    return Difference(result.until, "the state hashes differ")


def queue(live: LiveBook, side: int) -> list[LiveOrder]:
    """A side's open orders, best price first, first come first."""
    return list(live.book.reachable(-side, price=None))


@dataclass(slots=True)
class Level:
    """One price of a book: decimal strings, and how many orders make it."""

    side: str
    price: str
    quantity: str
    orders: int


def levels(live: LiveBook) -> list[Level]:
    """The whole book as operators read it: asks down to the best, then bids down from the best."""
    spec, rows = live.spec, {BUY: [], SELL: []}
    for side, found in rows.items():
        counts: dict[int, list[int]] = {}
        for order in queue(live, side):
            entry = counts.setdefault(order.price, [0, 0])
            entry[0] += order.remaining
            entry[1] += 1
        found += [
            Level(SIDE_NAMES[side], spec.price_text(p), spec.quantity_text(lots), n) for p, (lots, n) in counts.items()
        ]
    return [*reversed(rows[SELL]), *rows[BUY]]
