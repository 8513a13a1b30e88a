"""Holdings made again from history: to prove that the stored ones are right, and to write them anew.

The matcher keeps holdings up batch by batch; here every user's fills are read once more, in the order in which the
ledger took them, and folded from nothing. `differences` compares from one snapshot and without a lock; `rebuild` locks
all markets meanwhile, so that nothing trades in between, and then the accounts with a trade that settles later, so that
none does. Fills and settlements belong to the room above, so their tables are read by their names.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

from django.db import connection, transaction

from accounts import holdings
from accounts.holdings import OwnFill, Pool, Realized, State
from accounts.models import Holding, Realization
from marketdata import bulk, units
from marketdata.models import Asset, Market

#: Rows fetched from the server at a time.
CHUNK_ROWS = 10_000

FILLS = """
SELECT f.account_id, m.base_id, m.quote_id, f.side = 'BUY', f.quantity, f.price, f.fee,
       e.balance_after - e.amount AS owned, f.trade_id, f.executed_at
FROM exchange_fill f
JOIN marketdata_market m ON m.id = f.market_id
JOIN accounts_account a ON a.id = f.account_id AND a.user_id IS NOT NULL
JOIN accounts_journal j ON j.kind = 'TRADE' AND j.reference = f.trade_id
JOIN accounts_entry e ON e.journal_id = j.id AND e.account_id = f.account_id AND e.asset_id = m.base_id
ORDER BY f.account_id, e.id
"""

#: Settling takes no market's lock: it would add to what it had read before, and undo the rebuild.
LOCK_UNSETTLED = """
SELECT 1 FROM accounts_account WHERE id IN (
    SELECT unnest(ARRAY[buyer_id, seller_id]) FROM exchange_settlement WHERE settled_at IS NULL
) ORDER BY id FOR NO KEY UPDATE
"""

#: An account's fills are folded in one go, and may be millions.
UNHURRIED = "SET LOCAL idle_in_transaction_session_timeout = 0"

#: What an account's history comes to: pools, what was realised, and when each trade was.
Folded = tuple[int, State, list[Realized], dict[int, datetime]]


def differences() -> Iterator[str]:
    """What is stored otherwise than the fills say, in words; nothing when all is equal."""
    counts = [0, 0]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(UNHURRIED)
        decimals = _decimals()
        for account, state, realized, moments in _histories(decimals):
            pools, sales = _stored(account, decimals)
            counts[0] += sum(map(len, pools.values()))
            counts[1] += len(sales)
            if pools != state:
                yield f"account {account}: holdings are {pools}, by the fills {state}"
            if sales != {one: moments[one.trade] for one in realized}:
                yield f"account {account}: realisations differ from what the fills say"
        for model, counted in zip((Holding, Realization), counts, strict=True):
            if model.objects.count() != counted:
                yield f"{model.objects.count() - counted} {model._meta.verbose_name} rows of accounts without fills"


def rebuild() -> int:
    """Replace all holdings and realisations by what the fills say; how many accounts have any. Stops all trading and
    settling until it is done.
    """
    accounts = 0
    with transaction.atomic(), connection.cursor() as cursor:
        list(Market.objects.select_for_update(no_key=True).order_by("id").values_list("id"))
        cursor.execute(UNHURRIED)
        cursor.execute(LOCK_UNSETTLED)
        cursor.execute("DELETE FROM accounts_holding; DELETE FROM accounts_realization")
        decimals = _decimals()
        for _, state, realized, moments in _histories(decimals):
            accounts += 1
            statements = [holdings.holding_upsert(state, decimals)]
            if realized:
                when = [moments[one.trade] for one in realized]
                statements.append(holdings.realization_insert(realized, decimals, when))
            bulk.execute(cursor, statements)
    return accounts


def _decimals() -> dict[int, int]:
    return dict(Asset.objects.values_list("id", "decimals"))


def _histories(decimals: dict[int, int]) -> Iterator[Folded]:
    """Every user's account that ever traded, folded."""
    with connection.connection.cursor(name="holdings") as cursor:
        cursor.itersize = CHUNK_ROWS
        cursor.execute(FILLS)
        for account, rows in groupby(cursor, key=lambda row: row[0]):
            fills, moments = [], {}
            for row in rows:
                fills.append(_fill(row, decimals))
                moments[fills[-1].trade] = row[-1]
            yield account, *holdings.fold({}, fills), moments


def _fill(row: tuple, decimals: dict[int, int]) -> OwnFill:
    account, base, quote, is_buy, quantity, price, fee, owned, trade, _ = row
    notional = units.EXACT.multiply(price, quantity)
    base_decimals, quote_decimals = decimals[base], decimals[quote]
    return OwnFill(
        account, base, quote, is_buy, units.to_units(quantity, base_decimals), units.to_units(notional, quote_decimals),
        units.to_units(fee, quote_decimals), units.to_units(owned, base_decimals), trade,
    )  # fmt: skip


def _stored(account: int, decimals: dict[int, int]) -> tuple[dict[tuple[int, int], dict[int, Pool]], dict]:
    names = ("account_id", "asset_id", "quote_id")
    rows = Holding.objects.filter(account_id=account).order_by()
    pools = holdings.state_of(rows.values_list(*names, "quantity", "cost", "fees", "fills"), decimals)
    sales = Realization.objects.filter(account_id=account).order_by()
    columns = sales.values_list(*names, "trade_id", "quantity", "proceeds", "cost", "realized_at")
    found = {
        Realized(
            account, asset, quote, trade, units.to_units(quantity, decimals[asset]),
            units.to_units(proceeds, decimals[quote]), units.to_units(cost, decimals[quote]),
        ): moment
        for _, asset, quote, trade, quantity, proceeds, cost, moment in columns
    }  # fmt: skip
    return pools, found
