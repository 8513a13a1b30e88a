"""How an account's trading went: what was won and lost, by realised profit and by equity over time.

A closed trade is a realisation (a sale of something bought before) or a margin position that was closed, with its fees
and financing; it is won when it brought more than it had cost, lost when less. A loss counts whole, also what the
insurance fund paid of it. Days, weeks (from Monday) and months begin at midnight UTC. Sums in several quote assets are
converted at present prices; what has no price in the asset asked for is listed as unpriced, and in no sum.
"""

from datetime import timedelta
from decimal import Decimal

from django.db import connection

from accounts import equity
from accounts.portfolio import percent, text
from accounts.valuation import EXACT_ENOUGH, Valuation, load_pairs, quote_asset, rounded, symbols_of
from marketdata import clock
from marketdata.models import Asset
from marketdata.snapshots import one_moment
from marketdata.units import plain

RATIO_DECIMALS = 4

#: All positions of an account, put away or not.
POSITIONS = """
SELECT c.settlement_id AS quote_id, p.realized - p.fees - p.financing AS pnl, p.fees, p.closed_at FROM (
    SELECT market_id, realized, fees, financing, closed_at FROM accounts_position WHERE account_id = %(account)s
    UNION ALL
    SELECT market_id, realized, fees, financing, closed_at FROM accounts_archivedposition
    WHERE account_id = %(account)s
) p JOIN marketdata_contract c ON c.market_id = p.market_id
"""
REALIZED = f"""
WITH realized AS (
    SELECT quote_id, pnl, realized_at FROM accounts_realization WHERE account_id = %(account)s
    UNION ALL
    SELECT quote_id, pnl, closed_at FROM ({POSITIONS}) p WHERE closed_at IS NOT NULL
)
SELECT quote_id, count(*) AS closed, count(*) FILTER (WHERE pnl > 0) AS won, count(*) FILTER (WHERE pnl < 0) AS lost,
       sum(pnl) AS all, sum(pnl) FILTER (WHERE realized_at >= %(today)s) AS today,
       sum(pnl) FILTER (WHERE realized_at >= %(week)s) AS week,
       sum(pnl) FILTER (WHERE realized_at >= %(month)s) AS month,
       sum(pnl) FILTER (WHERE pnl > 0) AS gains, -sum(pnl) FILTER (WHERE pnl < 0) AS losses,
       max(pnl) AS best, min(pnl) AS worst
FROM realized GROUP BY quote_id
"""
PAID = f"""
SELECT quote_id, sum(fills) AS fills, sum(fees) AS fees FROM (
    SELECT quote_id, fills, fees FROM accounts_holding WHERE account_id = %(account)s
    UNION ALL
    SELECT quote_id, 0, fees FROM ({POSITIONS}) p
) f GROUP BY quote_id
"""


@one_moment()
def metrics(*, account_id: int, quote: Asset) -> dict:
    """The figures, money in `quote`; null where there is nothing to make one of."""
    today = equity.midnight_before(clock.now())
    moments = {"today": today, "week": today - timedelta(days=today.weekday()), "month": today.replace(day=1)}
    realized = _rows(REALIZED, {"account": account_id, **moments})
    paid = _rows(PAID, {"account": account_id})
    valuation = Valuation(quote, load_pairs())

    def converted(rows: list[dict], name: str) -> list[Decimal]:
        values = [valuation.value(row["quote_id"], row[name]) for row in rows if row[name] is not None]
        return [value for value in values if value is not None]

    def total(rows: list[dict], name: str) -> Decimal:
        return sum(converted(rows, name), Decimal(0))

    closed, won, lost = (sum(row[name] for row in realized) for name in ("closed", "won", "lost"))
    gains, losses = total(realized, "gains"), total(realized, "losses")
    return {
        "quote": quote.symbol,
        "trades": int(sum(row["fills"] for row in paid)),
        "closed_trades": closed,
        "winning_trades": won,
        "losing_trades": lost,
        "win_rate": percent(Decimal(won), Decimal(closed)),
        "realized_pnl": {name: plain(total(realized, name)) for name in ("today", "week", "month", "all")},
        "best_trade": text(max(converted(realized, "best"), default=None)),
        "worst_trade": text(min(converted(realized, "worst"), default=None)),
        "profit_factor": plain(rounded(EXACT_ENOUGH.divide(gains, losses), RATIO_DECIMALS)) if losses else None,
        **_drawdown(account_id, valuation),
        "fees_paid": plain(total(paid, "fees")),
        "unpriced": symbols_of([row["quote_id"] for row in paid if valuation.price(row["quote_id"]) is None]),
    }


def _drawdown(account_id: int, valuation: Valuation) -> dict:
    stored_in = quote_asset(None)
    amount, of_equity = equity.drawdown(account_id, stored_in)
    return {
        "max_drawdown": text(valuation.value(stored_in.pk, amount)),
        "max_drawdown_percent": percent(amount, of_equity) or "0",
    }


def _rows(sql: str, parameters) -> list[dict]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
