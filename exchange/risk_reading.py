"""Reading margin accounts for the risk monitor: many at once, in one statement, so that each is seen as of one moment.

Users' accounts only: the house's own are not liquidated. A purse with a position in a market whose figures make no
sense is left out, because nobody knows how it stands: it is neither called nor liquidated until an operator has mended
them.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Q, QuerySet

from accounts import margin, positions
from accounts.margin import Exposure, State
from accounts.netting import Net
from exchange.models import Order, Side
from exchange.risk_index import Key
from marketdata import markets, units
from marketdata.markets import MarketSpec
from marketdata.refusals import UnreadableMarket

POSITIONS = """
SELECT p.account_id, c.settlement_id, p.market_id, p.quantity, p.cost, p.margin, p.reserved, a.event_sequence,
       COALESCE(b.available, 0), COALESCE(o.reserved, 0)
FROM accounts_position p
JOIN accounts_account a ON a.id = p.account_id AND a.user_id IS NOT NULL
JOIN marketdata_contract c ON c.market_id = p.market_id
LEFT JOIN accounts_balance b ON b.account_id = p.account_id AND b.asset_id = c.settlement_id
LEFT JOIN (
    SELECT o.account_id, oc.settlement_id, sum(o.reserved) AS reserved
    FROM exchange_order o JOIN marketdata_contract oc ON oc.market_id = o.market_id
    WHERE o.status IN ('PENDING', 'OPEN', 'PARTIALLY_FILLED') AND o.account_id = ANY(%s)
    GROUP BY o.account_id, oc.settlement_id
) o ON o.account_id = p.account_id AND o.settlement_id = c.settlement_id
WHERE p.closed_at IS NULL AND p.account_id = ANY(%s)
"""
SEQUENCES = """
SELECT a.id, a.event_sequence FROM accounts_account a
WHERE a.user_id IS NOT NULL
  AND a.id IN (SELECT p.account_id FROM accounts_position p WHERE p.closed_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Open:
    """One open position in lots and quote units, with its margin (by rule, and locked) in settlement units."""

    spec: MarketSpec
    net: Net
    margin: int
    reserved: int

    def exposure(self) -> Exposure:
        return positions.exposure(self.spec, self.net, self.margin)


@dataclass(slots=True)
class Purse:
    """An account's margin in one settlement asset, in its smallest units."""

    key: Key
    event_sequence: int
    available: int
    orders: int
    open: list[Open] = field(default_factory=list)

    @property
    def collateral(self) -> int:
        """All that margin can be paid from: free, and set aside for orders and positions."""
        return self.available + self.orders + sum(one.reserved for one in self.open)

    def state(self) -> State:
        """As it stands at the marks of this moment."""
        return margin.state(
            available=self.available,
            reserved_for_positions=sum(one.reserved for one in self.open),
            orders=self.orders,
            exposures=[one.exposure() for one in self.open],
        )


def purses(account_ids: Collection[int]) -> list[Purse]:
    """Every purse of these accounts with open positions that can be read."""
    with connection.cursor() as cursor:
        cursor.execute(POSITIONS, [list(account_ids)] * 2)
        rows = cursor.fetchall()
    found: dict[Key, Purse] = {}
    unread: set[Key] = set()
    for account, asset, market, quantity, cost, used, reserved, sequence, available, held in rows:
        key = Key(account, asset)
        try:
            spec = markets.by_id(market)
        except UnreadableMarket:
            unread.add(key)
            continue
        scale = spec.contract.settlement_decimals
        purse = found.get(key)
        if purse is None:
            free, in_orders = units.to_units(available, scale), units.to_units(held, scale)
            purse = found[key] = Purse(key, sequence, free, in_orders)
        net = Net(spec.lots(quantity), units.to_units(cost, spec.quote_decimals))
        purse.open.append(Open(spec, net, units.to_units(used, scale), units.to_units(reserved, scale)))
    return [purse for key, purse in found.items() if key not in unread]


def orders_to_cancel(key: Key) -> list[int]:
    """The account's open orders that go before its positions do."""
    found = _orders_with(key.asset_id).filter(account=key.account_id)
    return list(found.order_by("pk").values_list("pk", flat=True))


def with_orders(keys: Collection[Key]) -> set[Key]:
    """Those that have such orders."""
    accounts: dict[int, list[int]] = {}
    for account, asset in keys:
        accounts.setdefault(asset, []).append(account)
    return {
        Key(account, asset)
        for asset, some in accounts.items()
        for account in _orders_with(asset).filter(account__in=some).values_list("account_id", flat=True).distinct()
    }


def _orders_with(asset: int) -> QuerySet[Order]:
    """Open orders of all margin markets with that settlement asset, and those of spot markets that have set some of the
    asset aside.
    """
    pays = Q(side=Side.BUY, market__quote=asset) | Q(side=Side.SELL, market__base=asset)
    concerned = Q(market__contract__settlement=asset) | Q(market__contract=None) & pays
    return Order.objects.filter(concerned, status__in=Order.LIVE).order_by()


def event_sequences() -> dict[int, int]:
    """How far the events of every account with open positions are: what changes with all that changes its purses."""
    with connection.cursor() as cursor:
        cursor.execute(SEQUENCES)
        return dict(cursor.fetchall())
