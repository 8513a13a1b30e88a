"""Net positions of locked accounts inside one transaction, and how they are read and written.

A `Positions` belongs to one batch of the matcher: it holds every open position of the accounts that the batch has
locked, of all markets, because a new order must be weighed against all of them. The account's row guards its positions
as it guards its balances. Quantities are lots, money is whole smallest units: quote for cost and realized_quote,
settlement for the rest.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import orjson
from django.db import connection

from accounts import conversion, margin, netting
from accounts.margin import Exposure
from accounts.netting import Net
from accounts.position_models import Position
from accounts.valuation import PRICE_DECIMALS
from marketdata import bulk, clock, markets, marks, units
from marketdata.markets import MarketSpec
from marketdata.refusals import UnreadableMarket


@dataclass(slots=True, eq=False)
class LivePosition:
    """One open position, or one that was closed in this batch."""

    account: int
    spec: MarketSpec
    opened_at: datetime
    id: int = 0
    quantity: int = 0
    cost: int = 0
    margin: int = 0
    reserved: int = 0
    realized_quote: int = 0
    realized: int = 0
    fees: int = 0
    financing: int = 0
    is_new: bool = True
    is_changed: bool = False

    @property
    def net(self) -> Net:
        return Net(self.quantity, self.cost)


@dataclass(slots=True)
class Shortage:
    """A loss beyond what the account had; `reference` is an index of the batch's trades until those have ids."""

    account: int
    spec: MarketSpec
    reference: int
    amount: int
    covered: int


@dataclass(slots=True)
class Positions:
    """The open positions of the locked accounts, and their chosen leverages."""

    #: By account and market: a batch may have locked thousands of accounts, and asks for one at a time.
    open: dict[int, dict[int, LivePosition]] = field(default_factory=dict)
    leverages: dict[tuple[int, int], int] = field(default_factory=dict)
    #: In the order in which they first changed, closed ones included.
    changed: list[LivePosition] = field(default_factory=list)
    shortages: list[Shortage] = field(default_factory=list)
    #: Accounts with positions that are left out, because their market's figures cannot be read. Others may trade with
    #: them, but nobody knows what they may spend.
    unread: set[int] = field(default_factory=set)

    def of(self, account: int, spec: MarketSpec) -> LivePosition | None:
        held = self.open.get(account)
        return held.get(spec.id) if held else None

    def of_account(self, account: int, settlement_id: int) -> list[LivePosition]:
        """The account's open positions that are settled in that asset."""
        return [
            position
            for position in self.open.get(account, {}).values()
            if position.spec.contract.settlement_id == settlement_id
        ]

    def begin(self, account: int, spec: MarketSpec, moment: datetime) -> LivePosition:
        """A new, still empty position."""
        position = LivePosition(account, spec, moment)
        self.put(position)
        return position

    def put(self, position: LivePosition) -> None:
        """Know an open position, in place of the one in its market."""
        self.open.setdefault(position.account, {})[position.spec.id] = position

    def touch(self, position: LivePosition) -> None:
        """It changed; without any quantity it is closed and makes room for the next."""
        if not position.is_changed:
            position.is_changed = True
            self.changed.append(position)
        if not position.quantity:
            self.open.get(position.account, {}).pop(position.spec.id, None)

    def leverage(self, account: int, spec: MarketSpec) -> int:
        chosen = self.leverages.get((account, spec.id), spec.contract.max_leverage)
        return min(chosen, spec.contract.max_leverage)

    def owed(self, account: int, settlement_id: int, *, instead: LivePosition | None) -> int:
        """What available funds owe the account's open positions: what all of them together have lost at their marks (0
        if they have gained), and the margin that they should have reserved and have not. `instead` stands for the one
        in its market. UnreadableMarket where not all of them are known.
        """
        if instead is None and account not in self.open and account not in self.unread:  # as for most who trade spot
            return 0
        held = self._with(account, settlement_id, instead)
        lack = sum(one.margin - one.reserved for one in held)
        return max(0, -self.profit(account, settlement_id, instead=instead)) + lack

    def profit(self, account: int, settlement_id: int, *, instead: LivePosition | None = None) -> int:
        """What the account's open positions together have gained at their marks, or lost; `instead` as above."""
        held = self._with(account, settlement_id, instead)
        return sum(exposure(one.spec, one.net, one.margin).unrealized for one in held)

    def _with(self, account: int, settlement_id: int, instead: LivePosition | None) -> list[LivePosition]:
        if account in self.unread:
            raise UnreadableMarket(
                "The account has a position in a market whose figures make no sense: until an operator has mended them "
                "nobody knows what it may spend."
            )
        held = self.of_account(account, settlement_id)
        if instead is None:
            return held
        return [*(position for position in held if position.spec.id != instead.spec.id), instead]

    def exposures(self, account: int, settlement_id: int) -> list[Exposure]:
        """Each of the account's open positions at its mark."""
        return [
            exposure(position.spec, position.net, position.margin)
            for position in self.of_account(account, settlement_id)
        ]


def exposure(spec: MarketSpec, net: Net, used: int) -> Exposure:
    """A position at the mark. Without a mark it is worth what it cost."""
    mark = marks.mark(spec.id)
    value = net.cost if mark is None else value_at(spec, net.quantity, mark.price)
    rate = conversion.rate_of(spec)
    least = margin.maintenance(spec.contract.tiers, rate.up(abs(value)))
    return Exposure(rate.down(netting.unrealized(net, value)), used, least)


def value_at(spec: MarketSpec, quantity: int, price: Decimal) -> int:
    """A signed quantity (lots) at any price, in quote units, rounded down."""
    ticks = units.EXACT.divide_int(price.scaleb(18), spec.tick_size.scaleb(18))
    if ticks * spec.tick_size == price:
        return spec.notional(int(ticks), 1) * quantity
    fine = int(price.scaleb(18))  # a mark may lie between ticks
    one = int(spec.tick_size.scaleb(18))
    return fine * spec.notional_units * quantity // one


def average_text(spec: MarketSpec, net: Net) -> str | None:
    """The average entry price, rounded half up: to look at, never to settle by."""
    if not net.quantity:
        return None
    scaled = abs(net.cost) * int(spec.tick_size.scaleb(18)) * 10**PRICE_DECIMALS
    divisor = abs(net.quantity) * spec.notional_units * 10**18
    return units.text((2 * scaled + divisor) // (2 * divisor), PRICE_DECIMALS)


# Reading

#: Both in the shape of accounts.opening.SHAPE, the part's number first.
OPEN_PART = """
SELECT {part}::smallint, p.account_id, p.market_id, NULL, NULL, p.id, p.quantity, p.cost,
       json_build_array(p.margin::text, p.reserved::text, p.realized_quote::text, p.realized::text, p.fees::text,
                        p.financing::text)::text,
       p.opened_at, NULL, NULL, NULL, NULL, NULL
FROM accounts_position p WHERE p.account_id = ANY(%s::bigint[]) AND p.closed_at IS NULL
"""
LEVERAGE_PART = """
SELECT {part}::smallint, s.account_id, s.market_id, NULL, NULL, s.leverage::bigint, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL
FROM accounts_marginsetting s WHERE s.account_id = ANY(%s::bigint[])
"""


def parts(account_ids: Collection[int], open_part: int, leverage_part: int) -> list[bulk.Statement]:
    """What accounts.opening must read for `positions_of`, under these numbers."""
    ids = bulk.array(account_ids, "bigint")
    return [(OPEN_PART.format(part=open_part), [ids]), (LEVERAGE_PART.format(part=leverage_part), [ids])]


def read(cursor, account_ids: Collection[int]) -> Positions:
    """The open positions of accounts that are locked."""
    cursor.execute(OPEN_PART.format(part=0), [bulk.array(account_ids, "bigint")])
    return positions_of([row[1:] for row in cursor.fetchall()], [])


def positions_of(open_rows: Iterable[Sequence], leverage_rows: Iterable[Sequence]) -> Positions:
    """The positions in rows of `parts`, without the parts' numbers."""
    found = Positions()
    for account, market, _, _, position_id, quantity, cost, rest, opened_at, *_ in open_rows:
        try:
            spec = markets.by_id(market)
        except UnreadableMarket:
            found.unread.add(account)
            continue
        figures = [Decimal(text) for text in orjson.loads(rest)]
        found.put(live(spec, account, position_id, opened_at, quantity, cost, *figures))
    for account, market, _, _, leverage, *_ in leverage_rows:
        found.leverages[account, market] = leverage
    return found


def live(
    spec: MarketSpec, account: int, position_id: int, opened_at: datetime, quantity: Decimal, cost: Decimal,
    *figures: Decimal,
) -> LivePosition:  # fmt: skip
    """A stored position in whole numbers. `figures`: margin, reserved, realized_quote, realized, fees, financing."""
    settlement = spec.contract.settlement_decimals
    used, reserved, realized_quote, realized, fees, financing = figures
    return LivePosition(
        account,
        spec,
        opened_at,
        position_id,
        spec.lots(quantity),
        units.to_units(cost, spec.quote_decimals),
        units.to_units(used, settlement),
        units.to_units(reserved, settlement),
        units.to_units(realized_quote, spec.quote_decimals),
        *(units.to_units(figure, settlement) for figure in (realized, fees, financing)),
        is_new=False,
    )


#: What accounts would gain by their open positions at their marks, by quote asset: (account_id, asset_id, profit). Who
#: asks for some accounts says so around it.
UNREALIZED = """
SELECT p.account_id, m.quote_id AS asset_id, sum(p.quantity * c.contract_size * k.price - p.cost) AS profit
FROM accounts_position p JOIN marketdata_market m ON m.id = p.market_id
JOIN marketdata_contract c ON c.market_id = m.id JOIN marketdata_mark k ON k.market_id = m.id
WHERE p.closed_at IS NULL GROUP BY p.account_id, m.quote_id
"""


def unrealized_by_quote(account_id: int) -> dict[int, Decimal]:
    """The unrealised profit of an account's open positions at their marks, by quote asset."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT asset_id, profit FROM ({UNREALIZED}) each_quote WHERE account_id = %s", [account_id])
        return dict(cursor.fetchall())


def settlements_of(account_id: int) -> set[int]:
    """The assets in which an account's open positions are settled."""
    rows = Position.objects.filter(account=account_id, closed_at__isnull=True)
    return set(rows.values_list("market__contract__settlement", flat=True))


# Writing


def statements(positions: Positions, trade_ids: Sequence[int], moment: datetime) -> list[bulk.Statement]:
    """Write what changed: closed ones before new ones, which may take their place."""
    old = [position for position in positions.changed if not position.is_new]
    new = [position for position in positions.changed if position.is_new]
    written = []
    if old:
        keys = [("id", "bigint", [position.id for position in old])]
        written.append(bulk.update("accounts_position", keys, _columns(old, moment)))
    if new:
        fixed = [
            ("id", "bigint", [position.id for position in new]),
            ("account_id", "bigint", [position.account for position in new]),
            ("market_id", "bigint", [position.spec.id for position in new]),
            ("opened_at", "timestamptz", [clock.text(position.opened_at) for position in new]),
        ]
        written.append(bulk.insert("accounts_position", [*fixed, *_columns(new, moment)]))
    if positions.shortages:
        written.append(_shortfalls(positions.shortages, trade_ids, moment))
    return written


def _columns(rows: list[LivePosition], moment: datetime) -> list[bulk.Column]:
    def settlement(name: str) -> bulk.Column:
        return name, "numeric", [_settled(row.spec, getattr(row, name)) for row in rows]

    when = clock.text(moment)
    return [
        ("quantity", "numeric", [row.spec.quantity_text(row.quantity) for row in rows]),
        ("cost", "numeric", [row.spec.quote_text(row.cost) for row in rows]),
        ("realized_quote", "numeric", [row.spec.quote_text(row.realized_quote) for row in rows]),
        *(settlement(name) for name in ("margin", "reserved", "realized", "fees", "financing")),
        ("closed_at", "timestamptz", [None if row.quantity else when for row in rows]),
        ("updated_at", "timestamptz", [when] * len(rows)),
    ]


def _shortfalls(shortages: list[Shortage], trade_ids: Sequence[int], moment: datetime) -> bulk.Statement:
    return bulk.insert(
        "accounts_shortfall",
        [
            ("account_id", "bigint", [one.account for one in shortages]),
            ("market_id", "bigint", [one.spec.id for one in shortages]),
            ("asset_id", "bigint", [one.spec.contract.settlement_id for one in shortages]),
            ("trade_id", "bigint", [trade_ids[one.reference] for one in shortages]),
            ("amount", "numeric", [_settled(one.spec, one.amount) for one in shortages]),
            ("covered", "numeric", [_settled(one.spec, one.covered) for one in shortages]),
            ("uncovered", "numeric", [_settled(one.spec, one.amount - one.covered) for one in shortages]),
            ("created_at", "timestamptz", [clock.text(moment)] * len(shortages)),
        ],
    )


def _settled(spec: MarketSpec, amount: int) -> str:
    return units.text(amount, spec.contract.settlement_decimals)


def event(position: LivePosition, leverage: int) -> dict:
    """What the owner hears of a change. `leverage`: what was chosen for that market (Positions.leverage)."""
    return {"type": "position", "position": {**plain_row(position), "leverage": leverage}}


SIDES = ["LONG", "SHORT", "FLAT"]


def side_of(quantity: int) -> str:
    return SIDES[0 if quantity > 0 else 1 if quantity < 0 else 2]


def plain_row(position: LivePosition) -> dict:
    """A position as the wire shows it, without what moves with the mark."""
    spec = position.spec
    return {
        "id": position.id,
        "symbol": spec.symbol,
        "side": side_of(position.quantity),
        "quantity": spec.quantity_text(position.quantity),
        "entry_price": average_text(spec, position.net),
        "settlement_asset": spec.contract.settlement,
        "margin": _settled(spec, position.margin),
        "realized_pnl": _settled(spec, position.realized),
        "fees": _settled(spec, position.fees),
        "financing": _settled(spec, position.financing),
        "opened_at": clock.text(position.opened_at),
    }
