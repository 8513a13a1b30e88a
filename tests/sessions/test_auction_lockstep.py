"""The auction beside its specification: the same random orders in call phases, auctions and trading in between."""

import random

import pytest

from exchange.engine import auction, reference_auction
from exchange.engine.book import BUY, GTC, IOC, SELL, Book
from exchange.engine.orders import Order
from exchange.engine.reference import ReferenceBook

ACCOUNTS = 6


class Iceberg(Order):
    __slots__ = ("display", "hidden")


class Pair:
    """The book that trades and the reference book, and random commands for both."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.fast, self.plain = Book(), ReferenceBook()
        self.made = self.auctions = self.traded = 0

    def both(self, **terms) -> list[Order]:
        self.made += 1
        pair = []
        for _ in range(2):
            order = (Iceberg if terms["display"] else Order)(
                self.made, terms["account"], terms["side"], terms["price"], terms["quantity"]
            )
            if terms["display"]:
                order.display, order.hidden = terms["display"], 0
            pair.append(order)
        return pair

    def draw(self) -> list[Order]:
        quantity = self.random.randint(1, 30)
        display = self.random.randint(1, quantity - 1) if quantity > 1 and self.random.random() < 0.2 else 0
        price = 100 + self.random.randint(-6, 6)
        account = self.random.randint(1, ACCOUNTS)
        side = self.random.choice((BUY, SELL))
        return self.both(account=account, side=side, price=price, quantity=quantity, display=display)

    def collect(self) -> None:
        """One command of a call phase."""
        roll, ids = self.random.random(), sorted(self.fast.orders)
        if roll < 0.7 or not ids:
            fast, plain = self.draw()
            self.do(auction.plan_entry(self.fast, fast), reference_auction.plan_entry(self.plain, plain))
            return
        order_id = self.random.choice(ids)
        order = self.fast.orders[order_id]
        if roll < 0.85 or order.display:
            self.fast.cancel(order_id)
            self.plain.cancel(order_id)
            return
        price, quantity = 100 + self.random.randint(-6, 6), self.random.randint(1, 40)
        if quantity <= order.quantity - order.remaining:
            with pytest.raises(ValueError, match="filled"):
                auction.plan_amendment(self.fast, order_id, price, quantity)
            return
        self.do(
            auction.plan_amendment(self.fast, order_id, price, quantity),
            reference_auction.plan_amendment(self.plain, order_id, price, quantity),
        )

    def trade(self) -> None:
        """One command of continuous trading."""
        fast, plain = self.draw()
        force = self.random.choice((GTC, GTC, IOC))
        self.do(self.fast.plan(fast, force), self.plain.plan(plain, force))

    def do(self, fast, plain) -> None:
        assert (fast.refusal, fast.rests, fast.keeps_place) == (plain.refusal, plain.rests, plain.keeps_place)
        if fast.refusal is None:
            self.fast.execute(fast)
            self.plain.execute(plain)

    def uncross(self) -> None:
        reference = self.random.choice((None, 94, 99, 100, 101, 106))
        expected = reference_auction.call(self.plain, reference)
        plan = auction.plan(self.fast, reference)
        assert (plan.call if plan else None) == expected
        matches = plan.matches if plan else []
        assert [(buy.id, sell.id, lots) for buy, sell, lots in matches] == reference_auction.uncross(
            self.plain, reference
        )
        filled: dict[Order, int] = {}
        for buy, sell, lots in matches:
            filled[buy] = filled.get(buy, 0) + lots
            filled[sell] = filled.get(sell, 0) + lots
        for order, lots in filled.items():
            self.fast.fill(order, lots)
        bid, ask = self.fast.best(BUY), self.fast.best(SELL)
        assert bid is None or ask is None or bid < ask
        self.auctions += 1
        self.traded += sum(lots for _, _, lots in matches)


@pytest.mark.parametrize("seed", range(6))
def test_no_difference(seed):
    pair = Pair(seed)
    for _ in range(25):
        for _ in range(pair.random.randint(1, 40)):
            pair.collect()
            assert pair.fast.state_hash() == pair.plain.state_hash()
        pair.uncross()
        assert pair.fast.state_hash() == pair.plain.state_hash()
        assert {tuple(change) for change in pair.fast.drain_changes()} == set(pair.plain.drain_changes())
        for _ in range(pair.random.randint(0, 15)):
            pair.trade()
    assert pair.auctions == 25
    assert pair.traded > 200


def test_the_comparison_can_fail():
    """One lot that only the plain book has is found."""
    pair = Pair(1)
    fast, plain = pair.both(account=1, side=BUY, price=100, quantity=5, display=0)
    plain.remaining += 1
    pair.do(auction.plan_entry(pair.fast, fast), auction.plan_entry(pair.fast, fast))
    pair.plain.execute(reference_auction.plan_entry(pair.plain, plain))
    assert pair.fast.state_hash() != pair.plain.state_hash()
