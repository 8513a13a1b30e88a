"""A small venue for tests that trade: two spot markets, traders by name, orders as short sentences.

    venue.trader("ann", USD=10_000)
    venue.order("ann BUY 10 AAPL @ 100")            -> the order object
    venue.order("bob SELL 5 AAPL MARKET")
    venue.refused("ann BUY 10 AAPL @ 100.001")      -> "bad_tick_size"

The sequencer has its own thread and connection, so these tests commit: the database is emptied after each.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from accounts import ledger, transfers, withdrawals
from accounts.models import Account, Balance
from accounts.users import main_account, register
from exchange import lists, orders, validation
from exchange.barrier import view
from marketdata import clock, markets, quotes
from marketdata.gate import Believed
from marketdata.markets import by_symbol
from marketdata.models import Asset, Market
from marketdata.refusals import Refusal
from marketdata.units import plain
from tests import flush
from tests.flush import forget_everything

PASSWORD = "correct-horse-battery"
ASSETS = {"USD": ("FIAT", 8), "USDT": ("CRYPTO", 8), "AAPL": ("STOCK", 8), "BTC": ("CRYPTO", 8)}
MARKETS = {
    "AAPL": {"base": "AAPL", "quote": "USD", "tick_size": Decimal("0.01"), "lot_size": Decimal("1")},
    "BTC_USDT": {"base": "BTC", "quote": "USDT", "tick_size": Decimal("0.01"), "lot_size": Decimal("0.00001")},
}


class Venue:
    """Traders by name, and the doors to the venue as tests like to write them."""

    def __init__(self):
        self.assets = {asset.symbol: asset for asset in Asset.objects.all()}
        mine = Account.objects.filter(kind=Account.Kind.MAIN).select_related("user")
        self.accounts: dict[str, Account] = {account.user.username: account for account in mine}
        if not self.assets:
            self._make()

    def _make(self) -> None:
        for symbol, (kind, decimals) in ASSETS.items():
            self.assets[symbol] = Asset.objects.create(symbol=symbol, name=symbol, kind=kind, decimals=decimals)
        for symbol, fields in MARKETS.items():
            self.market(symbol, **fields)

    def market(self, symbol: str, *, base: str, quote: str, **fields) -> Market:
        """Another market. Fees are 0.1 % unless said otherwise."""
        market = Market.objects.create(symbol=symbol, base=self.assets[base], quote=self.assets[quote], **fields)
        markets.forget()
        return market

    def change(self, symbol: str, **fields) -> Market:
        """What an operator would edit."""
        market = Market.objects.get(symbol=symbol)
        for name, value in fields.items():
            setattr(market, name, value)
        market.save()
        markets.forget()
        return market

    def trader(self, name: str, **funds) -> Account:
        """A registered user's main account with these deposits."""
        if name not in self.accounts:
            self.accounts[name] = main_account(register(username=name, password=PASSWORD))
        for symbol, amount in funds.items():
            transfers.deposit(account=self.accounts[name], asset=self.assets[symbol], amount=Decimal(amount))
        return self.accounts[name]

    def command(self, sentence: str, **terms):
        """`name SIDE quantity SYMBOL @ price`, or MARKET for the price, then IOC, FOK or POST; other terms by name."""
        name, side, quantity, symbol, *rest = sentence.split()
        if rest and rest[0] == "@":
            terms.setdefault("price", Decimal(rest[1]))
            rest = rest[2:]
        for word in rest:
            terms.update({"MARKET": {"type": "MARKET"}, "POST": {"post_only": True}}.get(word, {"time_in_force": word}))
        if "quote_quantity" not in terms:
            terms["quantity"] = Decimal(quantity)
        account_id = self.accounts[name].id
        return validation.place_command(account_id=account_id, symbol=symbol, side=side, **terms)

    def order(self, sentence: str, **terms) -> dict:
        """Place it; the order object."""
        return orders.place(self.command(sentence, **terms)).order

    def refused(self, sentence: str, **terms) -> str:
        """Place it and expect a no; its code."""
        with pytest.raises(Refusal) as caught:
            orders.place(self.command(sentence, **terms))
        return caught.value.code

    def oco(self, sentence: str, *, profit, stop, stop_limit=None, **terms) -> list[dict]:
        """`name SIDE quantity SYMBOL` with its two prices; the order objects."""
        return self._list("OCO", sentence, profit, stop, stop_limit, terms)

    def bracket(self, sentence: str, *, profit, stop, stop_limit=None, **terms) -> list[dict]:
        """An entry as a sentence, and the prices of its exits; the order objects."""
        return self._list("BRACKET", sentence, profit, stop, stop_limit, terms)

    def _list(self, kind, sentence, profit, stop, stop_limit, terms) -> list[dict]:
        name, side, quantity, symbol, *rest = sentence.split()
        if rest and rest[0] == "@":
            terms["price"] = Decimal(rest[1])
        elif rest:
            terms["type"] = rest[0]
        prices = {"take_profit_price": profit, "stop_price": stop, "stop_limit_price": stop_limit}
        terms |= {term: Decimal(price) for term, price in prices.items() if price is not None}
        command = lists.list_command(
            kind=kind, account_id=self.accounts[name].id, symbol=symbol, side=side, quantity=Decimal(quantity), **terms
        )
        return orders.place_list(command).orders

    def amend(self, name: str, order: dict, *, price=None, quantity=None) -> dict:
        return orders.amend(
            account_id=self.accounts[name].id,
            order_id=order["id"],
            price=None if price is None else Decimal(price),
            quantity=None if quantity is None else Decimal(quantity),
        )

    def cancel(self, name: str, order: dict) -> dict:
        return orders.cancel(account_id=self.accounts[name].id, order_id=order["id"])

    def stored(self, order: dict) -> dict:
        """The order as the database has it."""
        return orders.stored(order["id"])

    def book(self, symbol: str = "AAPL") -> str:
        """The visible book: `5@99 10@98 | 3@101`, bids best first, then asks best first."""
        snapshot = view(by_symbol(symbol)).snapshot(100)
        sides = [" ".join(f"{quantity}@{price}" for price, quantity in snapshot[side]) for side in ("bids", "asks")]
        return " | ".join(sides).strip()

    def funds(self, name: str, asset: str) -> str:
        """`available+reserved` as plain numbers: `1000+0`."""
        balance = Balance.objects.filter(account=self.accounts[name], asset__symbol=asset).first()
        return f"{plain(balance.available)}+{plain(balance.reserved)}" if balance else "0+0"

    def fees(self, symbol: str) -> str:
        """What the market has collected so far, in its quote asset."""
        market = Market.objects.get(symbol=symbol)
        balance = Balance.objects.filter(account=ledger.fee_account(market.id), asset=market.quote).first()
        return plain(balance.available) if balance else "0"


def withdraw(*, account: Account, asset: Asset, amount: Decimal) -> None:
    """Asked for by the owner, and paid out by an operator."""
    asked = withdrawals.request(account=account, asset=asset, amount=amount)
    withdrawals.approve(withdrawal_id=asked.pk, actor=None, reason="")


def quoted(
    *, market_id: int, bid: Decimal, ask: Decimal, quoted_at: datetime | None = None,
    stale_after_seconds: float | None = None,
) -> bool:  # fmt: skip
    """A provider's price that the gate has let through. False when a newer one stands there."""
    now = clock.now()
    price = Believed(bid, ask, (bid + ask) / 2, quoted_at or now, now)
    seconds = quotes.stale_seconds() if stale_after_seconds is None else stale_after_seconds
    return quotes.write([(market_id, "SYNTHETIC", price, price.quoted_at + timedelta(seconds=seconds))]) == 1


@contextmanager
def beginning_with(make: Callable[[], object]) -> Iterator[Venue]:
    """A venue as `make` leaves it in an empty database, and nothing left of it afterwards."""
    forget_everything()
    flush.begin_with(make)
    yield Venue()
    forget_everything()


@pytest.fixture
def venue(transactional_db):
    """A fresh venue, and nothing left of it afterwards."""
    with beginning_with(Venue) as made:
        yield made
