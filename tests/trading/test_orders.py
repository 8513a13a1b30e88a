"""Two people trade: sentences in, money and books out."""

from concurrent.futures import Future
from decimal import Decimal
from time import monotonic

import pytest

from accounts.models import AccountEvent, Entry
from exchange import commands, orders, transaction
from exchange.sequencer import sequencer
from marketdata.refusals import Refusal
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def two(venue):
    """ann has money, bob has shares."""
    venue.trader("ann", USD=100_000)
    venue.trader("bob", AAPL=1_000, USD=1_000)
    return venue


class TestResting:
    def test_a_buy_reserves_its_notional_and_fee(self, two):
        order = two.order("ann BUY 10 AAPL @ 100")
        assert (order["status"], order["reserved"], order["fills"]) == ("OPEN", "1001", [])
        assert two.funds("ann", "USD") == "98999+1001"
        assert two.book() == "10@100 |"

    def test_a_sell_reserves_its_quantity(self, two):
        order = two.order("bob SELL 10 AAPL @ 100")
        assert order["reserved"] == "10"
        assert two.funds("bob", "AAPL") == "990+10"

    def test_cancelling_gives_all_of_it_back(self, two):
        order = two.order("ann BUY 10 AAPL @ 100")
        assert two.cancel("ann", order)["status"] == "CANCELLED"
        assert two.funds("ann", "USD") == "100000+0"
        assert two.book() == "|"

    def test_cancelling_twice_is_a_conflict(self, two):
        order = two.order("ann BUY 10 AAPL @ 100")
        two.cancel("ann", order)
        with pytest.raises(Refusal) as caught:
            two.cancel("ann", order)
        assert (caught.value.code, caught.value.status) == ("order_not_open", 409)

    def test_somebody_elses_order_is_not_there(self, two):
        order = two.order("ann BUY 10 AAPL @ 100")
        for act in (lambda: two.cancel("bob", order), lambda: two.amend("bob", order, quantity=5)):
            with pytest.raises(Refusal) as caught:
                act()
            assert caught.value.status == 404
        assert two.book() == "10@100 |"

    def test_cancel_all_takes_one_market_or_all(self, two):
        two.trader("ann", USDT=100_000)
        two.order("ann BUY 10 AAPL @ 100")
        two.order("ann BUY 1 BTC_USDT @ 50")
        two.order("bob SELL 1 AAPL @ 200")
        account = two.accounts["ann"].id
        assert [order["symbol"] for order in orders.cancel_all(account_id=account)] == ["AAPL", "BTC_USDT"]
        assert two.book() == "| 1@200"
        assert two.funds("ann", "USDT") == "100000+0"

    @pytest.mark.parametrize("count", [5, 6])
    def test_very_many_are_cancelled_in_parts(self, two, monkeypatch, count):
        monkeypatch.setattr(commands, "CANCELLED_AT_ONCE", 3)
        account = two.trader("ann", USDT=100_000).id
        placed = [two.order(f"ann BUY 1 {'AAPL' if one % 2 else 'BTC_USDT'} @ 5{one}") for one in range(count)]
        parts, submit = [], sequencer.submit
        monkeypatch.setattr(sequencer, "submit", lambda asked: parts.extend(asked) or submit(asked))
        cancelled = orders.cancel_all(account_id=account)
        assert sorted(order["id"] for order in cancelled) == [order["id"] for order in placed]
        assert {order["status"] for order in cancelled} == {"CANCELLED"}
        assert len(parts) == count // 3 + 1
        assert two.book() == "|"

    def test_several_at_once_have_a_batch_each(self, two, monkeypatch):
        monkeypatch.setattr(commands, "CANCELLED_AT_ONCE", 3)
        account = two.trader("ann", USDT=100_000).id
        for one in range(8):
            two.order(f"ann BUY 1 AAPL @ 5{one}")
        batches, settle = [], transaction.settle

        def watched(batch, *args):
            settle(batch, *args)
            batches.append([len(outcome) for outcome in batch.outcomes])

        monkeypatch.setattr(transaction, "settle", watched)
        futures = sequencer.submit([commands.CancelAll(account, None)] * 4)
        assert [len(future.result(PATIENCE_SECONDS)) for future in futures] == [3, 3, 2, 0]
        assert batches == [[3], [3], [2, 0]]


class TestTrading:
    def test_both_pay_their_fee_in_the_quote_asset(self, two):
        two.order("bob SELL 10 AAPL @ 100")
        order = two.order("ann BUY 10 AAPL @ 100")
        assert (order["status"], order["average_price"], order["fee"]) == ("FILLED", "100", "1")
        assert [(fill["role"], fill["price"], fill["quantity"], fill["fee"]) for fill in order["fills"]] == [
            ("TAKER", "100", "10", "1")
        ]
        assert (two.funds("ann", "USD"), two.funds("ann", "AAPL")) == ("98999+0", "10+0")
        assert (two.funds("bob", "USD"), two.funds("bob", "AAPL")) == ("1999+0", "990+0")
        assert two.fees("AAPL") == "2"

    def test_a_buy_below_its_limit_gets_the_difference_back_at_once(self, two):
        two.order("bob SELL 4 AAPL @ 95")
        order = two.order("ann BUY 10 AAPL @ 100")
        assert (order["status"], order["average_price"], order["reserved"]) == ("PARTIALLY_FILLED", "95", "600.6")
        assert two.funds("ann", "USD") == f"{plain(100_000 - 380 - Decimal('0.38') - Decimal('600.6'))}+600.6"

    def test_first_in_first_out_at_one_price(self, two):
        two.trader("cid", AAPL=10)
        first, second = two.order("bob SELL 5 AAPL @ 100"), two.order("cid SELL 5 AAPL @ 100")
        two.order("ann BUY 7 AAPL @ 100")
        assert two.stored(first)["status"] == "FILLED"
        assert two.stored(second)["filled_quantity"] == "2"

    def test_a_market_order_walks_the_book(self, two):
        for price in (100, 101, 102):
            two.order(f"bob SELL 2 AAPL @ {price}")
        order = two.order("ann BUY 5 AAPL MARKET")
        assert [f"{fill['quantity']}@{fill['price']}" for fill in order["fills"]] == ["2@100", "2@101", "1@102"]
        assert two.book() == "| 1@102"

    def test_a_market_buy_needs_what_its_trades_will_cost(self, two):
        two.trader("bob", BTC=1)
        two.trader("cid", USDT="160.67521878")  # a unit less than both notionals and both fees, each rounded down
        for price in ("650.01", "650.02"):
            two.order(f"bob SELL 0.12347 BTC_USDT @ {price}")
        assert two.refused("cid BUY 0.24694 BTC_USDT MARKET") == "insufficient_funds"
        two.trader("cid", USDT="0.00000001")
        two.order("cid BUY 0.24694 BTC_USDT MARKET")
        assert two.funds("cid", "USDT") == "0+0"

    @pytest.mark.parametrize(
        ("side", "amount", "filled", "status"),
        [("BUY", "500", "4", "FILLED"), ("BUY", "10000", "6", "EXPIRED"), ("SELL", "99", "1", "FILLED")],
    )
    def test_a_market_order_by_amount(self, two, side, amount, filled, status):
        for price in (100, 101, 102):
            two.order(f"bob SELL 2 AAPL @ {price}")
        two.order("ann BUY 3 AAPL @ 99")
        name = "ann" if side == "BUY" else "bob"
        order = two.order(f"{name} {side} 0 AAPL MARKET", quote_quantity=Decimal(amount))
        assert (order["filled_quantity"], order["quantity"], order["status"]) == (filled, filled, status)
        assert order["quote_quantity"] == amount

    def test_an_amount_that_buys_no_lot_behind_own_orders_expires(self, two):
        two.trader("cid", AAPL=10)
        own = two.order("bob SELL 1 AAPL @ 40")
        two.order("cid SELL 2 AAPL @ 100")
        terms = {"quote_quantity": Decimal(50), "self_trade_prevention": "EXPIRE_MAKER"}
        order = two.order("bob BUY 0 AAPL MARKET", **terms)
        assert (order["status"], order["filled_quantity"], two.stored(own)["status"]) == ("EXPIRED", "0", "EXPIRED")
        assert two.refused("bob BUY 0 AAPL MARKET", **terms) == "quantity_out_of_range"

    @pytest.mark.parametrize(
        ("terms", "outcome"),
        [
            ("@ 100 IOC", "EXPIRED 3"),
            ("@ 100 FOK", "cannot_fill"),
            ("@ 100 POST", "would_take"),
            ("@ 99 POST", "OPEN 0"),
            ("@ 99 IOC", "EXPIRED 0"),
            ("@ 101 FOK", "FILLED 5"),
            ("MARKET", "FILLED 5"),
        ],
    )
    def test_time_in_force(self, two, terms, outcome):
        two.order("bob SELL 3 AAPL @ 100")
        two.order("bob SELL 3 AAPL @ 101")
        if " " in outcome:
            order = two.order(f"ann BUY 5 AAPL {terms}")
            assert f"{order['status']} {order['filled_quantity']}" == outcome
        else:
            assert two.refused(f"ann BUY 5 AAPL {terms}") == outcome
        rest = Decimal(two.funds("ann", "USD").split("+")[1])
        assert rest == (Decimal("495.495") if outcome == "OPEN 0" else 0)

    @pytest.mark.parametrize(
        ("prevention", "outcome", "book"),
        [
            ("EXPIRE_TAKER", "self_trade", "| 2@100 5@101"),
            ("EXPIRE_MAKER", "FILLED 5", "|"),
            ("EXPIRE_BOTH", "EXPIRED 0", "| 5@101"),
        ],
    )
    def test_nobody_trades_with_himself(self, two, prevention, outcome, book):
        two.trader("ann", AAPL=2)
        two.order("ann SELL 2 AAPL @ 100")
        two.order("bob SELL 5 AAPL @ 101")
        if " " in outcome:
            order = two.order("ann BUY 5 AAPL @ 101", self_trade_prevention=prevention)
            assert f"{order['status']} {order['filled_quantity']}" == outcome
        else:
            assert two.refused("ann BUY 5 AAPL @ 101", self_trade_prevention=prevention) == outcome
        assert two.book() == book

    def test_every_journal_balances_and_the_statement_runs(self, two):
        two.order("bob SELL 10 AAPL @ 100")
        two.order("ann BUY 4 AAPL @ 100")
        two.order("ann BUY 6 AAPL @ 101")
        for asset in two.assets.values():
            assert sum(entry.amount for entry in Entry.objects.filter(asset=asset)) == 0
        running = Decimal(0)
        for entry in Entry.objects.filter(account=two.accounts["ann"], asset=two.assets["USD"]).order_by("id"):
            running += entry.amount
            assert entry.balance_after == running


class TestAmending:
    def test_smaller_at_the_same_price_keeps_its_place(self, two):
        two.trader("cid", AAPL=10)
        first, second = two.order("bob SELL 5 AAPL @ 100"), two.order("cid SELL 5 AAPL @ 100")
        assert two.amend("bob", first, quantity=3)["remaining_quantity"] == "3"
        two.order("ann BUY 4 AAPL @ 100")
        assert (two.stored(first)["status"], two.stored(second)["filled_quantity"]) == ("FILLED", "1")
        assert two.funds("bob", "AAPL") == "997+0"

    @pytest.mark.parametrize("change", [{"quantity": 6}, {"price": "100.01"}])
    def test_anything_else_goes_to_the_back(self, two, change):
        two.trader("cid", AAPL=10)
        first, second = two.order("bob SELL 5 AAPL @ 100"), two.order("cid SELL 5 AAPL @ 100")
        two.amend("bob", first, **change)
        two.order("ann BUY 5 AAPL @ 100")
        assert (two.stored(first)["filled_quantity"], two.stored(second)["status"]) == ("0", "FILLED")

    def test_a_price_that_crosses_trades(self, two):
        order = two.order("ann BUY 5 AAPL @ 99")
        two.order("bob SELL 2 AAPL @ 100")
        amended = two.amend("ann", order, price=100)
        assert (amended["status"], amended["filled_quantity"]) == ("PARTIALLY_FILLED", "2")
        assert [fill["role"] for fill in amended["fills"]] == ["TAKER"]
        assert amended["reserved"] == "300.3"

    def test_the_answer_has_the_fills_from_before(self, two):
        order = two.order("ann BUY 5 AAPL @ 100")
        two.order("bob SELL 2 AAPL @ 100")
        assert [fill["quantity"] for fill in two.amend("ann", order, quantity=4)["fills"]] == ["2"]
        assert [fill["quantity"] for fill in two.cancel("ann", order)["fills"]] == ["2"]
        assert two.funds("ann", "USD") == "99799.8+0"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"quantity": 2}, "quantity_out_of_range"),
            ({"quantity": "5.5"}, "bad_lot_size"),
            ({"price": "100.001"}, "bad_tick_size"),
            ({"price": 150}, "price_out_of_band"),
            ({"quantity": 100_000}, "insufficient_funds"),
        ],
    )
    def test_a_refused_amendment_changes_nothing(self, two, change, code):
        order = two.order("ann BUY 5 AAPL @ 100")
        two.order("bob SELL 2 AAPL @ 100")
        before = two.stored(order), two.funds("ann", "USD"), two.book()
        with pytest.raises(Refusal) as caught:
            two.amend("ann", order, **change)
        assert caught.value.code == code
        assert (two.stored(order), two.funds("ann", "USD"), two.book()) == before


class TestRefusals:
    @pytest.mark.parametrize(
        ("sentence", "code"),
        [
            ("ann BUY 10 AAPL @ 100.001", "bad_tick_size"),
            ("ann BUY 10.5 AAPL @ 100", "bad_lot_size"),
            ("ann BUY 1000000000000 AAPL @ 100", "quantity_out_of_range"),
            ("ann BUY 10 NOPE @ 100", "unknown_market"),
            ("ann BUY 2000 AAPL @ 100", "insufficient_funds"),
            ("ann SELL 1 AAPL @ 100", "insufficient_funds"),
            ("ann BUY 1 AAPL @ 111", "price_out_of_band"),
            ("ann BUY 1 AAPL @ 89.99", "price_out_of_band"),
            ("ann BUY 1 AAPL MARKET", "no_liquidity"),
            ("ann BUY 1 AAPL @ 100 GTC", None),
        ],
    )
    def test_each_has_its_code_and_leaves_no_trace(self, two, sentence, code):
        two.change("AAPL", reference_price=Decimal(100))
        if code is None:
            assert two.order(sentence)["status"] == "OPEN"
            return
        assert two.refused(sentence) == code
        assert two.funds("ann", "USD") == "100000+0"
        assert two.book() == "|"

    def test_the_band_refusal_names_the_market_price_and_the_range(self, two):
        two.order("bob SELL 1 AAPL @ 100")
        two.order("ann BUY 1 AAPL @ 100")
        with pytest.raises(Refusal) as caught:
            two.order("ann BUY 1 AAPL @ 120")
        assert all(text in caught.value.detail for text in ("100", "90 to 110"))
        assert [two.order(f"ann BUY 1 AAPL @ {edge}")["status"] for edge in (90, 110)] == ["OPEN", "OPEN"]

    @pytest.mark.parametrize(
        ("status", "place", "cancel"),
        [
            ("OPEN", None, None),
            ("CANCEL_ONLY", "market_halted", None),
            ("HALTED", "market_halted", "market_halted"),
            ("CLOSED", "market_closed", None),
        ],
    )
    def test_market_states(self, two, status, place, cancel):
        order = two.order("ann BUY 1 AAPL @ 100")
        two.change("AAPL", status=status)
        if place:
            assert two.refused("ann BUY 1 AAPL @ 100") == place
        else:
            two.order("ann BUY 1 AAPL @ 100")
        if cancel:
            with pytest.raises(Refusal) as caught:
                two.cancel("ann", order)
            assert caught.value.code == cancel
            assert orders.cancel(account_id=None, order_id=order["id"])["status"] == "CANCELLED"
        else:
            assert two.cancel("ann", order)["status"] == "CANCELLED"

    def test_small_orders_and_many_orders(self, two):
        two.change("AAPL", min_notional=Decimal(50), max_open_orders=2)
        assert two.refused("ann BUY 1 AAPL @ 49") == "below_min_notional"
        for _ in range(2):
            two.order("ann BUY 1 AAPL @ 50")
        assert two.refused("ann BUY 1 AAPL @ 50") == "too_many_open_orders"

    def test_an_inactive_user_can_only_cancel(self, two):
        order = two.order("ann BUY 1 AAPL @ 50")
        user = two.accounts["ann"].user
        user.is_active = False
        user.save()
        assert two.refused("ann BUY 1 AAPL @ 50") == "account_inactive"
        assert two.cancel("ann", order)["status"] == "CANCELLED"


class TestIdempotency:
    def test_the_same_id_with_the_same_body_is_the_same_order(self, two):
        first = orders.place(two.command("ann BUY 1 AAPL @ 50", client_order_id="one"))
        again = orders.place(two.command("ann BUY 1 AAPL @ 50.00", client_order_id="one"))
        assert (first.replayed, again.replayed, again.order) == (False, True, first.order)
        assert two.funds("ann", "USD") == "99949.95+50.05"

    def test_it_stays_so_after_the_order_has_ended_and_the_market_has_moved(self, two):
        first = orders.place(two.command("ann BUY 1 AAPL @ 50", client_order_id="one")).order
        two.cancel("ann", first)
        two.change("AAPL", reference_price=Decimal(100), status="HALTED")
        again = orders.place(two.command("ann BUY 1 AAPL @ 50", client_order_id="one"))
        assert (again.replayed, again.order["id"], again.order["status"]) == (True, first["id"], "CANCELLED")

    @pytest.mark.parametrize("other", ["ann BUY 2 AAPL @ 50", "ann BUY 1 AAPL @ 51", "ann BUY 1 AAPL @ 50 IOC"])
    def test_another_body_is_a_conflict(self, two, other):
        two.order("ann BUY 1 AAPL @ 50", client_order_id="one")
        assert two.refused(other, client_order_id="one") == "client_order_id_reused"

    def test_another_account_may_use_it(self, two):
        two.order("ann BUY 1 AAPL @ 50", client_order_id="one")
        assert two.order("bob BUY 1 AAPL @ 50", client_order_id="one")["status"] == "OPEN"

    def test_twice_in_one_batch_is_once(self, two):
        command = [two.command("ann BUY 1 AAPL @ 50", client_order_id="one") for _ in range(2)]
        first, again = orders.place_many(command)
        assert (first.replayed, again.replayed, again.order["id"]) == (False, True, first.order["id"])

    def test_a_refused_order_leaves_its_id_free(self, two):
        assert two.refused("ann BUY 1 AAPL MARKET", client_order_id="one") == "no_liquidity"
        assert two.order("ann BUY 1 AAPL @ 50", client_order_id="one")["status"] == "OPEN"

    def test_whoever_has_waited_for_too_long_finds_out_by_it(self, two, monkeypatch):
        with monkeypatch.context() as impatient:
            impatient.setattr(orders, "WAIT_SECONDS", 0)
            assert two.refused("ann BUY 1 AAPL @ 50", client_order_id="one") == "outcome_unknown"
        assert orders.place(two.command("ann BUY 1 AAPL @ 50", client_order_id="one")).replayed

    def test_several_are_waited_for_no_longer_than_one(self, two, monkeypatch):
        monkeypatch.setattr(orders, "WAIT_SECONDS", 0.05)
        monkeypatch.setattr(commands, "CANCELLED_AT_ONCE", 10)
        monkeypatch.setattr(sequencer, "submit", lambda commands: [Future() for _ in commands])
        begun = monotonic()
        placed = orders.place_many([two.command("ann BUY 1 AAPL @ 50")] * 40)
        with pytest.raises(transaction.OutcomeUnknown):
            orders.cancel_these(range(1, 41), reason="operator")
        assert [outcome.code for outcome in placed] == ["outcome_unknown"] * 40
        assert monotonic() - begun < 2


class TestAnswers:
    def test_memory_and_database_give_the_same_order(self, two):
        two.order("bob SELL 3 AAPL @ 100.5")
        two.order("bob SELL 3 AAPL @ 101")
        placed = [
            two.order("ann BUY 2 AAPL @ 99"),
            two.order("ann BUY 5 AAPL @ 102", client_order_id="x"),
            two.order("ann BUY 4 AAPL @ 102 IOC"),
            two.order("bob SELL 1 AAPL MARKET"),
        ]
        # The first was filled by the last; the others stand as they were answered.
        assert [two.stored(order) for order in placed[1:]] == placed[1:]

    def test_events_tell_it_all_without_a_gap(self, two):
        two.order("bob SELL 3 AAPL @ 100")
        two.order("ann BUY 5 AAPL @ 100")
        rows = AccountEvent.objects.filter(account=two.accounts["ann"]).order_by("last_sequence")
        events = [event for row in rows for event in row.events]
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events] == ["balance", "order", "fill", "balance", "balance"]
        assert events[1]["order"]["status"] == "PARTIALLY_FILLED"
        assert events[2]["fill"]["role"] == "TAKER"

    def test_a_batch_settles_side_by_side(self, two):
        sentences = ["bob SELL 3 AAPL @ 100", "ann BUY 2 AAPL @ 100", "ann BUY 9999 AAPL @ 100", "ann BUY 2 AAPL @ 100"]
        results = orders.place_many([two.command(sentence) for sentence in sentences])
        statuses = [r.code if isinstance(r, Refusal) else r.order["status"] for r in results]
        assert statuses == ["OPEN", "FILLED", "insufficient_funds", "PARTIALLY_FILLED"]


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
