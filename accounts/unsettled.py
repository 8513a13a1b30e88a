"""What trades that settle later will bring an account and take from it: binding already, so part of what it is worth.

The table is the room's above (see exchange.deferred) and is only read here, by name. As long as a trade is not settled
its buyer's balance still has the payment and its seller's the quantity, set aside.
"""

from decimal import Decimal

from django.db import connection

#: What each trade brings and takes, less than zero for what goes.
LEGS = """
SELECT s.buyer_id AS account_id, m.base_id AS asset_id, s.quantity AS amount
FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
UNION ALL
SELECT s.buyer_id, m.quote_id, -s.notional - s.buyer_fee
FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
UNION ALL
SELECT s.seller_id, m.base_id, -s.quantity
FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
UNION ALL
SELECT s.seller_id, m.quote_id, s.notional - s.seller_fee
FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
"""
#: The same by account and asset.
UNSETTLED = f"SELECT account_id, asset_id, sum(amount) AS amount FROM ({LEGS}) legs GROUP BY account_id, asset_id"
BOTH_WAYS = f"""
SELECT asset_id, sum(greatest(amount, 0)), sum(greatest(-amount, 0)) FROM ({LEGS}) legs
WHERE account_id = %s GROUP BY asset_id
"""


def of_account(account_id: int) -> dict[int, Decimal]:
    """By asset, of one account."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT asset_id, amount FROM ({UNSETTLED}) u WHERE account_id = %s", [account_id])
        return dict(cursor.fetchall())


def both_ways(account_id: int) -> dict[int, dict[str, Decimal]]:
    """By asset, what one account is still to receive and to deliver."""
    with connection.cursor() as cursor:
        cursor.execute(BOTH_WAYS, [account_id])
        return {asset: {"to_receive": comes, "to_deliver": goes} for asset, comes, goes in cursor.fetchall()}
