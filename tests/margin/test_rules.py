"""What protects those who open risk: reduce-only, stale prices, sessions, tiers, leverage, and funds at their limit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from accounts import house, margin, transfers
from accounts.models import Account, Shortfall
from exchange import commands as c
from exchange import orders
from exchange.audit import replay
from exchange.sequencer import sequencer
from marketdata import clock
from marketdata.api.views import market_row
from marketdata.contracts import Tier, read_tiers
from marketdata.hours import Schedule, is_open
from marketdata.models import Market
from marketdata.refusals import Refusal
from tests.margin.test_settlement import trade

NEW_YORK = ZoneInfo("America/New_York")
FX_WEEK = Schedule.of(NEW_YORK, [["SUN 17:00", "FRI 17:00"]], ["2026-12-25"])


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-11-20 16:59", True),  # a Friday
        ("2026-11-20 17:00", False),
        ("2026-11-21 12:00", False),
        ("2026-11-22 16:59", False),
        ("2026-11-22 17:00", True),
        ("2026-11-25 03:00", True),
        ("2026-12-25 12:00", False),
        ("2026-12-26 00:30", False),
        ("2026-03-08 17:30", True),  # the day on which clocks go forward
    ],
)
def test_hours(local, expected):
    moment = datetime.fromisoformat(local).replace(tzinfo=NEW_YORK)
    assert is_open(FX_WEEK, moment.astimezone(UTC)) is expected


@pytest.mark.parametrize("spans", [[["SUN 17:00"]], [["FUN 17:00", "FRI 17:00"]], [["SUN 25:00", "FRI 17:00"]], ["x"]])
def test_hours_that_cannot_be_read(spans):
    with pytest.raises(ValueError, match="is not a"):
        Schedule.of(NEW_YORK, spans, [])


TIERS = read_tiers(
    [
        {"up_to": "1000", "initial": "0.02", "maintenance": "0.01"},
        {"up_to": "5000", "initial": "0.05", "maintenance": "0.02"},
        {"up_to": None, "initial": "0.1", "maintenance": "0.05"},
    ],
    50,
)


@pytest.mark.parametrize(
    ("notional", "leverage", "initial", "maintenance"),
    [
        (0, 50, 0, 0),
        (1_000, 50, 20, 10),
        (1_001, 50, 21, 11),  # rounded up
        (5_000, 50, 220, 90),
        (10_000, 50, 720, 340),
        (10_000, 10, 1_000, 340),
        (10_000, 20, 50 + 200 + 500, 340),
    ],
)
def test_each_slice_has_its_tiers_rate_and_leverage_sets_the_least(notional, leverage, initial, maintenance):
    assert margin.initial(TIERS, notional, leverage) == initial
    assert margin.maintenance(TIERS, notional) == maintenance


def test_what_is_added_is_the_difference():
    assert [margin.added(TIERS, held, 1_000, 50) for held in (0, 500, 5_000)] == [20, 35, 100]
    assert read_tiers([], 30) == (Tier(None, 3_333_334, 1_666_667),)


@pytest.mark.parametrize(
    "rows",
    [
        [{"up_to": None, "initial": "0.01", "maintenance": "0.02"}],
        [{"up_to": "10", "initial": "0.02", "maintenance": "0.01"}],
        [{"up_to": None, "initial": "NaN", "maintenance": "0.01"}],
        [{"initial": "0.02"}],
        [
            {"up_to": "10", "initial": "0.02", "maintenance": "0.01"},
            {"up_to": "10", "initial": "0.02", "maintenance": "0.01"},
            {"up_to": None, "initial": "0.02", "maintenance": "0.01"},
        ],
    ],
)
def test_tiers_that_cannot_be(rows):
    with pytest.raises((ValueError, ArithmeticError)):
        read_tiers(rows, 50)


class TestRefusals:
    def test_stale_prices_stop_new_risk_and_nothing_else(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        venue.order("bob BUY 1 EURUSD @ 1.10000")
        venue.mark("EURUSD", "1.10000", max_age_seconds=0)
        assert venue.refused("ann BUY 1 EURUSD @ 1.10000") == "stale_price"
        assert venue.order("ann SELL 1 EURUSD MARKET", reduce_only=True)["status"] == "FILLED"

    def test_a_market_by_its_own_book_needs_no_mark_to_begin(self, venue):
        venue.contract("GBPJPY", "GBP", "JPY", "0.001", mark_source="BOOK")
        assert venue.order("ann BUY 0.1 GBPJPY @ 190.000")["status"] == "OPEN"

    def test_outside_its_hours(self, venue):
        venue.terms("EURUSD", holidays=holidays())
        assert venue.refused("ann BUY 1 EURUSD @ 1.10000") == "market_closed"
        shown = market_row(Market.objects.get(symbol="EURUSD"))
        assert (shown["status"], shown["session"]["phase"]) == ("CLOSED", "CLOSED")

    def test_new_risk_can_be_stopped(self, venue):
        trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        venue.terms("EURUSD", is_reduce_only=True)
        assert venue.refused("ann BUY 1 EURUSD @ 1.10000") == "reduce_only"
        assert venue.order("ann SELL 1 EURUSD @ 1.10000", reduce_only=True)["status"] == "OPEN"

    def test_the_band_is_around_the_mark(self, venue):
        assert venue.refused("ann BUY 0.1 EURUSD @ 1.22000") == "price_out_of_band"
        venue.mark("EURUSD", "1.20000")
        assert venue.order("ann BUY 0.1 EURUSD @ 1.22000")["status"] == "OPEN"

    def test_unrealised_losses_count_at_once_and_gains_do_not(self, venue):
        trade(venue, "ann", "BUY", "bob", "3", "EURUSD", "1.10000")  # 6,600 of 10,000 reserved
        venue.mark("EURUSD", "1.11000")
        assert venue.refused("ann BUY 2 GBPUSD @ 1.25000") == "insufficient_margin"  # 5,000 needed of 3,400 + 3,000
        assert venue.order("ann BUY 1 GBPUSD @ 1.25000")["reserved"] == "2500"
        venue.mark("EURUSD", "1.09500")
        assert venue.refused("ann BUY 0.2 GBPUSD @ 1.25000") == "insufficient_margin"  # 900 left, 1,500 down

    @pytest.mark.parametrize("terms", [{"quote_quantity": Decimal(5)}, {}])
    def test_what_only_the_other_kind_takes(self, venue, terms):
        sentence = "ann BUY 0 EURUSD MARKET" if terms else "ann BUY 1 BTC_USDT @ 5"
        terms = terms or {"reduce_only": True}
        assert venue.refused(sentence, **terms) == "invalid"


STOPS = {
    "reduce_only": lambda venue: venue.terms("EURUSD", is_reduce_only=True),
    "market_closed": lambda venue: venue.terms("EURUSD", holidays=holidays()),
    "stale_price": lambda venue: venue.mark("EURUSD", "1.10000", max_age_seconds=0),
}


class TestAmendments:
    """New terms are new risk like a new order."""

    @pytest.fixture
    def resting(self, venue):
        """bob offers what ann's resting bid does not reach."""
        venue.order("bob SELL 2 EURUSD @ 1.10000")
        venue.bid = venue.order("ann BUY 1 EURUSD @ 1.09000")
        return venue

    def refused(self, venue, order: dict, **terms) -> str:
        with pytest.raises(Refusal) as caught:
            venue.amend("ann", order, **terms)
        return caught.value.code

    @pytest.mark.parametrize("code", STOPS)
    @pytest.mark.parametrize("terms", [{"price": "1.10000"}, {"quantity": "1.01"}, {"price": "1.08000"}])
    def test_where_new_risk_is_stopped_no_order_gets_closer_or_larger(self, resting, code, terms):
        STOPS[code](resting)
        assert self.refused(resting, resting.bid, **terms) == code
        assert resting.stored(resting.bid)["quantity"] == "1"
        assert resting.position("ann", "EURUSD") == "flat"

    @pytest.mark.parametrize("code", STOPS)
    def test_taking_lots_off_in_place_is_always_possible(self, resting, code):
        STOPS[code](resting)
        assert resting.amend("ann", resting.bid, quantity="0.5")["reserved"] == "1090"
        assert resting.is_sound()

    @pytest.mark.parametrize("code", STOPS)
    def test_a_reduce_only_order_may_move_while_the_market_is_open(self, resting, code):
        trade(resting, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
        order = resting.order("ann SELL 1 EURUSD @ 1.10500", reduce_only=True)
        STOPS[code](resting)
        if code == "market_closed":
            assert self.refused(resting, order, price="1.10400") == code
        else:
            assert resting.amend("ann", order, price="1.10400")["status"] == "OPEN"

    def test_the_house_may_quote_on_where_new_risk_is_stopped(self, resting):
        quoter = Account.objects.create(kind=Account.Kind.MARKET_MAKER, market=Market.objects.get(symbol="EURUSD"))
        resting.accounts["house"] = quoter
        quote = resting.order("house SELL 1 EURUSD @ 1.10100")
        STOPS["reduce_only"](resting)
        assert resting.amend("house", quote, price="1.10200", quantity="2")["status"] == "OPEN"


def holidays() -> list[str]:
    return [f"{year}-{month:02}-{day:02}" for year, month, day in _around_today()]


def _around_today():
    return [(clock.now() + timedelta(days=days)).date().timetuple()[:3] for days in (-1, 0, 1)]


class TestReduceOnly:
    @pytest.fixture
    def long(self, venue):
        """ann is long two lots."""
        venue.trader("cat", USD=50_000)
        trade(venue, "ann", "BUY", "cat", "2", "EURUSD", "1.10000")
        return venue

    @pytest.mark.parametrize(
        ("sentence", "code"),
        [
            ("ann SELL 2.01 EURUSD @ 1.10500", "reduce_only"),
            ("ann BUY 0.01 EURUSD @ 1.09000", "reduce_only"),
            ("bob SELL 0.01 EURUSD @ 1.10500", "reduce_only"),
            ("ann SELL 2 EURUSD @ 1.10500", None),
        ],
    )
    def test_only_what_takes_from_the_position(self, long, sentence, code):
        if code:
            assert long.refused(sentence, reduce_only=True) == code
        else:
            assert long.order(sentence, reduce_only=True)["reserved"] == "0"

    def test_resting_ones_together_take_no_more_than_there_is(self, long):
        long.order("ann SELL 1.5 EURUSD @ 1.10500", reduce_only=True)
        assert long.refused("ann SELL 1 EURUSD @ 1.10600", reduce_only=True) == "reduce_only"
        order = long.order("ann SELL 0.5 EURUSD @ 1.10600", reduce_only=True)
        with pytest.raises(Exception, match="more than reduce"):
            long.amend("ann", order, quantity="0.51")

    def test_what_an_iceberg_hides_counts_as_what_it_shows(self, long):
        iceberg = long.order("ann SELL 1.5 EURUSD @ 1.10500", reduce_only=True, displayed_quantity=Decimal("0.1"))
        assert long.refused("ann SELL 0.51 EURUSD @ 1.10600", reduce_only=True) == "reduce_only"
        other = long.order("ann SELL 0.5 EURUSD @ 1.10600", reduce_only=True)
        long.order("cat BUY 1.6 EURUSD @ 1.10000")
        long.order("ann SELL 0.4 EURUSD @ 1.10000 IOC")
        assert [long.stored(each)["status"] for each in (iceberg, other)] == ["OPEN", "OPEN"]
        assert long.stored(other)["quantity"] == "0.1"
        long.order("ann SELL 1.2 EURUSD @ 1.10000 IOC")  # 0.4 are left, and an iceberg cannot get smaller
        assert [long.stored(each)["status"] for each in (iceberg, other)] == ["CANCELLED", "CANCELLED"]
        assert long.is_sound()

    def test_they_get_smaller_and_end_with_what_they_could_reduce(self, long):
        first = long.order("ann SELL 1.5 EURUSD @ 1.10500", reduce_only=True)
        second = long.order("ann SELL 0.5 EURUSD @ 1.10600", reduce_only=True)
        long.order("cat BUY 1 EURUSD @ 1.10000")
        long.order("ann SELL 1 EURUSD @ 1.10000 IOC")
        states = [(row["status"], row["quantity"]) for row in map(long.stored, (first, second))]
        assert states == [("OPEN", "1"), ("CANCELLED", "0.5")]  # the newest first; the last keeps what it can reduce
        assert long.is_sound()

    def test_no_order_flips_a_position_by_reducing_it(self, long):
        """A plain order of the same side at a better price would take the position first."""
        resting = long.order("ann SELL 2 EURUSD @ 1.10200", reduce_only=True)
        long.trader("ann", USD=50_000)
        long.order("ann SELL 2 EURUSD @ 1.10100")
        long.order("cat BUY 4 EURUSD @ 1.10300 IOC")
        assert long.position("ann", "EURUSD") == "flat"
        assert [long.stored(resting)[name] for name in ("status", "reason")] == ["CANCELLED", "unfillable"]
        assert long.is_sound()

    @pytest.mark.parametrize(
        ("sentence", "code"),
        [
            ("dan BUY 4 EURUSD @ 1.10300 IOC", "insufficient_margin"),
            ("eve BUY 3 EURUSD @ 1.10300", "insufficient_margin"),  # she could carry the plan that takes out nobody
            ("cat BUY 4 EURUSD @ 1.10200 FOK", "cannot_fill"),
        ],
    )
    def test_an_order_that_is_refused_takes_nobody_out(self, long, sentence, code):
        resting = long.order("ann SELL 2 EURUSD @ 1.10200", reduce_only=True)
        long.trader("ann", USD=50_000)
        long.trader("eve", USD=7_050)
        long.trader("dan", USD=1)
        long.order("ann SELL 2 EURUSD @ 1.10100")
        long.order("bob SELL 1 EURUSD @ 1.10300")
        assert long.refused(sentence) == code
        assert long.stored(resting)["status"] == "OPEN"
        assert long.is_sound()

    def test_an_amendment_that_is_refused_does_not_either(self, long):
        resting = long.order("ann SELL 2 EURUSD @ 1.10200", reduce_only=True)
        long.trader("ann", USD=50_000)
        long.trader("dan", USD=5_000)
        order = long.order("dan BUY 1 EURUSD @ 1.10000")
        long.order("ann SELL 2 EURUSD @ 1.10100")
        with pytest.raises(c.InsufficientMargin):
            long.amend("dan", order, price="1.10300", quantity="4")
        assert [long.stored(one)["status"] for one in (resting, order)] == ["OPEN", "OPEN"]
        assert long.is_sound()


class TestInsurance:
    def test_the_fund_pays_what_the_loser_cannot(self, venue):
        transfers.deposit(account=house.insurance_fund(), asset=venue.assets["USD"], amount=Decimal(6_000))
        venue.change("EURUSD", price_band=None)
        trade(venue, "ann", "BUY", "bob", "4", "EURUSD", "1.10000")
        venue.mark("EURUSD", "1.05000")
        trade(venue, "ann", "SELL", "bob", "4", "EURUSD", "1.05000", reduce_only=True)
        row = Shortfall.objects.get()
        assert (row.amount, row.covered, row.uncovered) == (10_000, 6_000, 4_000)
        assert house.insurance_fund().balances.get().total == 0
        assert (venue.funds("ann", "USD"), venue.funds("bob", "USD")) == ("0+0", "30000+0")
        assert venue.is_sound()


class TestManyProcesses:
    def test_another_process_learns_of_margin_orders_from_the_journal(self, venue):
        venue.order("ann BUY 1 EURUSD @ 1.09000")
        amended = venue.order("bob SELL 1 EURUSD @ 1.11000")
        venue.amend("bob", amended, price="1.10900", quantity="0.8")
        sequencer.registry.forget()
        assert venue.cancel("bob", amended)["reserved"] == "0"
        assert venue.funds("bob", "USD") == "10000+0"
        reports = [replay.replay(market_id) for market_id in Market.objects.values_list("id", flat=True)]
        assert [report.difference for report in reports if report.difference] == []

    def test_many_at_once(self, venue):
        """A batch of orders that open, add, reduce and flip: each answered, nothing lost."""
        for name in ("ann", "bob"):
            venue.trader(name, USD=1_000_000)
        sentences = [
            f"{name} {side} 0.{size} EURUSD @ 1.1{price:04}"
            for size, price in zip(range(1, 10), range(0, 90, 10), strict=True)
            for name, side in (("ann", "BUY"), ("bob", "SELL"), ("ann", "SELL"), ("bob", "BUY"))
        ]
        outcomes = orders.place_many([venue.command(sentence) for sentence in sentences])
        assert any(isinstance(outcome, orders.Placed) and outcome.order["fills"] for outcome in outcomes)
        assert venue.is_sound()
