"""The sequences' invariants: market journals and account events without a gap, and the heads that they lead to."""

from exchange.audit.check import Check
from exchange.audit.kept import FLOORS, JOURNAL

JOURNAL_CHECKS = [
    Check(
        11,
        "journal_gap_free",
        "a market's journal is numbered 1 … sequence without a gap, or from its checkpoint on",
        "exchange_bookcommand",
        f"""
        SELECT m.symbol, m.sequence, f.sequence AS checkpoint, COALESCE(j.commands, 0) AS commands, j.first, j.last,
               (SELECT min(n.sequence) + 1 FROM exchange_bookcommand n
                   WHERE n.market_id = m.id AND n.sequence > COALESCE(f.sequence, 0) AND NOT EXISTS (
                   SELECT FROM exchange_bookcommand x WHERE x.market_id = m.id
                       AND x.sequence = n.sequence + 1)) AS first_missing
        FROM marketdata_market m
        LEFT JOIN {FLOORS} f ON f.market_id = m.id
        LEFT JOIN (
            SELECT k.market_id, count(*) AS commands, min(k.sequence) AS first, max(k.sequence) AS last
            FROM exchange_bookcommand k LEFT JOIN {FLOORS} g ON g.market_id = k.market_id
            WHERE k.sequence > COALESCE(g.sequence, 0) GROUP BY k.market_id
        ) j ON j.market_id = m.id
        WHERE m.sequence - COALESCE(f.sequence, 0) <> COALESCE(j.commands, 0)
           OR m.sequence <> COALESCE(j.last, f.sequence, 0)
           OR COALESCE(j.first - 1, f.sequence, 0) <> COALESCE(f.sequence, 0)
        ORDER BY m.symbol
        """,
        "rows and sequence are written in one transaction under the market's lock: who wrote without it",
    ),
    Check(
        11,
        "trade_hangs_on_its_command",
        "a trade's sequence is that of the command that brought its taker, or of its auction",
        "exchange_trade",
        f"""
        SELECT t.id AS trade_id, t.market_id, t.sequence, t.taker_order_id, j.kind, j.order_id
        FROM exchange_trade t
        LEFT JOIN {FLOORS} f ON f.market_id = t.market_id
        LEFT JOIN exchange_bookcommand j ON j.market_id = t.market_id AND j.sequence = t.sequence
        WHERE t.sequence > COALESCE(f.sequence, 0)
          AND (j.sequence IS NULL OR j.kind NOT IN ('PLACE', 'AMEND', 'TRIGGER', 'UNCROSS')
               OR (j.kind <> 'UNCROSS' AND j.order_id <> t.taker_order_id))
        ORDER BY t.id
        """,
        "replay of the market up to that sequence",
    ),
    Check(
        11,
        "last_price_is_the_last_trades",
        "a market's last price is its last trade's",
        "marketdata_market",
        """
        SELECT m.symbol, m.last_price, t.price AS last_trade_price, t.id AS trade_id FROM marketdata_market m
        LEFT JOIN LATERAL (
            SELECT id, price FROM exchange_trade WHERE market_id = m.id ORDER BY id DESC LIMIT 1
        ) t ON TRUE
        WHERE m.last_price IS DISTINCT FROM t.price
        """,
        "who updates marketdata_market past the matcher",
    ),
    Check(
        11,
        "events_gap_free",
        "an account's events are numbered without a gap from 1 (or where they are kept from), as many as each row says",
        "accounts_accountevent",
        """
        SELECT account_id, before, first_sequence, last_sequence, events AS numbered FROM (
            SELECT account_id, first_sequence, last_sequence, json_array_length(events) AS events,
                   (events->0->>'sequence')::bigint AS first_event, (events->-1->>'sequence')::bigint AS last_event,
                   COALESCE(lag(last_sequence) OVER (PARTITION BY account_id ORDER BY last_sequence), f.until, 0)
                       AS before
            FROM accounts_accountevent LEFT JOIN exchange_eventfloor f USING (account_id)
        ) chain
        WHERE first_sequence <> before + 1 OR events <> last_sequence - first_sequence + 1
           OR first_event IS DISTINCT FROM first_sequence OR last_event IS DISTINCT FROM last_sequence
        ORDER BY account_id, last_sequence
        """,
        "events are written under the account's lock: who wrote without it",
    ),
    Check(
        11,
        "event_sequence_is_the_last",
        "an account's event sequence is its last event's",
        "accounts_account",
        """
        SELECT a.id AS account_id, a.event_sequence, e.last_sequence FROM accounts_account a
        LEFT JOIN LATERAL (
            SELECT last_sequence FROM accounts_accountevent WHERE account_id = a.id ORDER BY last_sequence DESC LIMIT 1
        ) e ON TRUE
        WHERE a.event_sequence <> COALESCE(e.last_sequence, 0)
        ORDER BY a.id
        """,
        "events are written under the account's lock: who wrote without it",
    ),
    Check(
        12,
        "order_in_journal_once",
        "an order that rested or traded was placed once in the journal, and cancelled once if it says so",
        "exchange_order",
        f"""
        SELECT o.id AS order_id, o.market_id, o.status, COALESCE(j.placed, 0) AS placed, COALESCE(j.cancelled,
            0) AS cancelled
        FROM exchange_order o
        LEFT JOIN {FLOORS} f ON f.market_id = o.market_id
        LEFT JOIN (
            SELECT market_id, order_id, count(*) FILTER (WHERE kind = 'PLACE') AS placed,
                count(*) FILTER (WHERE kind = 'CANCEL') AS cancelled
            FROM {JOURNAL} GROUP BY market_id, order_id
        ) j ON j.market_id = o.market_id AND j.order_id = o.id
        -- What had ended by the checkpoint has no rows left.
        WHERE (j.order_id IS NOT NULL OR o.priority > COALESCE(f.sequence, 0)
               OR f.sequence IS NULL OR o.status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED'))
          AND (COALESCE(j.placed, 0) > 1
           OR (COALESCE(j.placed, 0) = 0 AND (o.filled_quantity > 0 OR o.status IN ('OPEN', 'PARTIALLY_FILLED',
               'CANCELLED')))
           OR COALESCE(j.cancelled, 0) <> CASE o.status WHEN 'CANCELLED' THEN 1 ELSE 0 END)
        ORDER BY o.id
        """,
        "the order's rows in the market journal: an acknowledged command must exist exactly once",
    ),
]
