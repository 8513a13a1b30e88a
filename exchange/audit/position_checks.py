"""The positions' invariants: each is the sum of its fills, a market's sum to zero, and no profit came from nowhere.

Profit in the quote asset is exact: what an account's fills paid and brought, plus the cost of what it still has open,
is what its positions say they have realised. What that was in the settlement asset depends on the rates of the
moment, so there the ledger is compared with itself: what a trade's journal moved for traders, fees and insurance went
through the clearing account. Nobody else pays a loss while its account has anything left.
"""

from exchange.audit.check import Check

#: What each account's fills in margin markets come to.
BY_FILLS = """
SELECT f.account_id, f.market_id, sum(CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END) AS quantity,
       sum(f.price * f.quantity * c.contract_size * CASE f.side WHEN 'BUY' THEN -1 ELSE 1 END) AS cash
FROM exchange_fill f JOIN marketdata_contract c ON c.market_id = f.market_id
GROUP BY f.account_id, f.market_id
"""

#: Every position that there ever was: open, closed, and put away.
EVERY_POSITION = """
SELECT account_id, market_id, quantity, cost, realized_quote, realized, fees, financing, closed_at
FROM accounts_position
UNION ALL
SELECT account_id, market_id, 0, 0, realized_quote, realized, fees, financing, closed_at FROM accounts_archivedposition
"""

#: What each account's positions say, all together.
BY_POSITIONS = f"""
SELECT account_id, market_id, sum(quantity) AS quantity, sum(cost) AS cost, sum(realized_quote) AS realized,
       count(*) FILTER (WHERE closed_at IS NULL) AS open
FROM ({EVERY_POSITION}) every_position GROUP BY account_id, market_id
"""

POSITION_CHECKS = [
    Check(
        10,
        "position_is_its_fills",
        "an account's position in a margin market = the sum of its fills there",
        "accounts_position",
        f"""
        SELECT account_id, market_id, f.quantity AS by_fills, p.quantity AS by_positions
        FROM ({BY_FILLS}) f FULL JOIN ({BY_POSITIONS}) p USING (account_id, market_id)
        WHERE COALESCE(f.quantity, 0) <> COALESCE(p.quantity, 0) OR p.open > 1 OR f.account_id IS NULL
        ORDER BY account_id, market_id
        """,
        "the account's fills in that market beside its positions: one was settled twice, or not at all",
    ),
    Check(
        10,
        "positions_sum_to_zero",
        "the open positions of a market sum to zero",
        "(SELECT FROM marketdata_contract)",
        """
        SELECT market_id, sum(quantity) AS sum, count(*) AS open_positions FROM accounts_position
        WHERE closed_at IS NULL GROUP BY market_id HAVING sum(quantity) <> 0
        """,
        "the accounts named by position_is_its_fills",
    ),
    Check(
        10,
        "profit_is_cash_and_cost",
        "profit realised so far = what the fills brought less what they cost, plus the cost of what is open",
        "accounts_position",
        f"""
        SELECT account_id, market_id, f.cash, p.cost, p.realized, f.cash + p.cost - p.realized AS difference
        FROM ({BY_FILLS}) f JOIN ({BY_POSITIONS}) p USING (account_id, market_id)
        WHERE f.cash + p.cost <> p.realized
        ORDER BY account_id, market_id
        """,
        "accounts.netting states the rule; the positions' realized_quote and cost beside the fills",
    ),
    Check(
        10,
        "positions_well_formed",
        "an open position has a quantity and a cost of its sign; a closed one has nothing left",
        "accounts_position",
        """
        SELECT id AS position_id, account_id, market_id, quantity, cost, margin, reserved, closed_at FROM
        accounts_position WHERE (closed_at IS NULL) <> (quantity <> 0) OR sign(cost) <> sign(quantity) OR reserved >
        margin OR reserved < 0 ORDER BY id
        """,
        "the position's last fills",
    ),
    Check(
        3,
        "profit_is_paid",
        "what margin trades and financing paid an account = what its positions say: realised profit, fees, financing,"
        " and what it could not pay",
        "accounts_position",
        f"""
        SELECT account_id, asset_id, due.amount AS by_positions, paid.amount AS by_ledger
        FROM (
            SELECT account_id, asset_id, sum(amount) AS amount FROM (
                SELECT p.account_id, c.settlement_id AS asset_id, p.realized - p.fees - p.financing AS amount
                FROM ({EVERY_POSITION}) p JOIN marketdata_contract c ON c.market_id = p.market_id
                UNION ALL
                SELECT account_id, asset_id, amount FROM accounts_shortfall
            ) each_amount GROUP BY account_id, asset_id HAVING sum(amount) <> 0
        ) due
        FULL JOIN (
            SELECT e.account_id, e.asset_id, sum(e.amount) AS amount
            FROM accounts_journal j JOIN accounts_entry e ON e.journal_id = j.id
            JOIN accounts_account a ON a.id = e.account_id AND a.kind NOT IN ('FEES', 'INSURANCE', 'CLEARING')
            LEFT JOIN exchange_trade t ON j.kind = 'TRADE' AND t.id = j.reference
            LEFT JOIN marketdata_market m ON m.id = t.market_id
            WHERE j.kind = 'FINANCING' OR m.kind = 'MARGIN'
            GROUP BY e.account_id, e.asset_id HAVING sum(e.amount) <> 0
        ) paid USING (account_id, asset_id)
        WHERE due.amount IS DISTINCT FROM paid.amount
        ORDER BY account_id, asset_id
        """,
        "the account's journals of margin trades beside its positions; exchange.margin states who pays what",
    ),
    Check(
        3,
        "shortfall_leaves_nothing",
        "a trade's loss is only paid for a user who has nothing left but pending withdrawals and unsettled trades",
        "accounts_shortfall",
        """
        SELECT s.id AS shortfall_id, s.account_id, s.asset_id, s.trade_id, s.amount, e.balance_after, h.held
        FROM accounts_shortfall s
        JOIN accounts_account a ON a.id = s.account_id AND a.user_id IS NOT NULL
        JOIN accounts_journal j ON j.kind = 'TRADE' AND j.reference = s.trade_id
        CROSS JOIN LATERAL (
            SELECT balance_after FROM accounts_entry
            WHERE account_id = s.account_id AND asset_id = s.asset_id
              AND id <= (SELECT max(id) FROM accounts_entry WHERE journal_id = j.id)
            ORDER BY id DESC LIMIT 1
        ) e
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(amount), 0) AS held FROM (
                SELECT w.amount FROM accounts_withdrawal w
                WHERE w.account_id = s.account_id AND w.asset_id = s.asset_id AND w.requested_at <= s.created_at
                  AND COALESCE(w.decided_at, 'infinity') >= s.created_at
                UNION ALL
                SELECT CASE WHEN d.buyer_id = s.account_id THEN d.notional + d.buyer_fee ELSE d.quantity END
                FROM exchange_settlement d
                JOIN marketdata_market m ON m.id = d.market_id JOIN exchange_trade t ON t.id = d.trade_id
                WHERE (d.buyer_id = s.account_id AND m.quote_id = s.asset_id
                       OR d.seller_id = s.account_id AND m.base_id = s.asset_id)
                  AND t.executed_at <= s.created_at AND COALESCE(d.settled_at, 'infinity') >= s.created_at
            ) each_hold
        ) h
        WHERE e.balance_after > h.held
        ORDER BY s.id
        """,
        "what the account had set aside at that moment, its orders above all: exchange.payable takes it back first",
    ),
]
