"""Orders that wait for a price: what they hold, when they go, and what becomes of them."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, transaction
from django.db.models import F

from accounts.models import AccountEvent
from exchange import audit, clockwork, following, orders, redoing
from exchange import transaction as transaction_of_the_writer
from exchange.audit.replay import replay
from exchange.books import LiveBook
from exchange.commands import Refresh
from exchange.mark_price import Mark
from exchange.models import BookCommand, Trade
from exchange.phases import AUCTION, State
from exchange.sequencer import ATTEMPTS, Sequencer, sequencer
from marketdata import clock
from marketdata.models import Market
from marketdata.refusals import Refusal
from tests.patience import PATIENCE_SECONDS, wait_until


@pytest.fixture
def market(venue):
    """Traded at 100 last; mia makes a market of 5 at each tick of a dollar from 95 to 105."""
    venue.trader("mia", USD=1_000_000, AAPL=10_000)
    venue.trader("ann", USD=100_000, AAPL=100)
    venue.trader("bob", USD=100_000, AAPL=1_000)
    for step in range(1, 6):
        venue.order(f"mia BUY 5 AAPL @ {100 - step}")
        venue.order(f"mia SELL 5 AAPL @ {100 + step}")
    venue.order("mia SELL 1 AAPL @ 100")
    venue.order("bob BUY 1 AAPL @ 100")
    yield venue
    assert [finding for finding in audit.run() if finding.violations] == []
    for row in Market.objects.all():
        assert replay(row.id).difference is None


def state(venue, order) -> str:
    row = venue.stored(order)
    return " ".join(filter(None, (row["status"], row["filled_quantity"], row["reason"])))


class TestWaiting:
    def test_a_stop_waits_with_its_funds_set_aside(self, market):
        order = market.order("ann SELL 10 AAPL", type="STOP_LOSS", stop_price=Decimal(97))
        assert (order["status"], order["stop_price"], order["price"], order["reserved"]) == (
            "PENDING", "97", "87.3", "10",
        )  # fmt: skip
        assert market.funds("ann", "AAPL") == "90+10"
        assert "97" in market.book() and market.cancel("ann", order)["status"] == "CANCELLED"
        assert market.funds("ann", "AAPL") == "100+0"

    def test_it_counts_among_the_open_orders_whatever_it_does_once_it_is_triggered(self, market):
        market.change("AAPL", max_open_orders=1)
        terms = {"type": "STOP_LIMIT", "stop_price": Decimal(97)}
        assert market.order("ann SELL 1 AAPL @ 96 IOC", **terms)["status"] == "PENDING"
        assert market.refused("ann SELL 1 AAPL @ 96 IOC", **terms) == "too_many_open_orders"

    def test_a_stop_buy_holds_what_it_costs_at_its_protection_price(self, market):
        order = market.order("ann BUY 10 AAPL", type="STOP_LOSS", stop_price=Decimal(103))
        assert (order["price"], order["reserved"]) == ("113.3", "1134.133")
        assert market.funds("ann", "USD") == "98865.867+1134.133"

    @pytest.mark.parametrize(
        ("sentence", "terms", "code"),
        [
            ("ann SELL 1 AAPL", {"type": "STOP_LOSS", "stop_price": 100}, "stop_would_trigger"),
            ("ann SELL 1 AAPL", {"type": "STOP_LOSS", "stop_price": 101}, "stop_would_trigger"),
            ("ann BUY 1 AAPL", {"type": "STOP_LOSS", "stop_price": 99}, "stop_would_trigger"),
            ("ann BUY 1 AAPL", {"type": "TAKE_PROFIT", "stop_price": 101}, "stop_would_trigger"),
            ("ann SELL 1 AAPL", {"type": "TAKE_PROFIT", "stop_price": 99}, "stop_would_trigger"),
            ("ann SELL 1 AAPL @ 80", {"type": "STOP_LIMIT", "stop_price": 97}, "price_out_of_band"),
            ("ann SELL 1 AAPL", {"type": "STOP_LOSS", "stop_price": "97.001"}, "bad_tick_size"),
            ("ann SELL 1 AAPL", {"type": "STOP_LOSS"}, "invalid"),
            ("ann SELL 1 AAPL @ 97", {"type": "STOP_LOSS", "stop_price": 97}, "invalid"),
            ("ann SELL 1 AAPL", {"type": "STOP_LIMIT", "stop_price": 97}, "invalid"),
            ("ann SELL 1 AAPL @ 97", {"stop_price": 97}, "invalid"),
            ("ann SELL 1 AAPL AUC", {"type": "STOP_LOSS", "stop_price": 97}, "invalid"),
            ("ann SELL 1 AAPL FOK", {"type": "STOP_LOSS", "stop_price": 97}, "invalid"),
            ("ann SELL 1 AAPL", {"type": "TRAILING_STOP"}, "invalid"),
            ("ann SELL 1 AAPL", {"type": "TRAILING_STOP", "trail_amount": 1, "trail_percent": 1}, "invalid"),
            ("ann SELL 1 AAPL", {"type": "TRAILING_STOP", "trail_amount": 100}, "bad_trail"),
            ("ann SELL 1 AAPL", {"type": "TRAILING_STOP", "trail_percent": 100}, "bad_trail"),
            ("ann SELL 101 AAPL", {"type": "STOP_LOSS", "stop_price": 97}, "insufficient_funds"),
            ("ann BUY 1000 AAPL", {"type": "STOP_LOSS", "stop_price": 103}, "insufficient_funds"),
        ],
    )
    def test_refusals(self, market, sentence, terms, code):
        prices = {name: Decimal(value) for name, value in terms.items() if name != "type"}
        kind = {"type": terms["type"]} if "type" in terms else {}
        assert market.refused(sentence, **kind, **prices) == code
        assert market.funds("ann", "USD") == "100000+0"

    def test_it_cannot_be_amended(self, market):
        order = market.order("ann SELL 10 AAPL", type="STOP_LOSS", stop_price=Decimal(97))
        with pytest.raises(Refusal) as caught:
            market.amend("ann", order, quantity=5)
        assert (caught.value.code, caught.value.status) == ("order_pending", 409)


class TestTriggered:
    def test_by_the_trade_that_reaches_the_stop_and_in_its_transaction(self, market):
        order = market.order("ann SELL 10 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        market.order("bob SELL 9 AAPL @ 98")
        assert state(market, order) == "FILLED 10"
        assert [fill["price"] for fill in market.stored(order)["fills"]] == ["98", "97", "96"]
        assert market.funds("ann", "AAPL") == "90+0"

    def test_not_before(self, market):
        order = market.order("ann SELL 10 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        market.order("bob SELL 4 AAPL @ 99")
        assert state(market, order) == "PENDING 0"

    @pytest.mark.parametrize(
        ("sentence", "terms", "push", "expected"),
        [
            ("ann BUY 5 AAPL", {"type": "STOP_LOSS", "stop_price": 102}, "bob BUY 6 AAPL @ 102", "FILLED 5"),
            ("ann SELL 3 AAPL", {"type": "TAKE_PROFIT", "stop_price": 102}, "bob BUY 6 AAPL @ 102", "FILLED 3"),
            ("ann BUY 3 AAPL", {"type": "TAKE_PROFIT", "stop_price": 98}, "bob SELL 6 AAPL @ 98", "FILLED 3"),
            ("ann SELL 9 AAPL @ 98", {"type": "STOP_LIMIT", "stop_price": 98},
             "bob SELL 6 AAPL @ 98", "PARTIALLY_FILLED 4"),
            ("ann SELL 3 AAPL @ 103", {"type": "TAKE_PROFIT_LIMIT", "stop_price": 102},
             "bob BUY 6 AAPL @ 102", "OPEN 0"),
            ("ann SELL 9 AAPL @ 98", {"type": "STOP_LIMIT", "stop_price": 98, "time_in_force": "FOK"},
             "bob SELL 6 AAPL @ 98", "EXPIRED 0 cannot_fill"),
            ("ann SELL 3 AAPL @ 97", {"type": "STOP_LIMIT", "stop_price": 98, "post_only": True},
             "bob SELL 6 AAPL @ 98", "EXPIRED 0 would_take"),
        ],
    )  # fmt: skip
    def test_each_type(self, market, sentence, terms, push, expected):
        terms = {n: Decimal(v) if n == "stop_price" else v for n, v in terms.items()}
        order = market.order(sentence, **terms)
        market.order(push)
        assert state(market, order) == expected

    def test_it_cannot_be_amended_either(self, market):
        order = market.order("ann SELL 3 AAPL @ 103", type="TAKE_PROFIT_LIMIT", stop_price=Decimal(102))
        market.order("bob BUY 6 AAPL @ 102")
        with pytest.raises(Refusal) as caught:
            market.amend("ann", order, quantity=2)
        assert (caught.value.code, caught.value.status) == ("order_not_amendable", 409)
        assert state(market, order) == "OPEN 0"

    def test_beyond_its_protection_it_gives_back_what_it_held(self, market):
        order = market.order("ann SELL 10 AAPL", type="STOP_LOSS", stop_price=Decimal(96))
        market.order("bob SELL 25 AAPL @ 95")
        assert state(market, order) == "EXPIRED 0 no_liquidity"
        assert market.funds("ann", "AAPL") == "100+0"

    def test_a_cascade_goes_by_stop_then_id(self, market):
        late = market.order("ann SELL 5 AAPL", type="STOP_LOSS", stop_price=Decimal(97))
        second = market.order("bob SELL 5 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        first = market.order("ann SELL 5 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        market.order("bob SELL 6 AAPL @ 98")
        found = [(f["price"], f["quantity"]) for o in (second, first, late) for f in market.stored(o)["fills"]]
        assert found == [("98", "4"), ("97", "1"), ("97", "4"), ("96", "1"), ("96", "4"), ("95", "1")]

    def test_everybody_hears_of_it(self, market):
        order = market.order("ann SELL 2 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        market.order("bob SELL 6 AAPL @ 98")
        rows = AccountEvent.objects.filter(account=market.accounts["ann"]).order_by("first_sequence")
        events = [event for row in rows for event in row.events if event["type"] == "order"]
        assert [event["order"]["status"] for event in events if event["order"]["id"] == order["id"]] == [
            "PENDING", "FILLED",
        ]  # fmt: skip


class TestTrailing:
    def test_the_stop_follows_the_price_up_and_stays(self, market):
        order = market.order("ann SELL 2 AAPL", type="TRAILING_STOP", trail_amount=Decimal(2))
        assert order["stop_price"] == "98"
        market.order("bob BUY 12 AAPL @ 103")
        assert market.stored(order)["stop_price"] == "101"
        market.order("mia SELL 1 AAPL @ 102")
        market.order("bob BUY 1 AAPL @ 102")
        assert (market.stored(order)["stop_price"], state(market, order)) == ("101", "PENDING 0")
        market.order("mia BUY 3 AAPL @ 101")
        market.order("bob SELL 1 AAPL @ 101")
        assert state(market, order) == "FILLED 2"

    def test_by_percent_for_a_buy(self, market):
        order = market.order("ann BUY 2 AAPL", type="TRAILING_STOP", trail_percent=Decimal("2.5"))
        assert (order["stop_price"], order["trail_percent"]) == ("102.5", "2.5")
        market.order("bob SELL 6 AAPL @ 98")
        assert market.stored(order)["stop_price"] == "100.45"

    def test_a_process_that_starts_anew_knows_where_it_was(self, market):
        order = market.order("ann SELL 2 AAPL", type="TRAILING_STOP", trail_amount=Decimal(2))
        market.order("bob BUY 12 AAPL @ 103")
        sequencer.stop()
        market.order("bob SELL 6 AAPL @ 99")
        assert state(market, order) == "FILLED 2"


class TestCascades:
    """What follows from one command, and where a batch ends."""

    def stops(self, venue, count) -> list[dict]:
        stop = {"type": "STOP_LOSS", "stop_price": Decimal(98)}
        return [venue.order(f"ann SELL {lots} AAPL", **stop) for lots in range(1, count + 1)]

    def test_what_one_batch_leaves_the_next_does_first(self, market, monkeypatch):
        monkeypatch.setattr(following, "FOLLOWERS", 2)
        found = self.stops(market, 4)
        answers = orders.place_many([market.command("bob SELL 6 AAPL @ 98"), market.command("bob SELL 9 AAPL @ 96")])
        assert [placed.order["filled_quantity"] for placed in answers] == ["6", "4"]
        ids = Trade.objects.order_by("id").values_list("taker_order_id", flat=True)
        assert list(dict.fromkeys(ids))[1:] == [
            answers[0].order["id"], *(order["id"] for order in found), answers[1].order["id"],
        ]  # fmt: skip

    def test_and_so_does_a_process_that_starts_anew(self, market, monkeypatch):
        monkeypatch.setattr(Sequencer, "_kick", lambda self: None)
        found = self.stops(market, 3)
        with monkeypatch.context() as patch:
            patch.setattr(following, "FOLLOWERS", 0)
            market.order("bob SELL 6 AAPL @ 98")
        assert [state(market, order) for order in found] == ["PENDING 0"] * 3
        sequencer.stop()
        market.order("bob BUY 1 AAPL @ 90.5")
        assert [state(market, order) for order in found] == ["FILLED 1", "FILLED 2", "FILLED 3"]

    def leave_some(self, market, monkeypatch, count=3) -> list[dict]:
        """Stops that a trade has triggered in a process that then ended."""
        found = self.stops(market, count)
        with monkeypatch.context() as patch:
            patch.setattr(Sequencer, "_kick", lambda self: None)
            patch.setattr(following, "FOLLOWERS", 0)
            market.order("bob SELL 6 AAPL @ 98")
            sequencer.stop()
        assert [state(market, order) for order in found] == ["PENDING 0"] * count
        return found

    def test_what_a_process_that_is_gone_has_left_is_done_though_nobody_asks(self, market, monkeypatch):
        found = self.leave_some(market, monkeypatch)
        monkeypatch.setattr(following, "FOLLOWERS", 2)
        assert clockwork.look() == 1
        wait_until(lambda: state(market, found[-1]) == "FILLED 3", "the cascade to go on")
        assert [state(market, order) for order in found] == ["FILLED 1", "FILLED 2", "FILLED 3"]
        assert clockwork.look() == 0

    @pytest.mark.parametrize(
        "closed",
        [{"status": "HALTED"}, {"status": "CANCEL_ONLY"}, {"session": State(AUCTION, until="2999-01-01").row()}],
    )
    def test_where_the_market_is_not_open_it_waits_for_that(self, market, monkeypatch, closed):
        found = self.leave_some(market, monkeypatch, 1)
        row = Market.objects.filter(symbol="AAPL")
        row.update(**closed)
        assert clockwork.due_markets(clock.now()) == set()
        row.update(status="OPEN", session=None)
        assert clockwork.look() == 1
        assert state(market, found[0]) == "FILLED 1"

    def test_a_database_that_is_away_for_a_while_ends_no_cascade(self, market, monkeypatch):
        """The rest is done with the next command, whatever its market."""
        found, settle, failed = self.stops(market, 3), transaction_of_the_writer.settle, []

        def settling(batch, meanwhile):
            if isinstance(batch.commands[0], Refresh) and len(failed) < ATTEMPTS:
                failed.append(batch)
                raise OperationalError("away")
            return settle(batch, meanwhile)

        monkeypatch.setattr(following, "FOLLOWERS", 2)
        monkeypatch.setattr(transaction_of_the_writer, "settle", settling)
        market.order("bob SELL 6 AAPL @ 98")
        wait_until(lambda: len(failed) == ATTEMPTS, "the attempts to fail")
        assert state(market, found[-1]) == "PENDING 0"
        market.trader("ann", USDT=1_000)
        market.order("ann BUY 1 BTC_USDT @ 100")
        wait_until(lambda: state(market, found[-1]) == "FILLED 3", "the cascade to go on")

    def test_a_bad_command_beside_it_changes_nobodys_turn(self, market, monkeypatch):
        """Each is settled by itself then: neither the rest of the cascade nor a command that comes later overtakes."""
        monkeypatch.setattr(following, "FOLLOWERS", 2)
        monkeypatch.setattr("exchange.sequencer.BATCH_COMMANDS", 4)
        found = self.stops(market, 5)
        bad = market.command("ann BUY 1 AAPL @ 90.5")
        bad.quantity = None
        commands = [market.command(f"bob {wish}") for wish in ("SELL 6 AAPL @ 98", "BUY 1 AAPL @ 92")]
        later = [market.command(f"bob BUY 1 AAPL @ {price}") for price in (91, 90.5)]
        futures = sequencer.submit([commands[0], bad, commands[1], *later])
        answers = [future.result(PATIENCE_SECONDS) for future in futures]
        assert isinstance(answers.pop(1), TypeError)
        in_turn = [answers[0], *found, *answers[1:]]
        moves = BookCommand.objects.filter(kind__in=("PLACE", "TRIGGER")).order_by("sequence")
        done = list(moves.values_list("order_id", flat=True))
        assert done[-len(in_turn) :] == [order["id"] for order in in_turn]

    def test_an_account_that_was_not_foreseen_is_locked_for_the_next_batch(self, market, monkeypatch):
        monkeypatch.setattr(following, "accounts", lambda *_: set())
        found = self.stops(market, 2)
        market.order("bob SELL 6 AAPL @ 98")
        market.order("bob BUY 1 AAPL @ 90.5")
        assert [state(market, order) for order in found] == ["FILLED 1", "FILLED 2"]

    def test_nothing_goes_while_the_market_is_halted(self, market, monkeypatch):
        monkeypatch.setattr(Sequencer, "_kick", lambda self: None)
        found = self.stops(market, 1)
        with monkeypatch.context() as patch:
            patch.setattr(following, "FOLLOWERS", 0)
            market.order("bob SELL 6 AAPL @ 98")
        market.change("AAPL", status="HALTED")
        assert market.refused("bob BUY 1 AAPL @ 97") == "market_halted"
        assert state(market, found[0]) == "PENDING 0"
        market.change("AAPL", status="OPEN")
        market.order("bob BUY 1 AAPL @ 90.5")
        assert state(market, found[0]) == "FILLED 1"

    def test_another_process_catches_up(self, market):
        live = sequencer.registry.books[Market.objects.get(symbol="AAPL").id]
        behind = LiveBook(live.spec, 0)
        with transaction.atomic(), connection.cursor() as cursor:
            behind.load(cursor, live.sequence, live.last_price)
            self.stops(market, 2)
            market.order("ann BUY 3 AAPL", type="TRAILING_STOP", trail_amount=Decimal(4))
            market.oco("ann SELL 10 AAPL", profit=103, stop=96)
            market.bracket("ann BUY 3 AAPL @ 99.5", profit=104, stop=95)
            market.order("mia SELL 20 AAPL @ 99.7", displayed_quantity=Decimal(3))
            market.order("bob BUY 5 AAPL @ 99.7")
            market.order("bob SELL 12 AAPL @ 98")
            redoing.catch_up(behind, cursor, live.sequence)
        assert behind.book.state_hash() == live.book.state_hash()
        assert behind.waiting.rows() == live.waiting.rows()


class TestMarkPrice:
    @pytest.fixture
    def market(self, market):
        """As no operator could make it: only margin markets have marks."""
        with pytest.raises(ValidationError, match="Only a margin market has a mark price"):
            market.change("AAPL", trigger_by="MARK")
        Market.objects.filter(symbol="AAPL").update(trigger_by="MARK", version=F("version") + 1)
        return market

    def test_a_stop_goes_by_it_and_not_by_the_last_price(self, market):
        order = market.order("ann SELL 2 AAPL", type="STOP_LOSS", stop_price=Decimal(98))
        market.order("bob SELL 6 AAPL @ 98")
        assert state(market, order) == "PENDING 0"
        market_id = Market.objects.get(symbol="AAPL").id
        for price in (9850, 9800):
            sequencer.submit([Mark(market_id, price)])[0].result(PATIENCE_SECONDS)
        assert state(market, order) == "FILLED 2"

    def test_a_trailing_stop_follows_it(self, market):
        order = market.order("ann SELL 2 AAPL", type="TRAILING_STOP", trail_amount=Decimal(2))
        market_id = Market.objects.get(symbol="AAPL").id
        sequencer.submit([Mark(market_id, 10300)])[0].result(PATIENCE_SECONDS)
        assert market.stored(order)["stop_price"] == "101"
        sequencer.submit([Mark(market_id, 10100)])[0].result(PATIENCE_SECONDS)
        assert state(market, order) == "FILLED 2"

    def test_what_triggers_is_not_changed_while_orders_wait(self, market):
        """The last price was above the stop, which a replay by it would have moved."""
        order = market.order("ann SELL 2 AAPL", type="TRAILING_STOP", trail_amount=Decimal(2))
        market.order("bob BUY 7 AAPL @ 102")
        with pytest.raises(ValidationError, match="1 orders wait here for the mark price"):
            market.change("AAPL", trigger_by="LAST")
        market.cancel("ann", order)
        row = Market.objects.get(symbol="AAPL")
        row.trigger_by = "LAST"
        with transaction.atomic():
            row.clean()
            later = sequencer.submit([market.command("ann SELL 2 AAPL", type="STOP_LOSS", stop_price=Decimal(90))])[0]
            with pytest.raises(TimeoutError):  # nor does one come between the look at them and the change
                later.result(0.1)
        market.cancel("ann", later.result(PATIENCE_SECONDS))
        market.change("AAPL", trigger_by="LAST")
