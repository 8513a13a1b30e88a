"""What an account has parked in orders pays before the insurance fund does, when it is liquidated or charged."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models import Shortfall
from exchange import financing, liquidation, store
from marketdata.models import Mark
from tests.margin_risk.test_financing import ROLLOVER, at

PARKINGS = {
    "a spot order": "ann BUY 7800 AAPL @ 1",
    "a margin order": "ann BUY 3.12 GBPUSD @ 1.25",
    "a margin order of the same market": "ann BUY 3.9 EURUSD @ 1.00",
}


@pytest.fixture
def fx(venue, request):
    """ann is long a lot of EURUSD, with 2,200 of her 10,000 as its margin; the fund has 50,000."""
    venue.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0), price_band=None)
    for symbol in ("EURUSD", "GBPUSD"):
        venue.change(symbol, price_band=None)
    venue.insure(50_000)
    if "charged" in request.fixturenames:
        at(ROLLOVER - timedelta(hours=1))
        Mark.objects.all().delete()  # of days to come
        for symbol, mark in (("EURUSD", "1.10000"), ("GBPUSD", "1.25000")):
            venue.mark(symbol, mark)
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    return venue


def is_unpaid(fx) -> bool:
    assert fx.is_sound()
    return fx.funds("fund", "USD") == "50000+0" and not Shortfall.objects.exists()


def test_spot_orders_go_before_positions_do_and_may_be_enough(fx):
    parked = fx.order(PARKINGS["a spot order"])
    fx.order("rich BUY 1 EURUSD @ 1.08500")
    fx.mark("EURUSD", "1.08500")
    fx.watch()
    assert (fx.liquidations("ann"), fx.stored(parked)["status"]) == (["RESTORED 1/0"], "CANCELLED")
    assert fx.position("ann", "EURUSD") == "1 110000 2200/2200"


def test_orders_for_another_asset_stay(fx):
    fx.trader("ann", AAPL=5, USDT=500)
    others = [fx.order("ann SELL 5 AAPL @ 100"), fx.order("ann BUY 0.01 BTC_USDT @ 100")]
    fx.order("rich BUY 1 EURUSD @ 1.00100")
    fx.mark("EURUSD", "1.00100")
    fx.watch()
    assert fx.liquidations("ann") == ["RESTORED 0/1"]
    assert [fx.stored(order)["status"] for order in others] == ["OPEN", "OPEN"]


@pytest.mark.parametrize("parking", PARKINGS)
@pytest.mark.parametrize("is_new", [False, True])
def test_a_gap_of_the_mark_is_paid_by_what_was_parked(fx, monkeypatch, parking, is_new):
    """Also where the orders are placed again while the liquidation is under way. Equity of 100 is left."""
    parked = fx.order(PARKINGS[parking])
    if is_new:
        monkeypatch.setattr(liquidation.risk_reading, "orders_to_cancel", lambda key: [])
    fx.order("rich BUY 1 EURUSD @ 1.00100")
    fx.mark("EURUSD", "1.00100")
    fx.watch()
    if is_new and parking == "a spot order":  # whose funds were no equity when the liquidation looked
        assert (fx.liquidations("ann"), fx.funds("ann", "USD")) == (["CLOSED 0/1"], "100+0")
    else:
        assert (fx.liquidations("ann"), fx.funds("ann", "USD")) == ([f"RESTORED {int(not is_new)}/1"], "408+88")
    assert (fx.stored(parked)["status"], is_unpaid(fx)) == ("CANCELLED", True)


def test_who_goes_to_one_more_market_before_the_lock_is_looked_for_again(fx, monkeypatch):
    """The markets of the account's orders are looked up before they can be locked: here one of them is missed."""
    parked, looks, markets_of = fx.order(PARKINGS["a spot order"]), [], store.markets_of
    monkeypatch.setattr(liquidation.risk_reading, "orders_to_cancel", lambda key: [])

    def look(cursor, account):
        looks.append(account)
        return markets_of(cursor, account) if len(looks) > 1 else []

    monkeypatch.setattr(store, "markets_of", look)
    fx.order("rich BUY 1 EURUSD @ 1.00100")
    fx.mark("EURUSD", "1.00100")
    fx.watch()
    assert (fx.stored(parked)["status"], len(looks), is_unpaid(fx)) == ("CANCELLED", 4, True)


def test_what_positions_have_gained_pays_too(fx):
    """The largest loss goes first; what is gained elsewhere pays what of it the account has not."""
    fx.trade("ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    fx.mark("GBPUSD", "1.27500")
    fx.order("rich BUY 1 EURUSD @ 0.98000")
    fx.mark("EURUSD", "0.98000")  # 12,000 lost, 2,500 gained: 500 of equity
    fx.watch()
    assert (fx.position("ann", "EURUSD"), fx.position("ann", "GBPUSD")) == ("flat", "1 127000 2500/0")
    assert (fx.funds("ann", "USD"), is_unpaid(fx)) == ("0+0", True)


# Financing


@pytest.fixture
def charged(fx):
    """A night costs 275 dollars a lot; a loss has left ann 100 of her margin and nothing else free."""
    fx.terms("EURUSD", financing_long_rate=Decimal("0.9"), financing_days=360)
    return fx


@pytest.mark.parametrize("parking", ["ann BUY 5300 AAPL @ 1", "ann BUY 2.65 EURUSD @ 1.00"])
def test_financing_is_paid_by_what_was_parked(charged, parking):
    fx = charged
    fx.trade("ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    parked = fx.order(parking)
    fx.mark("GBPUSD", "1.20400")
    fx.order("rich BUY 1 GBPUSD @ 1.20400")
    fx.order("ann SELL 1 GBPUSD @ 1.20400 IOC", reduce_only=True)
    assert fx.position("ann", "EURUSD") == "1 110000 2200/100"
    at(ROLLOVER)
    assert financing.post_due() == 2
    assert [fx.stored(parked)[name] for name in ("status", "reason")] == ["CANCELLED", "financing"]
    assert (fx.last("ann", "EURUSD").financing, is_unpaid(fx)) == (275, True)


def test_financing_is_paid_by_gains(charged):
    fx = charged
    fx.trade("ann", "BUY", "rich", "1", "GBPUSD", "1.25000")
    fx.mark("GBPUSD", "1.15200")
    fx.mark("EURUSD", "1.20000")
    fx.order("rich BUY 1 GBPUSD @ 1.15200")
    fx.order("ann SELL 1 GBPUSD @ 1.15200 IOC", reduce_only=True)
    assert fx.position("ann", "EURUSD") == "1 110000 2200/200"
    at(ROLLOVER)
    fx.mark("EURUSD", "1.20000")
    assert financing.post_due() == 2
    assert (fx.position("ann", "EURUSD"), fx.last("ann", "EURUSD").realized) == ("1 110100 2200/0", 100)
    assert is_unpaid(fx)
