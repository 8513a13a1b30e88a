"""Replay: the journal gives the stored trades and the stored book, and says where it does not."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from exchange.audit.replay import levels, replay
from marketdata.models import Market
from tests.audit import sessions

OPEN_HISTORY = "ALTER TABLE exchange_bookcommand DISABLE TRIGGER USER; ALTER TABLE exchange_trade DISABLE TRIGGER USER;"
CLOSE_HISTORY = "ALTER TABLE exchange_bookcommand ENABLE TRIGGER USER; ALTER TABLE exchange_trade ENABLE TRIGGER USER"


def tamper(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"{OPEN_HISTORY} {statement}; {CLOSE_HISTORY}")


def market(symbol: str = "AAPL") -> int:
    return Market.objects.get(symbol=symbol).id


def quiet_book(venue) -> None:
    """Six commands: two bids in a queue, two asks, a trade, a cancellation."""
    sessions.fund(venue)
    venue.order("ann BUY 10 AAPL @ 99")
    venue.order("bob BUY 20 AAPL @ 99")
    venue.order("ann SELL 7 AAPL @ 101")
    gone = venue.order("bob SELL 8 AAPL @ 102")
    venue.order("dan SELL 4 AAPL @ 99")
    venue.cancel("bob", gone)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_session_replays_to_the_same_book(venue, seed):
    sessions.random_session(venue, seed=seed, commands=250)
    for symbol in ("AAPL", "BTC_USDT"):
        result = replay(market(symbol))
        assert result.difference is None
        assert result.state_hash == result.stored_hash
        assert (result.commands, result.trades > 10) == (Market.objects.get(symbol=symbol).sequence, True)


def test_an_empty_market_replays(venue):
    result = replay(market())
    assert (result.commands, result.difference, result.state_hash == result.stored_hash) == (0, None, True)


def test_a_margin_market_without_its_contract_has_no_book(venue, capsys):
    """Each one made in the admin is such a one until its contract is made."""
    venue.market("NEW_PERP", base="BTC", quote="USDT", kind="MARGIN")
    call_command("replay")
    printed = capsys.readouterr().out
    assert "AAPL" in printed and "NEW_PERP" not in printed
    with pytest.raises(CommandError, match="NEW_PERP has no contract"):
        call_command("replay", "new_perp")
    with pytest.raises(CommandError, match="without a contract.*NEW_PERP"):
        call_command("market_report", "--market", "NEW_PERP")


#: what is done behind the venue's back | first sequence that differs | words of the text
TAMPERED = [
    ("UPDATE exchange_bookcommand SET command = jsonb_set(command::jsonb, '{price}', '9800')::json WHERE sequence = 1",
     5, "replayed SELL 4 @ 99"),
    ("UPDATE exchange_bookcommand SET command = jsonb_set(command::jsonb, '{price}', '10500')::json WHERE sequence = 3",
     3, "price"),
    ("UPDATE exchange_bookcommand SET command = (command::jsonb - 'account')::json WHERE sequence = 2",
     2, "cannot be done"),
    ("DELETE FROM exchange_bookcommand WHERE sequence = 3", 3, "no such row"),
    ("DELETE FROM exchange_bookcommand WHERE sequence = 6", 6, "the journal ends at 5"),
    ("UPDATE exchange_bookcommand SET order_id = order_id + 900 WHERE sequence = 6", 6, "cannot be done"),
    ("UPDATE exchange_trade SET quantity = 3", 5, "stored trade"),
    ("UPDATE exchange_trade SET maker_order_id = taker_order_id", 5, "stored trade"),
    ("UPDATE exchange_trade SET sequence = 4", 4, "does not make"),
    ("DELETE FROM exchange_trade", 5, "no further trade"),
    ("INSERT INTO exchange_trade"
     " (market_id, sequence, price, quantity, taker_side, maker_order_id, taker_order_id, executed_at)"
     " SELECT market_id, 6, price, quantity, taker_side, maker_order_id, taker_order_id, executed_at"
     " FROM exchange_trade",
     6, "does not make"),
    ("UPDATE exchange_order SET quantity = 21 WHERE quantity = 20", 2, "quantity 20, stored 21"),
    ("UPDATE exchange_order SET status = 'CANCELLED' WHERE quantity = 20", 2, "not in the database"),
    ("UPDATE exchange_order SET status = 'OPEN' WHERE quantity = 8", 6, "not in the replayed book"),
    ("UPDATE exchange_order SET priority = 7 WHERE quantity = 10", 5, "priority 1, stored 7"),
    ("UPDATE exchange_order SET fee = 1 WHERE quantity = 10", 5, "replayed fee"),
    ("UPDATE exchange_order SET price = 98.5 WHERE quantity = 7", 6, "no book"),
    ("UPDATE marketdata_market SET last_price = 98 WHERE symbol = 'AAPL'", 6, "last price"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "sequence", "words"), TAMPERED)
def test_what_was_tampered_with_is_found_at_its_sequence(venue, statement, sequence, words):
    quiet_book(venue)
    assert replay(market()).difference is None
    tamper(statement)
    difference = replay(market()).difference
    assert difference is not None
    assert (difference.sequence, words in difference.text) == (sequence, True), difference


def test_the_book_as_it_stood(venue):
    quiet_book(venue)
    for until, expected in [
        (0, []),
        (4, ["SELL 8@102 x1", "SELL 7@101 x1", "BUY 30@99 x2"]),
        (5, ["SELL 8@102 x1", "SELL 7@101 x1", "BUY 26@99 x2"]),
        (99, ["SELL 7@101 x1", "BUY 26@99 x2"]),
    ]:
        rows = levels(replay(market(), until=until).live)
        assert [f"{row.side} {row.quantity}@{row.price} x{row.orders}" for row in rows] == expected


def test_the_command_prints_a_table_and_exits_1_at_a_difference(venue, capsys):
    quiet_book(venue)
    call_command("replay")
    out = capsys.readouterr().out
    assert out.count("same") == 2 and "BTC_USDT" in out
    call_command("replay", "aapl", "--until", "4")
    assert "AAPL as it stood at sequence 4" in capsys.readouterr().out
    tamper("UPDATE exchange_trade SET quantity = 3")
    with pytest.raises(SystemExit) as exit_:
        call_command("replay", "AAPL")
    assert exit_.value.code == 1
    assert "first difference at sequence 5" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["NOPE"], ["--until", "3"], ["AAPL", "--until", "-1"]])
def test_wrong_use_is_told(venue, arguments):
    with pytest.raises(CommandError) as error:
        call_command("replay", *arguments)
    assert error.value.returncode == 2
