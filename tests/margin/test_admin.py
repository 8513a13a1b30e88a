"""The operators' pages of margin markets."""

import logging
import re
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from accounts.models import MarginSetting, Position, Shortfall
from exchange import mark_keeper, orders, risk
from marketdata import markets
from marketdata.models import Contract, Market
from marketdata.refusals import UnknownMarket
from tests.admin.conftest import operator as plain_operator
from tests.admin.test_actions import form_of, text
from tests.api.conftest import api as plain_api
from tests.margin.test_settlement import trade

operator, api = plain_operator, plain_api


def url(model, page: str, *arguments) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def test_every_page_opens_and_history_stays(venue, operator):
    venue.change("EURUSD", price_band=None)
    trade(venue, "ann", "BUY", "bob", "4", "EURUSD", "1.10000")
    venue.mark("EURUSD", "1.05000")
    trade(venue, "ann", "SELL", "bob", "4", "EURUSD", "1.05000", reduce_only=True)
    MarginSetting.objects.create(
        account=venue.accounts["ann"], market=Contract.objects.get(market__symbol="EURUSD").market, leverage=7
    )
    for model, shown in ((Position, "FLAT"), (Shortfall, "10000"), (MarginSetting, "7"), (Contract, "EURUSD")):
        row = model.objects.order_by("-pk").first()
        pages = [url(model, "changelist"), url(model, "change", row.pk), url(model, "history", row.pk)]
        answers = [operator.get(page) for page in pages]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert shown in answers[0].content.decode()
        assert operator.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    contract = Contract.objects.get(market__symbol="EURUSD")
    assert not re.search(r"\d\.\d*0{7}\b", text(operator.get(url(Contract, "change", contract.pk))))
    assert operator.get(url(Position, "changelist") + "?state=open").status_code == 200
    assert operator.get(url(Position, "add")).status_code == 403


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        ({"max_leverage": "20"}, True),
        ({"is_reduce_only": "on"}, True),
        ({"tiers": '[{"up_to": null, "initial": "0.1", "maintenance": "0.05"}]'}, True),
        ({"tiers": '[{"up_to": null, "initial": "NaN", "maintenance": "0.05"}]'}, False),
        ({"tiers": "7"}, False),
        ({"tiers": "null"}, False),
        ({"hours": "null"}, False),
        ({"hours": '[["SUN 17:00", "FRI 17:00"]]', "hours_zone": "America/New_York"}, True),
        ({"hours": '["never"]'}, False),
        ({"holidays": '["christmas"]'}, False),
        ({"hours_zone": "Mars/Olympus"}, False),
        ({"mark_jump": "0"}, False),
        ({"liquidation_band": "1"}, False),
        ({"financing_days": "0"}, False),
        ({"triple_day": "4"}, True),
        ({"triple_day": "5"}, False),
        ({"is_quoted": "on"}, True),
        ({"is_quoted": "on", "quote_size_lots": "100000000000000"}, False),
        ({"is_quoted": "on", "exposure_limit_lots": "0"}, False),
        ({"exposure_limit_lots": "0"}, True),
    ],
)
def test_what_an_operator_may_write_into_a_contract(venue, operator, change, is_taken):
    contract = Contract.objects.get(market__symbol="EURUSD")
    version = contract.market.version
    form = {
        "market": contract.market_id, "settlement": contract.settlement_id, "contract_size": "100000",
        "max_leverage": "50", "tiers": "[]", "hours_zone": "UTC", "hours": "[]", "holidays": "[]",
        "mark_source": "PROVIDER", "mark_max_age_seconds": "30", "mark_jump": "0.01", "liquidation_band": "0.05",
        "quote_spread_ticks": "2", "quote_size_lots": "100", "exposure_limit_lots": "1000",
        "financing_long_rate": "0", "financing_short_rate": "0", "financing_days": "365", "triple_day": "",
        "rollover_time": "17:00", "rollover_zone": "America/New_York", **change,
    }  # fmt: skip
    answer = operator.post(url(Contract, "change", contract.pk), form)
    assert answer.status_code == (302 if is_taken else 200) and b"Constraint" not in answer.content
    contract.market.refresh_from_db()
    assert (contract.market.version > version) is is_taken


def test_a_market_with_open_positions_stays_active(venue, operator):
    """Who holds one could not close it any more."""
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    page = url(Market, "change", Market.objects.get(symbol="EURUSD").pk)
    sent = form_of(operator.get(page))
    inactive = {name: value for name, value in sent.items() if name != "is_active"}
    answer = operator.post(page, inactive)
    assert answer.status_code == 200
    assert "2 positions are open here, and nobody could close them" in answer.content.decode()
    with pytest.raises(ValidationError):
        venue.change("EURUSD", is_active=False)
    assert operator.post(page, sent | {"max_open_orders": "7"}).status_code == 302
    trade(venue, "ann", "SELL", "bob", "1", "EURUSD", "1.10000")
    assert operator.post(page, inactive).status_code == 302
    assert not Market.objects.get(symbol="EURUSD").is_active


def test_a_market_that_is_inactive_already_can_be_edited_and_activated(venue, operator):
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    Market.objects.filter(symbol="EURUSD").update(is_active=False)
    page = url(Market, "change", Market.objects.get(symbol="EURUSD").pk)
    sent = form_of(operator.get(page))
    for change in ({"max_open_orders": "7"}, {"is_active": "on"}):
        assert operator.post(page, sent | change).status_code == 302
    assert Market.objects.get(symbol="EURUSD").is_active


@pytest.mark.parametrize(
    ("size", "change", "words"),
    [
        ("1", {"tick_size": "0.000001"}, None),
        ("1", {"lot_size": "0.001"}, None),
        # tick × lot is whole by itself, but not what a tenth of it is worth.
        ("0.1", {"tick_size": "0.000001"}, "tick × lot × size = 0.000000001 must be whole in USD"),
        ("0.1", {"lot_size": "0.001"}, "tick × lot × size = 0.000000001 must be whole in USD"),
        ("0.1", {"lot_size": "0.1", "tick_size": "0.000001"}, None),
    ],
)
def test_a_markets_grid_must_fit_its_contract(venue, operator, size, change, words):
    Contract.objects.filter(market__symbol="EURUSD").update(contract_size=size)
    row = Market.objects.get(symbol="EURUSD")
    page = url(Market, "change", row.pk)
    answer = operator.post(page, {**form_of(operator.get(page)), **change})
    assert answer.status_code == (200 if words else 302)
    if words:
        assert words in text(answer)
        for name, value in change.items():
            setattr(row, name, Decimal(value))
        with pytest.raises(ValidationError, match="must be whole in USD"):
            row.save()
    assert markets.by_symbol("EURUSD").tick_size == Market.objects.get(symbol="EURUSD").tick_size


def test_a_market_with_a_contract_stays_a_margin_market(venue, operator):
    """Before its first order too, when the page lets the kind be edited; and no spot market gets a contract."""
    row = Market.objects.get(symbol="EURUSD")
    page = url(Market, "change", row.pk)
    answer = operator.post(page, {**form_of(operator.get(page)), "kind": "SPOT"})
    assert answer.status_code == 200 and "Only a market of kind MARGIN has a contract" in text(answer)
    for fields in (None, ["kind"]):
        row.kind = "SPOT"
        with pytest.raises(ValidationError, match="kind"):
            row.save(update_fields=fields)
    apple = Market.objects.get(symbol="AAPL")
    form = {**form_of(operator.get(url(Contract, "add"))), "market": apple.pk, "settlement": apple.quote_id}
    answer = operator.post(url(Contract, "add"), form)
    assert answer.status_code == 200 and "Only a market of kind MARGIN has a contract" in text(answer)
    with pytest.raises(ValidationError, match="kind MARGIN"):
        Contract.objects.create(market=apple, settlement=apple.quote)
    assert not Contract.objects.filter(market__kind="SPOT").exists()


def test_a_market_that_becomes_a_margin_market_before_its_first_order(venue):
    """In a process that has refused an order there before; and who ordered at the market as it was is told."""
    spot = venue.market("USDEUR", base="USD", quote="EUR", maker_fee=0, taker_fee=0)
    assert venue.refused("bob BUY 1 USDEUR @ 1") == "insufficient_funds"
    by_budget = venue.command("ann BUY 0 USDEUR MARKET", quote_quantity=Decimal(9))
    before = [venue.command("ann SELL 1 USDEUR @ 1"), by_budget]
    venue.change("USDEUR", kind="MARGIN")
    Contract.objects.create(market=spot, settlement=venue.assets["USD"])
    markets.forget()
    venue.mark("USDEUR", "1")
    assert [orders.place_many([one])[0].code for one in before] == ["market_closed"] * 2
    before = [venue.command("ann BUY 1 USDEUR @ 1")]  # of a contract that is another one, too
    venue.terms("USDEUR", contract_size=1_000)
    assert [getattr(outcome, "code", "taken") for outcome in orders.place_many(before)] == ["market_closed"]
    trade(venue, "ann", "BUY", "bob", "1", "USDEUR", "1")
    assert venue.position("ann", "USDEUR").startswith("1 ") and venue.is_sound()


def test_a_market_whose_figures_make_no_sense_takes_no_other_with_it(venue, api, caplog):
    """As one from before what is refused by now: it cannot be found, is not listed, and is told about once."""
    shown = [row["symbol"] for row in api("GET", "/api/v1/markets/", token=None).json["results"]]
    Contract.objects.filter(market__symbol="EURGBP").update(hours_zone="Mars/Olympus")
    Market.objects.filter(symbol="GBPUSD").update(tick_size=Decimal("0.000000000000000001"), version=7)
    markets.forget()
    left = [symbol for symbol in shown if symbol not in ("EURGBP", "GBPUSD")]
    with caplog.at_level(logging.ERROR, "marketdata.markets"):
        assert [spec.symbol for spec in markets.active()] == left and "EURUSD" in left
        monitor = risk.Monitor()
        monitor.check()
        assert {spec.symbol for spec in monitor._specs.values()} == {"EURUSD", "USDJPY"}
        assert {terms.spec.symbol for terms in mark_keeper.load_terms().values()} == {"EURUSD", "USDJPY"}
    assert sorted(record.args[0] for record in caplog.records) == ["EURGBP", "GBPUSD"]
    for symbol in ("EURGBP", "GBPUSD"):
        with pytest.raises(UnknownMarket):
            markets.by_symbol(symbol)
        for path in (f"markets/{symbol}/", f"orderbook/?symbol={symbol}", f"tickers/{symbol}/"):
            assert api("GET", f"/api/v1/{path}", token=None).code == "unknown_market"
    for path in ("markets/EURUSD/", "orderbook/?symbol=AAPL"):
        assert api("GET", f"/api/v1/{path}", token=None).status == 200
    assert [row["symbol"] for row in api("GET", "/api/v1/markets/", token=None).json["results"]] == left


@pytest.mark.parametrize("page", ["adjust", "transfer"])
def test_operators_take_what_open_positions_have_lost_only_if_they_mean_it(venue, operator, page):
    """Of the 7,800 dollars that ann has available she has lost 5,000."""
    venue.order("bob SELL 1 EURUSD @ 1.1")
    venue.order("ann BUY 1 EURUSD @ 1.1")
    venue.mark("EURUSD", "1.05")
    address = f"/admin/accounts/account/{venue.accounts['ann'].pk}/{page}/"

    def take(amount: int, **fields):
        key = operator.get(address).context["form"]["request_key"].value()
        sent = {"asset": venue.assets["USD"].pk, "reason": "x", "request_key": key, **fields}
        sent |= {"amount": -amount} if page == "adjust" else {"amount": amount, "to_account": venue.accounts["bob"].pk}
        return operator.post(address, sent)

    refused = take(2_801)
    assert refused.status_code == 400
    assert "Needs 2801 USD; 2800 are available beyond what open positions have lost" in text(refused)
    assert venue.funds("ann", "USD") == "7800+2200"
    assert take(2_800).status_code == 302
    assert take(1).status_code == 400
    assert take(1, despite_losses="on").status_code == 302
    assert venue.funds("ann", "USD") == "4999+2200"
    assert take(5_000, despite_losses="on").status_code == 400
    assert venue.is_sound()
