"""Financing at the rollover: who held then pays then, once, whenever it is posted."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread

import pytest
from django.db import connection

from accounts import position_archive
from accounts.models import FinancingCharge, Rollover, Shortfall
from exchange import financing
from marketdata import clock
from marketdata.models import Asset
from marketdata.units import plain

MONDAY = datetime(2026, 3, 16, 12, tzinfo=UTC)
ROLLOVER = datetime(2026, 3, 16, 21, tzinfo=UTC)  # five in the afternoon in New York


@pytest.fixture
def fx(venue):
    """Longs pay 3.6 % a year of 360 days, shorts get 1.8 %; it is Monday noon."""
    at(MONDAY)
    for symbol, mark in (("EURUSD", "1.10000"), ("USDJPY", "150.000")):
        venue.terms(
            symbol, financing_long_rate=Decimal("0.036"), financing_short_rate=Decimal("-0.018"), financing_days=360,
            triple_day=2,
        )  # fmt: skip
        venue.mark(symbol, mark)
    return venue


def at(moment: datetime) -> None:
    clock.stand(moment)


def charges(venue, name: str) -> list[str]:
    """`day quantity amount` of each, oldest first."""
    rows = FinancingCharge.objects.filter(account=venue.accounts[name]).select_related("rollover").order_by("id")
    return [f"{row.rollover.day:%a} {plain(row.quantity)} {plain(row.amount)}" for row in rows]


def test_a_long_pays_and_a_short_gets(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER - timedelta(seconds=1))
    assert financing.post_due() == 0
    at(ROLLOVER)
    assert financing.post_due() == 2
    assert (charges(fx, "ann"), charges(fx, "bob")) == (["Mon 1 11"], ["Mon -1 -5.5"])
    assert (fx.funds("ann", "USD"), fx.funds("bob", "USD")) == ("7789+2200", "7805.5+2200")
    assert fx.last("ann", "EURUSD").financing == 11
    (event,) = fx.heard("ann", "financing")
    assert (event["symbol"], event["day"], event["quantity"], event["amount"], event["asset"]) == (
        "EURUSD", "2026-03-16", "1", "11", "USD",
    )  # fmt: skip
    assert fx.is_sound()


def test_so_it_is_of_a_single_lot(fx):
    fx.trade("ann", "BUY", "bob", "0.01", "EURUSD", "1.10000")
    at(ROLLOVER)
    assert financing.post_due() == 2
    assert (charges(fx, "ann"), charges(fx, "bob")) == (["Mon 0.01 0.11"], ["Mon -0.01 -0.055"])


@pytest.mark.parametrize("decimals", [2, 8])
def test_whatever_the_decimals_of_what_is_settled_in(fx, decimals):
    """125,000,000 won, of which a dollar is 1,250."""
    for symbol, scale in (("USDC", decimals), ("KRW", 8)):
        fx.assets[symbol] = Asset.objects.create(symbol=symbol, name=symbol, kind="FIAT", decimals=scale)
    rates = {"financing_long_rate": Decimal("0.036"), "financing_short_rate": Decimal("-0.018"), "financing_days": 360}
    fx.contract("USDCKRW", "USDC", "KRW", "0.01", settlement=fx.assets["USDC"], **rates)
    fx.mark("USDCKRW", "1250.00")
    for name in ("ann", "bob"):
        fx.trader(name, USDC=10_000)
    fx.trade("ann", "BUY", "bob", "1", "USDCKRW", "1250.00")
    at(ROLLOVER)
    assert financing.post_due() == 2
    assert (charges(fx, "ann"), charges(fx, "bob")) == (["Mon 1 10"], ["Mon -1 -5"])


def test_twice_posts_once(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER)
    assert [financing.post_due() for _ in range(3)] == [2, 0, 0]


def test_two_at_once_post_once(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER)
    counts, errors = [], []

    def post():
        try:
            counts.append(financing.post_due())
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(counts), errors) == (2, [])
    assert fx.funds("ann", "USD") == "7789+2200"


def test_a_venue_that_was_down_catches_up_triple_wednesday_included(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(MONDAY + timedelta(days=7))
    assert financing.post_due() == 10
    assert charges(fx, "ann") == ["Mon 1 11", "Tue 1 11", "Wed 1 33", "Thu 1 11", "Fri 1 11"]
    assert fx.is_sound()


def test_who_held_then_is_charged_even_if_the_position_is_gone_or_turned(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(hours=1))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "SELL", "bob", "1", "EURUSD", "1.10000")  # closed, not yet posted
    fx.trade("rich", "BUY", "bob", "1", "EURUSD", "1.10000")  # opened after it
    fx.trade("ann", "BUY", "bob", "0.5", "EURUSD", "1.10000")
    assert financing.post_due() == 2
    assert (charges(fx, "ann"), charges(fx, "bob"), charges(fx, "rich")) == (["Mon 1 11"], ["Mon -1 -5.5"], [])
    held = fx.accounts["ann"].positions.filter(closed_at__isnull=False).get()
    assert held.financing == 11 and fx.last("ann", "EURUSD").financing == 0
    assert fx.is_sound()


def test_who_held_over_the_first_rollover_is_charged_though_it_is_put_away(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(hours=1))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "SELL", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(hours=2))
    assert position_archive.archive(closed_before=clock.now()) == 2
    assert financing.post_due() == 2
    assert (charges(fx, "ann"), charges(fx, "bob")) == (["Mon 1 11"], ["Mon -1 -5.5"])
    assert fx.is_sound()


def test_of_two_clocks_the_order_of_fills_decides_who_held(fx):
    """What the process that is ahead opens after the rollover and the other closes before it, nobody held."""
    fx.trade("rich", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(seconds=3))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER - timedelta(seconds=2))
    fx.trade("ann", "SELL", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(seconds=30))
    assert financing.post_due() == 2
    assert [charges(fx, name) for name in ("ann", "bob", "rich")] == [[], ["Mon -1 -5.5"], ["Mon 1 11"]]
    assert fx.is_sound()


def test_a_clock_that_was_put_back_stops_no_financing(fx):
    fx.trade("rich", "BUY", "bob", "0.1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(minutes=30))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "BUY", "bob", "0.1", "EURUSD", "1.10000")
    at(ROLLOVER - timedelta(minutes=25))
    fx.mark("EURUSD", "1.10000")
    for _ in range(4):
        fx.trade("ann", "BUY", "bob", "0.1", "EURUSD", "1.10000")
    for days in (0, 1):
        at(ROLLOVER + timedelta(days=days, minutes=1))
        financing.post_due()
    assert charges(fx, "rich") == ["Mon 0.1 1.1", "Tue 0.1 1.1"]
    assert charges(fx, "ann") == ["Mon 0.5 5.5", "Tue 0.5 5.5"]
    assert fx.last("ann", "EURUSD").financing == 11
    assert fx.is_sound()


def test_a_price_that_comes_in_the_midst_passes_over_no_rollover(fx, monkeypatch):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(days=1))
    real, calls = financing.marks.mark, []

    def late(market_id):
        calls.append(market_id)
        return None if len(calls) == 1 else real(market_id)

    monkeypatch.setattr(financing.marks, "mark", late)
    financing.post_due()
    financing.post_due()
    assert charges(fx, "ann") == ["Mon 1 11", "Tue 1 11"]


def test_each_position_is_told_with_what_it_has_paid(fx):
    """Whoever keeps positions by events has what the database has: of one that was closed before it was posted, too."""
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    fx.trade("rich", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(hours=1))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "SELL", "bob", "1", "EURUSD", "1.10000")
    assert financing.post_due() == 3
    for name, side, paid in (("ann", "FLAT", "11"), ("rich", "LONG", "11"), ("bob", "SHORT", "-11")):
        told, position = fx.heard(name, "position")[-1]["position"], fx.last(name, "EURUSD")
        assert (told["id"], told["side"], told["financing"]) == (position.id, side, paid)
        assert Decimal(paid) == position.financing


def test_what_is_open_is_told_after_what_was_closed(fx):
    """Whoever keeps one position a market by events would else have none."""
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(hours=1))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "SELL", "bob", "2", "EURUSD", "1.10000")
    assert financing.post_due() == 2
    *_, paid, held = (event["position"] for event in fx.heard("ann", "position"))
    assert [(told["side"], told["financing"]) for told in (paid, held)] == [("FLAT", "11"), ("SHORT", "0")]


def test_what_was_begun_goes_on_at_the_same_price(fx):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    fx.trade("rich", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER)
    real, calls = financing._charge, []

    def breaks(*args):
        calls.append(args)
        if len(calls) == 2:
            raise ConnectionError("the power went out")
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(financing, "CHUNK", 1)
        patch.setattr(financing, "_charge", breaks)
        with pytest.raises(ConnectionError):
            financing.post_due()
    assert (FinancingCharge.objects.count(), Rollover.objects.get().posted_at) == (1, None)
    fx.mark("EURUSD", "1.20000")
    assert financing.post_due() == 2
    assert charges(fx, "ann") + charges(fx, "rich") == ["Mon 1 11"] * 2
    assert charges(fx, "bob") == ["Mon -2 -11"]


def test_yen_are_paid_in_dollars(fx):
    fx.trade("ann", "BUY", "bob", "1", "USDJPY", "150.000")
    at(ROLLOVER)
    financing.post_due()
    assert charges(fx, "ann") == ["Mon 1 10"]  # of 15,000,000 yen a day 1,500


def test_who_has_nothing_free_pays_from_margin_and_then_the_fund_does(fx):
    fx.insure(10)
    fx.trader("eve", USD=2_205)
    fx.trade("eve", "BUY", "rich", "1", "EURUSD", "1.10000")
    fx.terms("EURUSD", financing_long_rate=Decimal("0.9"))
    for days, funds in ((0, "0+1930"), (1, "0+1655"), (2, "0+830"), (3, "0+555")):
        at(ROLLOVER + timedelta(days=days))
        financing.post_due()
        assert (fx.funds("eve", "USD"), fx.funds("fund", "USD")) == (funds, "10+0"), days
        assert fx.is_sound()
    at(ROLLOVER + timedelta(days=9))
    financing.post_due()
    assert (fx.funds("eve", "USD"), fx.funds("fund", "USD")) == ("0+0", "0+0")
    assert sum(row.covered for row in Shortfall.objects.all()) == 10
    assert fx.is_sound()


def test_a_position_that_is_put_away_meanwhile_keeps_what_it_paid(fx, monkeypatch):
    fx.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    at(ROLLOVER + timedelta(seconds=1))
    fx.mark("EURUSD", "1.10000")
    fx.trade("ann", "SELL", "bob", "1", "EURUSD", "1.10000")
    real = financing.F

    def put_away() -> None:
        position_archive.archive(closed_before=clock.now() + timedelta(days=1))
        connection.close()

    def adding(name: str):
        thread = Thread(target=put_away)
        thread.start()
        thread.join()
        return real(name)

    monkeypatch.setattr(financing, "F", adding)
    assert financing.post_due() == 2
    kept = [row.financing for table in financing.TABLES for row in table.objects.filter(account=fx.accounts["ann"])]
    assert kept == [Decimal(11)]
    assert fx.is_sound()
