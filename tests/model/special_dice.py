"""Random triggered orders, icebergs and pairs among the plain ones, for the venue and the auditor side by side."""

from fractions import Fraction

from exchange import lists, validation
from exchange.engine.orders import BUY, SELL
from marketdata.refusals import Refusal
from tests.model.dice import PREVENTIONS, Dice
from tests.model.lockstep import SIDES, Lockstep, exact, same_order
from tests.model.special import Pair, Special, SpecialAuditor
from tests.model.world import World

STOP_TYPES = ("STOP_LOSS", "STOP_LOSS", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TRAILING_STOP")
LARGEST_GROUP = 25


class SpecialLockstep(Lockstep):
    """A lockstep whose commands may be Special requests, and ("pair", Pair)."""

    def __init__(self, world: World):
        super().__init__(world)
        self.auditor = SpecialAuditor(world.terms)

    def _prepared(self, command: tuple):
        kind, *terms = command
        try:
            if kind == "pair":
                return _pair_command(terms[0])
            if kind == "place" and isinstance(terms[0], Special):
                return _special_command(terms[0])
        except Refusal as refusal:
            return refusal
        return super()._prepared(command)

    def _check(self, command: tuple, outcome) -> None:
        kind, *terms = command
        if kind != "pair":
            return super()._check(command, outcome)
        ids = [order["id"] for order in outcome] if isinstance(outcome, list) else None
        expected = self.auditor.place_pair(terms[0], ids)
        if isinstance(outcome, Refusal):
            assert outcome.code == expected, f"{command}: refused with {outcome.code} ({outcome}), expected {expected}"
            return None
        assert isinstance(expected, list), f"{command}: taken, expected {expected}"
        for order, answer in zip(expected, outcome, strict=True):
            same_order(order, answer)
        return None


def _common(request) -> dict:
    return {
        "account_id": request.account,
        "symbol": request.symbol,
        "side": SIDES[request.side],
        "quantity": exact(request.quantity),
        "self_trade_prevention": request.prevention,
    }


def _special_command(request: Special):
    terms = {
        "price": request.price,
        "stop_price": request.stop_price,
        "trail_amount": request.trail_amount,
        "displayed_quantity": request.displayed,
    }
    return validation.place_command(
        **_common(request),
        type=request.type,
        time_in_force=request.time_in_force,
        post_only=request.post_only,
        client_order_id=request.client_order_id,
        **{name: exact(value) for name, value in terms.items() if value is not None},
    )


def _pair_command(pair: Pair):
    profit, stop = pair.profit, pair.stop
    return lists.list_command(
        kind="OCO",
        **_common(profit),
        take_profit_price=exact(profit.price),
        stop_price=exact(stop.stop_price),
        stop_limit_price=None if stop.price is None else exact(stop.price),
    )


class SpecialDice(Dice):
    """Draws commands of every type; time and phases stand still."""

    def step(self) -> int:
        if self.random.random() < 0.08:
            self._transfer()
            return 1
        size = self.random.randint(1, LARGEST_GROUP)
        self.lockstep.group([self.command() for _ in range(size)])
        return size

    def command(self) -> tuple:
        roll, account = self.random.random(), self.random.choice(self.accounts)
        if roll < 0.22:
            return "place", self._stop(account)
        if roll < 0.3:
            return "place", self._iceberg(account)
        if roll < 0.36:
            return "pair", self._pair(account)
        command = super().command()
        return command if command[0] not in ("collect", "uncross") else self.command()

    def request(self, account: int):
        """Plain orders without an end."""
        while (request := super().request(account)).time_in_force not in ("GTC", "IOC", "FOK"):
            pass
        return request

    def _terms(self, account: int) -> tuple:
        terms, side = self.random.choice(self.lockstep.world.terms), self.random.choice((BUY, SELL))
        prevention = self.random.choice(PREVENTIONS)
        return terms, {"account": account, "symbol": terms.symbol, "side": side, "prevention": prevention}

    def _near(self, terms, away: int) -> Fraction:
        """A price on the tick, some thousandths away from the last one."""
        last = self.lockstep.auditor.last_prices[terms.symbol] or self._price(terms, BUY)
        return max(1, int(last / terms.tick * (1000 + away) / 1000)) * terms.tick

    def _stop(self, account: int) -> Special:
        terms, common = self._terms(account)
        kind = self.random.choice(STOP_TYPES)
        quantity = self._quantity(terms)
        if kind == "TRAILING_STOP":
            trail = self.random.randint(1, 12) * terms.tick * 20
            return Special(type=kind, quantity=quantity, trail_amount=trail, **common)
        rising = (common["side"] == BUY) == kind.startswith("STOP")
        away = self.random.randint(-2, 25) * (1 if rising else -1)
        stop = self._near(terms, away)
        price = None
        if kind.endswith("LIMIT"):
            price = max(1, int(stop / terms.tick) + self.random.randint(-60, 60)) * terms.tick
        return Special(type=kind, quantity=quantity, stop_price=stop, price=price, **common)

    def _iceberg(self, account: int) -> Special:
        terms, common = self._terms(account)
        lots = self.random.randint(2, 40)
        shown = self.random.randint(1, lots - 1)
        price = self._price(terms, common["side"])
        return Special(price=price, quantity=lots * terms.lot, displayed=shown * terms.lot, **common)

    def _pair(self, account: int) -> Pair:
        terms, common = self._terms(account)
        side, quantity = common["side"], self._quantity(terms)
        profit = self._near(terms, -side * self.random.randint(-2, 30))
        stop = self._near(terms, side * self.random.randint(-2, 30))
        limit = self._near(terms, side * self.random.randint(0, 30)) if self.random.random() < 0.4 else None
        kind = "STOP_LOSS" if limit is None else "STOP_LIMIT"
        return Pair(
            Special(price=profit, quantity=quantity, post_only=True, **common),
            Special(type=kind, stop_price=stop, price=limit, quantity=quantity, **common),
        )
