"""Locking accounts and reading all that the matcher must know of them, in one round trip.

Several statements may travel together, but only the last one's rows come back: so everything is read by one query,
whose parts have one wide shape and are told apart by their first column. What other rooms need to read at the same
moment travels as further parts of theirs (see `SHAPE`).

Invariant: the locks are taken by statements of their own before the query, so that it sees what was committed before
they were granted. Accounts are locked in id order.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

from accounts import ledger
from accounts.ledger import AssetScale, Sheet
from marketdata import bulk, clock

#: The columns of every part, by type; a part leaves those it does not use NULL.
SHAPE = (
    "smallint", "bigint", "bigint", "boolean", "boolean", "bigint", "numeric", "numeric", "text", "timestamptz",
    "timestamptz", "bigint[]", "numeric", "bigint", "bigint",
)  # fmt: skip
ACCOUNTS, HOLDINGS = 0, 1
#: Parts of other rooms are numbered from here.
OTHERS = 2

#: The balances are looked up for one account after the other. As a plain join they may be read the other way round,
#: from all owners of the assets, when the plan is made while there are few (tests/trading/test_plans.py).
ACCOUNT_PART = f"""
SELECT {ACCOUNTS}::smallint, a.id, a.event_sequence,
       a.is_active AND a.stopped_by = '' AND COALESCE(u.is_active, TRUE), a.user_id IS NOT NULL,
       b.asset_id, b.available, b.reserved, pg_current_xact_id()::text, a.opens_at, a.closes_at, a.market_ids,
       NULL::numeric, NULL::bigint, NULL::bigint
FROM accounts_account a
LEFT JOIN accounts_user u ON u.id = a.user_id
LEFT JOIN LATERAL (
    SELECT asset_id, available, reserved FROM accounts_balance
    WHERE account_id = a.id AND asset_id = ANY(%s::bigint[]) OFFSET 0
) b ON TRUE
WHERE a.id = ANY(%s::bigint[])
"""
HOLDING_PART = f"""
SELECT {HOLDINGS}::smallint, h.account_id, h.fills, NULL, NULL, h.asset_id, h.quantity, h.cost, NULL, NULL, NULL, NULL,
       h.fees, h.quote_id, q.decimals
FROM accounts_holding h JOIN marketdata_asset q ON q.id = h.quote_id
WHERE h.account_id = ANY(%s::bigint[]) AND h.asset_id = ANY(%s::bigint[])
"""


def open_with(
    cursor,
    *,
    before: Sequence[bulk.Statement],
    account_ids: Collection[int],
    scales: dict[int, AssetScale],
    holdings_of: Collection[int],
    others: Sequence[bulk.Statement],
) -> tuple[Sheet, dict[int, list[tuple]]]:
    """Execute what comes `before`, lock the accounts, then read them with their balances of the assets in `scales`,
    their holdings of those in `holdings_of`, and the parts of `others`.

    The sheet, and the rows of the other parts by number, without it.
    """
    ids = bulk.array(account_ids, "bigint")
    parts = [
        (ACCOUNT_PART, [bulk.array(scales, "bigint"), ids]),
        (HOLDING_PART, [ids, bulk.array(holdings_of, "bigint")]),
        *others,
    ]
    read = " UNION ALL ".join(text for text, _ in parts), [value for _, values in parts for value in values]
    bulk.execute_prepared(cursor, [*before, (ledger.LOCK, [ids]), read])
    found = defaultdict(list)
    for part, *row in cursor.fetchall():
        found[part].append(row)
    # The moment is that of the locks: no later command of these accounts and markets has an earlier one.
    sheet = ledger.sheet_of((row[:11] for row in found[ACCOUNTS]), scales, clock.now())
    sheet.holdings = [
        (account, asset, quote, quantity, cost, fees, fills, decimals)
        for account, fills, _, _, asset, quantity, cost, *_, fees, quote, decimals in found[HOLDINGS]
    ]
    return sheet, found
