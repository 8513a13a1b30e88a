"""What the streams read from the database, in threads: heads to compare with, and what was missed.

Account events and trades are read by ranges of their sequences, so that what a lost message held can be told
later exactly as it would have been told then.
"""

import orjson
from django.db import connection
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.models import Account, Balance, Position
from exchange import margin_reading, orders
from exchange.models import Order, Trade
from exchange.rendering import order_row, trade_row
from marketdata.snapshots import one_moment
from marketdata.units import plain

#: Rows (batches) of account events read at a time.
PAGE_ROWS = 100
#: Trades that a tape shows on connect.
TAPE_TRADES = 50


def market_heads(market_ids: list[int]) -> dict[int, tuple[int, int]]:
    """(sequence, version) by market id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, sequence, version FROM marketdata_market WHERE id = ANY(%s)", [market_ids])
        return {market_id: (sequence, version) for market_id, sequence, version in cursor.fetchall()}


def account_heads(account_ids: list[int]) -> dict[int, tuple[int, bool, str]]:
    """(event sequence, whether the user may still log in, what a token must claim of the password) by account id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.id, a.event_sequence, COALESCE(u.is_active, FALSE), COALESCE(u.password, '')"
            " FROM accounts_account a"
            " LEFT JOIN accounts_user u ON u.id = a.user_id WHERE a.id = ANY(%s)",
            [account_ids],
        )
        rows = cursor.fetchall()
    return {
        account: (sequence, is_active, get_md5_hash_password(password))
        for account, sequence, is_active, password in rows
    }


def account_events(account_id: int, after: int) -> list[dict]:
    """The account's next events above that sequence, in order: at most PAGE_ROWS batches; empty when there are
    none.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT events::text FROM accounts_accountevent WHERE account_id = %s AND last_sequence > %s"
            " ORDER BY last_sequence LIMIT %s",
            [account_id, after, PAGE_ROWS],
        )
        rows = cursor.fetchall()
    return [event for (events,) in rows for event in orjson.loads(events) if event["sequence"] > after]


def account_snapshot(account_id: int) -> dict:
    """{type, sequence, orders, balances, positions}: the account as it stood after the event of that sequence."""
    with one_moment():
        sequence = Account.objects.values_list("event_sequence", flat=True).get(pk=account_id)
        open_orders = Order.objects.filter(account_id=account_id, status__in=Order.LIVE).order_by("id")
        balances = Balance.objects.filter(account_id=account_id).select_related("asset").order_by("asset__symbol")
        return {
            "type": "snapshot",
            "sequence": sequence,
            "orders": [order_row(order, order.fills.all()) for order in orders.with_fills(open_orders)],
            "balances": [_balance(balance) for balance in balances],
            "positions": _positions(account_id),
        }


def _positions(account_id: int) -> list[dict]:
    """The open positions; most accounts have none, which costs one look."""
    if not Position.objects.filter(account=account_id, closed_at__isnull=True).exists():
        return []
    return margin_reading.position_rows(margin_reading.read(account_id))


def _balance(balance: Balance) -> dict:
    return {
        "asset": balance.asset.symbol,
        "available": plain(balance.available),
        "reserved": plain(balance.reserved),
        "total": plain(balance.total),
    }


def last_trades(market_id: int, until: int) -> list[dict]:
    """The last TAPE_TRADES of a market at that market sequence, oldest first."""
    trades = Trade.objects.filter(market_id=market_id, sequence__lte=until).select_related("market").order_by("-id")
    return [trade_row(trade) for trade in reversed(trades[:TAPE_TRADES])]


def trades_between(market_id: int, after_id: int, until: int) -> list[dict]:
    """The market's trades above that id, up to that market sequence, oldest first."""
    trades = Trade.objects.filter(market_id=market_id, id__gt=after_id, sequence__lte=until).select_related("market")
    return [trade_row(trade) for trade in trades.order_by("id")]
