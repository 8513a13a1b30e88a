"""Icebergs: what the book shows of them, what they hold, and their place in the queue."""

from decimal import Decimal

import pytest

from exchange import commands, conditions, orders, transaction
from exchange.sequencer import sequencer
from marketdata.refusals import Refusal
from tests.trading.test_triggers import market, state

__all__ = ["market"]


def iceberg(venue, sentence: str, shows: int) -> dict:
    return venue.order(sentence, displayed_quantity=Decimal(shows))


def test_the_book_shows_a_part_and_the_account_holds_the_whole(market):
    order = iceberg(market, "ann SELL 20 AAPL @ 100.5", shows=3)
    assert (order["status"], order["remaining_quantity"], order["displayed_quantity"], order["reserved"]) == (
        "OPEN", "20", "3", "20",
    )  # fmt: skip
    assert "| 3@100.5 " in market.book()
    assert market.cancel("ann", order)["status"] == "CANCELLED"
    assert market.funds("ann", "AAPL") == "100+0"


def test_each_part_goes_to_the_back(market):
    order = iceberg(market, "ann SELL 20 AAPL @ 100.5", shows=3)
    other = market.order("mia SELL 4 AAPL @ 100.5")
    market.order("bob BUY 8 AAPL @ 100.5")
    assert (state(market, order), state(market, other)) == ("PARTIALLY_FILLED 4", "FILLED 4")
    assert "| 2@100.5 " in market.book()


def test_a_buyer_s_fees_come_out_exactly(market):
    order = iceberg(market, "ann BUY 17 AAPL @ 99.99", shows=3)
    for lots in (1, 7, 2):
        market.order(f"bob SELL {lots} AAPL @ 99.99")
    assert market.stored(order)["filled_quantity"] == "10"
    assert market.funds("ann", "USD").endswith("+700.62993")
    market.order("bob SELL 7 AAPL @ 99.99")
    assert market.funds("ann", "USD").endswith("+0")


def test_its_place_survives_a_new_start(market):
    first = iceberg(market, "ann SELL 9 AAPL @ 100.5", shows=2)
    second = iceberg(market, "mia SELL 9 AAPL @ 100.5", shows=2)
    market.order("bob BUY 2 AAPL @ 100.5")
    sequencer.stop()
    market.order("bob BUY 3 AAPL @ 100.5")
    assert (state(market, second), state(market, first)) == ("PARTIALLY_FILLED 2", "PARTIALLY_FILLED 3")
    market.order("bob BUY 4 AAPL @ 100.5")
    sequencer.stop()
    market.order("bob BUY 9 AAPL @ 100.5")
    assert (state(market, second), state(market, first)) == ("FILLED 9", "FILLED 9")


@pytest.mark.parametrize(
    ("sentence", "shows"),
    [("ann SELL 5 AAPL @ 101", 5), ("ann SELL 5 AAPL @ 101 IOC", 2), ("ann SELL 5 AAPL MARKET", 2),
     ("ann SELL 101 AAPL @ 101", 1)],
)
def test_bad_ones(market, sentence, shows):
    with pytest.raises(Refusal) as caught:
        iceberg(market, sentence, shows)
    assert caught.value.code == "invalid"


def test_nor_do_several(market, monkeypatch):
    """Orders, and what they trigger, that each make a few less: their batch was cut off, and tried again."""
    monkeypatch.setattr(commands, "BATCH_FILLS", 3)
    iceberg(market, "mia SELL 100 AAPL @ 100.5", shows=1)
    stops = [market.order("ann BUY 2 AAPL", type="STOP_LOSS", stop_price=Decimal("100.5")) for _ in range(3)]
    batches, settle = [], transaction.settle

    def watched(batch, *args):
        settle(batch, *args)
        batches.append(len(batch.records.trades))

    monkeypatch.setattr(transaction, "settle", watched)
    placed = orders.place_many([market.command("bob BUY 2 AAPL MARKET") for _ in range(4)])
    assert [one.order["filled_quantity"] for one in placed] == ["2"] * 4
    assert [state(market, stop) for stop in stops] == ["FILLED 2"] * 3
    assert batches == [4, 4, 4, 2]


def test_one_of_more_parts_that_was_taken_before_is_found_when_it_is_sent_again(market, monkeypatch):
    sentence, terms = "ann SELL 100 AAPL @ 100.5", {"displayed_quantity": Decimal(1), "client_order_id": "mine"}
    order = market.order(sentence, **terms)
    monkeypatch.setattr(conditions, "ICEBERG_PARTS", 99)
    again = orders.place(market.command(sentence, **terms))
    assert (again.order, again.replayed) == (order, True)


def test_it_cannot_be_amended(market):
    order = iceberg(market, "ann SELL 20 AAPL @ 101", shows=3)
    with pytest.raises(Refusal) as caught:
        market.amend("ann", order, quantity=10)
    assert caught.value.code == "order_not_amendable"


def test_nothing_makes_more_trades_at_once_than_a_batch_can_write(market, monkeypatch):
    """One that would kept the market from everybody: its batch was cut off, and tried again."""
    monkeypatch.setattr(commands, "MOST_FILLS", 3)
    iceberg(market, "mia SELL 100 AAPL @ 100.5", shows=1)
    stop = market.order("ann BUY 4 AAPL", type="STOP_LOSS", stop_price=Decimal("100.5"))
    assert market.refused("bob BUY 4 AAPL MARKET") == "too_many_fills"
    assert market.order("bob BUY 3 AAPL MARKET")["status"] == "FILLED"
    assert state(market, stop) == "EXPIRED 0 too_many_fills"
    assert market.funds("ann", "USD") == "100000+0"
