"""The ledger's rules, tried against the database itself: whoever writes, money is neither made nor lost."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from accounts import ledger, transfers
from accounts.models import Balance, Entry, Journal
from marketdata.refusals import Refusal
from tests.locks import waiting_for_locks
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.venue import withdraw

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann(venue):
    return venue.trader("ann", USD=100)


def sum_of_entries() -> Decimal:
    return sum((entry.amount for entry in Entry.objects.all()), Decimal(0))


class TestTheDatabaseRefuses:
    """Each line is raw SQL that must fail; `{ids}` are filled in below."""

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE accounts_entry SET amount = amount + 1",
            "DELETE FROM accounts_entry",
            "UPDATE accounts_journal SET reason = 'x'",
            "DELETE FROM accounts_journal",
            "UPDATE accounts_balance SET available = -1",
            "UPDATE accounts_balance SET reserved = -1",
            "INSERT INTO accounts_entry (journal_id, account_id, asset_id, amount) SELECT id, {account}, {asset}, 5"
            " FROM accounts_journal",
            "INSERT INTO accounts_entry (journal_id, account_id, asset_id, amount) SELECT id, {account}, {asset}, 0"
            " FROM accounts_journal",
            "INSERT INTO accounts_account (kind, name, is_active, event_sequence, created_at)"
            " VALUES ('MAIN', '', TRUE, 0, now())",
        ],
    )
    def test_a_broken_rule(self, venue, ann, sql):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql.format(account=ann.id, asset=venue.assets["USD"].id))
        assert venue.funds("ann", "USD") == "100+0"

    @pytest.mark.parametrize("table", ["exchange_trade", "exchange_fill", "exchange_bookcommand"])
    def test_history_never_changes(self, venue, ann, table):
        venue.trader("bob", AAPL=1)
        venue.order("bob SELL 1 AAPL @ 10")
        venue.order("ann BUY 1 AAPL @ 10")
        for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET market_id = market_id"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(sql)


class TestTransfers:
    def test_a_deposit_is_a_journal_between_the_outside_world_and_the_account(self, venue, ann):
        entries = Entry.objects.filter(journal__kind=Journal.Kind.DEPOSIT)
        assert {(entry.account_id, entry.amount) for entry in entries} == {
            (ledger.outside_world().id, Decimal(-100)),
            (ann.id, Decimal(100)),
        }
        assert not Balance.objects.filter(account=ledger.outside_world()).exists()

    @pytest.mark.parametrize("amount", ["100.01", "1000000000"])
    def test_nobody_withdraws_more_than_is_available(self, venue, ann, amount):
        with pytest.raises(ledger.InsufficientFunds):
            withdraw(account=ann, asset=venue.assets["USD"], amount=Decimal(amount))
        assert venue.funds("ann", "USD") == "100+0"

    def test_reserved_money_cannot_be_withdrawn(self, venue, ann):
        venue.order("ann BUY 1 AAPL @ 99")
        with pytest.raises(ledger.InsufficientFunds):
            withdraw(account=ann, asset=venue.assets["USD"], amount=Decimal(1))

    @pytest.mark.parametrize("amount", ["0", "-1", "1e30", "0.000000001"])
    def test_bad_amounts(self, venue, ann, amount):
        with pytest.raises(Refusal) as caught:
            transfers.deposit(account=ann, asset=venue.assets["USD"], amount=Decimal(amount))
        assert caught.value.status == 400

    def test_an_adjustment_needs_a_reason(self, venue, ann):
        with pytest.raises(Refusal):
            transfers.adjust(account=ann, asset=venue.assets["USD"], amount=Decimal(1), reason=" ", actor_id=None)
        for amount, funds in ((-1, "99+0"), (3, "102+0")):
            adjusted = Decimal(amount)
            transfers.adjust(account=ann, asset=venue.assets["USD"], amount=adjusted, reason="error", actor_id=None)
            assert venue.funds("ann", "USD") == funds
        assert sum_of_entries() == 0

    def test_the_faucet_has_a_daily_limit(self, venue, ann, settings):
        settings.FAUCET_DAILY_LIMIT = 100  # what operators deposit, as the fixture did, does not count
        usd = venue.assets["USD"]
        transfers.faucet(account=ann, asset=usd, amount=Decimal(100))
        with pytest.raises(transfers.FaucetLimit):
            transfers.faucet(account=ann, asset=usd, amount=Decimal("0.01"))
        settings.FAUCET = False
        with pytest.raises(transfers.FaucetClosed):
            transfers.faucet(account=ann, asset=usd, amount=Decimal(1))

    def test_the_daily_limit_holds_for_two_at_once(self, venue, ann, settings, monkeypatch):
        """The second asks when the first has counted and not yet deposited."""
        settings.FAUCET_DAILY_LIMIT = 100
        others, deposit = [], transfers.deposit

        def ask() -> str:
            try:
                transfers.faucet(account=ann, asset=venue.assets["USD"], amount=Decimal(100))
                return "deposited"
            except Refusal as refusal:
                return refusal.code
            finally:
                if others:
                    connection.close()

        def deposit_when_another_has_asked(**terms):
            if not others:
                others.append(pool.submit(ask))
                wait_until(lambda: others[0].done() or waiting_for_locks(), "the other one")
            return deposit(**terms)

        monkeypatch.setattr(transfers, "deposit", deposit_when_another_has_asked)
        with ThreadPoolExecutor(1) as pool:
            assert (ask(), others[0].result(PATIENCE_SECONDS)) == ("deposited", "faucet_limit")
        assert venue.funds("ann", "USD") == "200+0"

    def test_withdrawals_at_the_same_time_take_it_once(self, venue, ann):
        def try_to(_):
            try:
                withdraw(account=ann, asset=venue.assets["USD"], amount=Decimal(100))
                return 1
            except ledger.InsufficientFunds:
                return 0
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(try_to, range(24))) == 1
        assert venue.funds("ann", "USD") == "0+0"
        assert sum_of_entries() == 0


class TestSheet:
    def test_an_unbalanced_journal_is_a_bug(self, venue, ann):
        sheet = ledger.Sheet({}, {1: ledger.AssetScale("X", 0)}, None)
        with pytest.raises(ledger.Unbalanced):
            sheet.post("TRADE", [(1, 1, 5), (2, 1, -4)], outside=2)

    def test_a_balance_seen_by_an_event_is_the_balance(self, venue, ann):
        event = ann.events.order_by("-last_sequence").first().events[-1]
        assert (event["type"], event["asset"], event["available"], event["total"]) == ("balance", "USD", "100", "100")
