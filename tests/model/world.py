"""A small venue on the database, and the same one as the auditor knows it.

Three markets that share assets crosswise, with different decimals, fees, bands and limits, chosen so that small random
orders often meet a rule. Symbols carry a tag, so that many worlds fit into one database.
"""

from decimal import Decimal
from fractions import Fraction
from itertools import count

from accounts import ledger
from accounts.models import Account, User
from marketdata import markets
from marketdata.models import Asset, Market
from tests.model.auditor import Terms

ACCOUNTS = 5
#: Name, decimals.
ASSETS = (("P", 4), ("Q", 2), ("R", 8))
#: base, quote, tick, lot, maker fee, taker fee, band, reference price, min notional, max quantity, max open orders
MARKETS = (
    ("P", "Q", "0.01", "1", "0.0005", "0.001", "0.1", "100", "150", "40", 50),
    ("R", "Q", "0.5", "0.02", "0", "0.003", None, None, "0.01", "1", 50),
    ("P", "R", "0.00001", "0.01", "0.002", "0.001", "0.2", "0.02", "0.000001", "5", 4),
)
#: Where random prices of each market lie.
MIDDLES = (Fraction(100), Fraction(50), Fraction(1, 50))
#: Of the markets whose base is P, which the model sends into call phases; the third has no rules at all.
AUCTION_SECONDS = 10**7
_tags = count(1)


class World:
    """Assets, markets and accounts, made fresh. `asset("P")` and the like find them by their short names."""

    def __init__(self):
        self.tag = f"W{next(_tags)}"
        self.assets = {
            f"{name}{self.tag}": Asset.objects.create(symbol=f"{name}{self.tag}", name=name, decimals=decimals)
            for name, decimals in ASSETS
        }
        self.markets = {}
        self.terms = [self._market(*row) for row in MARKETS]
        self.accounts = [self._account(number) for number in range(ACCOUNTS)]
        self.fee_accounts = {symbol: ledger.fee_account(market.id).id for symbol, market in self.markets.items()}
        markets.forget()

    @property
    def collectable(self) -> list[str]:
        """The markets that hold auctions."""
        return [terms.symbol for terms in self.terms if terms.base.startswith("P")]

    def asset(self, name: str) -> Asset:
        return self.assets[f"{name}{self.tag}"]

    def _account(self, number: int) -> Account:
        user = User(username=f"{self.tag}-{number}")
        user.set_unusable_password()
        user.save()
        return Account.objects.create(user=user)

    def _market(
        self, base, quote, tick, lot, maker, taker, band, reference, min_notional, max_quantity, max_open
    ) -> Terms:
        one, other = self.asset(base), self.asset(quote)
        market = Market.objects.create(
            symbol=f"{base}{quote}{self.tag}",
            base=one,
            quote=other,
            tick_size=Decimal(tick),
            lot_size=Decimal(lot),
            maker_fee=Decimal(maker),
            taker_fee=Decimal(taker),
            price_band=band and Decimal(band),
            reference_price=reference and Decimal(reference),
            min_notional=Decimal(min_notional),
            max_quantity=Decimal(max_quantity),
            max_open_orders=max_open,
            auction_seconds=AUCTION_SECONDS if base == "P" else 120,
        )
        self.markets[market.symbol] = market
        return Terms(
            market.symbol, one.symbol, other.symbol, one.decimals, other.decimals, Fraction(tick), Fraction(lot),
            Fraction(maker), Fraction(taker), band and Fraction(band), reference and Fraction(reference),
            Fraction(min_notional), Fraction(max_quantity), max_open,
        )  # fmt: skip
