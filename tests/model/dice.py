"""Random commands for the lockstep: mostly sensible, now and then off by a rule."""

import random
from datetime import timedelta
from fractions import Fraction

from exchange.engine.orders import BUY, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, SELL
from marketdata import clock
from tests.model.auditor import Request, Terms
from tests.model.lockstep import Lockstep
from tests.model.world import MIDDLES

PREVENTIONS = (EXPIRE_TAKER, EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH)
LARGEST_GROUP = 40
FUNDS = {"P": Fraction(200), "Q": Fraction(9_000), "R": Fraction(20)}


class Dice:
    """Draws commands for a lockstep from a seed."""

    def __init__(self, lockstep: Lockstep, seed: int):
        self.lockstep, self.random = lockstep, random.Random(seed)
        self.accounts = [account.id for account in lockstep.world.accounts]
        self.drawn = 0

    def fund(self) -> None:
        """Everybody's first deposits."""
        for account in self.accounts:
            for name, amount in FUNDS.items():
                self.lockstep.deposit(account, self.lockstep.world.asset(name).symbol, amount)

    def step(self) -> int:
        """One transfer, or one group of commands; how many operations that was."""
        roll = self.random.random()
        if roll < 0.1:
            self._transfer()
            return 1
        if roll < 0.17:
            self.lockstep.wait(self.random.randint(1, 30))
            return 1
        # A command may only name orders of earlier groups, so small groups give more fills of older orders.
        size = min(self.random.randint(1, LARGEST_GROUP), self.random.randint(1, LARGEST_GROUP))
        self.lockstep.group([self.command() for _ in range(size)])
        return size

    def _transfer(self) -> None:
        account, name = self.random.choice(self.accounts), self.random.choice("PQR")
        amount = FUNDS[name] * self.random.randint(1, 8) / 40
        move = self.lockstep.deposit if self.random.random() < 0.5 else self.lockstep.withdraw
        move(account, self.lockstep.world.asset(name).symbol, amount)

    def command(self) -> tuple:
        roll, account = self.random.random(), self.random.choice(self.accounts)
        if (collecting := sorted(self.lockstep.auditor.collecting)) and self.random.random() < 0.03:
            return "uncross", self.random.choice(collecting)
        if roll < 0.7:
            return "place", self.request(account)
        if roll < 0.985:
            order_id = self._some_order()
            if order_id is not None:
                owner = self.lockstep.auditor.orders[order_id].request.account
                account = owner if self.random.random() < 0.97 else account
                if roll < 0.85:
                    return "cancel", account, order_id
                return "amend", account, order_id, *self._new_terms(order_id)
        if roll < 0.989:
            symbol = self.random.choice([None, *self.lockstep.world.markets])
            return "cancel_all", account, symbol
        return "collect", self.random.choice(self.lockstep.world.collectable)

    def _some_order(self) -> int | None:
        """Mostly one that rests, sometimes any, sometimes one that never was."""
        auditor = self.lockstep.auditor
        roll = self.random.random()
        if roll < 0.01:
            return None if not auditor.orders else self.random.choice(list(auditor.orders)[-200:])
        resting = auditor.open_orders()
        return self.random.choice(resting).id if resting else None

    def _new_terms(self, order_id: int) -> tuple[Fraction | None, Fraction | None]:
        order = self.lockstep.auditor.orders[order_id]
        terms = self.lockstep.auditor.markets[order.request.symbol]
        roll = self.random.random()
        price = self._price(terms, order.request.side) if roll < 0.5 or order.price is None else None
        if roll >= 0.35:
            return price, order.quantity + self.random.randint(-8, 4) * terms.lot or terms.lot
        return price, None

    def request(self, account: int) -> Request:
        """An order of any kind."""
        self.drawn += 1
        terms = self.random.choice(self.lockstep.world.terms)
        side = self.random.choice((BUY, SELL))
        name = self._name()
        common = {"account": account, "symbol": terms.symbol, "side": side, "client_order_id": name}
        common["prevention"] = self.random.choice(PREVENTIONS)
        roll = self.random.random()
        if roll < 0.12:
            force = self.random.choice(("IOC", "IOC", "FOK", "GTC"))
            return Request(type="MARKET", quantity=self._quantity(terms), time_in_force=force, **common)
        if roll < 0.18:
            amount = self._quantity(terms) * self._price(terms, side)
            amount -= amount % Fraction(1, 10**terms.quote_decimals)
            force = self.random.choice(("IOC", "GTC"))
            return Request(type="MARKET", quote_quantity=amount or terms.tick, time_in_force=force, **common)
        force = self.random.choice(("GTC", "GTC", "GTC", "GTC", "IOC", "FOK"))
        post_only = force == "GTC" and self.random.random() < 0.1
        price, quantity = self._price(terms, side), self._quantity(terms)
        if force == "GTC" and self.random.random() < 0.3:
            force, common["expires_at"] = "GTD", clock.now() + timedelta(seconds=self.random.randint(1, 60))
        return Request(price=price, quantity=quantity, time_in_force=force, post_only=post_only, **common)

    def _name(self) -> str | None:
        """A client_order_id for some, now and then one that was used before."""
        roll = self.random.random()
        if roll > 0.12:
            return None
        return f"name-{self.random.randint(1, self.drawn)}" if roll < 0.03 else f"name-{self.drawn}"

    def _price(self, terms: Terms, side: int) -> Fraction:
        middle = MIDDLES[self.lockstep.world.terms.index(terms)]
        steps = int(middle / terms.tick)
        away = self.random.gauss(0.02, 0.03)
        price = max(1, round(steps * (1 - side * away))) * terms.tick
        return price + terms.tick / 2 if self.random.random() < 0.005 else price

    def _quantity(self, terms: Terms) -> Fraction:
        lots = self.random.randint(1, int(terms.max_quantity / terms.lot) * 11 // 10)
        lots = min(lots, self.random.randint(1, 60))
        return lots * terms.lot + (terms.lot / 2 if self.random.random() < 0.005 else 0)
