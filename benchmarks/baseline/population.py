"""Fills the baseline's database: the same answer as benchmarks.population, for the same load.

DATABASE_URL=… python -m benchmarks.baseline.population --users 20 --markets 1
"""

import argparse
import json
import os
from datetime import timedelta
from decimal import Decimal

import django

FUNDS = Decimal(10**12)


def populate(users: int, markets: int) -> dict:
    """Migrate and fill."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework_simplejwt.tokens import AccessToken

    from benchmarks.baseline.models import Balance, Market

    call_command("migrate", verbosity=0, interactive=False)
    made = [Market.objects.create(symbol=f"M{number}_USD", base=f"M{number}", quote="USD") for number in range(markets)]
    assets = ["USD", *(market.base for market in made)]
    rows = []
    for number in range(users):
        user = User.objects.create(username=f"trader{number}")
        for asset in assets:
            Balance.objects.create(user=user, asset=asset, available=FUNDS)
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=timedelta(days=1))
        rows.append({"username": user.username, "token": str(token)})
    return {"users": rows, "markets": [market.symbol for market in made]}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Fill the baseline's empty database.")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--markets", type=int, required=True)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.baseline.settings"
    django.setup()
    print(json.dumps(populate(options.users, options.markets)))


if __name__ == "__main__":
    main()
