"""What an account's pages cost when it is rich and old, against an empty one.

    python -m benchmarks.accounts [--entries 1000000] [--holdings 50] [--requests 200]

A private database gets an account with that many entries over that many assets, all bought and priced, and one with
nothing but its first deposit. Timed are whole requests through Django in this process, without a network: the summary,
the newest page of the statement, and one from the middle of the history, of one asset and of all.
"""

import argparse
import statistics
import sys
from decimal import Decimal

from benchmarks.candles import milliseconds
from benchmarks.in_process import private_tables
from benchmarks.report import table

PRICE = 100
JOURNALS = """
INSERT INTO accounts_journal (id, kind, reference, reason, actor_id, created_at)
SELECT n, 'TRADE', n, '', NULL, now() - (%(entries)s - n) * interval '1 second'
FROM generate_series(1, %(entries)s) AS n
"""
# The other side of each is the outside world's, so that every journal sums to zero.
ENTRIES = """
INSERT INTO accounts_entry (journal_id, account_id, asset_id, amount, balance_after)
SELECT n, side.account, assets.ids[1 + n %% array_length(assets.ids, 1)], side.amount, side.balance
FROM generate_series(1, %(entries)s) AS n,
     (SELECT %(assets)s::bigint[] AS ids) AS assets,
     LATERAL (VALUES (%(account)s, 1, n), (%(outside)s, -1, NULL)) AS side(account, amount, balance)
ORDER BY n
"""
BALANCES = """
INSERT INTO accounts_balance (account_id, asset_id, available, reserved)
SELECT %(account)s, id, %(entries)s, 0 FROM unnest(%(assets)s::bigint[]) AS id ON CONFLICT DO NOTHING
"""
HOLDINGS = """
INSERT INTO accounts_holding (account_id, asset_id, quote_id, quantity, cost, fees, fills)
SELECT %(account)s, id, %(quote)s, 5, 400, 1, 3 FROM unnest(%(assets)s::bigint[]) AS id WHERE id <> %(quote)s
"""


def prepare(entries: int, holdings: int) -> tuple[dict[str, str], int]:
    """Fill the empty database; both accounts' tokens, and the id in the middle of the rich one's history."""
    from django.db import connection
    from rest_framework_simplejwt.tokens import AccessToken

    from accounts import ledger, transfers, users
    from accounts.models import Entry
    from marketdata.models import Asset, Market

    quote = Asset.objects.create(symbol="USD", name="US dollar", kind=Asset.Kind.FIAT, decimals=8)
    assets = [Asset.objects.create(symbol=f"A{n}", name=f"Asset {n}", decimals=8) for n in range(holdings)]
    for asset in assets:
        market = Market.objects.create(symbol=f"{asset}_USD", base=asset, quote=quote)
        Market.objects.filter(pk=market.pk).update(last_price=PRICE)
    tokens = {}
    for name in ("rich", "empty"):
        user = users.register(username=name, password="a-long-enough-phrase")
        tokens[name] = str(AccessToken.for_user(user))
        account = users.main_account(user)
        if name == "empty":
            transfers.deposit(account=account, asset=quote, amount=Decimal(1), reason="benchmark")
            continue
        terms = {
            "entries": entries, "account": account.pk, "outside": ledger.outside_world().pk, "quote": quote.pk,
            "assets": [quote.pk, *(asset.pk for asset in assets)],
        }  # fmt: skip
        with connection.cursor() as cursor:
            for statement in (JOURNALS, ENTRIES, BALANCES, HOLDINGS):
                cursor.execute(statement, terms)
            cursor.execute("SELECT setval('accounts_journal_id_seq', %s)", [entries])
            cursor.execute("VACUUM ANALYZE")
        ids = Entry.objects.filter(account=account).order_by("id").values_list("pk", flat=True)
        middle = ids[entries // 2]
    return tokens, middle


def measure(tokens: dict[str, str], middle: int, requests: int) -> list[list]:
    """A row for each page: p50 of the empty account and of the rich one in ms, and their ratio."""
    from django.test import Client

    from config.pagination import written

    client = Client()

    def get(path: str, name: str) -> None:
        answer = client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {tokens[name]}"})
        assert answer.status_code == 200, (path, answer.content[:500])

    def cost(path: str, name: str) -> float:
        get(path, name)
        return statistics.median(milliseconds(lambda: get(path, name), requests))

    cursor = f"cursor={written(middle)}"
    pages = {
        "portfolio/summary/": ("portfolio/summary/", "portfolio/summary/"),
        "ledger/, newest": ("ledger/", "ledger/"),
        "ledger/, from the middle": ("ledger/", f"ledger/?{cursor}"),
        "ledger/?asset=USD, newest": ("ledger/?asset=USD", "ledger/?asset=USD"),
        "ledger/?asset=USD, from the middle": ("ledger/?asset=USD", f"ledger/?asset=USD&{cursor}"),
    }
    rows = []
    for what, (plain, full) in pages.items():
        few, many = cost(plain, "empty"), cost(full, "rich")
        rows.append([what, few, many, many / few])
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the pages of a rich account against an empty one's.")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--holdings", type=int, default=50)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    with private_tables(RATE_LIMITS="off"):
        tokens, middle = prepare(options.entries, options.holdings)
        heads = ["page", "empty p50 ms", f"{options.holdings} holdings, {options.entries:,} entries", "ratio"]
        print(table(heads, measure(tokens, middle, options.requests)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
