"""What was bought, what it cost on average, and what selling it brought: kept up trade by trade.

The rules, in whole smallest units:
- A pool is what an account bought of an asset with one quote asset and still has. A purchase adds its quantity, and
  its notional with the fee to the cost. The average price is cost / quantity.
- A sale takes from the pool of its own quote asset, as much as there is, at average cost. The part that it takes is
  realised: proceeds are the notional less the fee, for that part; pnl = proceeds - cost.
- Both shares are rounded down to the quote asset's smallest unit, and who takes all of a pool takes all of its cost:
  the costs of all sales and what is left add up exactly to what was paid.
- What came by a deposit, a transfer or an adjustment carries no cost. It leaves after what was bought: a sale beyond
  the pool realises nothing.
- What left by other ways than a sale against the pool's quote asset (a withdrawal, a payment, a sale for another quote
  asset) shows by the balance: before each fill, pools are cut down to what the account owned, at average cost, those
  of other quote assets first, by id. A reader cuts them to the balance in the same way (see `within`).

`fold` is pure. The matcher calls `statements` in the transaction that settles, under the accounts' locks. Only
accounts of users have holdings: the house knows its own costs.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from accounts.ledger import AssetScale
from marketdata import bulk, clock, units


class Pool(NamedTuple):
    """What is left of the purchases of an asset with one quote asset, and what happened so far."""

    quantity: int = 0
    cost: int = 0
    fees: int = 0
    fills: int = 0


class OwnFill(NamedTuple):
    """An account's share of a trade. `owned` is what it held of the asset, reserved included, right before."""

    account: int
    asset: int
    quote: int
    is_buy: bool
    quantity: int
    notional: int
    fee: int
    owned: int
    trade: int


class Realized(NamedTuple):
    """The part of a sale that had been bought before."""

    account: int
    asset: int
    quote: int
    trade: int
    quantity: int
    proceeds: int
    cost: int


#: Pools by quote asset, of one account and asset.
Pools = dict[int, Pool]
#: Pools by (account, asset).
State = dict[tuple[int, int], Pools]


def fold(state: State, fills: Iterable[OwnFill]) -> tuple[State, list[Realized]]:
    """The state after these fills, in the order in which they happened, and what they realised. Changes nothing."""
    after = dict(state)
    realized = []
    for fill in fills:
        pools = within(after.get((fill.account, fill.asset), {}), fill.owned, last=fill.quote)
        pool = pools.get(fill.quote, Pool())
        fees, count = pool.fees + fill.fee, pool.fills + 1
        if fill.is_buy:
            cost = pool.cost + fill.notional + fill.fee
            pool = Pool(pool.quantity + fill.quantity, cost, fees, count)
        else:
            pool, taken = _sell(pool, fill)
            pool = Pool(pool.quantity, pool.cost, fees, count)
            realized += taken
        after[fill.account, fill.asset] = {**pools, fill.quote: pool}
    return after, realized


def _sell(pool: Pool, fill: OwnFill) -> tuple[Pool, list[Realized]]:
    taken = min(pool.quantity, fill.quantity)
    if not taken:
        return pool, []
    left, cost = take(pool, taken)
    proceeds = (fill.notional - fill.fee) * taken // fill.quantity
    return left, [Realized(fill.account, fill.asset, fill.quote, fill.trade, taken, proceeds, cost)]


def take(pool: Pool, quantity: int) -> tuple[Pool, int]:
    """The pool without that much of it, and what that had cost on average, rounded down."""
    cost = pool.cost * quantity // pool.quantity
    return pool._replace(quantity=pool.quantity - quantity, cost=pool.cost - cost), cost


def within(pools: Pools, owned: int, *, last: int | None = None) -> Pools:
    """The pools cut down to what is owned: by quote id, the one of `last` last."""
    excess = sum(pool.quantity for pool in pools.values()) - owned
    if excess <= 0:
        return pools
    cut = dict(pools)
    for quote in sorted(pools, key=lambda quote: (quote == last, quote)):
        gone = min(excess, pools[quote].quantity)
        if gone:
            cut[quote], _ = take(pools[quote], gone)
            excess -= gone
    return cut


# The tables

WHEN_THERE = """
ON CONFLICT (account_id, asset_id, quote_id) DO UPDATE
SET quantity = EXCLUDED.quantity, cost = EXCLUDED.cost, fees = EXCLUDED.fees, fills = EXCLUDED.fills
"""


def statements(
    rows: Iterable[tuple], fills: list[OwnFill], scales: dict[int, AssetScale], moment: datetime
) -> list[bulk.Statement]:
    """What to write after these fills. `rows`: (account, asset, quote, quantity, cost, fees, fills, the quote asset's
    decimals) of the holdings of the locked accounts that traded, as accounts.opening reads them, or more.
    """
    if not fills:
        return []
    wanted = {(fill.account, fill.asset) for fill in fills}
    rows = [row for row in rows if (row[0], row[1]) in wanted]
    # An account may hold the asset for a quote asset that no market of this batch has.
    decimals = {asset: scale.decimals for asset, scale in scales.items()} | {row[2]: row[-1] for row in rows}
    before = state_of([row[:-1] for row in rows], decimals)
    after, realized = fold(before, fills)
    written = [_upsert(_changed(before, after), decimals)]
    if realized:
        written.append(realization_insert(realized, decimals, [moment] * len(realized)))
    return written


def state_of(rows: Iterable[tuple], decimals: dict[int, int]) -> State:
    """(account, asset, quote, quantity, cost, fees, fills) rows as a state; money as decimals there, as ints here."""
    state: State = defaultdict(dict)
    for account, asset, quote, quantity, cost, fees, fills in rows:
        state[account, asset][quote] = Pool(
            units.to_units(quantity, decimals[asset]),
            units.to_units(cost, decimals[quote]),
            units.to_units(fees, decimals[quote]),
            fills,
        )
    return dict(state)


def _changed(before: State, after: State) -> list[tuple[int, int, int, Pool]]:
    return [
        (account, asset, quote, pool)
        for (account, asset), pools in after.items()
        for quote, pool in pools.items()
        if before.get((account, asset), {}).get(quote) != pool
    ]


def _upsert(rows: list[tuple[int, int, int, Pool]], decimals: dict[int, int]) -> bulk.Statement:
    accounts, assets, quotes, pools = zip(*rows, strict=True)
    base = [decimals[asset] for asset in assets]
    money = [decimals[quote] for quote in quotes]
    return bulk.insert(
        "accounts_holding",
        [
            ("account_id", "bigint", accounts),
            ("asset_id", "bigint", assets),
            ("quote_id", "bigint", quotes),
            ("quantity", "numeric", [units.text(p.quantity, d) for p, d in zip(pools, base, strict=True)]),
            ("cost", "numeric", [units.text(p.cost, d) for p, d in zip(pools, money, strict=True)]),
            ("fees", "numeric", [units.text(p.fees, d) for p, d in zip(pools, money, strict=True)]),
            ("fills", "bigint", [p.fills for p in pools]),
        ],
        WHEN_THERE,
    )


def holding_upsert(state: State, decimals: dict[int, int]) -> bulk.Statement:
    """The statement that writes a whole state. `decimals` by asset id, here as below."""
    return _upsert(_changed({}, state), decimals)


def realization_insert(
    realized: list[Realized], decimals: dict[int, int], moments: list[datetime]
) -> bulk.Statement:
    """The statement that appends realisations, each with its moment."""
    money = [decimals[one.quote] for one in realized]
    return bulk.insert(
        "accounts_realization",
        [
            ("account_id", "bigint", [one.account for one in realized]),
            ("asset_id", "bigint", [one.asset for one in realized]),
            ("quote_id", "bigint", [one.quote for one in realized]),
            ("trade_id", "bigint", [one.trade for one in realized]),
            ("quantity", "numeric", [units.text(one.quantity, decimals[one.asset]) for one in realized]),
            ("proceeds", "numeric", [units.text(o.proceeds, d) for o, d in zip(realized, money, strict=True)]),
            ("cost", "numeric", [units.text(o.cost, d) for o, d in zip(realized, money, strict=True)]),
            ("pnl", "numeric", [units.text(o.proceeds - o.cost, d) for o, d in zip(realized, money, strict=True)]),
            ("realized_at", "timestamptz", [clock.text(moment) for moment in moments]),
        ],
    )
