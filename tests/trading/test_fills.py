"""The own executions, newest first: in the order of the trades, also when one batch made several."""

from exchange import orders
from exchange.models import Fill, Order, Trade
from exchange.rendering import order_row


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
