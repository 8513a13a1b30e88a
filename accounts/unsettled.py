"""What trades that settle later will bring an account and take from it: binding already, so part of what it is worth.

The table is the room's above (see exchange.deferred) and is only read here, by name. As long as a trade is not settled
its buyer's balance still has the payment and its seller's the quantity, set aside.
"""

from decimal import Decimal

from django.db import connection

#: By account and asset, less than zero for what goes.
UNSETTLED = """
SELECT account_id, asset_id, sum(amount) AS amount FROM (
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
) legs GROUP BY account_id, asset_id
"""


def of_account(account_id: int) -> dict[int, Decimal]:
    """By asset, of one account."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT asset_id, amount FROM ({UNSETTLED}) u WHERE account_id = %s", [account_id])
        return dict(cursor.fetchall())
