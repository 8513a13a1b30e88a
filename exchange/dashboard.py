"""The operators' front page: how the venue stands right now.

Each part is shown to those who may see the rows that it sums up. The figures are remembered for CACHE_SECONDS, so
that pages left open cost nothing.
"""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest
from django.utils.timesince import timesince

from accounts.models import User, Withdrawal
from exchange import audit, by_time
from marketdata import clock, units
from marketdata.models import Market
from marketdata.operators import change_url, list_url

CACHE_SECONDS = 5
CACHE_KEY = "operators-dashboard"
SHORT_DIGITS = 8

#: Trades by their takers' fills: a process takes the ids of trades ahead, so that they do not tell the time.
MARKETS = """
SELECT m.id, COALESCE(o.open_orders, 0), COALESCE(t.trades, 0), COALESCE(t.volume, 0), COALESCE(t.quote_volume, 0)
FROM marketdata_market m
LEFT JOIN (
    SELECT market_id, count(*) AS open_orders FROM exchange_order
    WHERE status IN ('OPEN', 'PARTIALLY_FILLED') GROUP BY market_id
) o ON o.market_id = m.id
LEFT JOIN (
    SELECT f.market_id, count(*) AS trades, sum(f.quantity) AS volume,
           sum(f.price * f.quantity * COALESCE(c.contract_size, 1)) AS quote_volume
    FROM exchange_fill f LEFT JOIN marketdata_contract c ON c.market_id = f.market_id
    WHERE f.id >= %s AND f.executed_at >= %s AND f.role = 'TAKER' GROUP BY f.market_id
) t ON t.market_id = m.id
"""


def context(request: HttpRequest, context: dict) -> dict:
    """What the template shows, added to the admin's own context."""
    user = request.user
    figures = _figures()
    context["venue_cards"] = [card for permission, card in figures["cards"] if user.has_perm(permission)]
    context["venue_markets"] = figures["markets"] if user.has_perm("marketdata.view_market") else None
    context["venue_audit"] = audit_text(audit.last())
    return context


def _figures() -> dict:
    found = cache.get(CACHE_KEY)
    if found is None:
        found = _read_figures()
        cache.set(CACHE_KEY, found, CACHE_SECONDS)
    return found


def _read_figures() -> dict:
    since = clock.now() - timedelta(hours=24)
    with connection.cursor() as cursor:
        cursor.execute(MARKETS, [by_time.first_fill_since(cursor, since), since])
        sums = {row[0]: row[1:] for row in cursor.fetchall()}
    rows = list(Market.objects.select_related("base", "quote"))
    waiting = list(Withdrawal.objects.filter(status=Withdrawal.Status.PENDING).values_list("asset__symbol", "amount"))
    stopped = [market.symbol for market in rows if market.status != Market.Status.OPEN or not market.is_active]
    nothing = (0, 0, 0, 0)
    cards = [
        ("exchange.view_order", ("Open orders", f"{sum(one[0] for one in sums.values()):,}", "in all books", "")),
        ("exchange.view_trade", ("Trades, 24 h", f"{sum(one[1] for one in sums.values()):,}", "in all markets", "")),
        ("accounts.view_withdrawal", _withdrawals_card(waiting)),
        ("accounts.view_user", ("Users", f"{User.objects.count():,}", "bots included", "")),
        ("marketdata.view_market", ("Markets", f"{len(rows) - len(stopped)} open", _stopped_text(stopped), "")),
    ]
    table = {
        "headers": ["market", "status", "last price", "open orders", "trades, 24 h", "volume, 24 h", "turnover, 24 h"],
        "rows": [_market_row(market, *sums.get(market.id, nothing)) for market in rows],
    }
    return {"cards": cards, "markets": table}


def _withdrawals_card(waiting: list[tuple[str, Decimal]]) -> tuple[str, str, str, str]:
    """How many wait for an operator, how much of what, and the page to decide them on."""
    sums = Counter()
    for symbol, amount in waiting:
        sums[symbol] += amount
    amounts = ", ".join(f"{_grouped(amount)} {symbol}" for symbol, amount in sorted(sums.items()))
    page = f"{list_url(Withdrawal)}?status__exact={Withdrawal.Status.PENDING}"
    return "Outstanding withdrawals", f"{len(waiting):,}", amounts or "none waits", page


def _stopped_text(symbols: list[str]) -> str:
    return f"not open: {', '.join(symbols)}" if symbols else "none is stopped"


def _market_row(market: Market, open_orders: int, trades: int, volume, quote_volume) -> dict:
    return {
        "url": change_url(market),
        "symbol": market.symbol,
        "status": market.get_status_display() if market.is_active else "Inactive",
        "is_open": market.is_active and market.status == Market.Status.OPEN,
        "price": "–" if market.last_price is None else f"{_grouped(market.last_price)} {market.quote}",
        "open_orders": f"{open_orders:,}",
        "trades": f"{trades:,}",
        "volume": f"{_grouped(_short(volume))} {market.base}",
        "turnover": f"{_grouped(_short(quote_volume))} {market.quote}",
    }


def _grouped(value: Decimal | int) -> str:
    """A plain number with its thousands apart."""
    return f"{Decimal(units.plain(Decimal(value))):,f}"


def _short(value: Decimal | int) -> Decimal:
    """A sum with SHORT_DIGITS digits, or with all before the point if those are more."""
    return round(Decimal(value), max(0, SHORT_DIGITS - 1 - Decimal(value).adjusted()))


def audit_text(report: dict | None) -> dict:
    """The last audit in words, and whether it found something."""
    if report is None:
        return {"text": "not run yet: manage.py audit", "colour": "info"}
    age = timesince(datetime.fromisoformat(report["taken_at"]), clock.now())
    if report["violations"]:
        return {"text": f"{report['violations']:,} violations, {age} ago", "colour": "danger"}
    return {"text": f"all {report['checks']} checks held, {age} ago", "colour": "success"}
