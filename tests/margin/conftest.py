"""A venue with margin markets: three that cover the ways into a dollar account, and one that only crosses."""

from decimal import Decimal

import pytest

from accounts.models import Balance, Position
from exchange import audit
from exchange.commands import Refresh
from exchange.sequencer import sequencer
from marketdata import clock, markets, marks
from marketdata.models import Asset, Contract, Market
from marketdata.units import plain
from tests.patience import PATIENCE_SECONDS
from tests.venue import Venue, beginning_with

CURRENCIES = ("EUR", "GBP", "JPY")
MARKETS = {
    "EURUSD": ("EUR", "USD", "0.00001", "1.10000"),
    "GBPUSD": ("GBP", "USD", "0.00001", "1.25000"),
    "USDJPY": ("USD", "JPY", "0.001", "150.000"),
    "EURGBP": ("EUR", "GBP", "0.00001", "0.88000"),
}


class MarginVenue:
    """A `tests.venue.Venue` with margin markets: 100,000 a contract, a hundredth of that a lot, 50:1, no fees."""

    def __init__(self, venue):
        self.venue = venue
        if "EUR" not in venue.assets:
            self._make()

    def _make(self) -> None:
        for symbol in CURRENCIES:
            self.venue.assets[symbol] = Asset.objects.create(symbol=symbol, name=symbol, kind="FIAT", decimals=8)
        for symbol, (base, quote, tick, mark) in MARKETS.items():
            self.contract(symbol, base, quote, tick)
            self.mark(symbol, mark)

    def __getattr__(self, name: str):
        return getattr(self.venue, name)

    def contract(self, symbol: str, base: str, quote: str, tick: str, **terms) -> Contract:
        market = self.venue.market(
            symbol, base=base, quote=quote, kind=Market.Kind.MARGIN, tick_size=Decimal(tick), lot_size=Decimal("0.01"),
            maker_fee=Decimal(0), taker_fee=Decimal(0),
        )  # fmt: skip
        terms = {"contract_size": Decimal(100_000), "max_leverage": 50, "settlement": self.venue.assets["USD"], **terms}
        contract = Contract.objects.create(market=market, **terms)
        markets.forget()
        return contract

    def terms(self, symbol: str, **changes) -> None:
        """What an operator would edit of the contract."""
        contract = Contract.objects.get(market__symbol=symbol)
        for name, value in changes.items():
            setattr(contract, name, value)
        contract.save()
        markets.forget()

    def mark(
        self, symbol: str, price: str, bid: str | None = None, ask: str | None = None, max_age_seconds: float = 3600
    ) -> None:
        """A mark of now, with a spread if it has one."""
        observed = marks.Print(Decimal(bid or price), Decimal(ask or price), Decimal(price), clock.now())
        marks.write([marks.mark_of(markets.by_symbol(symbol).id, observed, max_age_seconds)])

    def follow(self, symbol: str) -> None:
        """Wait for what follows from the commands so far: a batch that had to lock more leaves it to the next."""
        sequencer.submit([Refresh(markets.by_symbol(symbol).id)])[0].result(PATIENCE_SECONDS)

    def position(self, name: str, symbol: str) -> str:
        """`quantity cost margin/reserved`, of the open position; `flat` without one."""
        found = Position.objects.filter(account=self.accounts[name], market__symbol=symbol, closed_at=None).first()
        if found is None:
            return "flat"
        return f"{plain(found.quantity)} {plain(found.cost)} {plain(found.margin)}/{plain(found.reserved)}"

    def last(self, name: str, symbol: str) -> Position:
        """The newest position, open or closed."""
        return Position.objects.filter(account=self.accounts[name], market__symbol=symbol).first()

    def fees_of(self, symbol: str) -> str:
        """What the market's fee account has collected in dollars."""
        balance = Balance.objects.filter(account__kind="FEES", account__market__symbol=symbol).first()
        return plain(balance.available) if balance else "0"

    def is_sound(self) -> bool:
        """What the auditor says."""
        wrong = [finding for finding in audit.run() if finding.violations]
        assert not wrong, wrong
        return True


def with_two_traders() -> MarginVenue:
    """The usual venue with margin markets, and two traders with dollars."""
    fx = MarginVenue(Venue())
    for name in ("ann", "bob"):
        fx.trader(name, USD=10_000)
    return fx


@pytest.fixture
def venue(transactional_db):
    """Fresh as `with_two_traders` makes it, and nothing left of it afterwards."""
    with beginning_with(with_two_traders) as made:
        yield MarginVenue(made)
