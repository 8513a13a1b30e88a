"""The orders' invariants: what each holds, what it filled, and that its status says the same.

Money is compared in the asset's smallest unit, by multiplying with powers of ten only, so that NUMERIC never
has to round. Closed orders are those that can neither rest nor fill any more.
"""

from exchange.audit.check import Check

#: Each order with the scale of its market's quote asset, and what it needs for its remaining quantity at its price.
NEEDS = """
SELECT o.id AS order_id, m.symbol, o.account_id, o.side, o.status, o.price, o.quantity - o.filled_quantity AS remaining,
       greatest(o.maker_rate, o.taker_rate) AS worst_rate, o.reserved, o.list_id, o.list_role,
       CASE
           WHEN o.status NOT IN ('OPEN', 'PARTIALLY_FILLED', 'PENDING') THEN 0
           WHEN o.waits_for_id IS NOT NULL THEN 0
           WHEN c.id IS NOT NULL THEN COALESCE(o.margin_per_lot, 0) * div(o.quantity - o.filled_quantity, m.lot_size)
           WHEN o.price IS NULL THEN 0
           WHEN o.side = 'SELL' THEN o.quantity - o.filled_quantity
           ELSE o.price * (o.quantity - o.filled_quantity)
                + ceil(o.price * (o.quantity - o.filled_quantity) * greatest(o.maker_rate,
                    o.taker_rate) * ('1e' || q.decimals)::numeric)
                * ('1e-' || q.decimals)::numeric
       END AS needed
FROM exchange_order o JOIN marketdata_market m ON m.id = o.market_id JOIN marketdata_asset q ON q.id = m.quote_id
LEFT JOIN marketdata_contract c ON c.market_id = m.id
"""

#: The same, where the waiting stop of a list holds only what it needs above the other exit.
NEEDS_OF_LISTS = f"""
WITH needs AS ({NEEDS})
SELECT n.order_id, n.symbol, n.account_id, n.side, n.status, n.price, n.remaining, n.worst_rate, n.reserved, n.list_id,
       CASE WHEN n.status = 'PENDING' AND n.list_role = 'STOP_LOSS'
            THEN greatest(0, n.needed - COALESCE(other.needed, 0)) ELSE n.needed END AS needed
FROM needs n LEFT JOIN needs other ON other.list_id = n.list_id AND other.list_role = 'TAKE_PROFIT'
"""

#: Which combination of status and quantities cannot be. A market order by amount has as quantity what it bought.
IMPOSSIBLE = """
CASE status
    WHEN 'PENDING' THEN filled_quantity <> 0 OR quantity <= 0
    WHEN 'OPEN' THEN filled_quantity <> 0 OR quantity <= 0
    WHEN 'PARTIALLY_FILLED' THEN filled_quantity <= 0 OR filled_quantity >= quantity
    WHEN 'FILLED' THEN filled_quantity <> quantity OR quantity <= 0
    WHEN 'REJECTED' THEN filled_quantity <> 0
    WHEN 'CANCELLED' THEN filled_quantity >= quantity
    WHEN 'EXPIRED' THEN CASE WHEN quote_quantity IS
        NULL THEN filled_quantity >= quantity ELSE filled_quantity <> quantity END
    ELSE TRUE
END
"""

ORDER_CHECKS = [
    Check(
        4,
        "order_holds_what_it_needs",
        "an open order's reserved = what its remaining quantity needs at its price and worst fee; a closed one's = 0",
        "exchange_order",
        f"SELECT * FROM ({NEEDS_OF_LISTS}) due WHERE reserved <> needed ORDER BY order_id",
        "the order's amendments and fills in the market journal; exchange.live.required states the rule",
    ),
    Check(
        5,
        "filled_is_its_fills",
        "filled_quantity, filled_notional and fee = the sums of the order's fills",
        "exchange_order",
        """
        SELECT o.id AS order_id, o.filled_quantity, f.quantity AS fills_quantity, o.filled_notional,
            f.notional AS fills_notional,
               o.fee, f.fee AS fills_fee
        FROM exchange_order o
        LEFT JOIN (
            SELECT order_id, sum(quantity) AS quantity,
                   sum(price * quantity * COALESCE(c.contract_size, 1)) AS notional, sum(fee) AS fee
            FROM exchange_fill f LEFT JOIN marketdata_contract c ON c.market_id = f.market_id GROUP BY order_id
        ) f ON f.order_id = o.id
        WHERE o.filled_quantity <> COALESCE(f.quantity, 0) OR o.filled_notional <> COALESCE(f.notional, 0)
           OR o.fee <> COALESCE(f.fee, 0)
        ORDER BY o.id
        """,
        "the order's fills: one is missing, doubled, or the order was written past the matcher",
    ),
    Check(
        5,
        "filled_within_quantity",
        "0 ≤ filled ≤ quantity, and nothing about an order is negative",
        "exchange_order",
        """
        SELECT id AS order_id, quantity, filled_quantity, filled_notional, fee, reserved, price FROM exchange_order
        WHERE filled_quantity < 0 OR filled_quantity > quantity OR filled_notional < 0 OR reserved < 0
           OR (fee < 0 AND maker_rate >= 0) OR price <= 0 OR maker_rate < -taker_rate OR taker_rate < 0
        ORDER BY id
        """,
        "the order; the constraint order_filled_within_quantity",
    ),
    Check(
        5,
        "status_agrees",
        "status and filled quantity say the same",
        "exchange_order",
        f"""
        SELECT id AS order_id, status, type, time_in_force, quantity, quote_quantity, filled_quantity
            FROM exchange_order
        WHERE {IMPOSSIBLE}
        ORDER BY id
        """,
        "the order's last commands in the market journal",
    ),
    Check(
        5,
        "terms_agree",
        "only limit orders rest, and none that is IOC; FOK fills whole; a market order has no price; triggers wait",
        "exchange_order",
        """
        SELECT id AS order_id, status, type, time_in_force, price, quote_quantity, post_only FROM exchange_order
        WHERE (type = 'MARKET') <> (price IS NULL)
           OR (status IN ('OPEN', 'PARTIALLY_FILLED') AND (time_in_force IN ('IOC', 'FOK') OR price IS NULL))
           OR (status = 'CANCELLED' AND stop_price IS NULL AND time_in_force IN ('IOC', 'FOK'))
           OR (status IN ('OPEN', 'PARTIALLY_FILLED') AND type IN ('STOP_LOSS', 'TAKE_PROFIT', 'TRAILING_STOP'))
           OR (time_in_force = 'FOK' AND status <> 'FILLED' AND stop_price IS NULL)
           OR (quote_quantity IS NOT NULL AND type <> 'MARKET')
           OR (post_only AND time_in_force IN ('IOC', 'FOK'))
           OR ((type IN ('LIMIT', 'MARKET')) = (stop_price IS NOT NULL))
           OR (status = 'PENDING' AND stop_price IS NULL AND waits_for_id IS NULL)
           OR (status IN ('OPEN', 'PARTIALLY_FILLED') AND stop_price IS NOT NULL AND triggered_at IS NULL)
           OR ((list_id IS NULL) <> (list_role IS NULL))
        ORDER BY id
        """,
        "which door let it in past exchange.validation",
    ),
    Check(
        7,
        "book_not_crossed",
        "best bid < best ask in every market that is not collecting orders for an auction",
        "(SELECT FROM marketdata_market)",
        """
        SELECT m.symbol, s.best_bid, s.best_ask FROM (
            SELECT market_id, max(price) FILTER (WHERE side = 'BUY') AS best_bid,
                min(price) FILTER (WHERE side = 'SELL') AS best_ask
            FROM exchange_order WHERE status IN ('OPEN', 'PARTIALLY_FILLED') GROUP BY market_id
        ) s LEFT JOIN marketdata_market m ON m.id = s.market_id
        WHERE s.best_bid >= s.best_ask AND COALESCE(m.session->>'phase', '') NOT IN ('PRE_OPEN', 'AUCTION', 'CLOSING')
        """,
        "replay of that market: which command left both orders standing",
    ),
    Check(
        8,
        "orders_on_the_grid",
        "prices are on the tick, quantities on the lot",
        "exchange_order",
        """
        SELECT o.id AS order_id, m.symbol, o.price, m.tick_size, o.quantity, o.filled_quantity, m.lot_size
        FROM exchange_order o JOIN marketdata_market m ON m.id = o.market_id
        WHERE mod(o.price, m.tick_size) <> 0 OR mod(o.quantity, m.lot_size) <> 0 OR mod(o.filled_quantity,
            m.lot_size) <> 0
        ORDER BY o.id
        """,
        "whether the market's tick or lot was changed past Market.save",
    ),
    Check(
        12,
        "client_order_id_once",
        "a client_order_id exists once per account",
        "(SELECT FROM exchange_order WHERE client_order_id IS NOT NULL)",
        """
        SELECT account_id, client_order_id, count(*) AS orders, min(id) AS first_order_id, max(id) AS last_order_id
        FROM exchange_order WHERE client_order_id IS NOT NULL
        GROUP BY account_id, client_order_id HAVING count(*) > 1
        """,
        "the unique index order_client_order_id_once_per_account",
    ),
]
