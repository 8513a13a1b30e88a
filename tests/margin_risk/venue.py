"""The margin venue of tests.margin with the background services of margin markets, stepped by hand."""

import asyncio
from decimal import Decimal

from accounts import house
from accounts.models import AccountEvent
from exchange import mark_triggers, positions_engine
from exchange.house_quotes import House, house_account
from exchange.mark_keeper import MarkKeeper
from exchange.models import Liquidation
from marketdata.leadership import Leadership
from marketdata.markets import by_symbol
from marketdata.models import PriceSource
from tests.margin.conftest import MarginVenue
from tests.venue import quoted


class RiskVenue(MarginVenue):
    """A margin venue whose risk monitor, marks and house quotes move when they are told to."""

    def __init__(self, venue):
        super().__init__(venue)
        self.loop = asyncio.new_event_loop()
        self.leader = Leadership(positions_engine.ENGINE_LOCK, "test-engine")
        assert self.run(self.leader.take())
        self.engine = positions_engine.Engine()
        self.keeper, self.house = MarkKeeper(), House()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def give_up_the_lead(self) -> None:
        leader, self.leader = self.leader, None
        if leader is not None:
            self.run(leader.close())

    def close(self) -> None:
        self.give_up_the_lead()
        self.loop.close()
        positions_engine.stop_threads()

    # Trading

    def trade(self, taker: str, side: str, maker: str, quantity: str, symbol: str, price: str) -> None:
        """The maker rests, the taker takes it at once."""
        other = "SELL" if side == "BUY" else "BUY"
        self.order(f"{maker} {other} {quantity} {symbol} @ {price}")
        self.order(f"{taker} {side} {quantity} {symbol} @ {price} IOC")

    def insure(self, amount: int) -> None:
        """Money for the insurance fund."""
        self.venue.accounts["fund"] = house.insurance_fund()
        self.trader("fund", USD=amount)

    # The services

    def watch(self) -> None:
        """One look of the positions engine at everything, and the liquidations that it begins, to their end."""
        self.engine.monitor._checked_at = float("-inf")
        self.engine._dirty |= self.run(self.leader.do(self.engine.monitor.check))  # what the hub would have told
        self.run(self.engine.step(self.leader))
        self.run(self.engine.finished())
        self.run(self.engine.look_after(self.leader))

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        """A provider's quote."""
        found = by_symbol(symbol)
        source = {"provider": PriceSource.Provider.SYNTHETIC, "provider_symbol": symbol}
        PriceSource.objects.get_or_create(market_id=found.id, defaults=source)
        quoted(market_id=found.id, bid=Decimal(bid), ask=Decimal(ask))

    def tick(self) -> None:
        """One round of the margin updater."""
        self.keeper._loaded_at = float("-inf")
        changed = self.run(self.leader.do(self.keeper.step))
        self.run(self.leader.do(self.house.read, self.keeper))
        self.run(self.house.quote())
        specs = {market_id: terms.spec for market_id, terms in self.keeper.terms.items()}
        self.run(mark_triggers.tell(mark_triggers.due(specs, changed)))

    def house_position(self, symbol: str) -> str:
        self.venue.accounts["house"] = house_account(by_symbol(symbol).id)
        return self.position("house", symbol)

    # Looking

    def heard(self, name: str, *kinds: str) -> list[dict]:
        """The account's events of these kinds, oldest first."""
        rows = AccountEvent.objects.filter(account=self.accounts[name]).order_by("last_sequence")
        return [event for row in rows for event in row.events if event["type"] in kinds]

    def liquidations(self, name: str) -> list[str]:
        """`OUTCOME orders cancelled/placed`, oldest first."""
        rows = Liquidation.objects.filter(account=self.accounts[name]).order_by("id")
        return [f"{row.outcome} {row.orders_cancelled}/{row.orders_placed}" for row in rows]
