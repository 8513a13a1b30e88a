"""The matcher's SQL: what a batch reads and locks, and what it writes.

Raw SQL, because a batch must be a handful of round trips whatever its size; the ORM serves everything else. Orders
are written with their state at the end of the batch, so an order that came and went within one is one row, written
once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from accounts import opening, positions
from accounts.ledger import AssetScale, Sheet
from accounts.positions import Positions
from exchange import journal, special_orders
from exchange.books import SIDE_NAMES, LiveBook
from exchange.live import STATUS_NAMES, LiveOrder, reserved
from marketdata import bulk, clock, markets, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import MarketSpec
from marketdata.models import Market


class MarketRow(NamedTuple):
    """What a batch reads of a market under its lock."""

    id: int
    version: int
    status: str
    is_active: bool
    sequence: int
    last_price: Decimal | None


class Found(NamedTuple):
    """Where an order is, whose it is, and whether it was open when looked up."""

    market_id: int
    account_id: int
    is_open: bool


#: NO KEY UPDATE, so that rows which refer to a market can be inserted meanwhile.
MARKETS = """
SELECT id, version, status, is_active, sequence, last_price FROM marketdata_market
WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
MARKET_PART, CLIENT_ID_PART, POSITION_PART, LEVERAGE_PART = range(opening.OTHERS, opening.OTHERS + 4)
#: Both in the shape of accounts.opening.SHAPE.
LOCKED_MARKETS = f"""
SELECT {MARKET_PART}::smallint, id, sequence, is_active, NULL, version, last_price, NULL, status, NULL, NULL, NULL,
       NULL, NULL, NULL
FROM marketdata_market WHERE id = ANY(%s::bigint[])
"""
CLIENT_IDS = f"""
SELECT {CLIENT_ID_PART}::smallint, o.account_id, o.id, NULL, NULL, d.place, NULL, NULL, o.fingerprint, NULL, NULL, NULL,
       NULL, NULL, NULL
FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS d(account_id, client_order_id, place)
JOIN exchange_order o ON o.account_id = d.account_id AND o.client_order_id = d.client_order_id
"""
MARKETS_OF = """
SELECT DISTINCT market_id FROM exchange_order
WHERE account_id = %s AND NOT (status IN ('FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED'))
"""


@dataclass(slots=True)
class Opened:
    """What was read under the locks. `known`: (order id, fingerprint) by (account, client_order_id), of those named
    that were placed before.
    """

    sheet: Sheet
    markets: list[MarketRow]
    known: dict[tuple[int, str], tuple[int, str]]
    positions: Positions


def begin(cursor, ids: Collection[int]) -> list[MarketRow]:
    """Begin the transaction and lock the markets in id order."""
    bulk.execute_prepared(cursor, [("BEGIN", []), (MARKETS, [bulk.array(ids, "bigint")])])
    return [MarketRow(*row) for row in cursor.fetchall()]


def open_accounts(
    cursor,
    account_ids: Collection[int],
    specs: Collection[MarketSpec],
    places: Sequence,
    *,
    begin_markets: Collection[int] | None = None,
) -> Opened:
    """Lock the accounts and read what the batch must know of them.

    With `begin_markets` it also begins the transaction and locks and reads those markets before, all in one round trip.
    """
    before, others = [], []
    if begin_markets is not None:
        ids = bulk.array(begin_markets, "bigint")
        before, others = [("BEGIN", []), (MARKETS, [ids])], [(LOCKED_MARKETS, [ids])]
    named = [cmd for cmd in places if cmd.client_order_id is not None]
    if named:
        names = bulk.array([cmd.client_order_id for cmd in named], "text")
        others.append((CLIENT_IDS, [bulk.array([cmd.account for cmd in named], "bigint"), names]))
    scales = _scales(specs)
    if markets.settlements() & scales.keys():  # what positions have lost is not spent elsewhere
        others += positions.parts(account_ids, POSITION_PART, LEVERAGE_PART)
    sheet, rows = opening.open_with(
        cursor,
        before=before,
        account_ids=account_ids,
        scales=scales,
        holdings_of={spec.base_id for spec in specs if spec.kind == Market.Kind.SPOT},
        others=others,
    )
    market_rows = [
        MarketRow(market_id, version, status, is_active, sequence, last_price)
        for market_id, sequence, is_active, _, version, last_price, _, status, *_ in rows[MARKET_PART]
    ]
    known = {
        (account, named[place - 1].client_order_id): (order_id, fingerprint)
        for account, order_id, _, _, place, _, _, fingerprint, *_ in rows[CLIENT_ID_PART]
    }
    held = positions.positions_of(rows[POSITION_PART], rows[LEVERAGE_PART])
    sheet.positions = held
    return Opened(sheet, sorted(market_rows), known, held)


def _scales(specs: Collection[MarketSpec]) -> dict[int, AssetScale]:
    scales = {}
    for spec in specs:
        scales[spec.base_id] = AssetScale(spec.base, spec.base_decimals)
        scales[spec.quote_id] = AssetScale(spec.quote, spec.quote_decimals)
        if (contract := spec.contract) is not None:
            scales[contract.settlement_id] = AssetScale(contract.settlement, contract.settlement_decimals)
    return scales


def find_orders(cursor, ids: Collection[int]) -> dict[int, Found]:
    """Orders by id from the database."""
    if not ids:
        return {}
    cursor.execute(
        "SELECT id, market_id, account_id, status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED')"
        " FROM exchange_order WHERE id = ANY(%s::bigint[])",
        [bulk.array(ids, "bigint")],
    )
    return {row[0]: Found(*row[1:]) for row in cursor.fetchall()}


def markets_of(cursor, account: int) -> list[int]:
    """The markets in which the account has open orders."""
    cursor.execute(MARKETS_OF, [account])
    return [row[0] for row in cursor.fetchall()]


def order_statements(
    new: Collection[tuple[LiveBook, LiveOrder, str | None]], touched: Collection[tuple[LiveBook, LiveOrder]]
) -> list[bulk.Statement]:
    """Insert the batch's own orders, update those that rested before."""
    statements = []
    if new:
        pairs = [(live, order) for live, order, _ in new]
        fixed = _fixed_columns(pairs, [fingerprint for _, _, fingerprint in new])
        statements.append(bulk.insert("exchange_order", [*fixed, *_state_columns(pairs)]))
        statements += special_orders.statements(pairs)
    if touched:
        pairs = list(touched)
        keys = [("id", "bigint", [order.id for _, order in pairs])]
        statements.append(bulk.update("exchange_order", keys, _state_columns(pairs)))
        statements += special_orders.statements(pairs)
    return statements


def order_columns(pairs: list[tuple[LiveBook, LiveOrder]]) -> list[bulk.Column]:
    """Whole rows of exchange_order, but for the fingerprints, which no book knows."""
    return [*_fixed_columns(pairs, [None] * len(pairs)), *_state_columns(pairs)]


def _fixed_columns(pairs: list[tuple[LiveBook, LiveOrder]], fingerprints: list[str | None]) -> list[bulk.Column]:
    """What an amendment cannot change."""
    orders = [order for _, order in pairs]
    budgets = [None if o.budget is None else live.spec.quote_text(o.budget) for live, o in pairs]
    return [
        ("id", "bigint", [o.id for o in orders]),
        ("account_id", "bigint", [o.account for o in orders]),
        ("market_id", "bigint", [live.spec.id for live, _ in pairs]),
        ("client_order_id", "text", [o.client_order_id for o in orders]),
        ("fingerprint", "text", fingerprints),
        ("side", "varchar", [SIDE_NAMES[o.side] for o in orders]),
        ("type", "varchar", [o.type for o in orders]),
        ("time_in_force", "varchar", [o.time_in_force for o in orders]),
        ("post_only", "boolean", [o.post_only for o in orders]),
        ("self_trade_prevention", "varchar", [o.prevention for o in orders]),
        ("quote_quantity", "numeric", budgets),
        ("reduce_only", "boolean", [o.reduce_only for o in orders]),
        ("maker_rate", "numeric", [units.text(o.maker_rate, RATE_DECIMALS) for o in orders]),
        ("taker_rate", "numeric", [units.text(o.taker_rate, RATE_DECIMALS) for o in orders]),
        ("created_at", "timestamptz", [clock.text(o.created_at) for o in orders]),
    ]


def _state_columns(pairs: list[tuple[LiveBook, LiveOrder]]) -> list[bulk.Column]:
    """What a match or an amendment changes."""
    return [
        ("price", "numeric", [None if o.price is None else live.spec.price_text(o.price) for live, o in pairs]),
        ("quantity", "numeric", [live.spec.quantity_text(o.quantity) for live, o in pairs]),
        ("filled_quantity", "numeric", [live.spec.quantity_text(o.filled) for live, o in pairs]),
        ("filled_notional", "numeric", [live.spec.quote_text(o.filled_notional) for live, o in pairs]),
        ("fee", "numeric", [live.spec.quote_text(o.fee) for live, o in pairs]),
        ("reserved", "numeric", [_reserved_text(live, o) for live, o in pairs]),
        (
            "margin_per_lot",
            "numeric",
            [None if o.margin_per_lot is None else _margin_text(live, o) for live, o in pairs],
        ),
        ("status", "varchar", [STATUS_NAMES[o.status] for _, o in pairs]),
        ("reason", "text", [o.reason for _, o in pairs]),
        ("priority", "bigint", [o.priority for _, o in pairs]),
        ("updated_at", "timestamptz", [clock.text(o.updated_at) for _, o in pairs]),
    ]


def _reserved_text(live: LiveBook, order: LiveOrder) -> str:
    return units.text(reserved(live.spec, order), live.spec.reserve_decimals(order.side))


def _margin_text(live: LiveBook, order: LiveOrder) -> str:
    return units.text(order.margin_per_lot, live.spec.contract.settlement_decimals)


def trade_statements(records: Sequence, moment: datetime) -> list[bulk.Statement]:
    """Insert the trades, and the two fills of each."""
    count, when = len(records), clock.text(moment)
    trade_ids = [r.id for r in records]
    markets = [r.live.spec.id for r in records]
    prices = [r.live.spec.price_text(r.match.price) for r in records]
    quantities = [r.live.spec.quantity_text(r.match.lots) for r in records]
    makers, takers = [r.match.maker for r in records], [r.match.taker for r in records]
    # The two fills of a trade stand together, so that an account's fills by id are its fills by trade.
    orders = _alternating(makers, takers)
    fees = _alternating(
        [r.live.spec.quote_text(r.match.maker_fee) for r in records],
        [r.live.spec.quote_text(r.match.taker_fee) for r in records],
    )
    return [
        bulk.insert(
            "exchange_trade",
            [
                ("id", "bigint", trade_ids),
                ("market_id", "bigint", markets),
                ("sequence", "bigint", [r.sequence for r in records]),
                ("price", "numeric", prices),
                ("quantity", "numeric", quantities),
                ("taker_side", "varchar", [SIDE_NAMES[order.side] for order in takers]),
                ("maker_order_id", "bigint", [order.id for order in makers]),
                ("taker_order_id", "bigint", [order.id for order in takers]),
                ("executed_at", "timestamptz", [when] * count),
            ],
        ),
        bulk.insert(
            "exchange_fill",
            [
                ("trade_id", "bigint", _alternating(trade_ids, trade_ids)),
                ("order_id", "bigint", [order.id for order in orders]),
                ("account_id", "bigint", [order.account for order in orders]),
                ("market_id", "bigint", _alternating(markets, markets)),
                ("side", "varchar", [SIDE_NAMES[order.side] for order in orders]),
                ("role", "varchar", ["MAKER", "TAKER"] * count),
                ("price", "numeric", _alternating(prices, prices)),
                ("quantity", "numeric", _alternating(quantities, quantities)),
                ("fee", "numeric", fees),
                ("executed_at", "timestamptz", [when] * (2 * count)),
            ],
        ),
    ]


def _alternating(makers: list, takers: list) -> list:
    return [value for pair in zip(makers, takers, strict=True) for value in pair]


def journal_statements(
    rows: list[tuple], books: dict[int, LiveBook], records: Sequence, moment: datetime
) -> list[bulk.Statement]:
    """Append to the market journals and move the heads of the markets that changed."""
    traded = {r.live.spec.id for r in records}
    changed = sorted({row[0] for row in rows})
    prices = [units.plain(books[m].last_price) if m in traded else None for m in changed]
    moments = [clock.text(moment) if m in traded else None for m in changed]
    heads = bulk.update(
        "marketdata_market",
        [("id", "bigint", changed)],
        [
            ("sequence", "bigint", [books[m].sequence for m in changed]),
            ("last_price", "numeric", prices),
            ("last_price_updated_at", "timestamptz", moments),
        ],
        "sequence = d.sequence, last_price = COALESCE(d.last_price, t.last_price),"
        " last_price_updated_at = COALESCE(d.last_price_updated_at, t.last_price_updated_at)",
    )
    return [journal.insert(rows), heads]
