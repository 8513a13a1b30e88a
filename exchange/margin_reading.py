"""How a margin account stands, as of one moment: read from the database in one snapshot, with the marks read in it.

Figures at the mark are to look at; what is settled is settled by exchange.margin. Levels are percent of used margin
with LEVEL_DECIMALS, prices that are computed are rounded half up to the market's tick.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from django.conf import settings
from django.db import connection

from accounts import conversion, entry_terms, margin, positions
from accounts.ledger import AssetScale, Holder, Purse, Sheet
from accounts.margin import State
from accounts.models import Account, Balance, MarginSetting, Position
from accounts.positions import LivePosition, Positions
from exchange.models import Order
from marketdata import clock, markets, marks, units
from marketdata.contracts import RATE_DECIMALS, RATE_ONE
from marketdata.markets import MarketSpec
from marketdata.models import Asset, Contract
from marketdata.snapshots import one_moment

LEVEL_DECIMALS = 4


@dataclass(slots=True)
class MarginAccount:
    """One account's margin at one moment. Amounts in the settlement assets' smallest units, by asset id."""

    account_id: int
    holder: Holder
    scales: dict[int, AssetScale]
    available: dict[int, int]
    orders: dict[int, int]
    #: By whatever has set it aside.
    reserved: dict[int, int] = field(default_factory=dict)
    positions: Positions = field(default_factory=Positions)

    def open(self, asset: int) -> list[LivePosition]:
        return self.positions.of_account(self.account_id, asset)

    def state(self, asset: int) -> State:
        return margin.state(
            available=self.available.get(asset, 0),
            reserved_for_positions=sum(one.reserved for one in self.open(asset)),
            orders=self.orders.get(asset, 0),
            exposures=self.positions.exposures(self.account_id, asset),
        )

    def sheet(self) -> Sheet:
        """What is available, as exchange.margin weighs orders by; nothing is ever written from it."""
        sheet = Sheet({}, self.scales, clock.now())
        sheet.positions = self.positions
        for asset, amount in self.available.items():
            sheet.purses[self.account_id, asset] = Purse(available=amount, reserved=self.reserved.get(asset, 0))
        return sheet


@contextmanager
def snapshot() -> Iterator[None]:
    """All reads inside see one moment, and the newest marks as of it."""
    with one_moment(), connection.cursor() as cursor:
        marks.refresh(cursor)
        yield


def read(account_id: int) -> MarginAccount:
    """The account as it stands; call it inside `snapshot`."""
    assets = Asset.objects.filter(pk__in=Contract.objects.values("settlement")).order_by("symbol")
    scales = {asset.pk: AssetScale(asset.symbol, asset.decimals) for asset in assets}
    balances = Balance.objects.filter(account=account_id, asset__in=scales)
    balances = list(balances.values_list("asset_id", "available", "reserved"))
    found = MarginAccount(
        account_id,
        _holder(Account.objects.select_related("user").get(pk=account_id)),
        scales,
        {asset: units.to_units(amount, scales[asset].decimals) for asset, amount, _ in balances},
        _reserved_by_orders(account_id, scales),
        {asset: units.to_units(amount, scales[asset].decimals) for asset, _, amount in balances},
    )
    rows = Position.objects.filter(account=account_id, closed_at__isnull=True).order_by("id")
    for row in rows:
        found.positions.put(live(row))
    chosen = MarginSetting.objects.filter(account=account_id).values_list("market_id", "leverage")
    found.positions.leverages = {(account_id, market): leverage for market, leverage in chosen}
    return found


def resting_notional(account_id: int, spec: MarketSpec, side: str) -> int:
    """What the account's open orders of that side (BUY, SELL) would open in the market, in quote units."""
    rows = Order.objects.filter(
        account=account_id, market=spec.id, side=side, status__in=Order.LIVE, reduce_only=False, price__isnull=False
    )
    return sum(
        spec.notional(spec.ticks(price), spec.lots(quantity - filled))
        for price, quantity, filled in rows.values_list("price", "quantity", "filled_quantity")
    )


def live(row: Position) -> LivePosition:
    """A stored position in whole numbers."""
    figures = (row.margin, row.reserved, row.realized_quote, row.realized, row.fees, row.financing)
    spec = markets.by_id(row.market_id)
    return positions.live(spec, row.account_id, row.pk, row.opened_at, row.quantity, row.cost, *figures)


def _holder(row: Account) -> Holder:
    """What a batch knows of a user's account under its lock."""
    may_trade = row.is_active and not row.stopped_by and row.user.is_active
    terms = entry_terms.terms_of(row.opens_at, row.closes_at, row.market_ids)
    return Holder(row.event_sequence, may_trade, is_heard=True, terms=terms)


def _reserved_by_orders(account_id: int, scales: dict[int, AssetScale]) -> dict[int, int]:
    rows = Order.objects.filter(account=account_id, status__in=Order.LIVE, market__contract__isnull=False)
    sums: dict[int, int] = {}
    for asset, amount in rows.values_list("market__contract__settlement_id", "reserved"):
        sums[asset] = sums.get(asset, 0) + units.to_units(amount, scales[asset].decimals)
    return sums


# Rows for the wire


def account_row(account: MarginAccount) -> dict:
    """The margin in the venue's own asset, and in each asset besides."""
    rows = [state_row(scale, account.state(asset)) for asset, scale in account.scales.items()]
    main = next((row for row in rows if row["settlement_asset"] == settings.PORTFOLIO_QUOTE), None)
    if main is None:
        main = rows[0] if rows else state_row(AssetScale(settings.PORTFOLIO_QUOTE, 8), State(0, 0, 0, 0, 0))
    return {**main, "by_asset": rows}


def state_row(scale: AssetScale, state: State) -> dict:
    """A state as the wire shows it."""

    def text(amount: int) -> str:
        return units.text(amount, scale.decimals)

    return {
        "settlement_asset": scale.symbol,
        "balance": text(state.balance),
        "unrealized_pnl": text(state.unrealized),
        "equity": text(state.equity),
        "used": text(state.used),
        "orders": text(state.orders),
        "free": text(state.free),
        "spendable": text(state.spendable),
        "maintenance": text(state.maintenance),
        "level": level_text(state.level),
    }


def level_text(level: Decimal | None) -> str | None:
    """A level in percent, rounded down: never shown better than it is."""
    return None if level is None else units.text(int(level * 100 * 10**LEVEL_DECIMALS // 1), LEVEL_DECIMALS)


def position_rows(account: MarginAccount) -> list[dict]:
    """The account's open positions with all that moves with the marks, oldest first."""
    return [
        position_row(account, position)
        for asset in account.scales
        for position in sorted(account.open(asset), key=lambda one: one.id)
    ]


def position_row(account: MarginAccount, position: LivePosition) -> dict:
    spec = position.spec
    mark = marks.mark(spec.id)
    exposure = positions.exposure(spec, position.net, position.margin)
    decimals = spec.contract.settlement_decimals
    value = position.cost if mark is None else positions.value_at(spec, position.quantity, mark.price)
    return {
        **positions.plain_row(position),
        "leverage": account.positions.leverage(account.account_id, spec),
        "mark_price": None if mark is None else units.plain(mark.price),
        "marked_at": None if mark is None else clock.text(mark.marked_at),
        "mark_is_stale": mark is None or mark.is_stale,
        "notional": units.text(conversion.rate_of(spec).up(abs(value)), decimals),
        "unrealized_pnl": units.text(exposure.unrealized, decimals),
        "maintenance": units.text(exposure.maintenance, decimals),
        "liquidation_price": liquidation_price(account, spec, position),
    }


def closed_row(row: Position) -> dict:
    """A closed position; it has no mark any more."""
    shown = positions.plain_row(live(row))
    return {**shown, "closed_at": clock.text(row.closed_at)}


def liquidation_price(account: MarginAccount, spec: MarketSpec, position: LivePosition) -> str | None:
    """The price at which the account would be liquidated if nothing else moved; None where no price does it."""
    asset = spec.contract.settlement_id
    state = account.state(asset)
    stop = units.to_units(Decimal(settings.STOP_OUT_LEVEL), RATE_DECIMALS)
    own = positions.exposure(spec, position.net, 0)
    inverse = spec.base_id == asset
    scale = 10**spec.contract.settlement_decimals
    terms = {
        "others": state.equity - own.unrealized,
        "base": Fraction(spec.quantity(position.quantity)) * Fraction(spec.contract.size),
        "cost": Fraction(units.from_units(position.cost, spec.quote_decimals)),
        "rate": Fraction(scale) if inverse else conversion.fraction_of(spec) * scale,
    }
    at_level = margin.price_at_equity(target=-(-state.used * stop // RATE_ONE), is_inverse=inverse, **terms)
    if inverse:
        at_least = margin.price_at_equity(target=state.maintenance, is_inverse=True, **terms)
    else:
        kept = state.maintenance - own.maintenance
        at_least = margin.price_at_maintenance(spec.contract.tiers, kept=kept, **terms)
    prices = [price for price in (at_level, at_least) if price is not None]
    if not prices:
        return None
    first = max(prices) if position.quantity > 0 else min(prices)  # a long meets the higher one on its way down
    ticks = round(first / Fraction(spec.tick_size))
    return spec.price_text(ticks) if ticks > 0 else None


def leverage_rows(account_id: int, specs: Iterable[MarketSpec]) -> list[dict]:
    """The account's leverage in each margin market."""
    chosen = dict(MarginSetting.objects.filter(account=account_id).values_list("market_id", "leverage"))
    return [
        {
            "symbol": spec.symbol,
            "leverage": min(chosen.get(spec.id, spec.contract.max_leverage), spec.contract.max_leverage),
            "max_leverage": spec.contract.max_leverage,
        }
        for spec in specs
        if spec.contract is not None
    ]
