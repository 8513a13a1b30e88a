"""/ws/prices/ and /ws/market/ over a real server: many markets on one socket, in sequence, at the reader's pace."""

import asyncio
import time
from decimal import Decimal
from random import Random
from threading import Event

import pytest

from exchange import orders
from exchange.models import Trade
from exchange.streams import outbox
from exchange.streams.price_feed import PriceFeed, price_feed
from exchange.streams.ticker_feeds import TickerFeed, TickerFeeds, ticker_feeds
from exchange.tickers import board
from marketdata import hub
from marketdata.markets import by_symbol
from marketdata.models import Market
from marketdata.refusals import Unavailable
from tests.candles.sessions import Clock, fund, trade
from tests.patience import wait_until
from tests.streams.support import Client, LiveServer, OtherProcess

pytestmark = pytest.mark.django_db(transaction=True)
SHOWN = ("last", "bid", "ask", "change_percent")
PUSHED = tuple(f'{{"type":"{kind}"' for kind in ("market_data", "order_book", "trades", "prices"))


@pytest.fixture
def server(venue):
    live = LiveServer().start()
    yield live
    live.stop()


def many_markets(venue, count: int) -> list[str]:
    names = [f"M{n:03}" for n in range(count)]
    for name in names:
        venue.market(name, base="AAPL", quote="USD", price_band=None)
    return names


def prices(message: dict, symbol="AAPL") -> str:
    assert message["type"] == "prices"
    return " ".join(str(message["prices"][symbol][name]) for name in SHOWN)


# /ws/prices/


def test_all_prices_at_connect_then_those_that_change(venue, server):
    fund(venue)
    trade(venue, 100)
    with server.client("/ws/prices/") as client:
        first = client.next()
        assert set(first["prices"]) == {"AAPL", "BTC_USDT"}
        assert (prices(first), prices(first, "BTC_USDT")) == ("100 None None 0", "None None None None")
        venue.order("ann BUY 1 AAPL @ 99")
        second = client.next()
        assert (set(second["prices"]), prices(second)) == ({"AAPL"}, "100 99 None 0")
        assert second["prices"]["AAPL"]["updated_at"] == first["prices"]["AAPL"]["updated_at"]
        venue.order("ann BUY 1 AAPL @ 98")
        trade(venue, 104)
        third = client.until(lambda message: prices(message).startswith("104"))
        assert prices(third) == "104 99 None 4"
        assert third["prices"]["AAPL"]["sequence"] == 6
        client.send({"type": "snapshot"})
        assert set(client.next()["prices"]) == {"AAPL", "BTC_USDT"}
        client.send({"type": "ping", "id": 7})
        assert client.next() == {"type": "pong", "id": 7}
        client.send({"type": "dance"})
        assert client.next()["code"] == "bad_message"


def test_a_new_market_is_taken_up(venue, server):
    with server.client("/ws/prices") as client:
        client.next()
        venue.market("NEW", base="BTC", quote="USD")
        assert set(client.next()["prices"]) == {"NEW"}


def test_prices_follow_another_process(venue, server):
    fund(venue)
    with server.client("/ws/prices/") as client, OtherProcess() as other:
        client.next()
        other.order(venue.accounts["ann"].id, "SELL 3 AAPL @ 101")
        other.order(venue.accounts["bob"].id, "BUY 1 AAPL @ 101")
        last = client.until(lambda message: message["prices"]["AAPL"]["last"] is not None)
        assert prices(last) == "101 None 101 0"
        assert board.read([by_symbol("AAPL")])[0]["volume"] == "1"


def test_who_connects_while_a_market_is_taken_off_the_list_hears_the_others(venue, server, monkeypatch):
    """The second comes between two ticks, of which the next comes when the market is gone."""
    with server.client("/ws/prices/") as first:
        first.next()
        followed = []
        monkeypatch.setattr(price_feed, "_schedule", lambda: followed.append(len(price_feed._feeds)))
        wait_until(lambda: price_feed._tick is None, "the last tick")
        with server.client("/ws/prices/") as second:
            wait_until(lambda: price_feed._joining, "the second to wait for the next tick")
            venue.change("AAPL", is_active=False)
            wait_until(lambda: 1 in followed, "the market to be let go")
            hub.hub._loop.call_soon_threadsafe(price_feed._tell)
            assert set(second.next()["prices"]) == {"BTC_USDT"}


def test_figures_are_as_new_as_the_book_that_they_are_told_with(venue, server, monkeypatch):
    """Nothing is heard of another process, which trades on while the book is taken from the database."""
    fund(venue)
    reach, overtaken, has_traded = board.reach_async, [], Event()
    with server.client("/ws/prices/") as client, OtherProcess() as other:
        client.next()

        def trade_there(price: int) -> None:
            for name, side in (("ann", "SELL"), ("bob", "BUY")):
                other.order(venue.accounts[name].id, f"{side} 1 AAPL @ {price}")

        async def reach_and_be_overtaken(*args) -> None:
            await reach(*args)
            if not overtaken:
                await asyncio.to_thread(has_traded.wait)
                overtaken.append(await asyncio.to_thread(trade_there, 104))

        trade_there(100)
        client.until(lambda message: message["prices"]["AAPL"]["last"] == "100")
        monkeypatch.setattr(hub.hub, "_books_handlers", [])
        monkeypatch.setattr(board, "reach_async", reach_and_be_overtaken)
        trade_there(102)
        has_traded.set()
        last = client.until(lambda message: message["prices"]["AAPL"]["sequence"] == 6)
        assert last["prices"]["AAPL"]["last"] == "104"


def test_prices_are_not_taken_up_for_nobody(venue, monkeypatch):
    feed, spec = PriceFeed(), by_symbol("AAPL")
    feed._feeds[spec.id] = TickerFeed(spec)

    async def meanwhile_the_last_one_leaves(_):
        feed.forget()
        return [spec]

    monkeypatch.setattr("exchange.streams.price_feed.in_thread", meanwhile_the_last_one_leaves)
    asyncio.run(feed.check())
    assert not feed._feeds and not ticker_feeds.by_market


async def told_after(hands: Clock, *hours: int) -> list[int]:
    """The trades of 24 hours that a listener is told of after each move of the clock; nobody else asks."""
    feeds, told, last = TickerFeeds(), [], []
    feed = feeds.feed(by_symbol("AAPL"))
    await feed.reach()
    feed.listeners.add(lambda one: last.append(one.ticker()["trades"]))
    for move in hours:
        hands.move(hours=move)
        await feeds.check()
        told.append(last.pop())
    return told


def test_figures_are_whole_again_when_a_clock_that_was_fast_is_put_right(venue, monkeypatch):
    hands = Clock(monkeypatch)
    fund(venue)
    trade(venue, 100)
    assert asyncio.run(told_after(hands, 23, 2, -2)) == [1, 0, 1]


def test_nothing_is_left_of_a_socket_that_is_gone(venue, server):
    with server.client("/ws/prices/") as client, server.client("/ws/market/") as market:
        client.next()
        market.send({"type": "subscribe", "symbols": ["AAPL"]})
        market.take(2)
        assert price_feed.members and ticker_feeds.by_market
    wait_until(lambda: not price_feed.members and not ticker_feeds.by_market, "the feeds to be let go")


# /ws/market/


def test_subscribe_tells_where_a_market_stands_then_what_changes(venue, server):
    fund(venue)
    venue.order("ann SELL 2 AAPL @ 101")
    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["aapl"], "order_book": True})
        assert client.next() == {"type": "subscribed", "symbols": ["AAPL"], "order_book": True}
        ticker, book = client.take(2)
        assert ticker == {"type": "market_data", **board.read([by_symbol("AAPL")])[0]}
        assert book == {"type": "order_book", "symbol": "AAPL", "sequence": 1, "bids": [], "asks": [["101", "2"]]}
        venue.order("bob BUY 1 AAPL @ 101")
        ticker, book, trades = client.take(3)
        assert (ticker["last"], ticker["volume"], book["asks"]) == ("101", "1", [["101", "1"]])
        assert [trade["price"] for trade in trades["trades"]] == ["101"]
        assert ticker["sequence"] == book["sequence"] == trades["sequence"] == 2


def test_errors_name_the_bad_symbol_and_the_rest_is_done(venue, server):
    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["NOPE", "AAPL", "nope2"]})
        errors = client.take(2)
        assert [(e["type"], e["code"], e["symbol"]) for e in errors] == [
            ("error", "unknown_market", "NOPE"),
            ("error", "unknown_market", "nope2"),
        ]
        assert [m["type"] for m in client.take(2)] == ["subscribed", "market_data"]
        client.send({"type": "snapshot", "symbols": ["BTC_USDT"]})
        error = client.next()
        assert (error["code"], error["symbol"]) == ("not_subscribed", "BTC_USDT")
        for bad in (
            {"type": "subscribe"},
            {"type": "subscribe", "symbols": []},
            {"type": "subscribe", "symbols": "AAPL"},
            {"type": "subscribe", "symbols": [1]},
            {"type": "subscribe", "symbols": ["A" * 65]},
            {"type": "subscribe", "symbols": ["AAPL"], "order_book": "yes"},
            {"type": "unsubscribe", "symbols": {}},
            {"type": ["subscribe"]},
            {"symbols": ["AAPL"]},
            "nonsense",
        ):
            client.send(bad)
            assert client.next()["code"] == "bad_message", bad
        client.send({"type": "subscribe", "symbols": ["AAPL"] * 301})
        assert client.next()["code"] == "too_many_symbols"
        client.send({"type": "ping"})
        assert client.next() == {"type": "pong"}


def test_a_subscription_that_failed_is_none(venue, server, monkeypatch):
    """What is asked for later is not kept waiting for it."""
    fund(venue)
    trade(venue, 100)
    with server.client("/ws/market/") as other, server.client("/ws/market/") as client:
        other.send({"type": "subscribe", "symbols": ["AAPL"]})
        other.until(lambda message: message["type"] == "market_data")
        with monkeypatch.context() as patch:
            patch.setattr(TickerFeed, "reach", unavailable)
            client.send({"type": "subscribe", "symbols": ["AAPL"]})
            assert client.next()["code"] == "unavailable"
        client.send({"type": "snapshot"})
        client.send({"type": "subscribe", "symbols": ["BTC_USDT"]})
        assert [client.next()["type"] for _ in range(2)] == ["subscribed", "market_data"]


async def unavailable(feed: TickerFeed) -> int:
    raise Unavailable("The database is away.")


@pytest.mark.parametrize("fails", [True, False])
def test_a_socket_that_falls_behind_while_it_subscribes(venue, server, monkeypatch, caplog, fails):
    """What it does not follow yet is nothing to catch up with."""
    fund(venue)
    trade(venue, 100)
    reach = TickerFeeds.reach

    async def reach_slowly(feeds: TickerFeeds, found: list[TickerFeed]) -> dict[TickerFeed, int]:
        reached = await reach(feeds, found)
        socket = next(iter(found[0].behind)).socket
        socket.fall_behind()
        await socket.outbox.drained()
        while found[0]._joining:
            await asyncio.sleep(0.01)
        if fails:
            raise Unavailable("The database is away.")
        return reached

    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["BTC_USDT"]})
        client.until(lambda message: message["type"] == "market_data")
        with monkeypatch.context() as patch:
            patch.setattr(TickerFeeds, "reach", reach_slowly)
            client.send({"type": "subscribe", "symbols": ["AAPL"]})
            client.until(lambda message: message.get("code") == "unavailable" or message["type"] == "subscribed")
        client.send({"type": "subscribe", "symbols": ["AAPL"]})
        assert client.until(lambda message: message.get("symbol") == "AAPL")["last"] == "100"
        trade(venue, 101)
        assert client.until(lambda message: message["type"] == "trades")["trades"][0]["price"] == "101"
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_unsubscribed_markets_are_silent_and_snapshots_come_when_asked_for(venue, server):
    fund(venue)
    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["AAPL", "BTC_USDT"]})
        client.take(3)
        client.send({"type": "unsubscribe", "symbols": ["BTCUSDT"]})
        assert client.next() == {"type": "unsubscribed", "symbols": ["BTC_USDT"]}
        venue.order("ann BUY 1 BTC_USDT @ 60000")
        venue.order("ann BUY 1 AAPL @ 100")
        assert (changed := client.next())["symbol"] == "AAPL" and changed["bid"] == "100"
        client.send({"type": "snapshot"})
        assert client.next() == changed
        client.send({"type": "unsubscribe"})
        assert client.next() == {"type": "unsubscribed", "symbols": ["AAPL"]}
        venue.order("ann BUY 1 AAPL @ 101")
        client.send({"type": "ping"})
        assert client.next()["type"] == "pong"


def test_a_market_that_is_not_active_any_more_is_still_let_go_by_its_name(venue, server):
    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["AAPL", "BTC_USDT"]})
        client.take(3)
        venue.change("AAPL", is_active=False)
        client.send({"type": "snapshot", "symbols": ["aapl"]})
        assert client.next()["symbol"] == "AAPL"
        client.send({"type": "unsubscribe", "symbols": ["AAPLUSD"]})
        assert client.next() == {"type": "unsubscribed", "symbols": ["AAPL"]}
        client.send({"type": "unsubscribe", "symbols": ["AAPL"]})
        error, ended = client.take(2)
        assert (error["code"], error["symbol"], ended["symbols"]) == ("unknown_market", "AAPL", [])


def test_who_joins_is_told_when_the_market_returns_to_what_others_were_told(venue, server):
    """What counts as told is what those heard who are there, not who has left."""
    fund(venue)
    follow = {"type": "subscribe", "symbols": ["AAPL"], "order_book": True}
    venue.order("ann BUY 1 AAPL @ 99")
    with server.client("/ws/prices/") as quotes:  # keeps the feed alive

        def shown(bid: str) -> None:
            quotes.until(lambda message: message["prices"].get("AAPL", {}).get("bid") == bid)

        with server.client("/ws/market/") as first:
            first.send(follow)
            first.take(3)
            venue.order("ann BUY 1 AAPL @ 100")
            assert [first.next()["bid"], first.next()["bids"][0][0]] == ["100", "100"]
        wait_until(lambda: not any(feed.followers for feed in ticker_feeds.by_market.values()), "the socket to go")
        shown("100")
        better = venue.order("ann BUY 1 AAPL @ 101")
        shown("101")
        with server.client("/ws/market/") as second:
            second.send(follow)
            assert [message.get("bid") for message in second.take(3)[1:]] == ["101", None]
            venue.cancel("ann", better)
            ticker, book = second.take(2)
            assert (ticker["bid"], book["bids"][0][0]) == ("100", "100")


def test_who_subscribes_again_is_told_when_the_market_returns_to_what_it_heard_before(venue, server):
    fund(venue)
    venue.order("ann BUY 1 AAPL @ 99")
    with server.client("/ws/prices/") as quotes, server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["AAPL"], "order_book": True})
        client.take(3)
        venue.order("ann BUY 1 AAPL @ 100")
        assert [client.next()["bid"], client.next()["bids"][0][0]] == ["100", "100"]
        client.send({"type": "unsubscribe", "symbols": ["AAPL"]})
        assert client.next()["type"] == "unsubscribed"
        better = venue.order("ann BUY 1 AAPL @ 101")
        quotes.until(lambda message: message["prices"].get("AAPL", {}).get("bid") == "101")
        client.send({"type": "subscribe", "symbols": ["AAPL"], "order_book": True})
        assert client.take(3)[1]["bid"] == "101"
        venue.cancel("ann", better)
        ticker, book = client.take(2)
        assert (ticker["bid"], book["bids"][0][0]) == ("100", "100")


class Follower:
    """What a socket says of many markets; anything out of sequence is an error."""

    def __init__(self):
        self.sequences: dict[tuple[str, str], int] = {}
        self.newest: dict[tuple[str, str], dict] = {}
        self.trades: dict[str, list[int]] = {}

    def take(self, message: dict) -> None:
        kind, symbol, sequence = message["type"], message["symbol"], message["sequence"]
        assert sequence >= self.sequences.get((kind, symbol), -1), message
        assert kind == "market_data" or sequence > self.sequences.get((kind, symbol), -1), message
        self.sequences[kind, symbol], self.newest[kind, symbol] = sequence, message
        if kind == "trades":
            self.trades.setdefault(symbol, []).extend(trade["trade_id"] for trade in message["trades"])

    def follow(self, client: Client, ends: dict[str, int]) -> None:
        """Until the books are there."""
        while any(self.sequences.get(("order_book", symbol), -1) < end for symbol, end in ends.items()):
            self.take(client.next())

    def follow_trades(self, client: Client) -> None:
        """Until every market's last trade has come."""
        last = dict(Trade.objects.order_by("id").values_list("market__symbol", "id"))
        while any(self.trades.get(symbol, [0])[-1] != trade_id for symbol, trade_id in last.items()):
            self.take(client.next())


def busy(venue, names: list[str], *, seed: int, rounds: int) -> None:
    """Orders in all of these markets side by side."""
    random = Random(seed)
    for _ in range(rounds):
        commands = []
        for name in names:
            price = Decimal(100) + Decimal(random.randint(-20, 20)) / 100
            side, who = random.choice([("BUY", "ann"), ("SELL", "bob")])
            commands.append(venue.command(f"{who} {side} {random.randint(1, 9)} {name} @ {price}"))
        assert all(isinstance(outcome, orders.Placed) for outcome in orders.place_many(commands))


def heads() -> dict[str, int]:
    return dict(Market.objects.filter(symbol__startswith="M").values_list("symbol", "sequence"))


def test_a_hundred_symbols_on_one_socket_with_every_message_in_sequence(venue, server):
    names = many_markets(venue, 100)
    fund(venue)
    with server.client("/ws/market/") as client, server.client("/ws/prices/") as quotes:
        shown = {name: figures for name, figures in quotes.next()["prices"].items() if name in names}
        client.send({"type": "subscribe", "symbols": names, "order_book": True})
        assert client.next()["symbols"] == names
        follower = Follower()
        busy(venue, names, seed=1, rounds=12)
        # a last order far from the others, so that every book and every bid or ask changes with it
        orders.place_many([venue.command(f"ann BUY 1 {name} @ 90") for name in names])
        follower.follow(client, heads())
        follower.follow_trades(client)
        for name in names:
            trades = list(Trade.objects.filter(market__symbol=name).order_by("id").values_list("id", flat=True))
            assert follower.trades.get(name, []) == trades
            ticker, book = follower.newest["market_data", name], follower.newest["order_book", name]
            assert ticker["bid"] == book["bids"][0][0] and ticker["trades"] == len(trades)
        expected = {name: follower.newest["market_data", name] for name in names}
        while any(shown[name][field] != expected[name][field] for name in names for field in SHOWN):
            for name, figures in quotes.next()["prices"].items():
                assert figures["sequence"] >= shown[name]["sequence"]
                shown[name] = figures


def test_changes_come_at_most_every_100_ms_and_are_conflated(venue, server):
    fund(venue)
    with server.client("/ws/market/") as client:
        client.send({"type": "subscribe", "symbols": ["AAPL"]})
        client.take(2)
        came, started = [], time.monotonic()
        for n in range(60):
            venue.order(f"ann BUY 1 AAPL @ {100 + n / 100:.2f}")
        while not came or came[-1]["sequence"] < 60:
            came.append(client.next())
        assert len(came) <= (time.monotonic() - started) / 0.1 + 2
        assert came[-1]["bid"] == "100.59"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_queue_that_overflows_is_made_good_by_where_the_markets_stand(venue, server, monkeypatch, seed):
    """However often the queue is full, the reader ends with every trade and the newest of every market."""
    names = many_markets(venue, 12)
    fund(venue)
    random, offer, refused = Random(seed), outbox.Outbox.offer, []

    def often_full(self, message: dict) -> bool:
        if random.random() < 0.3 and message["text"].startswith(PUSHED):
            refused.append(message)
            return False
        return offer(self, message)

    monkeypatch.setattr(outbox.Outbox, "offer", often_full)
    monkeypatch.setattr("exchange.streams.market.PACE", 5)
    with server.client("/ws/market/") as client, server.client("/ws/prices/") as quotes:
        client.send({"type": "subscribe", "symbols": names})
        assert client.next()["type"] == "subscribed"
        busy(venue, names, seed=2, rounds=8)
        orders.place_many([venue.command(f"ann BUY 1 {name} @ 110") for name in names])
        follower = Follower()
        follower.follow_trades(client)
        for name in names:
            trades = Trade.objects.filter(market__symbol=name).order_by("id")
            assert follower.trades[name] == list(trades.values_list("id", flat=True))
        assert refused
        shown = {}
        expected = {ticker["symbol"]: ticker for ticker in board.read([by_symbol(name) for name in names])}
        while any(shown.get(name, {}).get("last") != expected[name]["last"] for name in names):
            shown.update(quotes.next()["prices"])
