"""The own executions, newest first: in the order of the trades, also when one batch made several."""

from decimal import Decimal

from accounts.portfolio import holding_rows
from exchange import audit, orders
from exchange.audit.replay import replay
from exchange.models import Fill, Order, Trade
from exchange.rendering import order_row
from marketdata.models import Asset


def test_fills_of_one_batch_are_listed_in_the_order_of_their_trades(venue):
    for name in ("ann", "bob"):
        venue.trader(name, USD=100_000, AAPL=1_000)
    sentences = []
    for price in range(100, 110):  # each is taker in one trade and maker in the next
        maker, taker = ("ann", "bob") if price % 2 else ("bob", "ann")
        sentences += [f"{maker} SELL 1 AAPL @ {price}", f"{taker} BUY 1 AAPL @ {price}"]
    orders.place_many([venue.command(sentence) for sentence in sentences])
    trades = list(Trade.objects.order_by("-id").values_list("id", flat=True))
    assert len(trades) == 10
    for name in ("ann", "bob"):
        fills = Fill.objects.filter(account=venue.accounts[name]).order_by("-id")
        assert list(fills.values_list("trade_id", flat=True)) == trades
    roles = Fill.objects.order_by("trade_id", "id").values_list("trade_id", "role", "order__account__user__username")
    assert [role for _, role, _ in roles] == ["MAKER", "TAKER"] * 10


def test_an_order_shows_the_fills_that_it_says_it_has(venue):
    """What trades between the look at an order and the look at its fills is not in the answer."""
    for name in ("ann", "bob"):
        venue.trader(name, USD=100_000, AAPL=1_000)
    placed, seen = venue.order("ann SELL 9 AAPL @ 100"), []
    for quantity in (2, 3, 4):
        seen.append(orders.with_fills(Order.objects.all()).get(pk=placed["id"]))
        venue.order(f"bob BUY {quantity} AAPL @ 100")
    shown = [order_row(order, Fill.objects.filter(order=order).order_by("trade_id")) for order in seen]
    assert [order["filled_quantity"] for order in shown] == ["0", "2", "5"]
    assert [[fill["quantity"] for fill in order["fills"]] for order in shown] == [[], ["2"], ["2", "3"]]


def test_numbers_of_more_than_64_bits(venue):
    """Lots and funds in an asset's smallest units, where those are many: orders were answered with a 500."""
    for symbol in ("ETH", "WEI"):
        venue.assets[symbol] = Asset.objects.create(symbol=symbol, name=symbol, decimals=18)
    market = venue.market(
        "ETH_WEI", base="ETH", quote="WEI", lot_size=Decimal("1E-16"), max_quantity=Decimal(10**12), price_band=None
    )
    venue.trader("ann", ETH=20_000)
    venue.trader("bob", WEI=1_000)
    order = venue.order("ann SELL 6000.0000000000000001 ETH_WEI @ 0.01")
    venue.oco("ann SELL 7000 ETH_WEI", profit="0.03", stop="0.02")
    assert venue.order("bob BUY 0 ETH_WEI MARKET", quote_quantity=Decimal(50))["filled_quantity"] == "5000"
    assert venue.stored(order)["remaining_quantity"] == "1000.0000000000000001"
    assert replay(market.pk).difference is None
    assert [finding for finding in audit.run() if finding.violations] == []


def test_an_average_is_no_coarser_than_a_price(venue):
    """Where a price has more than twelve decimals, the average was told as 0."""
    venue.assets["WEI"] = Asset.objects.create(symbol="WEI", name="WEI", decimals=18)
    venue.market("DUST", base="AAPL", quote="WEI", tick_size=Decimal("1E-18"), lot_size=Decimal(1), price_band=None)
    venue.trader("ann", AAPL=1000)
    account = venue.trader("bob", WEI=1)
    venue.order("ann SELL 1000 DUST @ 0.000000000000012345")
    order = venue.order("bob BUY 1000 DUST @ 0.000000000000012345")
    told = order["average_price"], venue.stored(order)["average_price"], holding_rows(account.id)[0]["avg_price"]
    assert told == ("0.000000000000012345", "0.000000000000012345", "0.000000000000012357"), "the last with its fee"
