"""What accounts were worth over time: a snapshot of every user's account each hour, and what follows from them.

A snapshot holds the equity (all balances at present prices, with what unsettled trades change of them and what open
positions have gained, in PORTFOLIO_QUOTE) and what had been paid in by then, so that profit = equity - paid in,
whatever was deposited and withdrawn between. All accounts and the prices are read at one moment; movements are counted
by their ids, which ascend with an account's commits, so that none is missed or counted twice. Snapshots never go back
in time.

Known limits: an asset without a price is not in the equity, nor in what was paid in while it had none; movements are
valued at the prices of the next snapshot. After HOURLY_DAYS only the last snapshot of each UTC day is kept.
"""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from accounts.models import Account, EquitySnapshot, Movement
from accounts.positions import UNREALIZED
from accounts.unsettled import UNSETTLED
from accounts.valuation import Valuation, load_pairs, quote_asset
from marketdata import bulk, clock, leadership
from marketdata.models import Asset
from marketdata.snapshots import one_moment

#: Below 2^31, so that pg_locks shows them whole in objid. The first is of who takes them at each hour.
LOCK, TURNS_LOCK = 0x65717479, 0x65717432
EVERY = timedelta(hours=1)
LOOK_SECONDS = 15.0
HOURLY_DAYS = 90
INTERVALS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}
POINTS = 1_000

TAKE = f"""
WITH prices AS (SELECT * FROM unnest(%(assets)s::bigint[], %(prices)s::numeric[]) AS p (asset_id, price)),
worth AS (
    SELECT account_id, sum(value) AS equity FROM (
        SELECT b.account_id, round((b.available + b.reserved) * p.price, %(decimals)s) AS value
        FROM accounts_balance b LEFT JOIN prices p USING (asset_id)
        UNION ALL
        SELECT u.account_id, round(u.profit * p.price, %(decimals)s)
        FROM ({UNREALIZED}) u LEFT JOIN prices p USING (asset_id)
        UNION ALL
        SELECT t.account_id, round(t.amount * p.price, %(decimals)s)
        FROM ({UNSETTLED}) t LEFT JOIN prices p USING (asset_id)
    ) each_value GROUP BY account_id
)
INSERT INTO accounts_equitysnapshot (account_id, quote_id, taken_at, equity, paid_in, last_movement_id)
SELECT a.id, %(quote)s, %(moment)s, COALESCE(worth.equity, 0), COALESCE(last.paid_in, 0) + COALESCE(fresh.value, 0),
       COALESCE(fresh.last_id, last.last_movement_id, 0)
FROM accounts_account a
LEFT JOIN worth ON worth.account_id = a.id
LEFT JOIN LATERAL (
    SELECT paid_in, last_movement_id FROM accounts_equitysnapshot
    WHERE account_id = a.id AND quote_id = %(quote)s ORDER BY taken_at DESC LIMIT 1
) last ON TRUE
LEFT JOIN LATERAL (
    SELECT sum(round(m.amount * p.price, %(decimals)s)) AS value, max(m.id) AS last_id
    FROM accounts_movement m LEFT JOIN prices p USING (asset_id)
    WHERE m.account_id = a.id AND m.id > COALESCE(last.last_movement_id, 0)
) fresh ON TRUE
WHERE a.user_id IS NOT NULL AND (worth.account_id IS NOT NULL OR last.paid_in IS NOT NULL)
"""
#: Between two midnights; both sides are told so, else all snapshots that there are would be read for it.
THIN_OUT = """
DELETE FROM accounts_equitysnapshot s WHERE s.taken_at >= %(since)s AND s.taken_at < %(until)s AND EXISTS (
    SELECT FROM accounts_equitysnapshot later
    WHERE later.account_id = s.account_id AND later.quote_id = s.quote_id AND later.taken_at > s.taken_at
      AND later.taken_at >= %(since)s AND later.taken_at < %(until)s
      AND date_trunc('day', later.taken_at, 'UTC') = date_trunc('day', s.taken_at, 'UTC')
)
"""
HISTORY = """
SELECT DISTINCT ON (opened) date_bin(%(interval)s, taken_at, timestamptz 'epoch') AS opened, equity, paid_in
FROM accounts_equitysnapshot
WHERE account_id = %(account)s AND quote_id = %(quote)s AND taken_at >= %(start)s AND taken_at < %(end)s
ORDER BY opened DESC, taken_at DESC LIMIT %(limit)s
"""


# Taking them


def take_snapshots() -> int:
    """One snapshot of every user's account that ever held anything; how many were taken. The first of a UTC day thins
    out old ones. Two at once take turns: of two that thin out the same day one would be undone.
    """
    quote = quote_asset(None)
    with leadership.alone(TURNS_LOCK), one_moment(writes=True), connection.cursor() as cursor:
        cursor.execute("SELECT max(taken_at) FROM accounts_equitysnapshot")
        last = cursor.fetchone()[0]
        moment = clock.now() if last is None else max(clock.now(), last + timedelta(microseconds=1))
        prices = Valuation(quote, load_pairs()).prices
        terms = {"quote": quote.pk, "decimals": quote.decimals, "moment": moment}
        arrays = {
            "assets": bulk.array(prices, "bigint"),
            "prices": bulk.array([format(price, "f") for price in prices.values()], "numeric"),
        }
        cursor.execute(TAKE, terms | arrays)
        taken = cursor.rowcount
        # Every day that has become too old since the last ones were taken.
        since, until = midnight_before(last or moment), midnight_before(moment)
        if since < until:
            kept = timedelta(days=HOURLY_DAYS)
            cursor.execute(THIN_OUT, {"since": since - kept, "until": until - kept})
    return taken


def take_when_due() -> int:
    """Take them if that was not done in this hour yet."""
    last = EquitySnapshot.objects.order_by("-taken_at").values_list("taken_at", flat=True).first()
    if last is not None and last >= clock.now().replace(minute=0, second=0, microsecond=0):
        return 0
    return take_snapshots()


async def run_snapshots() -> None:
    """Take snapshots at each hour for ever, in the one process, of all on the database, that may."""
    await leadership.repeat(LOCK, "equity", take_when_due, LOOK_SECONDS)


# Reading them


class Point(NamedTuple):
    """Equity at the end of an interval that began at `opened`."""

    opened: datetime
    equity: Decimal
    paid_in: Decimal


def history(*, account_id: int, interval: str, start: datetime | None, end: datetime | None) -> list[Point]:
    """The last snapshot in each interval, oldest first: the newest POINTS of them between start and end."""
    end = end or clock.now() + timedelta(seconds=1)
    terms = {
        "account": account_id,
        "quote": quote_asset(None).pk,
        "interval": INTERVALS[interval],
        "start": start or datetime(1970, 1, 1, tzinfo=UTC),
        "end": end,
        "limit": POINTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(HISTORY, terms)
        return [Point(*row) for row in reversed(cursor.fetchall())]


def deepest_fall(points: list[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal | None]:
    """Of (equity, paid in) in order of time: the largest fall of profit from a peak before it, and the equity at that
    peak. Deposits and withdrawals are no falls. (0, None) when it never fell. Pure.
    """
    deepest, equity_then = Decimal(0), None
    peak = peak_equity = None
    for equity, paid_in in points:
        profit = equity - paid_in
        if peak is None or profit > peak:
            peak, peak_equity = profit, equity
        elif peak - profit > deepest:
            deepest, equity_then = peak - profit, peak_equity
    return deepest, equity_then


def drawdown(account_id: int, quote: Asset) -> tuple[Decimal, Decimal | None]:
    """`deepest_fall` of the account's snapshots in that quote asset."""
    rows = EquitySnapshot.objects.filter(account_id=account_id, quote=quote).order_by("taken_at")
    return deepest_fall(list(rows.values_list("equity", "paid_in")))


def profit_today(account: Account, equity: Decimal, valuation: Valuation) -> Decimal | None:
    """What the account has gained since midnight UTC, not counting what was paid in or out: equity now, less what it
    was, less what came since at present prices. Who had not been given anything by then had nothing. None when nobody
    knows what it was. Where nothing took snapshots then nothing traded either: the last one, however old, tells it.
    """
    midnight = midnight_before(clock.now())
    stored_in = valuation.quote if valuation.quote.symbol == settings.PORTFOLIO_QUOTE else quote_asset(None)
    snapshot = _nearest(account.pk, stored_in, midnight)
    if snapshot is None and Movement.objects.filter(account=account, journal__created_at__lt=midnight).exists():
        return None
    before = valuation.value(stored_in.pk, snapshot.equity) if snapshot else Decimal(0)
    if before is None:
        return None
    moved = Movement.objects.filter(account=account, id__gt=snapshot.last_movement_id if snapshot else 0)
    sums = moved.order_by().values_list("asset_id").annotate(Sum("amount"))
    return equity - before - sum((valuation.value(asset, amount) or 0 for asset, amount in sums), Decimal(0))


def _nearest(account_id: int, quote: Asset, moment: datetime) -> EquitySnapshot | None:
    """The snapshot nearest to the moment: the last before it, or one taken in the half hour after it."""
    rows = EquitySnapshot.objects.filter(account_id=account_id, quote=quote)
    before = rows.filter(taken_at__lte=moment).order_by("-taken_at").first()
    after = rows.filter(taken_at__gt=moment, taken_at__lt=moment + EVERY / 2).order_by("taken_at").first()
    if before is None or after is None:
        return before or after
    return after if after.taken_at - moment < moment - before.taken_at else before


def midnight_before(moment: datetime) -> datetime:
    """When the moment's UTC day began."""
    return datetime.combine(moment.astimezone(UTC).date(), time.min, UTC)
