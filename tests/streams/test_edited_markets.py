"""What operators change in a market while sockets are open: everybody goes on with figures that are right."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from exchange import orders
from exchange.barrier import view
from exchange.depth import BookView
from exchange.streams.feeds import feeds
from exchange.tickers import board
from marketdata import hub, markets
from marketdata.markets import by_symbol
from marketdata.models import Market
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.streams.support import OtherProcess

pytestmark = pytest.mark.django_db(transaction=True)
BID = "99.5"


def edit_grid(venue) -> None:
    """Of a market that never had an order; nobody here looks whether it was."""
    fields = {"tick_size": Decimal("0.5"), "lot_size": Decimal("2"), "min_quantity": None}
    venue.change("AAPL", **fields)


def test_books_of_other_processes_count_in_the_new_tick_and_lot(venue, server, monkeypatch):
    """This process has shown the empty book, and hears the first order from the one that settled it."""
    ann = venue.trader("ann", USD=100_000)
    assert view(by_symbol("AAPL")).snapshot(10)["sequence"] == 0
    heard = []
    monkeypatch.setattr(hub.hub, "_books_handlers", [*hub.hub._books_handlers, heard.extend])
    with OtherProcess() as other:
        edit_grid(venue)
        other.order(ann.id, f"BUY 4 AAPL @ {BID}")
        other.order(ann.id, "BUY 2 AAPL @ 99")
    wait_until(lambda: len(heard) == 2, "the other process's orders")
    assert view(by_symbol("AAPL")).snapshot(10)["bids"] == [[BID, "4"], ["99", "2"]]
    assert board.read([by_symbol("AAPL")])[0]["bid"] == BID


@pytest.mark.parametrize("terms", [{"price": 100}, {"price": 100, "stop_price": 101, "type": "STOP_LIMIT"}])
def test_the_first_order_is_known_again_whose_market_was_edited_on_its_way(venue, terms):
    """Its stop is counted in the new tick, as that of the same request sent again is."""
    venue.trader("ann", USD=100_000)
    terms = {name: Decimal(term) if isinstance(term, int) else term for name, term in terms.items()}
    command = venue.command("ann BUY 4 AAPL", client_order_id="first", **terms)
    edit_grid(venue)
    first = orders.place(command)
    again = orders.place(venue.command("ann BUY 4 AAPL", client_order_id="first", **terms))
    assert (again.replayed, again.order["id"]) == (True, first.order["id"])


def test_tickers_count_in_the_new_tick_and_lot_before_the_cache_of_markets_does(venue):
    venue.trader("ann", USD=100_000)
    before = by_symbol("AAPL")
    assert board.read([before])[0]["bid"] is None
    edit_grid(venue)
    venue.order(f"ann BUY 4 AAPL @ {BID}")
    assert board.read([before])[0]["bid"] == BID


@pytest.mark.parametrize("is_here", [True, False])
def test_no_socket_tells_the_first_orders_in_the_old_tick_and_lot(venue, server, monkeypatch, is_here):
    """They come before the feeds have looked whether the market was edited."""
    ann = venue.trader("ann", USD=100_000)
    paths = ("/ws/orderbook/AAPL/", "/ws/prices/", "/ws/market/")
    book, prices, market = (server.client(path) for path in paths)
    with book, prices, market, OtherProcess() as other:
        assert (book.next()["bids"], prices.next()["prices"]["AAPL"]["bid"]) == ([], None)
        market.send({"type": "subscribe", "symbols": ["AAPL"], "order_book": True})
        market.until(lambda message: message["type"] == "order_book")
        monkeypatch.setattr(feeds, "check", nothing)
        monkeypatch.setattr("exchange.streams.ticker_feeds.ticker_feeds.check", nothing)
        edit_grid(venue)
        if is_here:
            venue.order(f"ann BUY 4 AAPL @ {BID}")
        else:
            other.order(ann.id, f"BUY 4 AAPL @ {BID}")
        assert book.next()["bids"] == [[BID, "4"]]
        assert prices.next()["prices"]["AAPL"]["bid"] == BID
        told = [market.next(), market.next()]
        assert (told[0]["bid"], told[1]["bids"]) == (BID, [[BID, "4"]])


def test_a_tick_that_is_edited_while_a_book_is_taken_comes_with_it(venue, server, monkeypatch):
    """The first order in the new tick comes between two looks at the book that a socket is to show."""
    venue.trader("ann", USD=100_000)
    levels, shown = BookView.levels, view(by_symbol("AAPL"))

    def trade() -> None:
        edit_grid(venue)
        venue.order(f"ann BUY 4 AAPL @ {BID}")
        connection.close()

    def levels_after_a_trade(self):
        if self is shown and self.sequence == 0:
            with ThreadPoolExecutor(1) as other:
                other.submit(trade).result(PATIENCE_SECONDS)
        return levels(self)

    monkeypatch.setattr(feeds, "check", nothing)
    monkeypatch.setattr(BookView, "levels", levels_after_a_trade)
    with server.client("/ws/orderbook/AAPL/") as client:
        assert client.next()["bids"] == [[BID, "4"]]


async def nothing() -> None:
    pass


def test_a_market_that_makes_no_sense_keeps_nobody_from_hearing_what_was_lost(venue, server, monkeypatch):
    venue.trader("ann", USDT=100_000)
    with server.client("/ws/orderbook/AAPL/") as bad, server.client("/ws/orderbook/BTC_USDT/") as good:
        assert (bad.next()["sequence"], good.next()["sequence"]) == (0, 0)
        row = Market.objects.get(symbol="AAPL")
        Market.objects.filter(pk=row.pk).update(tick_size=Decimal("1e-18"), version=row.version + 1)
        markets.forget()
        monkeypatch.setattr(feeds, "receive", lambda delta: None)
        venue.order("ann BUY 1 BTC_USDT @ 99")
        assert good.socket.recv(PATIENCE_SECONDS)
        Market.objects.filter(pk=row.pk).update(tick_size=row.tick_size, version=row.version)
        markets.forget()
