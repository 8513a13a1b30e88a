"""What an account owns and what that is worth: holdings, cash, totals, and how its trades went.

An asset is cash if nobody trades it as the base of an active market and it is money (of kind FIAT) or the quote of an
active market; the quote asset of a summary is always cash there. Everything else is a holding.

A holding's line is in the quote asset that it was bought with: an asset bought with two makes two lines, and the part
of a balance that was never bought, a deposit, belongs to the largest of them. Only the bought part has a cost, so
`unrealized_pnl` is about that part. Figures are rounded half up: prices to PRICE_DECIMALS (those of markets are
exact), percents to PERCENT_DECIMALS, values as accounts.valuation says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from accounts import equity, holdings, positions, unsettled
from accounts.holdings import Pool
from accounts.models import Account, Balance, Holding
from accounts.valuation import EXACT_ENOUGH, PRICE_DECIMALS, Valuation, load_pairs, rounded, symbols_of
from marketdata import units
from marketdata.models import Asset
from marketdata.snapshots import one_moment
from marketdata.units import plain

PERCENT_DECIMALS = 4
HUNDRED = Decimal(100)


@dataclass(slots=True)
class Line:
    """A holding: amounts in the asset, money in `quote`; None where there is no cost, no price or no quote asset."""

    asset: Asset
    quote: Asset | None
    quantity: Decimal
    bought: Decimal
    reserved: Decimal
    cost: Decimal | None
    price: Decimal | None
    value: Decimal | None
    pnl: Decimal | None

    def row(self) -> dict:
        """As the API shows it."""
        average = None
        if self.cost is not None:
            average = rounded(EXACT_ENOUGH.divide(self.cost, self.bought), PRICE_DECIMALS)
        return {
            "asset": self.asset.symbol,
            "quote": self.quote and self.quote.symbol,
            "quantity": plain(self.quantity),
            "bought_quantity": plain(self.bought),
            "reserved": plain(self.reserved),
            "avg_price": text(average),
            "current_price": text(self.price),
            "market_value": text(self.value),
            "cost_basis": text(self.cost),
            "unrealized_pnl": text(self.pnl),
            "pnl_percent": percent(self.pnl, self.cost),
        }


def text(value: Decimal | None) -> str | None:
    """Plain, or None."""
    return None if value is None else plain(value)


def percent(part: Decimal | None, whole: Decimal | None) -> str | None:
    """part / whole in percent; None when there is nothing to compare with."""
    if part is None or not whole:
        return None
    return plain(rounded(EXACT_ENOUGH.divide(part * HUNDRED, whole), PERCENT_DECIMALS))


class Book:
    """What one account owns at one moment, with the markets' prices: read in a few queries, whatever there is."""

    def __init__(self, account_id: int):
        self.pairs = load_pairs()
        rows = Balance.objects.filter(account_id=account_id).select_related("asset").order_by("asset__symbol")
        self.balances = [row for row in rows if row.total]
        self.assets = {row.asset_id: row.asset for row in self.balances}
        self._pools = self._load_pools(account_id)
        self._bases = {pair.base for pair in self.pairs if pair.is_spot}
        self._quotes = {pair.quote for pair in self.pairs if pair.is_spot}
        self._know({pair.quote for pair in self.pairs if pair.base in self.assets})
        self._valuations: dict[int, Valuation] = {}

    def _load_pools(self, account_id: int) -> dict[int, list[Holding]]:
        found: dict[int, list[Holding]] = {}
        for row in Holding.objects.filter(account_id=account_id, quantity__gt=0).select_related("quote"):
            self.assets.setdefault(row.quote_id, row.quote)
            found.setdefault(row.asset_id, []).append(row)
        return found

    def _know(self, ids: set[int]) -> None:
        missing = ids - self.assets.keys()
        if missing:
            self.assets |= Asset.objects.in_bulk(missing)

    def valuation(self, quote: Asset) -> Valuation:
        """Prices in that asset, worked out once."""
        if quote.pk not in self._valuations:
            self._valuations[quote.pk] = Valuation(quote, self.pairs)
        return self._valuations[quote.pk]

    def is_cash(self, asset: Asset, quote: Asset | None) -> bool:
        """See the module."""
        if quote is not None and asset.pk == quote.pk:
            return True
        is_money = asset.kind == Asset.Kind.FIAT or asset.pk in self._quotes
        return is_money and asset.pk not in self._bases

    def lines(self, quote: Asset | None = None) -> list[Line]:
        """The holdings; those that are cash beside `quote` left out."""
        return [
            line
            for balance in self.balances
            if not self.is_cash(balance.asset, quote)
            for line in self._lines_of(balance)
        ]

    def _lines_of(self, balance: Balance) -> list[Line]:
        pools = self._pools_of(balance)
        if not pools:
            return [self._line(balance, self._usual_quote(balance.asset), balance.total, Decimal(0), None)]
        largest = max(pools, key=lambda quote: (pools[quote].quantity, -quote))
        rest, lines = balance.total, []
        for quote_id, pool in sorted(pools.items(), key=lambda item: item[0] == largest):
            quote = self.assets[quote_id]
            bought = units.from_units(pool.quantity, balance.asset.decimals)
            quantity = rest if quote_id == largest else bought
            cost = units.from_units(pool.cost, quote.decimals)
            lines.append(self._line(balance, quote, quantity, bought, cost))
            rest -= quantity
        lines[-1].reserved = balance.reserved
        return lines[::-1]

    def _pools_of(self, balance: Balance) -> dict[int, Pool]:
        decimals = balance.asset.decimals
        pools = {
            row.quote_id: Pool(
                units.to_units(row.quantity, decimals), units.to_units(row.cost, row.quote.decimals), 0, row.fills
            )
            for row in self._pools.get(balance.asset_id, [])
        }
        owned = holdings.within(pools, units.to_units(balance.total, decimals))
        return {quote: pool for quote, pool in owned.items() if pool.quantity}

    def _usual_quote(self, asset: Asset) -> Asset | None:
        """What the asset is traded for, when it was never bought: of its markets the first."""
        return next((self.assets[pair.quote] for pair in self.pairs if pair.base == asset.pk and pair.is_spot), None)

    def _line(self, balance: Balance, quote: Asset | None, quantity, bought, cost) -> Line:
        asset, nothing = balance.asset, Decimal(0)
        valuation = quote and self.valuation(quote)
        price = valuation.price(asset.pk) if valuation else None
        value = valuation.value(asset.pk, quantity) if valuation else None
        worth = valuation.value(asset.pk, bought) if cost is not None else None
        pnl = None if worth is None else worth - cost
        reserved = balance.reserved if cost is None else nothing
        return Line(asset, quote, quantity, bought, reserved, cost, price, value, pnl)


def holding_rows(account_id: int) -> list[dict]:
    """The account's holdings, by asset."""
    return [line.row() for line in Book(account_id).lines()]


@one_moment()
def summary(*, account_id: int, quote: Asset) -> dict:
    """Cash, holdings, totals and profit in `quote`; what has no price there is listed, and in no total."""
    account = Account.objects.get(pk=account_id)
    book = Book(account_id)
    valuation = book.valuation(quote)
    cash = [_cash_row(row, valuation) for row in book.balances if book.is_cash(row.asset, quote)]
    lines = book.lines(quote)
    values = {row.asset_id: valuation.value(row.asset_id, row.total) for row in book.balances}
    is_cash = {row.asset_id: book.is_cash(row.asset, quote) for row in book.balances}
    cash_value = _sum(value for asset, value in values.items() if is_cash[asset])
    holdings_value = _sum(value for asset, value in values.items() if not is_cash[asset])
    gains = [valuation.value(line.quote.pk, line.pnl) for line in lines if line.pnl is not None]
    open_profits = {
        asset: valuation.value(asset, profit) for asset, profit in positions.unrealized_by_quote(account_id).items()
    }
    open_profit = _sum(open_profits.values())
    to_come = {asset: valuation.value(asset, amount) for asset, amount in unsettled.of_account(account_id).items()}
    total = cash_value + holdings_value + open_profit + _sum(to_come.values())
    collateral = positions.settlements_of(account_id) if open_profits else ()
    margin_equity = _sum(value for asset, value in values.items() if asset in collateral) + open_profit
    return {
        "quote": quote.symbol,
        "cash": cash,
        "cash_value": plain(cash_value),
        "holdings": [{**line.row(), "value": text(valuation.value(line.asset.pk, line.quantity))} for line in lines],
        "holdings_value": plain(holdings_value),
        "number_of_holdings": len({line.asset.pk for line in lines}),
        "unsettled_value": plain(_sum(to_come.values())),
        "total_value": plain(total),
        "unrealized_pnl": plain(_sum(gains) + open_profit),
        "todays_pnl": text(equity.profit_today(account, total, valuation)),
        "margin_equity": plain(margin_equity) if open_profits else None,
        "unpriced": _unpriced(values, open_profits, to_come),
    }


def _sum(values: Iterable[Decimal | None]) -> Decimal:
    """Of those that are known."""
    return sum((value for value in values if value is not None), Decimal(0))


def _unpriced(*values: dict[int, Decimal | None]) -> list[str]:
    """The symbols of the assets of which something has no value."""
    return symbols_of({asset for some in values for asset, value in some.items() if value is None})


def _cash_row(row: Balance, valuation: Valuation) -> dict:
    return {
        "asset": row.asset.symbol,
        "available": plain(row.available),
        "reserved": plain(row.reserved),
        "total": plain(row.total),
        "value": text(valuation.value(row.asset_id, row.total)),
    }
