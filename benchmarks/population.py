"""Fills an empty database for a measurement or a proof, and tells on standard output who and what is in it.

    DATABASE_URL=… DATA_DIR=… python -m benchmarks.population --users 20 --markets 4 [--margin 1]

Migrates, then makes assets, markets `M0_USD`, `M1_USD`, …, margin markets `P0_USD`, … (quoted by the house from
synthetic prices) and users `trader0`, … with funds of everything, all
through the services that the venue itself uses. The answer is one line of JSON:
`{"users": [{"username", "account", "token"}], "markets": [symbol], "margin": [symbol]}`; the tokens are access tokens.

A process of its own, so that the one that measures needs no Django and may look after several databases.
"""

import argparse
import json
import os
from decimal import Decimal

import django

FUNDS = Decimal(10**12)
MIDDLE = 100
ASSET_DECIMALS = 8


def populate(users: int, markets: int, margin: int = 0) -> dict:
    """Migrate and fill; returns the answer described above."""
    from django.core.management import call_command

    from accounts.ledger import fee_account
    from marketdata.models import Asset

    call_command("migrate", verbosity=0, interactive=False)
    quote = Asset.objects.create(symbol="USD", name="US dollar", kind=Asset.Kind.FIAT, decimals=ASSET_DECIMALS)
    made = [_market(number, quote) for number in range(markets)]
    for market in made:
        fee_account(market.id)
    assets = [quote, *(market.base for market in made)]
    leveraged = [_margin_market(number, quote) for number in range(margin)]
    return {
        "users": [_trader(number, assets) for number in range(users)],
        "markets": [market.symbol for market in made],
        "margin": [market.symbol for market in leveraged],
    }


def _market(number: int, quote):
    """A market around the price of MIDDLE, with a tick of 0.01, a lot of 0.001 and fees."""
    from marketdata.models import Asset, Market

    base = Asset.objects.create(symbol=f"M{number}", name=f"Coin {number}", decimals=ASSET_DECIMALS)
    return Market.objects.create(
        symbol=f"{base}_{quote}",
        base=base,
        quote=quote,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"),
        min_notional=Decimal("0.01"),
        price_band=Decimal("0.5"),
        maker_fee=Decimal("0.0005"),
        taker_fee=Decimal("0.001"),
        max_open_orders=10_000_000,
        reference_price=Decimal(MIDDLE),
    )


def _margin_market(number: int, quote):
    """Contracts of one unit around the price of MIDDLE at 20:1, for which the house quotes and can pay."""
    from accounts import house, transfers
    from accounts.ledger import fee_account
    from exchange.house_quotes import house_account
    from marketdata.models import Asset, Contract, Market, PriceSource

    base = Asset.objects.create(symbol=f"P{number}", name=f"Contract {number}", decimals=ASSET_DECIMALS)
    market = Market.objects.create(
        symbol=f"{base}_{quote}", kind=Market.Kind.MARGIN, base=base, quote=quote, tick_size=Decimal("0.01"),
        lot_size=Decimal("0.01"), price_band=Decimal("0.05"), reference_price=Decimal(MIDDLE),
    )  # fmt: skip
    Contract.objects.create(
        market=market, settlement=quote, contract_size=Decimal(1), max_leverage=20, is_quoted=True,
        quote_spread_ticks=4, quote_size_lots=5_000, exposure_limit_lots=50_000,
    )  # fmt: skip
    source = {"provider": PriceSource.Provider.SYNTHETIC, "provider_symbol": f"{market.symbol}@{MIDDLE}"}
    PriceSource.objects.create(market=market, spread=Decimal("0.0005"), band=Decimal("0.05"), **source)
    fee_account(market.id)
    for account in (house.insurance_fund(), house_account(market.id)):
        transfers.deposit(account=account, asset=quote, amount=FUNDS, reason="benchmark")
    return market


def _trader(number: int, assets: list) -> dict:
    from rest_framework_simplejwt.tokens import AccessToken

    from accounts import transfers
    from accounts.models import User
    from accounts.users import main_account

    # No password: nobody logs in, and hashing one is meant to be slow.
    user = User(username=f"trader{number}")
    user.set_unusable_password()
    user.save()
    account = main_account(user)
    for asset in assets:
        transfers.deposit(account=account, asset=asset, amount=FUNDS, reason="benchmark")
    return {"username": user.username, "account": account.id, "token": str(AccessToken.for_user(user))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Fill an empty database with traders and markets.")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--markets", type=int, required=True)
    parser.add_argument("--margin", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    print(json.dumps(populate(options.users, options.markets, options.margin)))


if __name__ == "__main__":
    main()
