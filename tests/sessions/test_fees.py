"""Fees by volume and rebates: the rate is fixed at acceptance, and the ledger balances whatever meets."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import FeeRate, FeeTier
from exchange import fee_tiers
from marketdata import clock, markets
from marketdata.models import Market
from marketdata.units import plain
from tests.admin.conftest import operator as plain_operator
from tests.admin.test_actions import form_of
from tests.admin.test_pages import text, url

operator = plain_operator


def tier(day, volume: int, maker: str, taker: str) -> FeeTier:
    return FeeTier.objects.create(
        quote=day.venue.assets["USD"], min_volume=volume, maker_fee=Decimal(maker), taker_fee=Decimal(taker)
    )


@pytest.fixture
def traded(day):
    """ann and bob have traded 10,000 USD with each other; cid nothing."""
    day.venue.order("bob SELL 100 AAPL @ 100")
    day.venue.order("ann BUY 100 AAPL @ 100")
    return day


class TestTiers:
    def test_an_account_gets_the_highest_tier_of_its_volume(self, traded):
        tier(traded, 5_000, "0.0008", "0.0009")
        tier(traded, 10_000, "0.0005", "0.0007")
        tier(traded, 10_001, "0.0001", "0.0002")
        assert fee_tiers.assign(clock.now()) == 2
        rates = FeeRate.objects.values_list("account__user__username", "tier__taker_fee", "volume")
        assert {(name, plain(fee), plain(volume)) for name, fee, volume in rates} == {
            ("ann", "0.0007", "10000"),
            ("bob", "0.0007", "10000"),
        }
        sell, buy = traded.venue.order("cid SELL 10 AAPL @ 100"), traded.venue.order("ann BUY 10 AAPL @ 100")
        assert (buy["fee"], traded.venue.stored(sell)["fee"]) == ("0.7", "1")

    def test_volume_older_than_thirty_days_does_not_count(self, traded):
        tier(traded, 5_000, "0", "0")
        later = clock.now() + timedelta(days=30)
        assert fee_tiers.assign(later - timedelta(seconds=1)) == 2
        assert fee_tiers.assign(later) == 0
        assert not FeeRate.objects.exists()

    def test_the_market_may_be_cheaper_than_the_tier(self, traded):
        tier(traded, 5_000, "0.0005", "0.0005")
        traded.venue.change("AAPL", maker_fee=Decimal("0.0002"))
        fee_tiers.assign(clock.now())
        sell = traded.venue.order("bob SELL 10 AAPL @ 100")
        traded.venue.order("ann BUY 10 AAPL @ 100")
        assert traded.venue.stored(sell)["fee"] == "0.2"

    def test_an_order_keeps_the_rate_it_was_accepted_at(self, traded):
        sell = traded.venue.order("bob SELL 10 AAPL @ 100")
        tier(traded, 5_000, "0", "0")
        fee_tiers.assign(clock.now())
        traded.venue.order("cid BUY 10 AAPL @ 100")
        assert traded.venue.stored(sell)["fee"] == "1"

    def test_it_is_done_once_a_day(self, traded, monkeypatch):
        tier(traded, 5_000, "0", "0")
        monkeypatch.setattr(fee_tiers, "_assigned_on", clock.now().date() - timedelta(days=1))
        fee_tiers.assign_daily()
        assert FeeRate.objects.count() == 2
        FeeRate.objects.all().delete()
        fee_tiers.assign_daily()
        assert not FeeRate.objects.exists()

    def test_who_has_which_is_read_again_only_when_it_was_computed_anew(self, traded):
        """There may be as many as users, and nobody trades while the writer reads them."""
        kept = fee_tiers.Rates()
        cheap = tier(traded, 5_000, "0.0005", "0.0005")
        ann, spec = traded.venue.accounts["ann"].id, markets.by_symbol("AAPL")

        def looked() -> tuple[list[str], tuple[int, int]]:
            """The queries of a look after a while, and ann's rates then."""
            kept._read_at = float("-inf")
            with CaptureQueriesContext(connection) as asked, connection.cursor() as cursor:
                kept.refresh(cursor)
            return [one["sql"] for one in asked if "account_id" in one["sql"]], kept.of(ann, spec)

        own, tiers = (100_000, 100_000), (50_000, 50_000)
        assert looked() == ([], own)
        fee_tiers.assign(clock.now())  # `kept` is another process's, and is not told
        assert looked() == ([fee_tiers.TIER_OF], tiers)
        assert looked() == ([], tiers)
        FeeTier.objects.filter(pk=cheap.pk).update(taker_fee=Decimal("0.0007"))
        assert looked() == ([], (50_000, 70_000))
        fee_tiers.assign(clock.now() + timedelta(hours=1))
        assert looked() == ([fee_tiers.TIER_OF], (50_000, 70_000))
        cheap.delete()
        assert looked() == ([], own)


class TestRebates:
    def test_the_taker_pays_the_maker_through_the_fee_account(self, day):
        day.venue.change("AAPL", maker_fee=Decimal("-0.0002"), taker_fee=Decimal("0.0005"))
        sell = day.venue.order("bob SELL 10 AAPL @ 100")
        assert day.venue.order("ann BUY 10 AAPL @ 100")["fee"] == "0.5"
        assert day.venue.stored(sell)["fee"] == "-0.2"
        assert day.venue.fees("AAPL") == "0.3"
        assert day.venue.funds("bob", "USD") == "1001000.2+0"

    def test_a_buyer_gets_one_too(self, day):
        day.venue.change("AAPL", maker_fee=Decimal("-0.0005"), taker_fee=Decimal("0.0005"))
        day.venue.order("ann BUY 10 AAPL @ 100")
        day.venue.order("bob SELL 10 AAPL @ 100")
        assert day.venue.fees("AAPL") == "0"
        assert day.venue.funds("ann", "USD") == "999000.5+0"

    def test_it_is_never_more_than_the_taker_pays(self, day):
        """An order with an older rebate meets a market that has become cheaper since."""
        day.venue.change("AAPL", maker_fee=Decimal("-0.0005"), taker_fee=Decimal("0.0005"))
        sell = day.venue.order("bob SELL 10 AAPL @ 100")
        day.venue.change("AAPL", maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0001"))
        assert day.venue.order("ann BUY 10 AAPL @ 100")["fee"] == "0.1"
        assert day.venue.stored(sell)["fee"] == "-0.1"
        assert day.venue.fees("AAPL") == "0"

    def test_odd_amounts_leave_no_unit_over(self, day):
        day.venue.change("BTC_USDT", maker_fee=Decimal("-0.00033333"), taker_fee=Decimal("0.00033333"))
        for name in ("ann", "bob"):
            day.venue.trader(name, USDT=100_000, BTC=3)
        for number in (3, 7, 11):
            day.venue.order(f"bob SELL 0.000{number:02} BTC_USDT @ 33333.{number:02}")
            day.venue.order(f"ann BUY 0.000{number:02} BTC_USDT @ 33333.{number:02}")
        assert day.venue.fees("BTC_USDT") == "0"

    def test_a_market_cannot_promise_more_than_its_takers_pay(self, day):
        with pytest.raises(ValidationError):
            day.venue.change("AAPL", maker_fee=Decimal("-0.0006"), taker_fee=Decimal("0.0005"))
        assert Market.objects.get(symbol="AAPL").maker_fee == Decimal("0.001")

    @pytest.mark.parametrize(
        ("maker", "taker", "fits"),
        [("-0.001", "0.001", True), ("-0.0011", "0.002", False), ("-0.0005", "0.0004", False), ("0", "0", True)],
    )
    def test_nor_can_a_tier(self, day, maker, taker, fits):
        if fits:
            tier(day, 1, maker, taker)
        else:
            with pytest.raises(ValidationError):
                tier(day, 1, maker, taker)

    def test_a_rebate_is_held_against_the_takers_of_its_own_market(self, day):
        day.venue.change("AAPL", maker_fee=Decimal("-0.0002"), taker_fee=Decimal("0.0003"))
        other = Market.objects.exclude(symbol="AAPL").first()
        day.venue.change(other.symbol, quote=day.venue.assets["USD"], maker_fee=Decimal(0), taker_fee=Decimal(0))
        tier(day, 1, "0", "0.0002")
        with pytest.raises(ValidationError) as caught:
            tier(day, 2, "-0.0001", "0.0002")
        assert f"in {other.symbol}, 0" in str(caught.value)

    def test_tiers_are_held_against_each_other(self, day):
        tier(day, 1, "0", "0.0001")
        with pytest.raises(ValidationError):
            tier(day, 2, "-0.0002", "0.0003")

    @pytest.mark.parametrize(
        ("maker", "taker", "fits"),
        [("-0.0002", "0.001", True), ("-0.0003", "0.001", False), ("0.001", "0.00005", False), ("0", "0.0001", True)],
    )
    def test_a_markets_fees_are_held_against_the_tiers_of_its_quote_asset(self, day, operator, maker, taker, fits):
        """Makers may be in one tier and takers in the other."""
        tier(day, 1, "0", "0.0002")
        tier(day, 2, "-0.0001", "0.0002")
        market = Market.objects.get(symbol="AAPL")
        page = url(Market, "change", market.pk)
        answer = operator.post(page, form_of(operator.get(page)) | {"maker_fee": maker, "taker_fee": taker})
        assert answer.status_code == (302 if fits else 200)
        assert ("Fee tiers count too" in text(answer)) is not fits
        market.refresh_from_db()
        assert ((market.maker_fee, market.taker_fee) == (Decimal(maker), Decimal(taker))) is fits
        day.venue.change("BTC_USDT", maker_fee=Decimal("-0.001"))  # another quote asset
