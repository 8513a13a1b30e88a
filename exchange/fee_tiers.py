"""Maker and taker fees by an account's volume of the last thirty days.

`assign` gives each account its tier, once a day and whenever an operator asks. An order's rates are fixed when it is
accepted: the lower, on each side, of its market's and its tier's. Each process looks at the tiers again after
CACHE_SECONDS, so a new one holds that much later; what rate an order got stands in its journal row.

A rebate is a negative maker fee. The market's fee account pays it out of the taker's fee of the same trade, and never
more: FeeTier and Market refuse rates that could, and where older orders meet newer rates, the maker gets what the taker
pays (see exchange.books).

Known limit: `assign` sums the fills of thirty days, at a cost in proportion to them. It finds the first of them by its
id: where the clock jumped at that very moment, thirty days ago, it may miss some.
"""

import time
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction

from accounts.models import FeeTier
from exchange import by_time
from marketdata import clock, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import MarketSpec

VOLUME_DAYS = 30
CACHE_SECONDS = 10.0
#: The tiers, each with when accounts last got theirs. `assign` writes that into all its rows in one transaction, so
#: any of them tells.
TIERS = """
SELECT id, maker_fee, taker_fee, (SELECT computed_at FROM accounts_feerate LIMIT 1) FROM accounts_feetier
"""
TIER_OF = "SELECT account_id, quote_id, tier_id FROM accounts_feerate"
RATE_OF = """
SELECT t.maker_fee, t.taker_fee FROM accounts_feerate r JOIN accounts_feetier t ON t.id = r.tier_id
WHERE r.account_id = %s AND r.quote_id = %s
"""
ASSIGN = """
INSERT INTO accounts_feerate (account_id, quote_id, tier_id, volume, computed_at)
SELECT DISTINCT ON (v.account_id, v.quote_id) v.account_id, v.quote_id, t.id, v.volume, %s
FROM (
    SELECT f.account_id, m.quote_id, sum(f.price * f.quantity * COALESCE(c.contract_size, 1)) AS volume
    FROM exchange_fill f JOIN marketdata_market m ON m.id = f.market_id
    LEFT JOIN marketdata_contract c ON c.market_id = m.id
    WHERE f.id >= %s AND f.executed_at > %s AND f.executed_at <= %s
      AND m.quote_id IN (SELECT quote_id FROM accounts_feetier)
    GROUP BY f.account_id, m.quote_id
) v
JOIN accounts_account a ON a.id = v.account_id AND a.user_id IS NOT NULL
JOIN accounts_feetier t ON t.quote_id = v.quote_id AND t.min_volume <= v.volume
ORDER BY v.account_id, v.quote_id, t.min_volume DESC
ON CONFLICT (account_id, quote_id) DO UPDATE
SET tier_id = EXCLUDED.tier_id, volume = EXCLUDED.volume, computed_at = EXCLUDED.computed_at
"""


class Rates:
    """Rates of accounts with a tier, in 10^-8, as this process knows them. Belongs to the writer.

    What the tiers are is read again and again, which account has which only when that was computed anew: nobody may
    trade meanwhile, and there may be as many such accounts as users.
    """

    def __init__(self):
        self._tiers: dict[int, tuple[int, int]] = {}
        self._tier_of: dict[tuple[int, int], int] = {}
        self._computed_at: datetime | None = None
        self._read_at = float("-inf")

    def refresh(self, cursor) -> None:
        """Read them again if they may be old. Outside of a transaction."""
        if time.monotonic() - self._read_at < CACHE_SECONDS:
            return
        cursor.execute(TIERS)
        found = cursor.fetchall()
        self._tiers = {tier: _in_units(maker, taker) for tier, maker, taker, _ in found}
        computed_at = found[0][-1] if found else None
        if computed_at is None:
            self._tier_of = {}
        elif computed_at != self._computed_at:
            cursor.execute(TIER_OF)
            self._tier_of = {(account, quote): tier for account, quote, tier in cursor.fetchall()}
        self._computed_at = computed_at
        self._read_at = time.monotonic()

    def of(self, account: int, spec: MarketSpec) -> tuple[int, int]:
        """(maker, taker) rate of a new order."""
        tier = self._tier_of.get((account, spec.quote_id)) if self._tier_of else None
        return _lower(spec, self._tiers.get(tier))

    def forget(self) -> None:
        """Read all again before the next batch."""
        self._computed_at, self._read_at = None, float("-inf")


def rates_of(account: int, spec: MarketSpec) -> tuple[int, int]:
    """The same as the database has it now, for whoever is not the writer."""
    with connection.cursor() as cursor:
        cursor.execute(RATE_OF, [account, spec.quote_id])
        found = cursor.fetchone()
    return _lower(spec, _in_units(*found) if found else None)


def _in_units(maker: Decimal, taker: Decimal) -> tuple[int, int]:
    return units.to_units(maker, RATE_DECIMALS), units.to_units(taker, RATE_DECIMALS)


def _lower(spec: MarketSpec, tier: tuple[int, int] | None) -> tuple[int, int]:
    if tier is None:
        return spec.maker_rate, spec.taker_rate
    return min(spec.maker_rate, tier[0]), min(spec.taker_rate, tier[1])


rates = Rates()
_assigned_on = date.min


def assign(now: datetime) -> int:
    """Give every account the tier of its volume; how many have one."""
    with transaction.atomic(), connection.cursor() as cursor:
        since = now - timedelta(days=VOLUME_DAYS)
        cursor.execute(ASSIGN, [now, by_time.first_fill_since(cursor, since), since, now])
        count = cursor.rowcount
        cursor.execute("DELETE FROM accounts_feerate WHERE computed_at <> %s", [now])
    rates.forget()
    return count


def assign_daily() -> None:
    """`assign` once a UTC day and process, if there are tiers at all."""
    global _assigned_on
    today = clock.now().date()
    if _assigned_on != today and FeeTier.objects.exists():
        assign(clock.now())
        _assigned_on = today
