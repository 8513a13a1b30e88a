"""A market's ticker, top of the book and trades, for sockets that follow many markets at once.

A `TickerFeed` is a market feed with another voice: it catches up as any other (exchange.streams.committed), and at each
tick tells `market_data` where a figure changed, `order_book` (BOOK_LEVELS a side) where a level or the auction
changed, and `trades`; each rendered once, the same bytes to all. Sequences of each kind never go back, and no trade is
told twice.

Members are subscriptions: one socket and one market. A socket that has more unread than its queue holds is behind
with everything it follows: it hears nothing until it has read that, then each market tells it where it stands, with
the last trades that it does not have yet.

Known limit: of a market that traded more than KEPT_TRADES times meanwhile it hears the last of them only.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from exchange import reading
from exchange.streams.feeds import Feeds, MarketFeed, levels_of
from exchange.streams.outbox import Frame, Outbox
from exchange.tickers import board
from marketdata import clock
from marketdata.markets import MarketSpec
from marketdata.tickers import minute_of

BOOK_LEVELS = 20
#: The last trades of a market that a socket which was behind is told.
KEPT_TRADES = 100


class Socket(Protocol):
    """Whoever has subscriptions."""

    outbox: Outbox

    def fall_behind(self) -> None:
        """Its queue is full."""

    def admitted(self, subscription: "Subscription") -> None:
        """Where that market stands is in the queue."""


class Subscription:
    """One market on one socket. `told_trade`: the id of the last trade that it got, or that was before its time."""

    depth = None

    def __init__(self, socket: Socket, feed: "TickerFeed"):
        self.socket, self.feed = socket, feed
        self.wants_book = False
        self.told_trade: int | None = None

    @property
    def outbox(self) -> Outbox:
        return self.socket.outbox

    def leave(self) -> None:
        self.feed.leave(self)

    def begin(self) -> None:
        """Trades from now on are its; older ones are not."""
        if self.told_trade is None:
            self.told_trade = self.feed.last_trade()

    def wait(self) -> None:
        """Hear nothing until `resume`; the feed lives on."""
        self.feed.leave(self)
        self.feed.behind.add(self)

    def resume(self, sequence: int = 0) -> None:
        """Hear where the market stands, at that sequence at least, then what changes."""
        self.feed.behind.discard(self)
        self.feed.admit(self, sequence)


class TickerFeed(MarketFeed):
    """See the module. `listeners` are called with the feed at each tick at which its sequence moved."""

    def __init__(self, spec: MarketSpec):
        super().__init__(spec)
        self._recent = deque(maxlen=KEPT_TRADES)
        self.listeners: set[Callable[[TickerFeed], None]] = set()
        #: What every follower heard last, those of the book its levels; None when they differ in that.
        self._told_figures: dict | None = None
        self._told_ticker = -1
        self._told_levels: tuple | None = None

    def is_empty(self) -> bool:
        return super().is_empty() and not self.listeners

    def admit(self, subscription: Subscription, sequence: int) -> None:
        """Tell it where the market stands once that sequence is reached, then what changes."""
        self._remove_from_book(subscription)
        self._joining[subscription] = max(sequence, self.shown.sequence)
        self._schedule()

    def ticker(self) -> dict:
        """The ticker as a read would have it now; only once the feed was reached.

        It comes from this process's view, which may be ahead of what the feed has heard: the figures are, too. Of a
        market whose tick was edited the view may count in ticks that the feed has yet to hear of.
        """
        view = reading.views.get(self.spec.id)
        is_ahead = view is not None and view.sequence > self.shown.sequence and view.spec.grid == self.spec.grid
        book = view if is_ahead else self.shown
        return board.compose(self.spec, book.sequence, book.best)

    async def _reach_figures(self, sequence: int) -> None:
        await board.reach_async([self.spec], {self.spec.id: sequence})

    # Telling

    def refresh(self) -> None:
        """The window has moved on by itself: tell the ticker if a figure changed."""
        if self.shown.sequence >= 0:
            self._tell(self._changed_ticker(), [])
            self._call_listeners()

    def _tell_followers(self) -> None:
        if self.followers:
            self._tell(self._changed_ticker(), self._changed_book())
        self._call_listeners()

    def _call_listeners(self) -> None:
        for listener in list(self.listeners):
            listener(self)

    def _tell(self, to_all: list[dict], to_book: list[dict]) -> None:
        for member in list(self.followers):
            if not _offer(member, to_all + to_book if member.wants_book else to_all):
                member.socket.fall_behind()

    def _changed_ticker(self) -> list[dict]:
        ticker = self.ticker()
        figures = _figures(ticker)
        if figures == self._told_figures or ticker["sequence"] < self._told_ticker:
            return []
        self._told_figures, self._told_ticker = figures, ticker["sequence"]
        return [Frame({"type": "market_data", **ticker})]

    def _changed_book(self) -> list[dict]:
        if not any(member.wants_book for member in self.followers):
            return []
        book = self.shown.snapshot(BOOK_LEVELS)
        levels = levels_of(book)
        if levels == self._told_levels:
            return []
        self._told_levels = levels
        return [Frame({"type": "order_book", **book})]

    def _tell_tapes(self) -> None:
        trades, self._new_trades = self._new_trades, []
        if not self.followers:
            return
        message, last = self._tape(trades), trades[-1]["trade_id"]
        for member in list(self.followers):
            if member.outbox.offer(message):
                member.told_trade = last
            else:
                member.socket.fall_behind()

    # Admitting

    def _admit_to_book(self, member: Subscription) -> None:
        """Where the market stands, and the last trades that it lacks."""
        ticker = self.ticker()
        messages = [Frame({"type": "market_data", **ticker})]
        # What the others heard last is news to whoever hears something else now, should the market return to it.
        if _figures(ticker) != self._told_figures:
            self._told_figures = None
        if member.wants_book:
            book = self.shown.snapshot(BOOK_LEVELS)
            messages.append(Frame({"type": "order_book", **book}))
            if levels_of(book) != self._told_levels:
                self._told_levels = None
        missed = [trade for trade in self._recent if trade["trade_id"] > member.told_trade]
        if missed:
            messages.append(self._tape(missed))
        self.followers.add(member)
        if _offer(member, messages):
            member.told_trade = self.last_trade()
            member.socket.admitted(member)
        else:
            member.socket.fall_behind()


def _figures(ticker: dict) -> dict:
    return {**ticker, "sequence": None}


def _offer(member: Subscription, messages: Iterable[dict]) -> bool:
    return all(member.outbox.offer(message) for message in messages)


class TickerFeeds(Feeds):
    """The ticker feeds of this process."""

    def __init__(self):
        super().__init__(TickerFeed)
        self._minute = 0

    async def reach(self, found: Sequence[TickerFeed]) -> dict[TickerFeed, int]:
        """How far the database is in each of these; the figures of all that are new come with one query.

        The caller is among their members or listeners, so that none is let go meanwhile.
        """
        await board.read_async([feed.spec for feed in found])
        return dict(zip(found, await asyncio.gather(*[feed.reach() for feed in found]), strict=True))

    async def check(self) -> None:
        """As for all feeds; and once a minute, what left the 24 hours, or came back to them with a clock put right."""
        await super().check()
        minute = minute_of(clock.now())
        if minute != self._minute:
            await board.reach_async([feed.spec for feed in self.by_market.values()], {})
            self._minute = minute
            for feed in list(self.by_market.values()):
                feed.refresh()


ticker_feeds = TickerFeeds()
