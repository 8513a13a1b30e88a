"""The safety nets: halts by rule, typing errors, floods, and the kill switch."""

from datetime import time
from decimal import Decimal

import pytest
from django.db import connection, transaction

from accounts.models import Account
from exchange import halts, kill_switch, orders, redoing
from exchange.books import LiveBook
from exchange.commands import AccountInactive
from exchange.sequencer import sequencer
from marketdata.models import Market
from marketdata.refusals import Refusal


class TestWholeVenue:
    @pytest.mark.parametrize(("rule", "status"), [(0, "OPEN"), (1, "HALTED"), (2, "OPEN")])
    def test_it_is_halted_when_enough_markets_are(self, day, settings, rule, status):
        settings.VENUE_HALT_MARKETS = rule
        Market.objects.filter(symbol="AAPL").update(status="HALTED", status_reason="by rule: it jumped")
        day.at("2026-11-23 12:01")
        other = Market.objects.get(symbol="BTC_USDT")
        assert other.status == status
        if status == "HALTED":
            assert other.status_reason == "by rule: 1 markets were halted by theirs"

    def test_what_an_operator_reopens_stays_open(self, day, settings):
        """One by one, whichever first; until as many markets are halted by theirs once more."""
        settings.VENUE_HALT_MARKETS = 1
        Market.objects.filter(symbol="AAPL").update(status="HALTED", status_reason="by rule: it jumped")
        day.at("2026-11-23 12:01")
        seen = []
        for second, symbol in enumerate(("BTC_USDT", "AAPL")):
            day.venue.change(symbol, status="OPEN")
            day.at(f"2026-11-23 12:02:0{second}")
            seen.append(list(Market.objects.order_by("symbol").values_list("status", flat=True)))
        assert seen == [["HALTED", "OPEN"], ["OPEN", "OPEN"]]
        Market.objects.filter(symbol="AAPL").update(status="HALTED", status_reason="by rule: it jumped")
        day.at("2026-11-23 12:03")
        assert not Market.objects.exclude(status="HALTED").exists()

    def test_an_operators_halt_does_not_count(self, day, settings):
        settings.VENUE_HALT_MARKETS = 1
        day.venue.change("AAPL", status="HALTED")
        day.at("2026-11-23 12:01")
        assert Market.objects.get(symbol="BTC_USDT").status == "OPEN"

    def test_what_an_operator_closes_meanwhile_stays_closed(self, day, settings, monkeypatch):
        settings.VENUE_HALT_MARKETS = 1
        Market.objects.filter(symbol="AAPL").update(status="HALTED", status_reason="by rule: it jumped")
        halt = halts._halt

        def closed_before(*arguments):
            Market.objects.filter(symbol="BTC_USDT").update(status="CLOSED", status_reason="delisted")
            return halt(*arguments)

        monkeypatch.setattr(halts, "_halt", closed_before)
        assert halts.watch() == 0
        other = Market.objects.get(symbol="BTC_USDT")
        assert (other.status, other.status_reason) == ("CLOSED", "delisted")


class TestTypingErrors:
    @pytest.mark.parametrize(
        ("sentence", "terms", "code"),
        [
            ("ann BUY 100 AAPL @ 100", {}, None),
            ("ann BUY 101 AAPL @ 100", {}, "order_too_large"),
            ("ann BUY 101 AAPL MARKET", {}, "order_too_large"),
            ("ann BUY 0 AAPL MARKET", {"quote_quantity": Decimal(10_001)}, "order_too_large"),
            ("ann BUY 0 AAPL MARKET", {"quote_quantity": Decimal(10_000)}, None),
            ("ann BUY 101 AAPL @ 100 IOC", {}, "order_too_large"),
        ],
    )
    def test_no_order_is_larger_than_the_market_takes(self, day, sentence, terms, code):
        day.venue.order("bob SELL 200 AAPL @ 100")
        day.venue.change("AAPL", max_notional=Decimal(10_000))
        if code is None:
            assert day.venue.order(sentence, **terms)["status"] == "FILLED"
        else:
            assert day.refused(sentence, **terms) == code

    def test_a_stop_is_an_order_too(self, day):
        day.venue.order("bob SELL 1 AAPL @ 100")
        day.venue.order("ann BUY 1 AAPL @ 100")
        day.venue.change("AAPL", max_notional=Decimal(10_000))
        terms = {"type": "STOP_LIMIT", "stop_price": Decimal(101)}
        assert day.refused("ann BUY 100 AAPL @ 101", **terms) == "order_too_large"
        assert day.venue.order("ann BUY 99 AAPL @ 101", **terms)["status"] == "PENDING"

    def test_nor_can_it_be_amended_to_be(self, day):
        day.venue.change("AAPL", max_notional=Decimal(10_000))
        order = day.venue.order("ann BUY 100 AAPL @ 100")
        with pytest.raises(Refusal) as caught:
            day.venue.amend("ann", order, quantity=101)
        assert caught.value.code == "order_too_large"


class TestFloods:
    def test_orders_and_amendments_are_counted_against_trades(self, day):
        day.venue.change("AAPL", max_order_ratio=3)
        order = day.venue.order("ann BUY 1 AAPL @ 100")
        day.venue.amend("ann", order, quantity=2)
        day.venue.cancel("ann", order)
        day.venue.order("ann BUY 1 AAPL @ 100")
        assert day.refused("ann BUY 1 AAPL @ 100") == "order_ratio_exceeded"
        assert day.venue.order("bob SELL 1 AAPL @ 100")["status"] == "FILLED"
        day.venue.order("ann BUY 1 AAPL @ 99")  # a trade gives room for three more
        day.at("2026-11-24 12:00")
        for _ in range(3):
            day.venue.order("ann BUY 1 AAPL @ 98")
        assert day.refused("ann BUY 1 AAPL @ 98") == "order_ratio_exceeded"


class TestKillSwitch:
    def test_it_cancels_everything_and_refuses_what_is_new(self, day):
        account = day.venue.accounts["ann"].id
        order = day.venue.order("ann BUY 1 AAPL @ 100")
        day.venue.order("ann BUY 1 AAPL @ 99 DAY")
        assert kill_switch.pull(account_id=account, by=kill_switch.OWNER) == 2
        assert (day.status(order), orders.stored(order["id"])["reason"]) == ("CANCELLED 0/1", None)
        assert day.venue.funds("ann", "USD") == "1000000+0"
        assert day.refused("ann BUY 1 AAPL @ 100") == "account_inactive"
        assert kill_switch.pull(account_id=account, by=kill_switch.OWNER) == 0
        kill_switch.reset(account_id=account, by=kill_switch.OWNER)
        assert day.venue.order("ann BUY 1 AAPL @ 100")["status"] == "OPEN"

    def test_it_reaches_into_a_halted_market(self, day):
        order = day.venue.order("ann BUY 1 AAPL @ 100")
        day.venue.change("AAPL", status="HALTED")
        kill_switch.pull(account_id=day.venue.accounts["ann"].id, by=kill_switch.OPERATOR)
        assert day.status(order) == "CANCELLED 0/1"
        assert orders.stored(order["id"])["reason"] == "operator"

    def test_nobody_amends_through_it(self, day):
        account = day.venue.accounts["ann"]
        order = day.venue.order("ann BUY 1 AAPL @ 100")
        Account.objects.filter(pk=account.id).update(stopped_by="OWNER")
        with pytest.raises(AccountInactive):
            day.venue.amend("ann", order, quantity=2)
        assert orders.cancel(account_id=account.id, order_id=order["id"])["status"] == "CANCELLED"

    def test_what_an_operator_has_pulled_only_an_operator_resets(self, day):
        account = day.venue.accounts["ann"].id
        kill_switch.pull(account_id=account, by=kill_switch.OPERATOR)
        kill_switch.pull(account_id=account, by=kill_switch.OWNER)
        with pytest.raises(kill_switch.StoppedByOperator):
            kill_switch.reset(account_id=account, by=kill_switch.OWNER)
        assert kill_switch.state(account) == "OPERATOR"
        kill_switch.reset(account_id=account, by=kill_switch.OPERATOR)
        assert kill_switch.state(account) == ""


class TestInterruptions:
    """The last price is 100, the band 2 %, the auction two minutes."""

    @pytest.fixture
    def jumpy(self, day):
        day.venue.change("AAPL", volatility_band=Decimal("0.02"))
        day.venue.order("ann BUY 1 AAPL @ 100")
        day.venue.order("bob SELL 1 AAPL @ 100")
        for price in (101, 102, 103, 104):
            day.venue.order(f"bob SELL 10 AAPL @ {price}")
        return day

    def test_within_the_band_nothing_happens(self, jumpy):
        assert jumpy.venue.order("ann BUY 20 AAPL @ 102")["filled_quantity"] == "20"
        assert jumpy.phase() == "CONTINUOUS"

    def test_an_order_that_would_jump_rests_and_an_auction_begins(self, jumpy):
        order = jumpy.venue.order("ann BUY 25 AAPL @ 103")
        assert (order["status"], order["filled_quantity"]) == ("OPEN", "0")
        assert jumpy.phase() == "AUCTION"
        assert jumpy.refused("cid BUY 1 AAPL MARKET") == "auction_phase"
        assert jumpy.refused("cid BUY 1 AAPL @ 105 IOC") == "auction_phase"

    @pytest.mark.parametrize("sentence", ["ann BUY 25 AAPL @ 103 IOC", "ann BUY 25 AAPL MARKET"])
    def test_one_that_cannot_rest_is_refused(self, jumpy, sentence):
        assert jumpy.refused(sentence) == "volatility_interruption"
        assert jumpy.phase() == "AUCTION"
        assert jumpy.venue.funds("ann", "USD").endswith("+0")

    @pytest.mark.parametrize(
        ("sentence", "terms"),
        [
            ("dan BUY 1 AAPL @ 103", {}),
            ("dan BUY 10 AAPL @ 103 FOK", {}),
            ("dan BUY 25 AAPL MARKET", {}),
            ("dan BUY 0 AAPL MARKET", {"quote_quantity": Decimal(2_500)}),
        ],
    )
    def test_one_that_cannot_be_paid_begins_no_auction(self, jumpy, sentence, terms):
        jumpy.venue.trader("dan", USD=10)
        jumpy.venue.change("AAPL", max_interruptions=1)
        jumpy.venue.order("ann BUY 20 AAPL @ 102")
        jumpy.venue.order("ann SELL 1 AAPL @ 101")
        jumpy.venue.order("bob BUY 1 AAPL @ 101")
        jumpy.venue.change("AAPL", volatility_band=Decimal("0.01"))
        assert jumpy.refused(sentence, **terms) == "insufficient_funds"
        assert (jumpy.phase(), jumpy.venue.funds("dan", "USD")) == ("CONTINUOUS", "10+0")
        assert Market.objects.get(symbol="AAPL").status == "OPEN"

    def test_nor_does_an_amendment_that_cannot_be_paid(self, jumpy):
        jumpy.venue.trader("dan", USD=100)
        order = jumpy.venue.order("dan BUY 1 AAPL @ 99")
        with pytest.raises(Refusal) as caught:
            jumpy.venue.amend("dan", order, price=103, quantity=25)
        assert (caught.value.code, jumpy.phase()) == ("insufficient_funds", "CONTINUOUS")
        assert jumpy.venue.funds("dan", "USD") == "0.901+99.099"

    def test_nor_one_that_would_meet_its_own_in_the_auction(self, jumpy):
        jumpy.venue.order("ann SELL 1 AAPL @ 103")
        assert jumpy.refused("ann BUY 25 AAPL @ 103") == "self_trade"
        assert (jumpy.phase(), jumpy.venue.funds("ann", "AAPL")) == ("CONTINUOUS", "10000+1")

    @pytest.mark.parametrize("prevention", ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])
    @pytest.mark.parametrize("collects", [False, True], ids=["it would jump", "orders are collected"])
    def test_in_an_auction_every_prevention_means_that_the_new_order_ends(self, jumpy, prevention, collects):
        jumpy.venue.order("ann SELL 1 AAPL @ 103")
        jumpy.venue.order("ann SELL 1 AAPL @ 104")
        if collects:
            jumpy.venue.order("cid BUY 25 AAPL @ 103")
        with pytest.raises(Refusal, match="every self_trade_prevention means EXPIRE_TAKER") as caught:
            jumpy.venue.order("ann BUY 25 AAPL @ 104", self_trade_prevention=prevention)
        assert (caught.value.code, jumpy.phase()) == ("self_trade", "AUCTION" if collects else "CONTINUOUS")

    def test_nor_a_list_with_prices_that_do_not_fit(self, jumpy):
        before = jumpy.venue.funds("ann", "USD")
        with pytest.raises(Refusal) as caught:
            jumpy.venue.bracket("ann BUY 25 AAPL @ 103", profit=102, stop=95)
        assert (caught.value.code, jumpy.phase()) == ("bad_list_prices", "CONTINUOUS")
        assert jumpy.venue.funds("ann", "USD") == before

    def test_one_that_halts_the_market_holds_nothing(self, jumpy):
        jumpy.venue.change("AAPL", max_interruptions=1)
        before = jumpy.venue.funds("ann", "USD")
        assert jumpy.refused("ann BUY 25 AAPL @ 103") == "market_halted"
        assert jumpy.venue.funds("ann", "USD") == before

    def test_so_is_an_amendment(self, jumpy):
        order = jumpy.venue.order("ann BUY 25 AAPL @ 99")
        with pytest.raises(Refusal) as caught:
            jumpy.venue.amend("ann", order, price=103)
        assert caught.value.code == "volatility_interruption"
        assert jumpy.phase() == "AUCTION"
        assert jumpy.venue.stored(order)["reserved"] == "2477.475"

    def test_the_auction_ends_it(self, jumpy):
        order = jumpy.venue.order("ann BUY 25 AAPL @ 103")
        jumpy.at("2026-11-23 12:01:59")
        assert jumpy.phase() == "AUCTION"
        jumpy.at("2026-11-23 12:02")
        assert jumpy.phase() == "CONTINUOUS"
        stored = jumpy.venue.stored(order)
        assert (stored["filled_quantity"], stored["average_price"]) == ("25", "103")
        assert jumpy.venue.order("cid BUY 1 AAPL MARKET")["average_price"] == "103"

    def test_a_stop_that_would_jump_waits_for_the_auction(self, jumpy):
        for price, quantity in ((99, 5), (95, 10)):
            jumpy.venue.order(f"cid BUY {quantity} AAPL @ {price}")
        stop = jumpy.venue.order("ann SELL 8 AAPL", type="STOP_LOSS", stop_price=Decimal(99))
        jumpy.venue.order("bob SELL 5 AAPL @ 99")
        # The trade at 99 reaches the stop, which would sell at 95.
        assert (jumpy.phase(), jumpy.status(stop)) == ("AUCTION", "PENDING 0/8")
        jumpy.venue.order("bob BUY 8 AAPL @ 98")
        jumpy.at("2026-11-23 12:02")
        assert (jumpy.phase(), jumpy.status(stop)) == ("CONTINUOUS", "FILLED 8/8")
        assert jumpy.venue.stored(stop)["average_price"] == "98"

    @pytest.mark.parametrize("status", ["CANCEL_ONLY", "CLOSED", "HALTED"])
    def test_its_end_waits_until_the_market_is_open(self, jumpy, status):
        order = jumpy.venue.order("ann BUY 25 AAPL @ 103")
        stop = jumpy.venue.order("cid BUY 1 AAPL", type="STOP_LOSS", stop_price=Decimal(102))
        jumpy.venue.change("AAPL", status=status)
        for moment in ("2026-11-23 12:02", "2026-11-23 12:10"):
            jumpy.at(moment)
            assert (jumpy.phase(), jumpy.status(order), jumpy.status(stop)) == ("AUCTION", "OPEN 0/25", "PENDING 0/1")
        jumpy.venue.change("AAPL", status="OPEN")
        jumpy.at("2026-11-23 12:11")
        assert (jumpy.phase(), jumpy.status(order), jumpy.status(stop)) == ("CONTINUOUS", "FILLED 25/25", "FILLED 1/1")

    @pytest.fixture
    def falling(self, jumpy):
        """The next sale is at 99; further bids are at 95."""
        for price, quantity in ((99, 5), (95, 100)):
            jumpy.venue.order(f"cid BUY {quantity} AAPL @ {price}")
        return jumpy

    def test_a_list_s_stop_that_waits_for_the_auction_has_its_funds(self, falling):
        lists = [falling.venue.oco(f"ann SELL {lots} AAPL", profit=105, stop=99) for lots in (5000, 4999)]
        assert falling.venue.funds("ann", "AAPL") == "2+9999"
        live = sequencer.registry.books[Market.objects.get(symbol="AAPL").id]
        behind = LiveBook(live.spec, 0)
        with transaction.atomic(), connection.cursor() as cursor:
            behind.load(cursor, live.sequence, live.last_price)
            falling.venue.order("bob SELL 5 AAPL @ 99")
            assert (falling.phase(), falling.venue.funds("ann", "AAPL")) == ("AUCTION", "2+9999")
            redoing.catch_up(behind, cursor, live.sequence)
        assert behind.waiting.rows() == live.waiting.rows()
        assert [falling.status(order) for order in sum(lists, [])] == [
            "EXPIRED 0/5000", "PENDING 0/5000", "EXPIRED 0/4999", "PENDING 0/4999",
        ]  # fmt: skip
        falling.check()
        sequencer.registry.forget()
        falling.venue.order("bob BUY 10000 AAPL @ 98")
        falling.at("2026-11-23 12:02")
        assert [falling.status(stop) for _, stop in lists] == ["FILLED 5000/5000", "FILLED 4999/4999"]
        assert falling.venue.funds("ann", "AAPL") == "2+0"

    @pytest.mark.parametrize("forgets", [False, True])
    def test_a_stop_that_no_auction_fills_goes_to_the_book_after_one(self, falling, forgets):
        """And the next of the cascade waits for an auction of its own."""
        terms = {"type": "STOP_LOSS", "stop_price": Decimal(99)}
        first, second = (falling.venue.order(f"ann SELL {lots} AAPL", **terms) for lots in (100, 8))
        falling.venue.order("bob SELL 5 AAPL @ 99")
        falling.venue.order("cid BUY 100 AAPL @ 92")
        assert (falling.phase(), falling.status(first)) == ("AUCTION", "PENDING 0/100")
        if forgets:
            sequencer.registry.forget()
        falling.at("2026-11-23 12:02")
        assert falling.phase() == "AUCTION"
        assert [falling.status(stop) for stop in (first, second)] == ["FILLED 100/100", "PENDING 0/8"]
        if forgets:
            sequencer.registry.forget()
        falling.at("2026-11-23 12:04")
        assert (falling.phase(), falling.status(second)) == ("CONTINUOUS", "FILLED 8/8")
        falling.at("2026-11-23 13:00")
        assert Market.objects.get(symbol="AAPL").session["interruptions"] == 2

    @pytest.mark.parametrize(
        ("closes", "moments"),
        [
            (None, ["2026-11-23 12:00", "2026-11-23 12:02", "2026-11-23 13:00", "2026-11-23 13:01"]),
            (time(20), ["2026-11-23 23:59", "2026-11-24 00:01", "2026-11-24 00:30", "2026-11-24 00:31"]),
        ],
        ids=["the day in UTC", "a session over midnight UTC"],
    )
    def test_one_too_many_halts_the_market(self, jumpy, closes, moments):
        if closes:
            jumpy.sessions(closes=closes, closing=None)
        first, second, third, fourth = moments
        jumpy.at(first)
        jumpy.venue.change("AAPL", max_interruptions=2)
        jumpy.venue.order("ann BUY 25 AAPL @ 103")
        jumpy.at(second)
        jumpy.venue.order("bob SELL 5 AAPL @ 107")
        assert jumpy.refused("cid BUY 20 AAPL @ 107") == "market_halted"
        market = Market.objects.get(symbol="AAPL")
        assert (market.status, market.status_reason) == ("HALTED", "by rule: 2 volatility interruptions in a day")
        jumpy.at(third)
        assert jumpy.phase() == "AUCTION"
        market.status = "OPEN"
        market.save(update_fields=["status"])
        assert market.status_reason == ""
        jumpy.at(fourth)
        assert jumpy.phase() == "CONTINUOUS"
