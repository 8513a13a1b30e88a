"""The ledger's invariants: journals that sum to zero, and balances that are nothing but their entries.

The outside world's account keeps no balance row and its entries no running balance; every other account has both.
"""

from exchange.audit.check import Check

LEDGER_CHECKS = [
    Check(
        1,
        "journal_sums",
        "the entries of a journal sum to zero per asset",
        "accounts_entry",
        """
        SELECT e.journal_id, a.symbol AS asset, sum(e.amount) AS sum, count(*) AS entries
        FROM accounts_entry e LEFT JOIN marketdata_asset a ON a.id = e.asset_id
        GROUP BY e.journal_id, e.asset_id, a.symbol HAVING sum(e.amount) <> 0
        ORDER BY e.journal_id
        """,
        "the journal in the admin: entries can only be written past the trigger entries_sum_to_zero",
    ),
    Check(
        1,
        "asset_sums",
        "all entries of an asset sum to zero, the outside world included",
        "marketdata_asset",
        """
        SELECT a.id AS asset_id, a.symbol AS asset, s.sum
        FROM (SELECT asset_id, sum(amount) AS sum FROM accounts_entry GROUP BY asset_id) s
        LEFT JOIN marketdata_asset a ON a.id = s.asset_id
        WHERE s.sum <> 0
        """,
        "money appeared or vanished: the journals named by journal_sums",
    ),
    Check(
        1,
        "journals_with_entries",
        "every journal has entries",
        "accounts_journal",
        """
        SELECT j.id AS journal_id, j.kind, j.reference, j.created_at FROM accounts_journal j
        WHERE NOT EXISTS (SELECT FROM accounts_entry e WHERE e.journal_id = j.id) ORDER BY j.id
        """,
        "entries were removed past the trigger entry_never_changes, or a journal was written without its entries",
    ),
    Check(
        2,
        "balances_not_negative",
        "available and reserved are never negative",
        "accounts_balance",
        """
        SELECT b.id AS balance_id, b.account_id, a.symbol AS asset, b.available, b.reserved
        FROM accounts_balance b LEFT JOIN marketdata_asset a ON a.id = b.asset_id
        WHERE b.available < 0 OR b.reserved < 0
        """,
        "the account's statement; the constraints balance_available_not_negative and balance_reserved_not_negative",
    ),
    Check(
        3,
        "balance_is_its_entries",
        "available + reserved = the sum of the account's entries",
        "accounts_balance",
        """
        SELECT account_id, asset_id, b.total AS balance, e.total AS entries,
               COALESCE(b.total, 0) - COALESCE(e.total, 0) AS difference
        FROM (SELECT account_id, asset_id, available + reserved AS total FROM accounts_balance) b
        FULL JOIN (
            SELECT e.account_id, e.asset_id, sum(e.amount) AS total FROM accounts_entry e
            WHERE e.account_id NOT IN (SELECT id FROM accounts_account WHERE kind IN ('OUTSIDE', 'CLEARING'))
            GROUP BY e.account_id, e.asset_id
        ) e USING (account_id, asset_id)
        WHERE COALESCE(b.total, 0) <> COALESCE(e.total, 0) OR (b.total IS NULL AND e.total IS NOT NULL)
        ORDER BY account_id, asset_id
        """,
        "a balance was written past the ledger: the account's statement, and who else updates accounts_balance",
    ),
    Check(
        3,
        "outside_has_no_balance",
        "the outside world and the clearing accounts keep no balance row",
        "(SELECT FROM accounts_account WHERE kind IN ('OUTSIDE', 'CLEARING'))",
        """
        SELECT b.id AS balance_id, b.account_id, b.asset_id FROM accounts_balance b
        JOIN accounts_account a ON a.id = b.account_id WHERE a.kind IN ('OUTSIDE', 'CLEARING')
        """,
        "who posts to the outside world without naming it as such",
    ),
    Check(
        3,
        "running_balances",
        "each entry's balance_after = the one before it + its amount",
        "accounts_entry",
        """
        SELECT id AS entry_id, journal_id, account_id, asset_id, before, amount, balance_after
        FROM (
            SELECT e.*, a.kind IN ('OUTSIDE', 'CLEARING') AS outside,
                   COALESCE(lag(e.balance_after) OVER (PARTITION BY e.account_id, e.asset_id ORDER BY e.id),
                       0) AS before
            FROM accounts_entry e JOIN accounts_account a ON a.id = e.account_id
        ) chain
        WHERE CASE WHEN outside THEN balance_after IS NOT NULL
                   ELSE balance_after IS NULL OR balance_after <> before + amount OR balance_after < 0 END
        ORDER BY id
        """,
        "the account's statement around the entry: two writers without the account's lock",
    ),
    Check(
        3,
        "last_running_balance",
        "the last entry's balance_after = the balance",
        "accounts_balance",
        """
        SELECT b.account_id, b.asset_id, b.available + b.reserved AS balance, e.balance_after, e.id AS entry_id
        FROM accounts_balance b
        LEFT JOIN LATERAL (
            SELECT id, balance_after FROM accounts_entry
            WHERE account_id = b.account_id AND asset_id = b.asset_id ORDER BY id DESC LIMIT 1
        ) e ON TRUE
        WHERE b.available + b.reserved <> COALESCE(e.balance_after, 0)
        """,
        "a balance was written past the ledger after that entry",
    ),
    Check(
        4,
        "reserved_is_what_orders_need",
        "an account's reserved = what its open orders, positions, pending withdrawals and unsettled trades hold",
        "accounts_balance",
        """
        SELECT account_id, asset_id, b.reserved AS balance_reserved, o.reserved AS held,
               COALESCE(b.reserved, 0) - COALESCE(o.reserved, 0) AS difference
        FROM accounts_balance b
        FULL JOIN (
            SELECT account_id, asset_id, sum(reserved) AS reserved FROM (
                SELECT o.account_id, o.reserved,
                       COALESCE(c.settlement_id, CASE o.side WHEN 'BUY' THEN m.quote_id ELSE m.base_id END) AS asset_id
                FROM exchange_order o JOIN marketdata_market m ON m.id = o.market_id
                LEFT JOIN marketdata_contract c ON c.market_id = m.id
                WHERE o.status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED')
                UNION ALL
                SELECT p.account_id, p.reserved, c.settlement_id
                FROM accounts_position p JOIN marketdata_contract c ON c.market_id = p.market_id
                WHERE p.closed_at IS NULL
                UNION ALL
                SELECT account_id, amount, asset_id FROM accounts_withdrawal WHERE status = 'PENDING'
                UNION ALL
                SELECT s.buyer_id, s.notional + s.buyer_fee, m.quote_id
                FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
                UNION ALL
                SELECT s.seller_id, s.quantity, m.base_id
                FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id WHERE s.settled_at IS NULL
            ) each_hold
            GROUP BY 1, 2
        ) o USING (account_id, asset_id)
        WHERE COALESCE(b.reserved, 0) <> COALESCE(o.reserved, 0)
        ORDER BY account_id, asset_id
        """,
        "the account's open orders of markets with that asset and its pending withdrawals: one was settled or"
        " released twice, or not at all",
    ),
]
