"""Holdings, totals and metrics over REST, in numbers that a reader can add up."""

from decimal import Decimal

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import portfolio, transfers, valuation
from accounts.api import portfolio as accounts_api
from exchange.api.holdings import SettledHoldingShape as HoldingShape
from exchange.api.portfolio import TradingMetricsShape
from marketdata.models import Asset
from tests.api.conftest import token_of
from tests.audit import sessions
from tests.venue import withdraw

V1 = "/api/v1/"
SUMMARY, METRICS, HOLDINGS = V1 + "portfolio/summary/", V1 + "portfolio/metrics/", V1 + "holdings/"


def trade(venue, buyer: str, seller: str, quantity: object, price: object, symbol: str = "AAPL") -> None:
    """Both sides of one trade; the maker is the seller."""
    venue.order(f"{seller} SELL {quantity} {symbol} @ {price}")
    venue.order(f"{buyer} BUY {quantity} {symbol} @ {price}")


def holdings(api, **terms) -> dict[str, dict]:
    return {row["asset"]: row for row in api("GET", HOLDINGS, **terms).json["results"]}


def test_a_holding(api):
    """Bob bought 10 at 100 and 10 at 110, each with 0.1 % on top; 1000 shares came by a deposit; 5 wait to be sold."""
    venue = api.venue
    venue.change("AAPL", price_band=None)
    trade(venue, "bob", "ann", 10, 100)
    trade(venue, "bob", "ann", 10, 110)
    venue.order("bob SELL 5 AAPL @ 200")
    assert holdings(api, token=api.tokens["bob"])["AAPL"] == {
        "asset": "AAPL",
        "quote": "USD",
        "quantity": "1020",
        "bought_quantity": "20",
        "reserved": "5",
        "avg_price": "105.105",
        "current_price": "110",
        "market_value": "112200",
        "cost_basis": "2102.1",
        "unrealized_pnl": "97.9",
        "pnl_percent": "4.6572",
        "to_receive": "0",
        "to_deliver": "0",
    }


def test_a_holding_that_was_never_bought_and_one_that_nobody_prices(api):
    Asset.objects.create(symbol="GOLD", name="Gold", kind="METAL", decimals=4)
    ann = api.venue.accounts["ann"]
    transfers.deposit(account=ann, asset=Asset.objects.get(symbol="GOLD"), amount=Decimal("2.5"))
    found = holdings(api)
    assert found.keys() == {"AAPL", "GOLD"}, "money is no holding"
    empty = dict.fromkeys(("avg_price", "market_value", "cost_basis", "unrealized_pnl", "pnl_percent", "current_price"))
    same = {"bought_quantity": "0", "reserved": "0", "to_receive": "0", "to_deliver": "0", **empty}
    assert found["AAPL"] == {"asset": "AAPL", "quote": "USD", "quantity": "1000", **same}
    assert found["GOLD"] == {"asset": "GOLD", "quote": None, "quantity": "2.5", **same}
    trade(api.venue, "bob", "ann", 10, 100)
    assert holdings(api)["AAPL"]["market_value"] == "99000"


def test_what_was_withdrawn_is_no_cost_any_more(api):
    venue = api.venue
    venue.trader("cyd", USD=10_000)
    trade(venue, "cyd", "ann", 10, 100)
    withdraw(account=venue.accounts["cyd"], asset=venue.assets["AAPL"], amount=Decimal(6))
    line = portfolio.holding_rows(venue.accounts["cyd"].pk)[0]
    assert (line["quantity"], line["cost_basis"], line["avg_price"]) == ("4", "400.4", "100.1")


def test_an_asset_bought_with_two_makes_two_lines(api):
    venue = api.venue
    venue.market("AAPL_USDT", base="AAPL", quote="USDT", tick_size=Decimal("0.01"), lot_size=Decimal(1))
    trade(venue, "ann", "bob", 5, 100, "AAPL_USDT")
    trade(venue, "ann", "bob", 10, 100)
    lines = [row for row in api("GET", HOLDINGS).json["results"] if row["asset"] == "AAPL"]
    kept = ("quote", "quantity", "bought_quantity", "cost_basis")
    assert [tuple(line[name] for name in kept) for line in lines] == [
        ("USD", "1010", "10", "1001"),
        ("USDT", "5", "5", "500.5"),
    ]


def test_the_summary_adds_up(api):
    """Ann has dollars, tethers that nobody prices in dollars, and shares, some bought at 100."""
    venue = api.venue
    trade(venue, "ann", "bob", 10, 100)
    found = api("GET", SUMMARY).json
    assert found["unpriced"] == ["USDT"] and found["margin_equity"] is None
    assert [(row["asset"], row["total"], row["value"]) for row in found["cash"]] == [
        ("USD", "98999", "98999"),
        ("USDT", "100000", None),
    ]
    assert (found["cash_value"], found["holdings_value"], found["total_value"]) == ("98999", "101000", "199999")
    assert (found["number_of_holdings"], found["unrealized_pnl"]) == (1, "-1")
    # The deposits came in today, at today's prices: what remains is the fee.
    assert found["todays_pnl"] == "-1"
    venue.market("USDT_USD", base="USDT", quote="USD", tick_size=Decimal("0.01"), reference_price=Decimal("0.99"))
    found = api("GET", SUMMARY).json
    assert (found["unpriced"], found["total_value"]) == ([], "298999")
    assert [row["asset"] for row in found["cash"]] == ["USD"], "what trades as a base is a holding"
    in_tether = api("GET", SUMMARY + "?quote=usdt").json
    assert [row["asset"] for row in in_tether["cash"]] == ["USD", "USDT"]
    assert in_tether["holdings"][0]["value"] == "102020.2020202"
    assert in_tether["total_value"] == "302019.19191919"


def test_a_summary_of_nothing(api):
    api.venue.trader("eve")
    found = api("GET", SUMMARY, token=token_of(api.venue.accounts["eve"])).json
    assert found["total_value"] == found["unrealized_pnl"] == found["todays_pnl"] == "0"
    assert found["cash"] == found["holdings"] == found["unpriced"] == []
    assert api("GET", SUMMARY + "?quote=NOPE").code == "not_found"


def test_metrics(api):
    """Cyd sells 2 at a gain of 20 less fees, 1 at a loss of 10, 1 at exactly its cost."""
    venue = api.venue
    venue.market("FREE", base="AAPL", quote="USDT", tick_size=Decimal("0.01"), maker_fee=0, taker_fee=0)
    venue.trader("cyd", USDT=10_000)
    trade(venue, "cyd", "bob", 4, 100, "FREE")
    for quantity, price in ((2, 105), (1, 95), (1, 100)):
        trade(venue, "ann", "cyd", quantity, price, "FREE")
    found = api("GET", METRICS + "?quote=USDT", token=token_of(venue.accounts["cyd"])).json
    orders = found.pop("recent_orders")
    assert found == {
        "quote": "USDT",
        "trades": 4,
        "closed_trades": 3,
        "winning_trades": 1,
        "losing_trades": 1,
        "win_rate": "33.3333",
        "realized_pnl": {"today": "5", "week": "5", "month": "5", "all": "5"},
        "best_trade": "10",
        "worst_trade": "-5",
        "profit_factor": "2",
        "max_drawdown": "0",
        "max_drawdown_percent": "0",
        "fees_paid": "0",
        "unpriced": [],
    }
    assert [order["side"] for order in orders] == ["SELL"] * 3 + ["BUY"]
    assert [order["fills"][0]["quantity"] for order in orders] == ["1", "1", "2", "4"]


def test_metrics_count_fees_and_leave_out_what_has_no_price(api):
    trade(api.venue, "ann", "bob", 10, 100)
    trade(api.venue, "ann", "bob", "0.1", 60000, "BTC_USDT")
    found = api("GET", METRICS).json
    assert (found["trades"], found["fees_paid"], found["unpriced"]) == (2, "1", ["USDT"])
    assert found["win_rate"] is found["best_trade"] is found["profit_factor"] is None


def test_everybody_sees_their_own_only(api):
    trade(api.venue, "ann", "bob", 10, 100)
    for path in (SUMMARY, METRICS, HOLDINGS, V1 + "portfolio/history/"):
        assert api("GET", path, token=None).status == 401
    assert api("GET", METRICS, token=api.tokens["bob"]).json["closed_trades"] == 0
    ids = {order["id"] for order in api("GET", METRICS).json["recent_orders"]}
    others = {order["id"] for order in api("GET", METRICS, token=api.tokens["bob"]).json["recent_orders"]}
    assert ids and others and not ids & others


def test_the_shapes_are_the_answers(api):
    trade(api.venue, "ann", "bob", 10, 100)
    summary = api("GET", SUMMARY).json
    answers = [
        (HoldingShape, api("GET", HOLDINGS).json["results"][0]),
        (accounts_api.SummaryShape, summary),
        (accounts_api.ValuedHoldingShape, summary["holdings"][0]),
        (accounts_api.CashShape, summary["cash"][0]),
        (TradingMetricsShape, api("GET", METRICS).json),
        (accounts_api.HistoryShape, api("GET", V1 + "portfolio/history/").json),
    ]
    for shape, answer in answers:
        assert shape().fields.keys() == answer.keys(), shape


def test_a_summary_is_of_one_moment(venue, monkeypatch):
    """Ann's shares are sold between its look at her balances and the one at what she bought."""
    for name in ("ann", "bob"):
        venue.trader(name, USD=10_000)
    venue.trader("bob", AAPL=10)
    trade(venue, "ann", "bob", 10, 100)
    terms = {"account_id": venue.accounts["ann"].pk, "quote": venue.assets["USD"]}
    before, look = portfolio.summary(**terms), portfolio.Book._load_pools

    def sell_and_look(book, account_id):
        trade(venue, "bob", "ann", 10, 105)
        return look(book, account_id)

    monkeypatch.setattr(portfolio.Book, "_load_pools", sell_and_look)
    assert portfolio.summary(**terms) == before
    monkeypatch.undo()
    assert portfolio.summary(**terms)["holdings"] == [] != before["holdings"]


def test_a_summary_costs_as_many_queries_for_many_holdings_as_for_few(venue):
    """Fifty more assets, each with a market and a balance."""
    ann, usd = venue.trader("ann", USD=1000), venue.assets["USD"]
    counts = []
    for more in (range(2), range(2, 52)):
        for number in more:
            asset = Asset.objects.create(symbol=f"X{number}", name="X", kind="STOCK", decimals=8)
            venue.assets[asset.symbol] = asset
            venue.market(asset.symbol, base=asset.symbol, quote="USD", reference_price=Decimal(number + 1))
            transfers.deposit(account=ann, asset=asset, amount=Decimal(1))
        with CaptureQueriesContext(connection) as queries:
            found = portfolio.summary(account_id=ann.pk, quote=usd)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 13  # three of them for the snapshot
    assert (found["number_of_holdings"], found["holdings_value"]) == (52, str(sum(range(53))))


def test_totals_are_the_sum_of_the_parts_after_a_random_session(venue):
    sessions.random_session(venue, seed=8, commands=80)
    usd = valuation.quote_asset("USD")
    for name in sessions.NAMES:
        found = portfolio.summary(account_id=venue.accounts[name].pk, quote=usd)
        parts = [row["value"] for row in found["cash"] + found["holdings"] if row["value"] is not None]
        assert Decimal(found["total_value"]) == sum(map(Decimal, parts))
        gains = [row["unrealized_pnl"] for row in found["holdings"] if row["quote"] == "USD"]
        assert Decimal(found["unrealized_pnl"]) == sum(Decimal(gain or 0) for gain in gains)
