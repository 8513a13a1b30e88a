"""What only special orders have, on its way to the database: one statement, and none when a batch has no such order."""

from collections.abc import Sequence

from exchange.books import LiveBook
from exchange.live import LiveOrder, SpecialOrder
from exchange.rendering import percent_text
from marketdata import bulk, clock


def statements(pairs: Sequence[tuple[LiveBook, LiveOrder]]) -> list[bulk.Statement]:
    """Write the terms of the special ones among these orders, whose rows exist."""
    found = columns(pairs)
    return [bulk.update("exchange_order", found[:1], found[1:])] if found else []


def columns(pairs: Sequence[tuple[LiveBook, LiveOrder]]) -> list[bulk.Column]:
    """The ids and terms of the special ones among these orders; nothing where there are none."""
    special = [(live.spec, order) for live, order in pairs if isinstance(order, SpecialOrder)]
    if not special:
        return []
    prices = [(spec.price_text, spec.quantity_text, o) for spec, o in special]
    return [
        ("id", "bigint", [o.id for _, o in special]),
        ("stop_price", "numeric", [None if o.stop is None else price(o.stop) for price, _, o in prices]),
        ("trail_amount", "numeric", [price(o.trail) if o.trail else None for price, _, o in prices]),
        ("trail_percent", "numeric", [percent_text(o.trail_rate) if o.trail_rate else None for _, _, o in prices]),
        (
            "triggered_at",
            "timestamptz",
            [None if o.triggered_at is None else clock.text(o.triggered_at) for _, o in special],
        ),
        ("displayed_quantity", "numeric", [lots(o.display) if o.display else None for _, lots, o in prices]),
        ("visible_quantity", "numeric", [lots(o.remaining) if o.display else None for _, lots, o in prices]),
        ("place", "integer", [o.place for _, o in special]),
        ("expires_at", "timestamptz", [o.expires_at for _, o in special]),
        ("list_id", "bigint", [o.list_id for _, o in special]),
        ("list_kind", "text", [o.list_kind for _, o in special]),
        ("list_role", "text", [o.list_role for _, o in special]),
        ("waits_for_id", "bigint", [o.waits_for for _, o in special]),
    ]
