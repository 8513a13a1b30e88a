"""What of the journals and events is still kept, as the auditor's queries see it.

What retention has deleted cannot be checked row by row any more; it was proved before it went. From there on nothing
may be missing.
"""

#: The sequence of each market's newest checkpoint: the journal can be counted on above it.
FLOORS = "(SELECT market_id, max(sequence) AS sequence FROM exchange_bookcheckpoint GROUP BY market_id)"

#: The journal above the checkpoints, and each order of a checkpoint as if it had been placed there as it stood then.
JOURNAL = f"""(
    SELECT j.market_id, j.sequence, j.kind, j.order_id, j.command FROM exchange_bookcommand j
    LEFT JOIN {FLOORS} f ON f.market_id = j.market_id WHERE j.sequence > COALESCE(f.sequence, 0)
    UNION ALL
    SELECT c.market_id, c.sequence, 'PLACE', o.id,
           json_build_object('price', o.price / m.tick_size, 'quantity', o.quantity / m.lot_size)
    FROM exchange_bookcheckpoint c
    JOIN {FLOORS} f ON f.market_id = c.market_id AND f.sequence = c.sequence
    JOIN marketdata_market m ON m.id = c.market_id
    CROSS JOIN LATERAL jsonb_populate_recordset(NULL::exchange_order, c.orders) o
) AS kept_journal"""
