"""What orders reserve is what their fills will need, however many of them there are and in whatever order they come."""

from decimal import Decimal

import pytest

from exchange import orders, positions, preview
from exchange.audit import replay
from exchange.commands import InsufficientMargin
from exchange.sequencer import sequencer
from marketdata.markets import by_symbol
from marketdata.units import plain
from tests.margin.test_settlement import trade

TIERS = [
    {"up_to": "110000", "initial": "0.02", "maintenance": "0.01"},
    {"up_to": None, "initial": "0.1", "maintenance": "0.05"},
]


@pytest.fixture
def ann(venue):
    """A contract of EURUSD at 1.1 needs 2,200 dollars, each further one 11,000; she has 20,000."""
    venue.terms("EURUSD", tiers=TIERS)
    venue.trader("ann", USD=10_000)
    venue.trader("bob", USD=1_000_000)
    return venue


def leverage(venue, figure: int) -> None:
    positions.set_leverage(account_id=venue.accounts["ann"].id, symbol="EURUSD", leverage=figure)


def test_what_trades_at_once_needs_its_margin_fee_and_loss_to_the_last_unit(venue):
    venue.change("USDJPY", taker_fee=Decimal("0.00001"))
    venue.order("bob SELL 1 USDJPY @ 150.001")
    venue.trader("cid", USD="2001.68000666")  # 2,000.01333334 of margin, 150.001 yen of fee, 100 yen lost at the mark
    assert venue.refused("cid BUY 1 USDJPY MARKET") == "insufficient_margin"
    venue.trader("cid", USD="0.00000001")
    venue.order("cid BUY 1 USDJPY MARKET")
    assert venue.funds("cid", "USD") == "0.66666667+2000.01333334"


def test_orders_that_rest_together_reach_the_tiers_together(ann):
    first = ann.order("ann BUY 1 EURUSD @ 1.1")
    second = ann.order("ann BUY 1 EURUSD @ 1.1")
    assert (first["reserved"], second["reserved"]) == ("2200", "11000")
    assert ann.refused("ann BUY 1 EURUSD @ 1.1") == "insufficient_margin"
    ann.order("bob SELL 2 EURUSD @ 1.1")
    assert ann.position("ann", "EURUSD") == "2 220000 13200/13200"
    assert ann.funds("ann", "USD") == "6800+13200" and ann.is_sound()


def test_whichever_is_filled_first_the_sum_is_the_same(ann):
    ann.order("ann BUY 1 EURUSD @ 1.0999")
    ann.order("ann BUY 1 EURUSD @ 1.1")
    ann.order("bob SELL 1 EURUSD @ 1.1")
    ann.order("bob SELL 1 EURUSD @ 1.0999")
    assert ann.position("ann", "EURUSD").split()[0] == "2" and ann.is_sound()


def test_what_fills_at_once_leaves_the_resting_ones_their_margin(ann):
    ann.order("ann BUY 1 EURUSD @ 1.09")  # 2,180 of 20,000; the contract that is bought now may be the second
    ann.order("bob SELL 2 EURUSD @ 1.1")
    assert ann.refused("ann BUY 2 EURUSD @ 1.1 IOC") == "insufficient_margin"
    ann.order("ann BUY 1 EURUSD @ 1.1 IOC")
    ann.order("bob SELL 1 EURUSD @ 1.09")
    assert ann.position("ann", "EURUSD") == "2 219000 13100/13100"


STOP = {"type": "STOP_LIMIT", "stop_price": Decimal("1.05")}


@pytest.mark.parametrize(
    "sentence, terms, reserved",
    [
        ("ann SELL 1 EURUSD @ 1.2", {}, "3200"),  # 110,000 in the first tier, 10,000 in the second
        ("ann BUY 1 EURUSD @ 1.05", {}, "10100"),  # 5,000 in the first, which the other order leaves
        ("ann BUY 1 EURUSD @ 1.05", STOP, "10100"),
    ],
)
def test_orders_of_the_same_side_count_those_that_wait_too(ann, sentence, terms, reserved):
    ann.order("ann BUY 1 EURUSD @ 1.05", **terms)
    assert ann.order(sentence)["reserved"] == reserved


def test_an_amended_order_does_not_stand_beside_itself(ann):
    order = ann.order("ann BUY 1 EURUSD @ 1.1")
    assert ann.amend("ann", order, price="1.09")["reserved"] == "2180"


def test_what_is_weighed_is_what_is_asked_for(ann):
    ann.order("ann BUY 1 EURUSD @ 1.1")
    check = {"account_id": ann.accounts["ann"].id, "symbol": "EURUSD", "side": "BUY", "reduce_only": False}
    weighed = preview.check(quantity=Decimal(2), price=Decimal("1.1"), **check)
    assert weighed["would_pass"] is False
    weighed = preview.check(quantity=Decimal(1), price=Decimal("1.1"), **check)
    assert (weighed["would_pass"], weighed["required"]) == (True, "11000")


def test_a_lower_leverage_waits_for_the_orders_that_count_on_the_higher(ann):
    order = ann.order("ann BUY 1 EURUSD @ 1.1")
    with pytest.raises(positions.LeverageInUse):
        leverage(ann, 1)
    leverage(ann, 50)
    orders.cancel(account_id=ann.accounts["ann"].id, order_id=order["id"])
    leverage(ann, 1)
    assert ann.refused("ann BUY 1 EURUSD @ 1.1") == "insufficient_margin"
    leverage(ann, 2)


def test_orders_that_only_reduce_do_not_hinder(ann):
    ann.order("bob SELL 1 EURUSD @ 1.1")
    ann.order("ann BUY 1 EURUSD @ 1.1")
    ann.order("ann SELL 1 EURUSD @ 1.2", reduce_only=True)
    leverage(ann, 5)


def is_sound_and_replays(venue) -> bool:
    sequencer.registry.forget()
    assert replay.replay(by_symbol("EURUSD").id).difference is None
    return venue.is_sound()


class TestLosses:
    """With 10,000: a contract at 1.10 that loses 7,000 of the 5,600 that an order for one more has left."""

    @pytest.fixture
    def resting(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        venue.bid = venue.order("ann BUY 1 EURUSD @ 1.10000")
        venue.mark("EURUSD", "1.03000")
        return venue

    @pytest.mark.parametrize(
        ("terms", "reserved"),
        [
            ({"quantity": "0.9"}, "1980"),  # as much a lot as it had
            ({"quantity": "0.1"}, "220"),
            ({"price": "1.03"}, "2060"),
            ({"price": "1.025", "quantity": "1.07"}, "2193.5"),
            ({"price": "1.03", "quantity": "1.07"}, None),  # 2,204.2
            ({"price": "1.0302"}, "2080.4"),
            ({"price": "1.04"}, None),  # 3,080 with its open loss
            ({"quantity": "1.01"}, None),
        ],
    )
    def test_an_amendment_that_frees_funds_is_always_taken(self, resting, terms, reserved):
        if reserved is None:
            with pytest.raises(InsufficientMargin):
                resting.amend("ann", resting.bid, **terms)
        else:
            assert resting.amend("ann", resting.bid, **terms)["reserved"] == reserved
        reserved = reserved or "2200"
        assert resting.stored(resting.bid)["reserved"] == reserved
        assert resting.funds("ann", "USD").endswith(f"+{plain(Decimal(reserved) + 2200)}")
        assert is_sound_and_replays(resting)

    def test_one_that_trades_is_weighed_whatever_it_frees(self, resting):
        resting.trader("rich", USD=10_000_000)
        resting.order("rich SELL 1 EURUSD @ 1.11000")
        with pytest.raises(InsufficientMargin):
            resting.amend("ann", resting.bid, price="1.11", quantity="0.9")  # 1,998 of margin
        assert resting.stored(resting.bid)["reserved"] == "2200"
        assert is_sound_and_replays(resting)


class TestOpenLoss:
    """What a fill at its price would lose at once at the mark, 1.10000, an order keeps from the start."""

    @pytest.mark.parametrize(
        ("sentence", "reserved"),
        [
            ("ann BUY 1 EURUSD @ 1.12000", "4240"),  # 2,240 of margin, 2,000 above the mark
            ("ann BUY 1 EURUSD @ 1.08000", "2160"),
            ("ann SELL 1 EURUSD @ 1.08000", "4160"),
            ("ann SELL 1 EURUSD @ 1.12000", "2240"),
            ("ann BUY 2.5 EURUSD @ 1.10001", "5502.55"),
            ("ann SELL 1 USDJPY @ 147.000", "3960"),  # 1,960 and 300,000 yen
        ],
    )
    def test_what_rests_has_it_set_aside(self, venue, sentence, reserved):
        symbol, side, price = (sentence.split()[index] for index in (3, 1, 5))
        weighed = preview.check(
            account_id=venue.accounts["ann"].id, symbol=symbol, side=side, quantity=Decimal(sentence.split()[2]),
            price=Decimal(price), reduce_only=False,
        )  # fmt: skip
        order = venue.order(sentence)
        assert order["reserved"] == weighed["required"] == reserved
        assert is_sound_and_replays(venue)
        assert venue.cancel("ann", order)["status"] == "CANCELLED" and venue.funds("ann", "USD") == "10000+0"

    def test_a_fill_frees_its_share_of_it(self, venue):
        order = venue.order("ann BUY 2 EURUSD @ 1.12000")
        venue.order("bob SELL 0.5 EURUSD @ 1.12000 IOC")
        assert (venue.stored(order)["reserved"], venue.funds("ann", "USD")) == ("6360", "2520+7480")
        assert venue.position("ann", "EURUSD") == "0.5 56000 1120/1120"
        assert is_sound_and_replays(venue)

    def test_an_amendment_weighs_it_anew(self, venue):
        order = venue.order("ann BUY 1 EURUSD @ 1.08000")
        venue.mark("EURUSD", "1.07000")
        assert venue.stored(order)["reserved"] == "2160"
        assert venue.amend("ann", order, price="1.09")["reserved"] == "4180"
        assert is_sound_and_replays(venue)

    def test_what_only_reduces_has_none(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        assert venue.order("ann SELL 1 EURUSD @ 1.08000", reduce_only=True)["reserved"] == "0"

    def test_a_market_without_a_mark_has_none(self, venue):
        venue.contract("GBPJPY", "GBP", "JPY", "0.001", mark_source="BOOK")
        venue.order("bob SELL 0.1 GBPJPY @ 200.000")
        assert venue.order("ann BUY 0.1 GBPJPY @ 190.000")["reserved"] == "253.3333334"


LIMIT = {"type": "STOP_LIMIT", "price": Decimal("1.15400")}


class TestFarOffTheMark:
    """Nobody trades at a loss that the account cannot pay, on whatever way the order comes to its trade."""

    @pytest.fixture
    def fx(self, venue):
        """5,400 a lot of it against 10,000; the last price is 1.10000."""
        venue.change("EURUSD", price_band=Decimal("0.05"))
        venue.trader("rich", USD=10_000_000)
        trade(venue, "bob", "BUY", "rich", "0.01", "EURUSD", "1.10000")
        return venue

    def is_untouched(self, venue) -> bool:
        assert (venue.position("ann", "EURUSD"), venue.funds("ann", "USD")) == ("flat", "10000+0")
        return is_sound_and_replays(venue)

    def test_it_neither_takes_nor_rests(self, fx):
        assert fx.refused("ann BUY 3 EURUSD @ 1.15400") == "insufficient_margin"
        fx.order("bob SELL 3 EURUSD @ 1.15400")
        assert fx.refused("ann BUY 3 EURUSD @ 1.15400") == "insufficient_margin"
        assert self.is_untouched(fx)

    def test_it_does_not_move_there(self, fx):
        order = fx.order("ann BUY 3 EURUSD @ 1.10000")
        with pytest.raises(InsufficientMargin):
            fx.amend("ann", order, price="1.154")
        fx.cancel("ann", order)
        assert self.is_untouched(fx)

    def test_it_does_not_wait_for_an_auction(self, fx):
        fx.change("EURUSD", volatility_band=Decimal("0.001"), auction_seconds=60)
        fx.order("rich SELL 1 EURUSD @ 1.14000")
        fx.order("bob BUY 0.01 EURUSD @ 1.14000")
        assert fx.refused("ann BUY 3 EURUSD @ 1.15400") == "insufficient_margin"
        assert self.is_untouched(fx)

    @pytest.mark.parametrize(
        ("terms", "offered", "end"),
        [
            (LIMIT, "3", "REJECTED insufficient_margin"),
            (LIMIT, "1", "REJECTED insufficient_margin"),  # the others would rest
            (LIMIT, "0", "REJECTED insufficient_margin"),
            ({"type": "STOP_LOSS"}, "3", "REJECTED insufficient_margin"),
            ({"type": "STOP_LOSS"}, "0", "EXPIRED no_liquidity"),
        ],
    )
    def test_a_stop_ends_when_it_is_triggered(self, fx, terms, offered, end):
        if offered != "0":
            fx.order(f"bob SELL {offered} EURUSD @ 1.15400")
        order = fx.order("ann BUY 3 EURUSD", stop_price=Decimal("1.10100"), **terms)
        assert order["status"] == "PENDING" and Decimal(order["reserved"]) < 8000
        trade(fx, "rich", "BUY", "bob", "0.01", "EURUSD", "1.10100")
        row = fx.stored(order)
        assert f"{row['status']} {row['reason']}" == end
        assert self.is_untouched(fx)
