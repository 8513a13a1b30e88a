"""The live books of this process, by market. They belong to the writer.

Any doubt discards a book: `forget` drops it, and the next batch that needs it loads it from the open orders under
the market's lock.
"""

from collections.abc import Iterable
from contextlib import suppress

from django.db import OperationalError

from accounts import house, ledger
from exchange import redoing, writers
from exchange.books import LiveBook
from exchange.depth import Delta
from exchange.ids import IdStock
from exchange.journal import JournalGone
from exchange.store import MarketRow
from marketdata import markets
from marketdata.models import Market
from marketdata.refusals import UnreadableMarket


class KindChanged(OperationalError):
    """A market is not what it was when its accounts were looked up. The batch comes again and has them made before it
    begins: on a thread, they would end its transaction.
    """


def whole_book(live: LiveBook) -> Delta:
    """All that readers see of a live book, as a change to nothing."""
    levels, session = live.levels(), live.shown_session()
    return Delta(live.spec.id, live.spec.symbol, 0, live.sequence, levels, whole=True, session=session)


def _accounts_of(market_id: int) -> tuple[int, house.House | None]:
    """The market's fee account, and the house of one with margin."""
    fees = ledger.fee_account(market_id).id
    if markets.load_spec(market_id).contract is None:
        return fees, None
    return fees, house.House(house.clearing_account(market_id).id, house.insurance_fund().id)


class Registry:
    """Live books, and the deltas that keeping them up to date has made for the views."""

    def __init__(self):
        self.books: dict[int, LiveBook] = {}
        self.ids = IdStock()
        self._fees: dict[int, int] = {}
        self._houses: dict[int, house.House | None] = {}
        self.deltas: list[Delta] = []
        #: Markets that were not where this process had left them when they were last locked.
        self._moved: set[int] = set()

    def is_likely_current(self, market_ids: Iterable[int]) -> bool:
        """Whether the books are here, and nobody else moved them the last time. No promise: others may have since."""
        return all(market_id in self.books and market_id not in self._moved for market_id in market_ids)

    def is_current(self, rows: Iterable[MarketRow]) -> bool:
        """Whether the books are exactly at their markets' locked rows."""
        books = self.books
        return all((books[row.id].sequence, books[row.id].spec.version) == (row.sequence, row.version) for row in rows)

    def prepare(self, market_ids: Iterable[int]) -> None:
        """Make sure of the markets' fee accounts, outside of any transaction: they are made when a market is new."""
        for market_id in market_ids:
            if market_id not in self._fees:
                with suppress(UnreadableMarket):  # `refresh` says so
                    self._fees[market_id], self._houses[market_id] = writers.call(_accounts_of, market_id)
        markets.keep_fresh(writers.call)  # open positions are read by it

    def refresh(self, cursor, row: MarketRow) -> LiveBook:
        """The market's book, at the sequence and filters of its locked row. UnreadableMarket when none can be made."""
        live = self.books.get(row.id)
        if live is not None and live.sequence == row.sequence:
            self._moved.discard(row.id)
        else:
            self._moved.add(row.id)
        if live is None or live.sequence > row.sequence:
            live = self._load(cursor, row)
        elif live.spec.version != row.version:
            live = self._change_filters(cursor, live, row)
        if live.sequence < row.sequence:
            live = self._catch_up(cursor, live, row)
        if live.last_price != row.last_price:
            live.last_price = row.last_price
        return live

    def _catch_up(self, cursor, live: LiveBook, row: MarketRow) -> LiveBook:
        """Bring the book up from the journal; a process that slept for longer than that is kept loads it anew."""
        first = live.sequence + 1
        self.ids.clear()
        try:
            redoing.catch_up(live, cursor, row.sequence)
        except JournalGone:
            return self._load(cursor, row)
        changes, session = live.book.drain_changes(), live.shown_session()
        self.deltas.append(Delta(row.id, live.spec.symbol, first, row.sequence, changes, session=session))
        return live

    def _load(self, cursor, row: MarketRow) -> LiveBook:
        self.ids.clear()
        spec = writers.call(markets.load_spec, row.id)
        if row.id not in self._houses or (spec.contract is None) != (self._houses[row.id] is None):
            raise KindChanged
        live = LiveBook(spec, self._fees[row.id])
        live.house = self._houses[row.id]
        live.load(cursor, row.sequence, row.last_price)
        self.books[row.id] = live
        self.deltas.append(whole_book(live))
        return live

    def _change_filters(self, cursor, live: LiveBook, row: MarketRow) -> LiveBook:
        """Take an operator's edit in.

        The fixed fields only change on a market without history: then the book is loaded anew.
        """
        spec = writers.call(markets.load_spec, row.id)
        if any(getattr(spec, name) != getattr(live.spec, name) for name in Market.FIXED_FIELDS):
            return self._load(cursor, row)
        live.spec = spec
        return live

    def take_deltas(self) -> list[Delta]:
        deltas, self.deltas = self.deltas, []
        return deltas

    def forget(self) -> None:
        """Drop every book: they may be ahead of the database."""
        self.books.clear()
        self.ids.clear()
        self._fees.clear()
        self._houses.clear()
        self.deltas.clear()
