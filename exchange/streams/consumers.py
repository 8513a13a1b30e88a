"""The public sockets: a market's order book, and its trades. See exchange.streams.feeds for what they tell and
when.
"""

from urllib.parse import parse_qs

from exchange.streams.feeds import MarketFeed, feeds
from exchange.streams.sockets import NOT_FOUND, BadMessage, StreamConsumer
from marketdata.refusals import NotFound, Refusal

MAX_DEPTH = 50


class MarketConsumer(StreamConsumer):
    """A socket of one market, named in the path or in the query; a member of its feed."""

    def __init__(self):
        self.feed: MarketFeed | None = None
        self.depth: int | None = None
        self.told_trade = 0

    async def opened(self) -> None:
        try:
            spec = await self.market(self._symbol())
        except Refusal as refusal:
            return self.fail(refusal, NOT_FOUND)
        self.feed = feeds.feed(spec)
        await self.join()

    async def join(self) -> None:
        """Listen to `self.feed`."""
        raise NotImplementedError

    def left(self) -> None:
        if self.feed is not None:
            self.feed.leave(self)

    def _symbol(self) -> str:
        path = self.scope["url_route"]["kwargs"].get("symbol")
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        return path or query.get("symbol", [""])[0]


class OrderBookConsumer(MarketConsumer):
    """A snapshot, then contiguous updates; {"depth": n} for snapshots of n levels, {"type": "resync"} for a
    fresh snapshot.
    """

    kind = "orderbook"

    async def join(self) -> None:
        await self.feed.join_book(self)

    async def received(self, message: dict) -> None:
        kind = message.get("type", "depth" if "depth" in message else None)
        if kind == "depth":
            self.depth = _depth(message.get("depth"))
        elif kind != "resync":
            raise BadMessage('Send {"depth": 1 to 50}, {"type": "resync"} or {"type": "ping"}.')
        if self.feed is not None:
            self.feed.rejoin(self)


class TradesConsumer(MarketConsumer):
    """The last trades, then each as it happens."""

    kind = "trades"

    async def join(self) -> None:
        await self.feed.join_tape(self)


class NowhereConsumer(StreamConsumer):
    """Any other path: says so and closes."""

    async def opened(self) -> None:
        self.fail(NotFound(f"There is no socket at {self.scope['path']!r}."), NOT_FOUND)


def _depth(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_DEPTH:
        raise BadMessage(f"depth is a whole number from 1 to {MAX_DEPTH}.")
    return value
