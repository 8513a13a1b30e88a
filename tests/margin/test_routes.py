"""Margin and positions over REST."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import position_archive
from exchange import orders, positions
from exchange.api import margin_shapes as shapes
from marketdata import clock, markets
from marketdata.api.shapes import ContractShape, MarketShape
from marketdata.models import Market
from tests.api.conftest import api as plain_api
from tests.margin.test_settlement import trade

V1 = "/api/v1/"
api = plain_api


@pytest.fixture
def fx(api):
    """The client's venue with margin markets; ann has bought a lot of EURUSD from bob at 1.10000."""
    api.fx = api.venue
    trade(api.fx, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    api.fx.mark("EURUSD", "1.10200")
    return api


class TestReading:
    def test_margin(self, fx):
        answer = fx("GET", V1 + "margin/").json
        assert shapes.MarginShape().fields.keys() == answer.keys()
        figures = ("balance", "unrealized_pnl", "equity", "used", "orders", "free", "spendable", "level")
        assert [answer[name] for name in figures] == [
            "110000", "200", "110200", "2200", "0", "108000", "107800", "5009.0909",
        ]  # fmt: skip
        fx.fx.order("ann BUY 1 EURUSD @ 1.10000")
        answer = fx("GET", V1 + "margin/").json
        assert [answer[name] for name in ("orders", "free", "spendable")] == ["2200", "105800", "105600"]

    def test_the_portfolio_counts_as_margin_what_the_positions_are_settled_in(self, fx):
        """Not other cash; and tethers, though they are traded for dollars like a holding."""
        tethers = fx.fx.assets["USDT"]
        fx.fx.market("USDTUSD", base="USDT", quote="USD", tick_size=Decimal("0.01"), reference_price=Decimal(1))
        fx.fx.contract("GBPUSDT", "GBP", "USDT", "0.00001", settlement=tethers)
        fx.fx.mark("GBPUSDT", "1.25000")
        fx.fx.trader("ann", EUR=1_000)
        fx.fx.trader("bob", USDT=5_000)

        def equity(*symbols: str) -> str:
            """Of these assets by GET margin/; GET portfolio/summary/ says the same."""
            rows = fx("GET", V1 + "margin/").json["by_asset"]
            told = sum(Decimal(row["equity"]) for row in rows if row["settlement_asset"] in symbols)
            assert Decimal(fx("GET", V1 + "portfolio/summary/?quote=USD").json["margin_equity"]) == told
            return str(told)

        assert equity("USD") == "110200"
        trade(fx.fx, "ann", "BUY", "bob", "1", "GBPUSDT", "1.25000")
        fx.fx.mark("GBPUSDT", "1.24000")
        assert equity("USD", "USDT") == "209200"

    def test_the_portfolio_values_at_the_mark(self, fx):
        """Not at what was last traded, nor at the price that was named before anybody traded."""
        fx.fx.trader("ann", EUR=1_000, GBP=1_000)
        fx.fx.change("GBPUSD", reference_price=Decimal("1.5"))
        cash = {row["asset"]: row["value"] for row in fx("GET", V1 + "portfolio/summary/?quote=USD").json["cash"]}
        assert (cash["EUR"], cash["GBP"]) == ("1102", "1250")

    def test_positions(self, fx):
        (row,) = fx("GET", V1 + "positions/").json["results"]
        assert shapes.PositionShape().fields.keys() == row.keys()
        assert (row["side"], row["quantity"], row["entry_price"]) == ("LONG", "1", "1.1")
        assert (row["mark_price"], row["unrealized_pnl"], row["notional"]) == ("1.102", "200", "110200")
        # Of 110,000 dollars 108,900 may be lost before half of the used margin is reached: 1.089 a euro. Maintenance is
        # at 11 dollars there.
        assert row["liquidation_price"] == "0.011"
        (other,) = fx("GET", V1 + "positions/", token=fx.tokens["bob"]).json["results"]
        assert (other["side"], other["quantity"], other["unrealized_pnl"]) == ("SHORT", "-1", "-200")

    def test_closed_positions_stay(self, fx):
        fx("POST", V1 + "positions/close/", {"symbol": "EURUSD"})
        trade(fx.fx, "ann", "SELL", "bob", "1", "EURUSD", "1.10200", reduce_only=True)
        assert fx("GET", V1 + "positions/").json["results"] == []
        (row,) = fx("GET", V1 + "positions/?status=closed&symbol=EURUSD").json["results"]
        assert shapes.PositionShape().fields.keys() == row.keys()
        assert (row["side"], row["realized_pnl"], row["mark_price"]) == ("FLAT", "200", None)

    @pytest.mark.parametrize("is_archived", [False, True])
    def test_closed_positions_count_in_the_metrics(self, fx, is_archived):
        assert fx("GET", V1 + "portfolio/metrics/").json["closed_trades"] == 0, "open ones do not"
        trade(fx.fx, "ann", "SELL", "bob", "1", "EURUSD", "1.10200")
        if is_archived:
            assert position_archive.archive(closed_before=clock.now() + timedelta(seconds=1)) == 2
        for token, won, pnl in ((None, 1, "200"), (fx.tokens["bob"], 0, "-200")):
            found = fx("GET", V1 + "portfolio/metrics/", **({"token": token} if token else {})).json
            assert (found["closed_trades"], found["winning_trades"], found["losing_trades"]) == (1, won, 1 - won)
            assert set(found["realized_pnl"].values()) == {pnl}

    def test_the_snapshot_says_the_same_at_once(self, fx):
        answer = fx("GET", V1 + "positions/snapshot").json
        assert shapes.SnapshotShape().fields.keys() == answer.keys()
        assert answer["margin"] == fx("GET", V1 + "margin/").json
        assert answer["positions"] == fx("GET", V1 + "positions/").json["results"]
        events = fx("GET", V1 + "events/?limit=500").json["events"]
        assert answer["sequence"] == events[-1]["sequence"]
        told = [event["position"] for event in events if event["type"] == "position"]
        assert {*shapes.BasicPositionShape().fields, "leverage"} == told[0].keys()
        assert told[0] == {name: answer["positions"][0][name] for name in told[0]}

    def test_the_contract_is_part_of_the_market(self, fx):
        market = fx("GET", V1 + "markets/EURUSD/").json
        assert MarketShape().fields.keys() == market.keys()
        assert ContractShape().fields.keys() == market["contract"].keys()
        assert (market["contract"]["mark_price"], market["contract"]["contract_size"]) == ("1.102", "100000")
        assert market["contract"]["tiers"] == [{"up_to": None, "initial": "0.02", "maintenance": "0.01"}]
        assert fx("GET", V1 + "markets/AAPL/").json["contract"] is None


class TestClosing:
    def test_all_of_it(self, fx):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        done = fx("POST", V1 + "positions/close/", {"symbol": "EURUSD"})
        assert done.status == 201 and done.json["position"] is None
        assert (done.json["order"]["status"], done.json["order"]["reduce_only"]) == ("FILLED", True)
        assert fx.fx.funds("ann", "USD") == "110100+0"

    def test_part_of_it_by_its_id_at_the_venues_price(self, fx):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        position = fx("GET", V1 + "positions/").json["results"][0]["id"]
        body = {"quantity": "0.4", "exit_price": "NaN", "price": 99}
        done = fx("POST", f"{V1}positions/{position}/exit/", body).json
        assert shapes.ClosedShape().fields.keys() == done.keys()
        assert shapes.PositionShape().fields.keys() == done["position"].keys()
        assert (done["position"]["quantity"], done["position"]["realized_pnl"]) == ("0.6", "40")

    def test_twice_under_one_name_is_once(self, fx):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        body = {"symbol": "EURUSD", "client_order_id": "out"}
        first = fx("POST", V1 + "positions/close/", body)
        again = fx("POST", V1 + "positions/close/", body)
        assert (first.status, again.status) == (201, 200) and again.json == first.json
        assert [answer.headers.get("idempotent-replayed") for answer in (first, again)] == [None, "true"]

    @pytest.mark.parametrize(
        ("path", "terms"),
        [("positions/close/", {}), ("sim/fill", {"side": "sell", "quantity": "1"})],
    )
    def test_so_it_is_when_the_market_is_not_listed_any_more(self, fx, path, terms):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        body = {"symbol": "EURUSD", "client_order_id": "out", **terms}
        first = fx("POST", V1 + path, body)
        Market.objects.filter(symbol="EURUSD").update(is_active=False)
        markets.forget()
        again = fx("POST", V1 + path, body)
        assert (first.status, again.status, again.json["order"]) == (201, 200, first.json["order"])
        assert fx("POST", V1 + path, {**body, "client_order_id": "new"}).code == "unknown_market"
        assert fx("POST", V1 + path, {**body, "symbol": "GBPJPY"}).code == "unknown_market"

    @pytest.mark.parametrize("path", ["close/", "{position}/exit/"])
    def test_another_request_under_the_same_name_is_a_conflict(self, fx, path):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        position = fx("GET", V1 + "positions/").json["results"][0]["id"]
        path = V1 + "positions/" + path.format(position=position)
        body = {"quantity": "0.30", "client_order_id": "some"} | ({} if "exit" in path else {"symbol": "EURUSD"})
        first = fx("POST", path, body)
        again = fx("POST", path, {**body, "quantity": "0.3"})
        assert (first.status, again.status, again.json) == (201, 200, first.json)
        for quantity in ("0.4", None):
            assert fx("POST", path, {**body, "quantity": quantity}).code == "client_order_id_reused"
        assert fx("GET", V1 + "positions/").json["results"][0]["quantity"] == "0.7"

    def test_another_orders_name_closes_nothing_and_says_so(self, fx):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        resting = fx.fx.order("ann SELL 0.1 EURUSD @ 1.15000", reduce_only=True, client_order_id="resting")
        for body in ({}, {"quantity": "0.1"}):
            answer = fx("POST", V1 + "positions/close/", {"symbol": "EURUSD", "client_order_id": "resting", **body})
            assert (answer.status, answer.code) == (409, "client_order_id_reused")
        assert fx.fx.stored(resting)["status"] == "OPEN"
        fx("POST", V1 + "positions/close/", {"symbol": "EURUSD", "quantity": "0.2", "client_order_id": "closing"})
        order = {"symbol": "EURUSD", "side": "sell", "type": "market", "quantity": "0.2", "client_order_id": "closing"}
        assert fx("POST", V1 + "orders/", {**order, "reduce_only": True}).code == "client_order_id_reused"

    def test_the_same_at_the_same_time_is_once(self, fx, monkeypatch):
        """Both have looked for the name before either is done; what is open has changed in between."""
        fx.fx.order("bob BUY 2 EURUSD @ 1.10100")
        body = {"symbol": "EURUSD", "client_order_id": "out"}
        seen, place = [], orders.place

        def other_first(command):
            if not seen:
                seen.append(None)
                trade(fx.fx, "ann", "BUY", "bob", "1", "EURUSD", "1.10200")
                seen[0] = fx("POST", V1 + "positions/close/", body)
            return place(command)

        monkeypatch.setattr(orders, "place", other_first)
        answer = fx("POST", V1 + "positions/close/", body)
        assert (seen[0].status, answer.status) == (201, 200)
        assert (answer.json["order"]["id"], answer.json["position"]) == (seen[0].json["order"]["id"], None)

    @pytest.mark.parametrize(
        ("terms", "sold", "outcome"),
        [
            ({}, "0.4", "0.6"),
            ({"quantity": "1"}, "0.4", "reduce_only"),
            ({}, "1", "position_closed"),
            ({}, "2", "position_closed"),
            ({"quantity": "1"}, "2", "position_closed"),
        ],
    )
    def test_all_of_one_that_is_reduced_meanwhile_is_what_is_left(self, fx, monkeypatch, terms, sold, outcome):
        fx.fx.order("bob BUY 2 EURUSD @ 1.10100")
        place = orders.place

        def reduced_first(command):
            monkeypatch.setattr(orders, "place", place)
            fx.fx.order(f"ann SELL {sold} EURUSD @ 1.10100 IOC")
            return place(command)

        monkeypatch.setattr(orders, "place", reduced_first)
        answer = fx("POST", V1 + "positions/close/", {"symbol": "EURUSD", **terms})
        assert (answer.json["order"]["quantity"] if answer.status == 201 else answer.code) == outcome

    def test_one_that_is_larger_than_an_order_may_be(self, fx):
        trade(fx.fx, "ann", "BUY", "bob", "0.5", "EURUSD", "1.10000")
        fx.fx.change("EURUSD", max_quantity=Decimal(1))
        for _ in range(2):
            fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        first = fx("POST", V1 + "positions/close/", {"symbol": "EURUSD"})
        assert (first.status, first.json["order"]["quantity"], first.json["position"]["quantity"]) == (201, "1", "0.5")
        answer = fx("POST", V1 + "positions/close/", {"symbol": "EURUSD", "quantity": "1.01"})
        assert answer.code == "quantity_out_of_range"
        rest = fx("POST", f"{V1}positions/{first.json['position']['id']}/exit/", {})
        assert (rest.json["order"]["quantity"], rest.json["position"]) == ("0.5", None)

    @pytest.mark.parametrize(
        ("path", "body", "status", "code"),
        [
            ("close/", {"symbol": "EURUSD", "quantity": "1.01"}, 422, "reduce_only"),
            ("close/", {"symbol": "EURUSD", "quantity": "NaN"}, 400, "invalid"),
            ("close/", {"symbol": "EURUSD"}, 422, "no_liquidity"),
            ("close/", {"symbol": "GBPUSD"}, 422, "no_position"),
            ("close/", {"symbol": "AAPL"}, 400, "invalid"),
            ("close/", {"symbol": "NOPE"}, 404, "unknown_market"),
            ("9999999/exit/", {}, 404, "not_found"),
            ("99999999999999999999/exit/", {}, 404, "not_found"),
        ],
    )
    def test_what_cannot_be(self, fx, path, body, status, code):
        answer = fx("POST", V1 + "positions/" + path, body)
        assert (answer.status, answer.code) == (status, code)

    def test_another_users_position_is_not_there(self, fx):
        position = fx("GET", V1 + "positions/").json["results"][0]["id"]
        assert fx("POST", f"{V1}positions/{position}/exit/", {}, token=fx.tokens["bob"]).status == 404

    def test_a_closed_position_is_a_conflict(self, fx):
        fx.fx.order("bob BUY 1 EURUSD @ 1.10100")
        position = fx("GET", V1 + "positions/").json["results"][0]["id"]
        fx("POST", V1 + "positions/close/", {"symbol": "EURUSD"})
        assert fx("POST", f"{V1}positions/{position}/exit/", {}).code == "position_closed"


class TestChecking:
    def test_what_an_order_would_need_is_what_it_then_has(self, fx):
        fx.fx.order("bob SELL 0.5 EURUSD @ 1.10300")
        wanted = {"symbol": "EURUSD", "side": "buy", "quantity": "2", "price": "1.10300"}
        answer = fx("POST", V1 + "margin/check", wanted).json
        assert shapes.CheckShape().fields.keys() == answer.keys()
        assert (answer["would_pass"], answer["unfilled_quantity"], answer["position_after"]) == (True, "1.5", "1.5")
        before = fx("GET", V1 + "margin/").json
        fx("POST", V1 + "orders/", wanted)
        after = fx("GET", V1 + "margin/").json
        assert float(answer["required"]) == float(after["used"]) + float(after["orders"]) - float(before["used"])
        assert (answer["level_before"], answer["level_after"]) == (before["level"], after["level"])
        position = fx("GET", V1 + "positions/").json["results"][0]
        assert answer["liquidation_price_after"] == position["liquidation_price"]

    @pytest.mark.parametrize(
        ("terms", "code"),
        [
            ({"quantity": "60", "price": "1.10000"}, "insufficient_margin"),
            ({"quantity": "1"}, "no_liquidity"),
            ({"quantity": "1", "price": "1.1", "reduce_only": True}, "reduce_only"),
            ({"quantity": "1", "price": "1.1"}, None),
        ],
    )
    def test_whether_it_would_pass(self, fx, terms, code):
        answer = fx("POST", V1 + "margin/check", {"symbol": "EURUSD", "side": "BUY", **terms}).json
        assert (answer["code"], answer["would_pass"]) == (code, code is None)

    @pytest.mark.parametrize(
        ("change", "price", "code"),
        [
            ({"status": Market.Status.HALTED}, "1.1", "market_halted"),
            ({"status": Market.Status.CANCEL_ONLY}, "1.1", "market_halted"),
            ({"status": Market.Status.CLOSED}, "1.1", "market_closed"),
            ({}, "1.22", "price_out_of_band"),
            ({}, "0.9", "price_out_of_band"),
            ({"price_band": None}, "1.22", None),
            ({"max_notional": Decimal(1)}, "1.1", "order_too_large"),
            ({"max_notional": Decimal(1)}, None, "order_too_large"),
            ({"max_open_orders": 1}, "1.1", "too_many_open_orders"),
            ({"max_open_orders": 1}, None, None),
        ],
    )
    def test_what_the_market_refuses_is_said_in_the_same_words(self, fx, change, price, code):
        for resting in ("bob SELL 1 EURUSD @ 1.10300", "ann BUY 0.01 EURUSD @ 1.05000"):
            fx.fx.order(resting)
        fx.fx.change("EURUSD", **change)
        order = {"symbol": "EURUSD", "side": "buy", "quantity": "1", "price": price}
        said = fx("POST", V1 + "margin/check", order).json
        assert (said["would_pass"], said["code"]) == (code is None, code)
        done = fx("POST", V1 + "orders/", {**order, "type": "MARKET" if price is None else "LIMIT"})
        told = (None, None) if done.status == 201 else (done.code, done.json["detail"])
        assert told == (code, said["detail"])

    def test_a_market_without_a_mark_has_its_band_around_the_last_price(self, fx):
        fx.fx.contract("GBPJPY", "GBP", "JPY", "0.001", mark_source="BOOK")
        order = {"symbol": "GBPJPY", "side": "buy", "quantity": "0.01", "price": "220.000"}
        assert fx("POST", V1 + "margin/check", order).json["would_pass"], "nothing tells the price yet"
        trade(fx.fx, "ann", "BUY", "bob", "0.01", "GBPJPY", "190.000")
        assert fx("POST", V1 + "margin/check", order).json["code"] == "price_out_of_band"
        assert fx("POST", V1 + "orders/", order).code == "price_out_of_band"

    @pytest.mark.parametrize("terms", [{"quantity": "NaN"}, {"quantity": "-1"}, {"quantity": "1", "price": "inf"}, {}])
    def test_nonsense_is_malformed(self, fx, terms):
        assert fx("POST", V1 + "margin/check", {"symbol": "EURUSD", "side": "BUY", **terms}).status == 400


class TestLeverage:
    def test_less_leverage_needs_more_margin(self, fx):
        assert fx("PUT", V1 + "margin/leverage/", {"symbol": "EURUSD", "leverage": 10}).status == 200
        assert fx.fx.order("ann BUY 1 EURUSD @ 1.10000")["reserved"] == "11000"
        rows = {row["symbol"]: row["leverage"] for row in fx("GET", V1 + "margin/leverage/").json}
        assert (rows["EURUSD"], rows["GBPUSD"]) == (10, 50)

    def test_the_owner_of_a_position_hears_what_was_chosen(self, fx):
        fx.fx.order("bob SELL 1 EURUSD @ 1.10000")
        fx.fx.order("ann BUY 1 EURUSD @ 1.10000")
        before = fx("GET", V1 + "positions/snapshot").json["sequence"]
        for symbol in ("EURUSD", "GBPUSD"):
            assert fx("PUT", V1 + "margin/leverage/", {"symbol": symbol, "leverage": 10}).status == 200
        heard = fx("GET", f"{V1}events/?after={before}").json["events"]
        row = fx("GET", V1 + "positions/").json["results"][0]
        assert [(event["type"], event["sequence"]) for event in heard] == [("position", before + 1)]
        assert heard[0]["position"] == {name: row[name] for name in heard[0]["position"]}
        assert (row["symbol"], row["leverage"]) == ("EURUSD", 10)

    def test_the_markets_limit_goes_before_what_was_chosen(self, fx):
        fx("PUT", V1 + "margin/leverage/", {"symbol": "EURUSD", "leverage": 40})
        tier = {"up_to": None, "initial": "0.02", "maintenance": "0.01"}
        fx.fx.terms("EURUSD", max_leverage=20, tiers=[tier])
        assert fx.fx.order("ann BUY 1 EURUSD @ 1.10000")["reserved"] == "5500"

    @pytest.mark.parametrize(("leverage", "status"), [(51, 422), (0, 400), ("NaN", 400), (1.5, 400)])
    def test_limits(self, fx, leverage, status):
        assert fx("PUT", V1 + "margin/leverage/", {"symbol": "EURUSD", "leverage": leverage}).status == status


class TestSimFill:
    def test_at_the_feeds_price(self, fx):
        fx.fx.mark("GBPUSD", "1.25000", bid="1.24990", ask="1.25010")
        body = {"symbol": "GBPUSD", "side": "buy", "quantity": "0.5", "price": "1"}
        done = fx("POST", V1 + "sim/fill", body)
        assert done.status == 201
        assert done.json["order"]["average_price"] == "1.2501"
        assert done.json["position"]["quantity"] == "0.5"
        back = fx("POST", V1 + "sim/fill", {**body, "side": "sell"}).json
        assert (back["order"]["average_price"], back["position"]) == ("1.2499", None)
        assert fx.fx.book("GBPUSD") == "|"
        assert fx.fx.is_sound()

    def test_twice_under_one_name_is_once_wherever_the_price_is_by_then(self, fx):
        body = {"symbol": "GBPUSD", "side": "buy", "quantity": "0.5", "client_order_id": "mine"}
        first = fx("POST", V1 + "sim/fill", body)
        for max_age in (3600, 0):
            fx.fx.mark("GBPUSD", "1.26000", max_age_seconds=max_age)
            again = fx("POST", V1 + "sim/fill", body)
            assert (first.status, again.status, again.json["order"]) == (201, 200, first.json["order"])
            assert again.headers["idempotent-replayed"] == "true"
        for other in ({"quantity": "0.6"}, {"side": "sell"}, {"symbol": "EURUSD"}):
            assert fx("POST", V1 + "sim/fill", {**body, **other}).code == "client_order_id_reused"
        assert fx.fx.position("ann", "GBPUSD").startswith("0.5 ")
        assert fx.fx.book("GBPUSD") == "|"

    def test_sent_again_while_the_first_is_under_way_it_fills_once_and_leaves_no_offer(self, fx, monkeypatch):
        """The second has looked for the name before the first was done: the matcher finds it."""
        body = {"symbol": "GBPUSD", "side": "buy", "quantity": "0.5", "client_order_id": "mine"}
        first = fx("POST", V1 + "sim/fill", body)
        monkeypatch.setattr(positions, "_replayed", lambda asked: None)
        again = fx("POST", V1 + "sim/fill", body)
        assert (again.status, again.json["order"]) == (200, first.json["order"])
        assert (fx.fx.position("ann", "GBPUSD")[:4], fx.fx.book("GBPUSD")) == ("0.5 ", "|")
        assert fx.fx.is_sound()

    @pytest.mark.parametrize(
        ("terms", "code"),
        [
            ({"quantity": "100"}, "insufficient_margin"),
            ({"quantity": "0.001"}, "bad_lot_size"),
            ({"symbol": "AAPL"}, "invalid"),
        ],
    )
    def test_what_cannot_be(self, fx, terms, code):
        body = {"symbol": "EURUSD", "side": "buy", "quantity": "1", **terms}
        assert fx("POST", V1 + "sim/fill", body).code == code
        assert fx.fx.book("EURUSD") == "|"

    def test_not_beyond_what_the_house_may_hold_but_back_there(self, fx):
        body = {"symbol": "EURUSD", "side": "buy", "quantity": "0.3"}
        fx.fx.terms("EURUSD", exposure_limit_lots=30)
        assert fx("POST", V1 + "sim/fill", body).status == 201
        assert fx("POST", V1 + "sim/fill", {**body, "quantity": "0.01"}).code == "no_liquidity"
        fx.fx.terms("EURUSD", exposure_limit_lots=10)
        assert fx("POST", V1 + "sim/fill", {**body, "side": "sell", "quantity": "0.1"}).status == 201
        assert fx.fx.position("ann", "EURUSD").startswith("1.2 ")

    def test_not_where_the_market_is_halted(self, fx):
        fx.fx.change("EURUSD", status=Market.Status.HALTED)
        body = {"symbol": "EURUSD", "side": "buy", "quantity": "1"}
        assert fx("POST", V1 + "sim/fill", body).code == "market_halted"

    def test_not_at_a_stale_price(self, fx):
        fx.fx.mark("EURUSD", "1.10000", max_age_seconds=0)
        body = {"symbol": "EURUSD", "side": "buy", "quantity": "1"}
        assert fx("POST", V1 + "sim/fill", body).code == "stale_price"

    def test_only_on_a_demonstration(self, fx, settings):
        settings.FAUCET = False
        body = {"symbol": "EURUSD", "side": "buy", "quantity": "1"}
        assert fx("POST", V1 + "sim/fill", body).code == "demo_only"
