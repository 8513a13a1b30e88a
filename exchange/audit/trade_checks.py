"""The trades' invariants: two fills each, at the maker's price, within both limits, paid for exactly once.

An order's limit at the time of a trade comes from the market journal (its last PLACE or AMEND up to the trade's
command), so that amended orders are checked like all others.
"""

from exchange.audit.check import Check
from exchange.audit.kept import FLOORS, JOURNAL

#: Each trade beside what its fills say.
FILLS_OF_TRADES = """
SELECT trade_id, count(*) AS fills, count(*) FILTER (WHERE role = 'MAKER') AS makers,
    count(*) FILTER (WHERE role = 'TAKER') AS takers,
       max(order_id) FILTER (WHERE role = 'MAKER') AS maker_order_id,
           max(order_id) FILTER (WHERE role = 'TAKER') AS taker_order_id,
       max(side) FILTER (WHERE role = 'MAKER') AS maker_side, max(side) FILTER (WHERE role = 'TAKER') AS taker_side,
       max(account_id) FILTER (WHERE role = 'MAKER') AS maker_account,
           max(account_id) FILTER (WHERE role = 'TAKER') AS taker_account,
       min(price) AS lowest, max(price) AS highest, min(quantity) AS smallest, max(quantity) AS largest,
       min(market_id) AS first_market, max(market_id) AS last_market
FROM exchange_fill GROUP BY trade_id
"""

#: The price in ticks that an order had from one market sequence to the next.
LIMITS = f"""
SELECT market_id, order_id, (command->>'price')::numeric AS ticks, sequence,
       lead(sequence) OVER (PARTITION BY market_id, order_id ORDER BY sequence) AS next_sequence
FROM {JOURNAL} WHERE kind IN ('PLACE', 'AMEND')
"""

#: What each account must have got and paid, by the fills of spot markets (see position_checks for the others).
DUE = """
SELECT trade_id, account_id, asset_id, sum(amount) AS amount FROM (
    SELECT f.trade_id, f.account_id, m.base_id AS asset_id,
        CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END AS amount
    FROM exchange_fill f JOIN marketdata_market m ON m.id = f.market_id AND m.kind = 'SPOT'
    UNION ALL
    SELECT f.trade_id, f.account_id, m.quote_id,
        CASE f.side WHEN 'BUY' THEN -f.price * f.quantity ELSE f.price * f.quantity END - f.fee
    FROM exchange_fill f JOIN marketdata_market m ON m.id = f.market_id AND m.kind = 'SPOT'
    UNION ALL
    SELECT f.trade_id, house.id, m.quote_id, f.fee
    FROM exchange_fill f JOIN marketdata_market m ON m.id = f.market_id
    AND m.kind = 'SPOT'
    LEFT JOIN accounts_account house ON house.market_id = m.id AND house.kind = 'FEES'
) due GROUP BY trade_id, account_id, asset_id HAVING sum(amount) <> 0
"""

#: What each account got and paid, by the ledger.
PAID = """
SELECT j.reference AS trade_id, e.account_id, e.asset_id, sum(e.amount) AS amount
FROM accounts_journal j JOIN accounts_entry e ON e.journal_id = j.id
LEFT JOIN exchange_trade t ON t.id = j.reference LEFT JOIN marketdata_market m ON m.id = t.market_id
WHERE j.kind = 'TRADE' AND m.kind IS DISTINCT FROM 'MARGIN'
GROUP BY j.reference, e.account_id, e.asset_id HAVING sum(e.amount) <> 0
"""

TRADE_CHECKS = [
    Check(
        5,
        "fills_agree_with_orders",
        "a fill has its order's account, market and side, and a fee of notional × rate, rounded down; a rebate is at"
        " most what the taker pays",
        "exchange_fill",
        f"""
        SELECT f.id AS fill_id, f.trade_id, f.order_id, f.account_id, o.account_id AS order_account_id, f.side,
            o.side AS order_side,
               f.role, f.price, f.quantity, f.fee
        FROM exchange_fill f
        JOIN exchange_order o ON o.id = f.order_id
        JOIN marketdata_market m ON m.id = f.market_id
        JOIN marketdata_asset q ON q.id = m.quote_id
        LEFT JOIN marketdata_contract c ON c.market_id = m.id
        WHERE f.account_id <> o.account_id OR f.market_id <> o.market_id OR f.side <> o.side
           OR (o.post_only AND f.role = 'TAKER' AND NOT EXISTS (
               SELECT FROM exchange_trade t LEFT JOIN {FLOORS} k ON k.market_id = t.market_id
               LEFT JOIN exchange_bookcommand j ON j.market_id = t.market_id AND j.sequence = t.sequence
               WHERE t.id = f.trade_id AND (j.kind = 'UNCROSS' OR t.sequence <= k.sequence)))
           OR f.fee * ('1e' || q.decimals)::numeric <> greatest(
               floor(f.price * f.quantity * COALESCE(c.contract_size, 1)
                   * CASE f.role WHEN 'MAKER' THEN o.maker_rate ELSE o.taker_rate END
                   * ('1e' || q.decimals)::numeric),
               CASE WHEN f.role = 'MAKER' AND o.maker_rate < 0 THEN (
                   SELECT -p.fee * ('1e' || q.decimals)::numeric FROM exchange_trade t
                   JOIN exchange_fill p ON p.order_id = t.taker_order_id AND p.trade_id = t.id
                   WHERE t.id = f.trade_id) END)
        ORDER BY f.id
        """,
        "the fill and its order; exchange.live.fee_on states the rule of fees",
    ),
    Check(
        8,
        "trade_has_two_fills",
        "a trade has one maker and one taker of opposite sides, other accounts, and its own price and quantity",
        "exchange_trade",
        f"""
        SELECT COALESCE(t.id, f.trade_id) AS trade_id, f.fills, t.maker_order_id,
            f.maker_order_id AS fill_maker_order_id,
               t.taker_order_id, f.taker_order_id AS fill_taker_order_id, t.price, f.lowest, f.highest, t.quantity,
                   f.smallest, f.largest
        FROM exchange_trade t FULL JOIN ({FILLS_OF_TRADES}) f ON f.trade_id = t.id
        WHERE t.id IS NULL OR f.trade_id IS NULL OR f.fills <> 2 OR f.makers <> 1 OR f.takers <> 1
           OR f.maker_order_id <> t.maker_order_id OR f.taker_order_id <> t.taker_order_id
           OR f.taker_side <> t.taker_side OR f.maker_side = f.taker_side OR f.maker_account = f.taker_account
           OR f.lowest <> t.price OR f.highest <> t.price OR f.smallest <> t.quantity OR f.largest <> t.quantity
           OR f.first_market <> t.market_id OR f.last_market <> t.market_id
        ORDER BY 1
        """,
        "the trade's fills: they are written in one statement with it",
    ),
    Check(
        8,
        "trades_on_the_grid",
        "a trade's price is on the tick, its quantity on the lot, both positive",
        "exchange_trade",
        """
        SELECT t.id AS trade_id, m.symbol, t.price, m.tick_size, t.quantity, m.lot_size
        FROM exchange_trade t JOIN marketdata_market m ON m.id = t.market_id
        WHERE t.price <= 0 OR t.quantity <= 0 OR mod(t.price, m.tick_size) <> 0 OR mod(t.quantity, m.lot_size) <> 0
        ORDER BY t.id
        """,
        "whether the market's tick or lot was changed past Market.save",
    ),
    Check(
        8,
        "trade_within_limits",
        "a trade happens at the maker's price (an auction's within it) and within the taker's limit, by the journal",
        "exchange_trade",
        f"""
        WITH limits AS MATERIALIZED ({LIMITS})
        SELECT t.id AS trade_id, m.symbol, t.sequence, t.price, t.taker_side, t.maker_order_id,
            maker.ticks * m.tick_size AS maker_price,
               t.taker_order_id, taker.ticks * m.tick_size AS taker_limit
        FROM exchange_trade t
        JOIN marketdata_market m ON m.id = t.market_id
        LEFT JOIN {FLOORS} f ON f.market_id = t.market_id
        LEFT JOIN limits maker ON maker.market_id = t.market_id AND maker.order_id = t.maker_order_id
             AND maker.sequence < t.sequence AND (maker.next_sequence IS NULL OR maker.next_sequence > t.sequence)
        LEFT JOIN limits taker ON taker.market_id = t.market_id AND taker.order_id = t.taker_order_id
             AND taker.sequence <= t.sequence AND (taker.next_sequence IS NULL OR taker.next_sequence > t.sequence)
        LEFT JOIN exchange_bookcommand j ON j.market_id = t.market_id AND j.sequence = t.sequence
        WHERE t.sequence > COALESCE(f.sequence, 0) AND (
           maker.sequence IS NULL OR maker.ticks IS NULL OR taker.sequence IS NULL
           OR (j.kind IS DISTINCT FROM 'UNCROSS' AND t.price <> maker.ticks * m.tick_size)
           OR (j.kind = 'UNCROSS' AND t.taker_side = 'BUY' AND t.price < maker.ticks * m.tick_size)
           OR (j.kind = 'UNCROSS' AND t.taker_side = 'SELL' AND t.price > maker.ticks * m.tick_size)
           OR (t.taker_side = 'BUY' AND t.price > taker.ticks * m.tick_size)
           OR (t.taker_side = 'SELL' AND t.price < taker.ticks * m.tick_size))
        ORDER BY t.id
        """,
        "the two orders in the market journal around that sequence, and replay of the market",
    ),
    Check(
        8,
        "orders_have_the_journals_terms",
        "an order's price (and quantity, once amended) = its last terms in the market journal",
        "(SELECT FROM exchange_bookcommand WHERE kind IN ('PLACE', 'AMEND'))",
        f"""
        SELECT o.id AS order_id, m.symbol, o.price, (last.command->>'price')::numeric * m.tick_size AS journal_price,
               o.quantity, (last.command->>'quantity')::numeric * m.lot_size AS journal_quantity, last.sequence
        FROM (
            SELECT DISTINCT ON (market_id, order_id) market_id, order_id, command, sequence FROM {JOURNAL}
            WHERE kind IN ('PLACE', 'AMEND') OR (kind = 'TRIGGER' AND command->>'quantity' IS NOT NULL)
            ORDER BY market_id, order_id, sequence DESC
        ) last
        JOIN exchange_order o ON o.id = last.order_id JOIN marketdata_market m ON m.id = last.market_id
        WHERE o.market_id <> last.market_id OR o.price IS DISTINCT FROM (last.command->>'price')::numeric * m.tick_size
           OR (o.quote_quantity IS NULL AND o.quantity <> (last.command->>'quantity')::numeric * m.lot_size
               AND (o.list_kind IS DISTINCT FROM 'BRACKET' OR o.list_role = 'ENTRY'
                   OR o.quantity > (last.command->>'quantity')::numeric * m.lot_size))
        ORDER BY o.id
        """,
        "the order was written past the matcher, or its journal rows were",
    ),
    Check(
        3,
        "trade_journal_once",
        "every trade has one TRADE journal; one that is not settled yet has none, one of a margin market may have none",
        "exchange_trade",
        """
        SELECT COALESCE(t.id, j.reference) AS trade_id, COALESCE(j.journals, 0) AS journals, j.first_journal_id
        FROM exchange_trade t JOIN marketdata_market m ON m.id = t.market_id
        FULL JOIN (
            SELECT reference, count(*) AS journals, min(id) AS first_journal_id FROM accounts_journal
                WHERE kind = 'TRADE' GROUP BY reference
        ) j ON j.reference = t.id
        LEFT JOIN exchange_settlement s ON s.trade_id = t.id
        WHERE t.id IS NULL OR COALESCE(j.journals, 0) > 1
            OR (s.trade_id IS NOT NULL AND s.settled_at IS NULL AND j.journals IS NOT NULL)
            OR (m.kind = 'SPOT' AND j.journals IS NULL AND (s.trade_id IS NULL OR s.settled_at IS NOT NULL))
        ORDER BY 1
        """,
        "the trade was settled twice, or not at all",
    ),
    Check(
        3,
        "trade_is_paid",
        "what a trade's journal moved = what its fills say: quantity, notional and fees",
        "exchange_fill",
        f"""
        SELECT trade_id, account_id, asset_id, due.amount AS by_fills, paid.amount AS by_ledger
        FROM ({DUE}) due FULL JOIN ({PAID}) paid USING (trade_id, account_id, asset_id)
        WHERE due.amount IS DISTINCT FROM paid.amount
            AND NOT EXISTS (SELECT FROM exchange_settlement s WHERE s.trade_id = due.trade_id AND s.settled_at IS NULL)
        ORDER BY trade_id
        """,
        "the journal of that trade; exchange.spot.settle states who pays what",
    ),
]
