"""Random trading over hours and days: the clock is moved between the orders, sometimes backwards."""

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from exchange.models import Trade
from marketdata import clock

START = datetime.fromisoformat("2028-02-27T22:59:57.250000+00:00")
TRADERS = ("ann", "bob", "cyd")
TICK = Decimal("0.01")
#: Where each market starts, and its lot.
MARKETS = {"AAPL": (Decimal(100), 1), "BTC_USDT": (Decimal(60_000), Decimal("0.00001"))}


class Clock:
    """A clock that stands until it is moved; every clock.now() then answers the same."""

    def __init__(self, monkeypatch, start: datetime = START):
        self.moment = start
        monkeypatch.setattr(clock, "now", lambda: self.moment)

    def move(self, **delta) -> None:
        self.moment += timedelta(**delta)


def fund(venue) -> None:
    for name in TRADERS:
        venue.trader(name, USD=10_000_000, USDT=10_000_000, AAPL=100_000, BTC=1_000)


def trade(venue, price, quantity=1, symbol="AAPL") -> None:
    """One trade: ann sells to bob."""
    venue.order(f"ann SELL {quantity} {symbol} @ {price}")
    venue.order(f"bob BUY {quantity} {symbol} @ {price}")


def random_session(venue, hands: Clock, *, seed: int, orders: int) -> None:
    """Crossing limit orders around a wandering price; time passes by milliseconds, minutes, days, or turns back."""
    fund(venue)
    random = Random(seed)
    steps = dict.fromkeys(MARKETS, 0)
    for _ in range(orders):
        hands.move(seconds=random.choice([0, 0, 0.25, 0.9, 7, 61, 3_601, 40_000, -0.5, -65]))
        symbol = random.choice(list(MARKETS))
        start, lot = MARKETS[symbol]
        steps[symbol] += random.randint(-20, 20)
        price = start + TICK * (steps[symbol] + random.randint(-10, 10))
        side, quantity = random.choice(["BUY", "SELL"]), lot * random.randint(1, 900)
        sentence = f"{random.choice(TRADERS)} {side} {quantity} {symbol} @ {price}"
        venue.order(sentence, self_trade_prevention="EXPIRE_MAKER")


def tape(symbol: str) -> list[tuple]:
    """The market's trades as tests.candles.plain takes them."""
    rows = Trade.objects.filter(market__symbol=symbol).order_by("id")
    return list(rows.values_list("id", "price", "quantity", "executed_at"))
