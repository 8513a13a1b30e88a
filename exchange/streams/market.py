"""/ws/market/: many markets on one socket.

{"type": "subscribe", "symbols": [...], "order_book": true} is answered by {"type": "subscribed", "symbols": [...]},
then each market tells where it stands and what changes, as `market_data`, `order_book` and `trades`. A symbol that is
no market gets an error of its own that names it; the others are subscribed all the same. "unsubscribe" without symbols
ends all; "snapshot" tells again where the markets stand. A socket follows MAX_SYMBOLS markets at most.
"""

from exchange.streams.sockets import BadMessage, StreamConsumer
from exchange.streams.ticker_feeds import Subscription, TickerFeed, ticker_feeds
from marketdata.markets import MarketSpec
from marketdata.refusals import Refusal

MAX_SYMBOLS = 300
#: Markets that tell a socket at once where they stand; the next ones follow when it has read that.
PACE = 50
MAX_SYMBOL_CHARACTERS = 64


class NotSubscribed(Refusal):
    """The socket does not follow that market."""

    code, status, title = "not_subscribed", 409, "Not subscribed"


class TooManySymbols(Refusal):
    """More markets than one socket may follow."""

    code, status, title = "too_many_symbols", 422, "Too many symbols"


class MarketDataConsumer(StreamConsumer):
    """See the module."""

    kind = "market"

    def __init__(self):
        self.subscriptions: dict[int, Subscription] = {}
        #: Subscriptions that hear nothing yet, with the sequence that each has to come from; and those next to hear.
        self._waiting: dict[Subscription, int] = {}
        self._resuming: set[Subscription] = set()

    async def received(self, message: dict) -> None:
        handlers = {"subscribe": self._subscribe, "unsubscribe": self._unsubscribe, "snapshot": self._snapshot}
        kind = message.get("type")
        if not isinstance(kind, str) or kind not in handlers:
            raise BadMessage("type is one of subscribe, unsubscribe, snapshot and ping.")
        await handlers[kind](message)

    def left(self) -> None:
        for subscription in self.subscriptions.values():
            subscription.leave()
        self.subscriptions.clear()
        self._waiting.clear()
        self._resuming.clear()

    async def _subscribe(self, message: dict) -> None:
        names, wants_book = _names(message), message.get("order_book", False)
        if names is None or type(wants_book) is not bool:
            raise BadMessage('Send {"type": "subscribe", "symbols": ["AAPL", …], "order_book": true or false}.')
        specs = await self._markets(names)
        if len(self.subscriptions.keys() | {spec.id for spec in specs}) > MAX_SYMBOLS:
            raise TooManySymbols(f"One socket follows at most {MAX_SYMBOLS} markets.")
        new = [self._new(spec) for spec in specs if spec.id not in self.subscriptions]
        known = [self.subscriptions[spec.id] for spec in specs if spec.id in self.subscriptions]
        try:
            reached = await ticker_feeds.reach([one.feed for one in known + new])
        except BaseException:
            for one in new:
                one.leave()
            raise
        self.subscriptions |= {one.feed.spec.id: one for one in new}
        self.tell({"type": "subscribed", "symbols": [spec.symbol for spec in specs], "order_book": wants_book})
        for one in known + new:
            one.wants_book = wants_book
            one.begin()
        self._catch_up(reached)

    def _new(self, spec: MarketSpec) -> Subscription:
        """A subscription that waits until it is resumed. It is none of the socket's before its market is reached: who
        falls behind meanwhile has nothing to catch up with there.
        """
        found = Subscription(self, ticker_feeds.feed(spec))
        found.wait()
        return found

    async def _unsubscribe(self, message: dict) -> None:
        ended = [known.feed.spec.symbol for known in await self._chosen(message)]
        self.tell({"type": "unsubscribed", "symbols": ended})
        for market_id, known in list(self.subscriptions.items()):
            if known.feed.spec.symbol in ended:
                del self.subscriptions[market_id]
                known.leave()
                self._waiting.pop(known, None)
                self.admitted(known)

    async def _snapshot(self, message: dict) -> None:
        chosen = await self._chosen(message)
        self._catch_up(await ticker_feeds.reach([known.feed for known in chosen]))

    async def _chosen(self, message: dict) -> list[Subscription]:
        """The subscriptions that the message names, or all; each name that is none of them gets its error."""
        names = _names(message)
        if names is None:
            if "symbols" in message:
                raise BadMessage("symbols is a list of at least one symbol; leave it out for all.")
            return list(self.subscriptions.values())
        found = [await self._followed(name) for name in names]
        return list({known.feed.spec.id: known for known in found if known is not None}.values())

    async def _followed(self, name: str) -> Subscription | None:
        """The subscription of that name, also to a market that is not active any more; who has none is told so."""
        try:
            known = self.subscriptions.get((await self.market(name)).id)
            refusal = NotSubscribed(f"This socket is not subscribed to {name}.")
        except Refusal as unknown:
            known, refusal = self._own(name.upper()), unknown
        if known is None:
            self._tell_of(name, refusal)
        return known

    def _own(self, name: str) -> Subscription | None:
        for known in self.subscriptions.values():
            spec = known.feed.spec
            if name in (spec.symbol, spec.base + spec.quote):
                return known
        return None

    async def _markets(self, names: list[str]) -> list[MarketSpec]:
        """The markets of these names, each once; a name that is none is told of."""
        found = [await self._known(name) for name in names]
        return list({spec.id: spec for spec in found if spec is not None}.values())

    async def _known(self, name: str) -> MarketSpec | None:
        try:
            return await self.market(name)
        except Refusal as refusal:
            self._tell_of(name, refusal)
            return None

    def _tell_of(self, name: str, refusal: Refusal) -> None:
        self.tell({"type": "error", "code": refusal.code, "detail": refusal.detail, "symbol": name})

    # At the reader's pace

    def _catch_up(self, reached: dict[TickerFeed, int]) -> None:
        """Hear anew where these markets stand."""
        for feed, sequence in reached.items():
            known = self.subscriptions[feed.spec.id]
            known.wait()
            self._resuming.discard(known)
            self._waiting[known] = sequence
        self._go_on()

    def _go_on(self) -> None:
        """The next few, unless some are under way."""
        if self._resuming:
            return
        self._resuming.update(list(self._waiting)[:PACE])
        for known in list(self._resuming):
            known.resume(self._waiting.pop(known))

    def admitted(self, subscription: Subscription) -> None:
        self._resuming.discard(subscription)
        if self._waiting and not self._resuming:
            self.outbox.when_drained(self._go_on)

    def fall_behind(self) -> None:
        """Hear nothing more until all that is queued has been read, then anew where everything stands.

        What is queued stays: there are trades in it that count as told.
        """
        self._resuming.clear()
        for known in self.subscriptions.values():
            known.wait()
            self._waiting.setdefault(known, 0)
        self.outbox.when_drained(self._go_on)


def _names(message: dict) -> list[str] | None:
    """The message's symbols, if they are a list of names; TooManySymbols."""
    names = message.get("symbols")
    if not isinstance(names, list) or not names:
        return None
    if len(names) > MAX_SYMBOLS:
        raise TooManySymbols(f"One message names at most {MAX_SYMBOLS} markets, and one socket follows no more.")
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_SYMBOL_CHARACTERS for name in names):
        return None
    return names
