"""The demonstration venue: assets, markets, house accounts, two users with money, and an operator.

Seeding adds what is missing and changes nothing that is there, so that it may be run at any time, twice, after it was
interrupted, and by several processes at once (they queue at an advisory lock). The operator's password is random and
kept in a file that only its owner can read; the demo users' password is public, so a venue with them is a demonstration
and nothing else.
"""

import secrets
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.db import transaction

from accounts import ledger, transfers
from accounts.models import Account, Entry, User
from accounts.users import main_account
from exchange import margin_demo
from exchange.simulator import population
from marketdata import files
from marketdata.leadership import alone
from marketdata.markets import spec_of
from marketdata.models import Asset, Market
from marketdata.refusals import Refusal

SEEDING_LOCK = 0x73656564
PASSWORD = "exchange-demo"
OPERATOR = "operator"
REASON = "demo funds"

#: symbol: (name, kind, decimals). Eight decimals even for dollars and euros: tick × lot must be whole in the quote
#: asset's smallest unit, and a fee of 0.05 % on a small trade is a fraction of a cent that must not be rounded away.
ASSETS = {
    "USD": ("US dollar", Asset.Kind.FIAT, 8),
    "EUR": ("Euro", Asset.Kind.FIAT, 8),
    "USDT": ("Tether", Asset.Kind.CRYPTO, 8),
    "BTC": ("Bitcoin", Asset.Kind.CRYPTO, 8),
    "ETH": ("Ether", Asset.Kind.CRYPTO, 8),
    "SOL": ("Solana", Asset.Kind.CRYPTO, 8),
    "AAPL": ("Apple", Asset.Kind.STOCK, 8),
    "MSFT": ("Microsoft", Asset.Kind.STOCK, 8),
    "TSLA": ("Tesla", Asset.Kind.STOCK, 8),
    **margin_demo.ASSETS,
}

#: symbol: (base, quote, tick, lot, largest quantity, least notional, reference price). Shares trade whole.
MARKETS = {
    "AAPL": ("AAPL", "USD", "0.01", "1", "100000", "1", "187.50"),
    "MSFT": ("MSFT", "USD", "0.01", "1", "100000", "1", "420.00"),
    "TSLA": ("TSLA", "USD", "0.01", "1", "100000", "1", "250.00"),
    "BTC_USDT": ("BTC", "USDT", "0.01", "0.00001", "1000", "1", "65000.00"),
    "ETH_USDT": ("ETH", "USDT", "0.01", "0.0001", "10000", "1", "3250.00"),
    "SOL_USDT": ("SOL", "USDT", "0.01", "0.001", "100000", "1", "150.00"),
    "ETH_BTC": ("ETH", "BTC", "0.00001", "0.001", "10000", "0.00002", "0.05000"),
    "USDT_USD": ("USDT", "USD", "0.0001", "0.01", "10000000", "1", "1.0000"),
}
MAKER_FEE, TAKER_FEE, PRICE_BAND = Decimal("0.0005"), Decimal("0.001"), Decimal("0.1")

USERS = ("demo1", "demo2")
FUNDS = {
    "USD": 1_000_000,
    "EUR": 1_000_000,
    "USDT": 1_000_000,
    "BTC": 20,
    "ETH": 300,
    "SOL": 5_000,
    "AAPL": 5_000,
    "MSFT": 5_000,
    "TSLA": 5_000,
}


class OperatorNameTaken(Refusal):
    """An ordinary user has the operator's name: its password is not ours to reset."""

    code, status, title = "operator_name_taken", 409, "The operator's name belongs to an ordinary user"


@dataclass(frozen=True, slots=True)
class Seeded:
    """What seeding found missing and made. `operator_password` is None unless the operator's password is new."""

    assets: int
    markets: int
    users: int
    operator_password: str | None


def seed(*, reset_operator_password: bool = False) -> Seeded:
    """Make whatever of the demonstration is missing."""
    with alone(SEEDING_LOCK):
        ledger.outside_world()
        assets = sum(_make_asset(symbol, *terms) for symbol, terms in ASSETS.items())
        users = sum(_make_user(username) for username in USERS)
        operator_password = _make_operator(reset_operator_password)
        # In one transaction, and last: a venue that has markets is never seeded again by `serve`.
        with transaction.atomic():
            markets = sum(_make_market(symbol, *terms) for symbol, terms in MARKETS.items())
            markets += margin_demo.make_markets()
            for market in Market.objects.filter(symbol__in=MARKETS).select_related("base", "quote").order_by("id"):
                _provide_house(market)
            margin_demo.fund_house(_fund_once)
    return Seeded(assets, markets, users, operator_password)


def operator_password_path() -> Path:
    """Where the operator's password is kept."""
    return Path(settings.DATA_DIR) / "operator_password"


def kept_operator_password() -> str:
    """What is kept there; empty if nothing is, or nothing that can be read."""
    try:
        return operator_password_path().read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _make_asset(symbol: str, name: str, kind: str, decimals: int) -> bool:
    return Asset.objects.get_or_create(symbol=symbol, defaults={"name": name, "kind": kind, "decimals": decimals})[1]


def _make_market(symbol: str, base: str, quote: str, tick: str, lot: str, most: str, least: str, price: str) -> bool:
    if Market.objects.filter(symbol=symbol).exists():
        return False
    Market.objects.create(
        symbol=symbol,
        base=Asset.objects.get(symbol=base),
        quote=Asset.objects.get(symbol=quote),
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_quantity=Decimal(lot),
        max_quantity=Decimal(most),
        min_notional=Decimal(least),
        price_band=PRICE_BAND,
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        reference_price=Decimal(price),
    )
    return True


def _provide_house(market: Market) -> None:
    """The market's fee account, and its simulated participants, whether or not they will trade.

    Only the house gets its money now; the others do when they first trade.
    """
    ledger.fee_account(market.id)
    spec = spec_of(market)
    price = market.last_price or market.reference_price
    if market.kind == Market.Kind.SPOT and price:
        population.funds(population.cast(market.id)[:1], spec, int(price / spec.tick_size))


def _make_user(username: str) -> bool:
    user = User.objects.named(username)
    is_new = user is None
    if is_new:
        user = User(username=username)
        user.set_password(PASSWORD)
        user.save()
    account = main_account(user)
    for symbol, amount in FUNDS.items():
        _fund_once(account, Asset.objects.get(symbol=symbol), Decimal(amount))
    return is_new


def _fund_once(account: Account, asset: Asset, amount: Decimal) -> None:
    """Money that was lost in trading is not given back by seeding again."""
    given = Entry.objects.filter(account=account, asset=asset, journal__reason=REASON)
    if not given.exists():
        transfers.deposit(account=account, asset=asset, amount=amount, reason=REASON)


def _make_operator(reset: bool) -> str | None:
    """The new password, if there is one: a new operator's, or a reset one."""
    user = User.objects.named(OPERATOR)
    if user is not None and not reset:
        return None
    if user is not None and not user.is_superuser:
        raise OperatorNameTaken
    if user is None:
        user = User(username=OPERATOR, is_staff=True, is_superuser=True)
    # Another database's operator may have the one that is kept: there the file would go on to name it.
    password = (not reset and kept_operator_password()) or secrets.token_urlsafe(15)
    user.set_password(password)
    with transaction.atomic():
        user.save()
        main_account(user)
        # Before the commit: who is interrupted in between does it again, and finds no operator yet.
        files.keep(operator_password_path(), password + "\n")
    return password
