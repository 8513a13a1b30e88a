"""Average cost and realised profit: the rules as a table, and the venue against a plain bookkeeper."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts import holdings, holdings_proof
from accounts.holdings import OwnFill, Pool
from accounts.models import Entry, Holding, Realization
from exchange.models import Fill
from marketdata.models import Asset
from tests.accounts.plain import Bookkeeper
from tests.audit import sessions
from tests.venue import withdraw

#: (fills as (is_buy, quantity, notional, fee), owned before them, pool after them, (quantity, proceeds, cost) of sales)
RULES = [
    ([(True, 10, 1000, 1)], 0, (10, 1001), []),
    ([(True, 10, 1000, 1), (True, 10, 2000, 2)], 0, (20, 3003), []),
    ([(True, 10, 1000, 1), (False, 4, 480, 2)], 0, (6, 601), [(4, 478, 400)]),
    ([(True, 3, 100, 0), (False, 1, 50, 0), (False, 2, 50, 0)], 0, (0, 0), [(1, 50, 33), (2, 50, 67)]),
    ([(False, 5, 500, 0)], 5, (0, 0), []),
    ([(True, 2, 20, 0), (False, 6, 100, 1)], 5, (0, 0), [(2, 33, 20)]),
]


def fills_of(rows: list[tuple], owned: int) -> list[OwnFill]:
    fills = []
    for trade, (is_buy, quantity, notional, fee) in enumerate(rows, 1):
        fills.append(OwnFill(1, 2, 3, is_buy, quantity, notional, fee, owned, trade))
        owned += quantity if is_buy else -quantity
    return fills


@pytest.mark.parametrize(("rows", "owned", "pool", "sold"), RULES)
def test_the_rules(rows, owned, pool, sold):
    state, realized = holdings.fold({}, fills_of(rows, owned))
    assert state == {(1, 2): {3: Pool(*pool, sum(row[3] for row in rows), len(rows))}}
    assert [(one.quantity, one.proceeds, one.cost) for one in realized] == sold


def test_what_left_by_a_withdrawal_takes_its_cost_along():
    state, _ = holdings.fold({}, fills_of([(True, 10, 1000, 0)], 0))
    later, _ = holdings.fold(state, [OwnFill(1, 2, 3, True, 5, 1000, 0, 0, 2)])
    assert later[1, 2][3][:2] == (5, 1000)
    assert holdings.within(state[1, 2], 4)[3][:2] == (4, 400)
    assert holdings.within(state[1, 2], 10) is state[1, 2]


def test_what_was_sold_for_another_asset_leaves_the_other_pool_first():
    state = {(1, 2): {3: Pool(5, 50), 4: Pool(5, 500)}}
    after, _ = holdings.fold(state, [OwnFill(1, 2, 4, True, 1, 100, 0, 7, 9)])
    assert after[1, 2] == {3: Pool(2, 20), 4: Pool(6, 600, 0, 1)}
    assert state == {(1, 2): {3: Pool(5, 50), 4: Pool(5, 500)}}, "fold changes nothing"


LEGS = st.tuples(
    st.booleans(), st.integers(1, 10**6), st.integers(1, 10**9), st.integers(0, 10**5), st.sampled_from("UV")
)


@given(st.lists(LEGS, max_size=40), st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=40))
def test_the_fold_equals_the_plain_bookkeeper(legs, start, outflows):
    """Buys and sells of one asset for two others, with withdrawals between; costs add up to what was paid."""
    book, fills, quotes = Bookkeeper(Fraction(1)), [], {"U": 8, "V": 9}
    book.move("X", Fraction(start))
    for trade, (is_buy, quantity, notional, fee, quote) in enumerate(legs, 1):
        owned = int(book.owned["X"])
        if trade <= len(outflows):
            book.move("X", -Fraction(min(owned, outflows[trade - 1] // 3)))
            owned = int(book.owned["X"])
        if not is_buy:
            quantity = min(quantity, owned)
        if not quantity:
            continue
        fee = min(fee, notional)
        fills.append(OwnFill(1, 7, quotes[quote], is_buy, quantity, notional, fee, owned, trade))
        terms = {"quantity": Fraction(quantity), "price": Fraction(notional, quantity), "fee": Fraction(fee)}
        book.fill(trade=trade, side="BUY" if is_buy else "SELL", asset="X", quote=quote, **terms)
    state, realized = holdings.fold({}, fills)
    assert [(one.trade, one.quantity, one.proceeds, one.cost) for one in realized] == book.sales
    pools = state.get((1, 7), {})
    heaps = {quotes[quote]: (heap.quantity, heap.cost) for (_, quote), heap in book.heaps.items()}
    assert {quote: pool[:2] for quote, pool in pools.items()} == heaps


@pytest.mark.parametrize("seed", [1, 2])
def test_a_venue_equals_the_plain_bookkeeper(venue, seed):
    """A random session with withdrawals in between; every user's holdings and sales, from the fills as stored."""
    random = Random(seed)
    for part in range(4):
        sessions.random_session(venue, seed=10 * seed + part, commands=60)
        for name in random.sample(sessions.NAMES, 2):
            balance = venue.accounts[name].balances.get(asset__symbol="AAPL")
            amount = Decimal(int(balance.available * random.randint(0, 10) / 10))
            if amount:
                withdraw(account=venue.accounts[name], asset=venue.assets["AAPL"], amount=amount)
    assert Realization.objects.exists()
    for name in sessions.NAMES:
        check(venue.accounts[name])
    call_command("rebuild_holdings", check=True)


def check(account) -> None:
    book = Bookkeeper(Fraction(1, 10**8))
    fills = {fill.trade_id: fill for fill in Fill.objects.filter(account=account).select_related("market__base")}
    symbols = dict(Asset.objects.values_list("id", "symbol"))
    for entry in Entry.objects.filter(account=account).select_related("journal").order_by("id"):
        if entry.journal.kind != "TRADE":
            book.move(symbols[entry.asset_id], Fraction(entry.amount))
            continue
        fill = fills[entry.journal.reference]
        if fill.market.base_id == entry.asset_id:
            terms = {name: Fraction(getattr(fill, name)) for name in ("quantity", "price", "fee")}
            base, quote = symbols[fill.market.base_id], symbols[fill.market.quote_id]
            book.fill(trade=fill.trade_id, side=fill.side, asset=base, quote=quote, **terms)
    stored = Holding.objects.filter(account=account).select_related("asset", "quote")
    heaps = {key: (heap.quantity, heap.cost) for key, heap in book.heaps.items()}
    assert {(row.asset.symbol, row.quote.symbol): (row.quantity, row.cost) for row in stored} == heaps
    sales = Realization.objects.filter(account=account)
    found = {row.trade_id: (row.quantity, row.proceeds, row.cost) for row in sales}
    assert found == {trade: tuple(rest) for trade, *rest in book.sales} and len(found) == len(book.sales)


def test_fees_and_executions_are_counted(venue):
    sessions.something_of_everything(venue)
    for row in Holding.objects.all():
        fills = Fill.objects.filter(account=row.account, market__base=row.asset, market__quote=row.quote)
        assert (row.fills, row.fees) == (fills.count(), sum(fill.fee for fill in fills))


def test_the_house_has_no_holdings(venue):
    sessions.something_of_everything(venue)
    assert not Holding.objects.filter(account__user__isnull=True).exists()


#: What is done behind the venue's back, and that the check sees.
BREAKS = [
    "UPDATE accounts_holding SET cost = cost + 0.00000001 WHERE id = (SELECT max(id) FROM accounts_holding)",
    "DELETE FROM accounts_holding WHERE id = (SELECT min(id) FROM accounts_holding)",
    "DELETE FROM accounts_realization WHERE id = (SELECT max(id) FROM accounts_realization)",
    "UPDATE accounts_realization SET proceeds = proceeds + 1, pnl = pnl + 1",
    "UPDATE accounts_realization SET realized_at = realized_at + interval '1 second'",
    "INSERT INTO accounts_holding (account_id, asset_id, quote_id, quantity, cost, fees, fills)"
    " SELECT a.id, 1, 2, 0, 0, 0, 0 FROM accounts_account a WHERE kind = 'OUTSIDE'",
]


def test_a_rebuild_mends_what_the_check_finds(venue):
    sessions.random_session(venue, seed=5, commands=80)
    for sql in BREAKS:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        with pytest.raises(SystemExit):
            call_command("rebuild_holdings", check=True)
        call_command("rebuild_holdings")
        assert list(holdings_proof.differences()) == [], sql
