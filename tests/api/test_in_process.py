"""What a test of somebody else's does: DRF's and Django's own clients, rows that it commits, no fixture of this suite.

Two tests of each kind where the first must leave nothing behind that the second believes.
"""

import asyncio
import logging
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.test import TransactionTestCase
from rest_framework.test import APIClient

from accounts.models import User
from accounts.users import main_account
from marketdata import hub
from marketdata.models import Asset, Contract, Market

LIMIT = {"symbol": "AAPL", "side": "BUY", "quantity": "2", "price": "180"}


def client_of(name: str) -> APIClient:
    """Known without a token, and with 1,000 USD."""
    client = APIClient()
    client.force_authenticate(user=User.objects.create_user(name, password="correct-horse-battery"))
    assert client.post("/api/wallet/", {"amount": "1000"}).status_code == 201
    return client


def trade() -> None:
    """A fresh venue takes an order."""
    call_command("seed_demo", verbosity=0)
    answer = client_of("ann").post("/api/orders/", LIMIT)
    assert (answer.status_code, answer.data.get("status")) == (201, "OPEN"), answer.data


@pytest.mark.parametrize("run", ["first", "second"])
def test_an_emptied_database_is_not_remembered(transactional_db, run):
    trade()


class TestOfUnittest(TransactionTestCase):
    def test_first(self):
        trade()

    def test_second(self):
        trade()


def test_a_market_that_is_saved_is_there_at_once(venue):
    client = client_of("ann")
    assert client.get("/api/orderbook/NEW/").status_code == 404
    usd, aapl = Asset.objects.get(symbol="USD"), Asset.objects.get(symbol="AAPL")
    market = Market.objects.create(symbol="NEW", base=aapl, quote=usd, tick_size="0.01", lot_size="1")
    assert client.post("/api/orders/", {**LIMIT, "symbol": "NEW"}).status_code == 201
    market.refresh_from_db()
    market.is_active = False
    market.save()
    assert client.get("/api/orderbook/NEW/").status_code == 404


class Foreign(float):
    """A float that writes itself in its own way, as numpy's."""

    def __repr__(self):
        return f"np.float64({super().__repr__()})"


@pytest.mark.parametrize("kind", [str, float, Foreign, Decimal])
def test_a_markets_figures_may_be_text_or_floats(venue, kind):
    usd, aapl = Asset.objects.get(symbol="USD"), Asset.objects.get(symbol="AAPL")
    figures = {"tick_size": "0.01", "lot_size": "0.1", "min_quantity": "0.2", "min_notional": "5", "taker_fee": "0.003"}
    given = {name: kind(figure) for name, figure in figures.items()}
    market = Market.objects.create(symbol="NEW", base=aapl, quote=usd, kind="MARGIN", price_band=kind("0.2"), **given)
    terms = {"contract_size": kind("100.5"), "mark_jump": kind("0.1")}
    contract = Contract.objects.create(market=market, settlement=usd, **terms)
    shown = client_of("ann").get("/api/markets/NEW/").data
    assert {name: shown[name] for name in figures} == figures
    assert (market.tick_size, contract.contract_size) == (Decimal("0.01"), Decimal("100.5"))


def test_who_is_forced_is_the_user(venue):
    client = client_of("ann")
    account = main_account(User.objects.get(username="ann"))
    assert client.get("/api/me/").data["account_id"] == account.pk
    assert client.get("/api/portfolio/summary/", headers={"X-Account": str(account.pk)}).status_code == 200
    assert client.get("/api/wallet/", headers={"X-Account": str(account.pk + 1)}).status_code == 404
    assert client.get("/api/wallet/").data["balances"][0]["available"] == "1000"
    client.force_authenticate(user=None)
    assert client.get("/api/wallet/").status_code == 401


def test_every_answer_has_data(venue):
    client = client_of("ann")
    client.post("/api/orders/", LIMIT)
    assert client.get("/api/orderbook/?symbol=AAPL").data["bids"] == [["180", "2"]]
    assert client.get("/api/orders/").data["count"] == 1
    assert client.get("/api/tickers/AAPL/").data["bid"] == "180"


def test_a_loop_that_was_closed_over_the_hub_takes_no_more(venue, caplog):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(hub.start())
    for task in hub.hub._tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*hub.hub._tasks, return_exceptions=True))
    loop.close()
    with caplog.at_level(logging.ERROR):
        venue.trader("ann", USD=1_000)
        venue.order("ann BUY 1 AAPL @ 100")
        hub.flush()
    assert not caplog.records
