"""seed_demo: what it makes, and that making it again, or several at once, makes nothing twice."""

import stat
import threading
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Sum

from accounts import ledger
from accounts.models import Account, Balance, Entry, User
from accounts.users import register
from exchange import demo, margin_demo
from exchange.models import Order
from exchange.simulator import population
from marketdata import files
from marketdata.models import Asset, Market
from tests.venue import forget_everything

TABLES = (Asset, Market, User, Account, Balance, Entry)


@pytest.fixture
def empty(transactional_db, settings, tmp_path):
    """An empty database, and a folder for the operator's password."""
    settings.DATA_DIR = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    forget_everything()
    yield tmp_path
    forget_everything()


def seed(*arguments: str) -> str:
    out = StringIO()
    call_command("seed_demo", *arguments, stdout=out)
    return out.getvalue()


def rows() -> dict[str, list]:
    return {table.__name__: list(table.objects.order_by("pk").values()) for table in TABLES}


def test_it_makes_what_it_says(empty):
    out = seed()
    assert "14 assets, 15 markets, 2 users" in out
    assert set(Market.objects.values_list("symbol", flat=True)) == demo.MARKETS.keys() | margin_demo.MARKETS.keys()
    assert "demo1, demo2 (password exchange-demo)" in out
    for username in demo.USERS:
        user = User.objects.get(username=username)
        assert user.check_password("exchange-demo") and not user.is_staff
        held = dict(user.accounts.get().balances.values_list("asset__symbol", "available"))
        assert held == {symbol: Decimal(amount) for symbol, amount in demo.FUNDS.items()}
    assert not Order.objects.exists()


def test_each_market_has_its_house(empty):
    seed()
    for market in Market.objects.all():
        kinds = sorted(market.house_accounts.values_list("kind", flat=True))
        assert kinds == ["FEES", "MARKET_MAKER"]
        maker = market.house_accounts.get(kind="MARKET_MAKER")
        held = set(maker.balances.values_list("asset__symbol", flat=True))
        assert held == ({market.base.symbol, market.quote.symbol} if market.kind == "SPOT" else {"USD"})


def test_every_market_is_valid(empty):
    seed()
    for market in Market.objects.all():
        market.full_clean()
        if market.kind == "MARGIN":
            market.contract.full_clean()


def test_the_ledger_is_balanced(empty):
    seed()
    assert set(Entry.objects.order_by().values("asset").annotate(sum=Sum("amount")).values_list("sum", flat=True)) == {
        0
    }


def test_a_second_time_changes_nothing(empty):
    seed()
    Market.objects.get(symbol="AAPL").save()  # counts the version up, as an operator's edit does
    before = rows()
    assert "0 assets, 0 markets, 0 users" in seed()
    assert rows() == before


def test_what_is_missing_is_added_and_what_was_edited_is_left(empty):
    seed()
    Account.objects.filter(kind="FEES", market__symbol="ETH_BTC").delete()
    Account.objects.filter(kind="MARKET_MAKER", market__symbol="ETH_BTC").update(market=None)
    Market.objects.filter(symbol="ETH_BTC").delete()
    Market.objects.filter(symbol="AAPL").update(status="HALTED", taker_fee=0)
    assert "0 assets, 1 markets, 0 users" in seed()
    assert Market.objects.get(symbol="ETH_BTC").house_accounts.count() == 2
    assert Market.objects.values_list("status", "taker_fee").get(symbol="AAPL") == ("HALTED", 0)


@pytest.mark.parametrize("place", ["funds", "fee_account", "keep", "main_account"])
def test_after_an_interruption_serve_makes_the_rest(empty, monkeypatch, place):
    """It seeds a venue that has no markets, so with the markets all is there; an operator has a password to read."""
    where = {"funds": population, "fee_account": ledger, "keep": files, "main_account": demo}[place]
    real, calls = getattr(where, place), []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == {"keep": 1, "main_account": 3}.get(place, 5):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(where, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        seed()
    monkeypatch.undo()
    assert not Market.objects.exists()
    seed()
    assert Account.objects.filter(kind="MARKET_MAKER").count() == Market.objects.count() == 15
    operator = User.objects.get(username="operator")
    assert operator.check_password((empty / "operator_password").read_text().strip())


def test_four_at_once_make_one(empty):
    failures = []

    def run():
        try:
            seed()
        except Exception as error:  # a thread's exception would go unseen
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    markets = len(demo.MARKETS) + len(margin_demo.MARKETS)
    assert Market.objects.count() == markets
    assert Account.objects.filter(kind="MARKET_MAKER").count() == markets
    assert User.objects.filter(username__in=demo.USERS).count() == len(demo.USERS)
    given = Entry.objects.filter(journal__reason=demo.REASON, amount__gt=0)
    house = len(margin_demo.MARKETS) + 1  # the house's margin accounts, and the insurance fund
    assert given.count() == len(demo.USERS) * len(demo.FUNDS) + house


class TestOperator:
    def operator(self) -> User:
        return User.objects.get(username="operator")

    def test_the_password_is_printed_once_and_kept_for_the_owner_only(self, empty):
        out = seed()
        path = empty / "operator_password"
        password = path.read_text().strip()
        assert password in out and password not in seed()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        operator = self.operator()
        assert operator.check_password(password) and operator.is_staff and operator.is_superuser
        assert [child.name for child in empty.iterdir()] == ["operator_password"]

    def test_it_can_be_reset(self, empty):
        path = empty / "operator_password"
        seed()
        first = path.read_text().strip()
        out = seed("--reset-operator-password")
        second = path.read_text().strip()
        assert second != first and second in out
        assert self.operator().check_password(second) and not self.operator().check_password(first)

    def test_of_two_databases_with_one_data_directory_both_have_the_password_that_is_kept_there(self, empty):
        (empty / "operator_password").write_text("that of the other one\n")
        assert "password that of the other one, kept in" in seed()
        assert self.operator().check_password("that of the other one")
        assert (empty / "operator_password").read_text() == "that of the other one\n"

    def test_what_is_kept_there_but_is_no_password_gives_way(self, empty):
        path = empty / "operator_password"
        path.write_bytes(b"\xff\xfe\n")
        seed()
        assert self.operator().check_password(path.read_text().strip())

    def test_an_ordinary_user_of_that_name_is_left_alone(self, empty):
        register(username="Operator", password="correct-horse-battery")
        seed()
        user = User.objects.get(username="Operator")
        assert not user.is_staff and user.check_password("correct-horse-battery")
        with pytest.raises(CommandError, match="ordinary user"):
            seed("--reset-operator-password")
