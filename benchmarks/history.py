"""Gives a venue of benchmarks.population a past: orders that ended and orders that rest, in its first market.

    DATABASE_URL=… python -m benchmarks.history --resting 1000000 --past 10000000 --past-of-one 1000000

Rows are written by SQL, far faster than anybody could trade them, and as the venue would have left them: resting
orders away from the middle with their funds reserved and their place in the queue, past ones cancelled unfilled.
Known limit: they have no journal, so the market's sequence says where it begins and `replay` does not apply.
"""

import argparse
import os

import django

COLUMNS = """
id, account_id, market_id, side, type, time_in_force, post_only, self_trade_prevention, price, quantity,
filled_quantity, filled_notional, fee, reserved, maker_rate, taker_rate, status, priority, created_at,
updated_at, reduce_only
"""
#: 40 levels of ten prices on each side, as benchmarks.load's `resting` has them; a sell reserves its quantity.
RESTING = f"""
INSERT INTO exchange_order ({COLUMNS})
SELECT nextval('exchange_order_id_seq'), accounts[1 + n %% array_length(accounts, 1)], %(market)s, 'SELL', 'LIMIT',
       'GTC', FALSE, 'EXPIRE_MAKER', 105 + (n %% 4000) * 0.01, 0.01, 0, 0, 0, 0.01, 0.0005, 0.001, 'OPEN', n,
       now(), now(), FALSE
FROM generate_series(1, %(count)s) AS n, (SELECT %(accounts)s::bigint[] AS accounts) AS a
"""
PAST = f"""
INSERT INTO exchange_order ({COLUMNS})
SELECT nextval('exchange_order_id_seq'), accounts[1 + n %% array_length(accounts, 1)], %(market)s, 'BUY', 'LIMIT',
       'GTC', FALSE, 'EXPIRE_MAKER', 95 - (n %% 4000) * 0.01, 0.01, 0, 0, 0, 0, 0.0005, 0.001, 'CANCELLED', 0,
       now(), now(), FALSE
FROM generate_series(1, %(count)s) AS n, (SELECT %(accounts)s::bigint[] AS accounts) AS a
"""
RESERVE = """
UPDATE accounts_balance b SET available = available - held, reserved = reserved + held
FROM (SELECT account_id, sum(reserved) AS held FROM exchange_order WHERE status = 'OPEN' GROUP BY account_id) o
WHERE b.account_id = o.account_id AND b.asset_id = (SELECT base_id FROM marketdata_market WHERE id = %(market)s)
"""
CHUNK = 1_000_000


def fill(resting: int, past: int, past_of_one: int = 0) -> None:
    """Write the rows, a chunk per transaction, and let PostgreSQL look at them as it would have by then."""
    from django.db import connection

    from accounts.models import Account
    from marketdata.models import Market

    market = Market.objects.order_by("id").first()
    accounts = list(Account.objects.filter(kind=Account.Kind.MAIN).order_by("id").values_list("id", flat=True))
    with connection.cursor() as cursor:
        parts = ((PAST, accounts[:1], past_of_one), (PAST, accounts, past), (RESTING, accounts, resting))
        for statement, owners, count in parts:
            while count > 0:
                some = min(CHUNK, count)
                cursor.execute(statement, {"market": market.id, "accounts": owners, "count": some})
                count -= some
        cursor.execute(RESERVE, {"market": market.id})
        cursor.execute("UPDATE marketdata_market SET sequence = %s WHERE id = %s", [resting, market.id])
        cursor.execute("VACUUM ANALYZE exchange_order")
        cursor.execute("CHECKPOINT")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Give a venue resting and past orders.")
    parser.add_argument("--resting", type=int, default=0)
    parser.add_argument("--past", type=int, default=0)
    parser.add_argument("--past-of-one", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    fill(options.resting, options.past, options.past_of_one)


if __name__ == "__main__":
    main()
