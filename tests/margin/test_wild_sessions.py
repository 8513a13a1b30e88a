"""Random sessions in which accounts lose more than they have, park what they have left, and are liquidated: nobody else
pays for an account that has anything left in orders, in its positions' margin, or in what they have gained.
"""

from decimal import Decimal

import pytest

from accounts import covering, house, transfers
from accounts.models import Position, Shortfall
from accounts.positions import exposure
from exchange import audit, liquidation, orders
from exchange.audit import replay
from exchange.liquidation_plan import Close
from marketdata import marks
from marketdata.markets import by_id, by_symbol
from marketdata.refusals import Refusal
from tests.margin.test_random_sessions import MARKETS, NAMES, Session

FUNDS = 4_000


class WildSession(Session):
    """Larger orders, marks that jump, stops, funds that come and go, liquidations at any time, and somebody rich who
    takes the other side at the mark.
    """

    def run(self, commands: int) -> None:
        for _ in range(commands // 5):
            super().run(5)
            self.dice.choice([self.park, self.park, self.come_back, self.stop, self.liquidate])(self.dice.choice(NAMES))

    def command(self, name: str):
        command = super().command(name)
        if not isinstance(command, Refusal):
            command.quantity *= self.dice.choice([2, 4, 6])
        return command

    def move_marks(self) -> None:
        for symbol, (_, tick) in MARKETS.items():
            step = self.dice.choice([20, 2000, 12000])
            self.prices[symbol] += tick * self.dice.randint(-step, step)
            self.venue.mark(symbol, str(self.prices[symbol]))
        orders.cancel_all(account_id=self.venue.accounts["rich"].id)
        for symbol, (_, tick) in MARKETS.items():
            for side, away in (("BUY", -1), ("SELL", 1)):
                price = self.prices[symbol] + away * tick * self.dice.randint(0, 30)
                self.venue.order(f"rich {side} 5 {symbol} @ {price}", self_trade_prevention="EXPIRE_MAKER")

    def park(self, name: str) -> None:
        try:
            self.venue.order(f"{name} BUY {self.dice.randint(100, FUNDS)} AAPL @ 1")
        except Refusal:
            pass

    def come_back(self, name: str) -> None:
        account = self.venue.accounts[name]
        if self.dice.random() < 0.5:
            orders.cancel_all(account_id=account.id)
        else:
            dollars = self.venue.assets["USD"]
            transfers.deposit(account=account, asset=dollars, amount=Decimal(self.dice.randint(1, FUNDS)))

    def stop(self, name: str) -> None:
        symbol = self.dice.choice(list(MARKETS))
        row = Position.objects.filter(account=self.venue.accounts[name], market__symbol=symbol, closed_at=None).first()
        if row is None:
            return
        side, away = ("SELL", -1) if row.quantity > 0 else ("BUY", 1)
        price = self.prices[symbol] + away * MARKETS[symbol][1] * self.dice.randint(1, 300)
        terms = {"type": "STOP_LOSS", "stop_price": price, "reduce_only": self.dice.random() < 0.7}
        try:
            self.venue.order(f"{name} {side} {abs(row.quantity)} {symbol}", **terms)
        except Refusal:
            pass

    def liquidate(self, name: str) -> None:
        """As an engine would that finds the account short by now."""
        account = self.venue.accounts[name].id
        for row in Position.objects.filter(account=account, closed_at=None):
            spec = by_id(row.market_id)
            close = Close(spec.id, -1 if row.quantity > 0 else 1, abs(spec.lots(row.quantity)))
            try:
                orders.place(liquidation.order_of(account, spec, close, marks.mark(spec.id)))
            except Refusal:
                pass


@pytest.fixture
def shortfalls(monkeypatch):
    """The accounts whose losses were more than they had; each is seen to have had nothing else then."""
    found, cover = [], covering.cover

    def watched(sheet, positions, account, asset, loss, **terms):
        done = cover(sheet, positions, account, asset, loss, **terms)
        if done.short and sheet.holders[account].is_heard:
            assert sheet.purses[account, asset].reserved == 0
            for position in positions.of_account(account, asset):
                assert exposure(position.spec, position.net, 0).unrealized <= 0
            found.append(account)
        return done

    monkeypatch.setattr(covering, "cover", watched)
    return found


@pytest.mark.parametrize("seed", [6, 12, 13, 26])
def test_nobody_pays_for_an_account_that_has_anything_left(venue, seed, shortfalls):
    for symbol in ("AAPL", *MARKETS):
        venue.change(symbol, price_band=None)
    venue.change("AAPL", maker_fee=Decimal(0), taker_fee=Decimal(0))
    venue.change("USDJPY", taker_fee=Decimal("0.00003"))
    for name in NAMES:
        venue.trader(name, USD=FUNDS)
    venue.trader("rich", USD=100_000_000)
    transfers.deposit(account=house.insurance_fund(), asset=venue.assets["USD"], amount=Decimal(3_000))
    WildSession(venue, seed).run(200)
    assert len(shortfalls) == Shortfall.objects.filter(account__user__isnull=False).count()
    assert [finding for finding in audit.run() if finding.violations] == []
    for symbol in ("AAPL", *MARKETS):
        assert replay.replay(by_symbol(symbol).id).difference is None
