"""Random sessions on margin markets: whatever four traders do to each other, nothing is lost and everything replays."""

from decimal import Decimal
from random import Random

import pytest
from django.db.models import Sum

from accounts import house, transfers
from accounts.models import Entry, Position
from exchange import orders
from exchange.audit import replay
from marketdata.markets import by_symbol
from marketdata.refusals import Refusal

NAMES = ("ann", "bob", "cat", "dan")
#: symbol: (price, tick) around which it trades.
MARKETS = {
    "EURUSD": (Decimal("1.10000"), Decimal("0.00001")),
    "USDJPY": (Decimal("150.000"), Decimal("0.001")),
    "EURGBP": (Decimal("0.88000"), Decimal("0.00001")),
}
ENDINGS = ["", "", "", "", " IOC", " FOK", " POST"]


class Session:
    """Commands in batches; marks that wander, now and then far."""

    def __init__(self, venue, seed: int):
        self.venue, self.dice = venue, Random(seed)
        self.prices = {symbol: price for symbol, (price, _) in MARKETS.items()}
        self.placed: list[tuple[str, dict]] = []

    def run(self, commands: int) -> None:
        while commands > 0:
            count = self.dice.randint(1, 8)
            commands -= count
            chance = self.dice.random()
            if chance < 0.7:
                self.place(count)
            elif chance < 0.9 and self.placed:
                for _ in range(count):
                    self.change(*self.dice.choice(self.placed[-40:]))
            else:
                self.move_marks()

    def place(self, count: int) -> None:
        names = [self.dice.choice(NAMES) for _ in range(count)]
        for name, outcome in zip(names, orders.place_many([self.command(name) for name in names]), strict=True):
            if isinstance(outcome, orders.Placed):
                self.placed.append((name, outcome.order))
            else:
                assert isinstance(outcome, Refusal), outcome

    def command(self, name: str):
        dice, symbol = self.dice, self.dice.choice(list(MARKETS))
        price = self.prices[symbol] + MARKETS[symbol][1] * dice.randint(-300, 300)
        how = "MARKET" if dice.random() < 0.15 else f"@ {price}{dice.choice(ENDINGS)}"
        quantity = Decimal(dice.randint(1, 60)) / 100
        terms = {"self_trade_prevention": dice.choice(["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])}
        terms["reduce_only"] = dice.random() < 0.25
        if dice.random() < 0.1 and how.count(" ") == 1:
            terms["displayed_quantity"] = Decimal("0.01")
        try:
            sentence = f"{name} {dice.choice(['BUY', 'SELL'])} {quantity} {symbol} {how}"
            return self.venue.command(sentence, **terms)
        except Refusal as refusal:
            return refusal

    def change(self, name: str, order: dict) -> None:
        tick = MARKETS[order["symbol"]][1]
        try:
            if order["price"] is None or self.dice.random() < 0.4:
                self.venue.cancel(name, order)
            elif self.dice.random() < 0.5:
                more = Decimal(self.dice.randint(-10, 10)) / 100
                self.venue.amend(name, order, quantity=Decimal(order["quantity"]) + more)
            else:
                price = Decimal(order["price"]) + tick * self.dice.randint(-200, 200)
                self.venue.amend(name, order, price=price)
        except Refusal:
            pass  # it has ended, or cannot have these terms: part of a session

    def move_marks(self) -> None:
        for symbol, (_, tick) in MARKETS.items():
            step = self.dice.choice([20, 200, 2000])
            self.prices[symbol] += tick * self.dice.randint(-step, step)
            self.venue.mark(symbol, str(self.prices[symbol]))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_session_leaves_nothing_to_find(venue, seed):
    for name in NAMES:
        venue.trader(name, USD=8_000)
    transfers.deposit(account=house.insurance_fund(), asset=venue.assets["USD"], amount=Decimal(500))
    venue.change("EURUSD", maker_fee=Decimal("-0.00001"), taker_fee=Decimal("0.00002"))
    venue.change("USDJPY", taker_fee=Decimal("0.00003"))
    Session(venue, seed).run(200)
    assert Position.objects.filter(closed_at=None).count() > 2 < Position.objects.exclude(closed_at=None).count()
    assert not Position.objects.filter(closed_at=None).aggregate(sum=Sum("quantity"))["sum"]
    assert Entry.objects.filter(asset=venue.assets["USD"]).aggregate(sum=Sum("amount"))["sum"] == 0
    assert venue.is_sound()
    for symbol in MARKETS:
        assert replay.replay(by_symbol(symbol).id).difference is None
