"""candles/ and tickers/ over HTTP: what is asked, and what comes."""

from datetime import timedelta
from decimal import Decimal

import pytest

from marketdata.models import ExternalCandle, Market
from tests.api.client import Client
from tests.candles.sessions import START, Clock, fund, trade

CANDLE = {
    "open_time": "2028-02-27T22:59:00.000000Z",
    "open": "100.5",
    "high": "100.5",
    "low": "100.5",
    "close": "100.5",
    "volume": "3",
    "quote_volume": "301.5",
    "trades": 1,
}
TICKER_FIELDS = (
    "symbol sequence last bid ask mid open high low volume quote_volume change change_percent trades updated_at".split()
)


@pytest.fixture
def http(venue, monkeypatch):
    """A client without a login, and a market that traded in the minutes 22:59 and 23:02; the clock stands at 23:02."""
    hands = Clock(monkeypatch)
    fund(venue)
    trade(venue, "100.50", quantity=3)
    hands.move(minutes=3)
    trade(venue, 101)
    client = Client()
    yield client
    client.close()


def times(reply) -> str:
    assert reply.status == 200, reply
    return " ".join(row["open_time"][11:16] for row in reply.json)


MILLISECONDS = int(START.replace(second=0, microsecond=0).timestamp() * 1000)
#: (query after the symbol, open times)
CANDLES = [
    ("", "22:59 23:02"),
    ("&interval=1m", "22:59 23:02"),
    ("&interval=1M", "00:00"),
    ("&interval=1h", "22:00 23:00"),
    ("&limit=1", "23:02"),
    ("&fill=true", "22:59 23:00 23:01 23:02"),
    ("&fill=true&limit=2", "23:01 23:02"),
    (f"&start={MILLISECONDS}", "22:59 23:02"),
    (f"&start={MILLISECONDS + 1}", "23:02"),
    (f"&end={MILLISECONDS}", "22:59"),
    ("&start=2028-02-27T23:00:00Z", "23:02"),
    ("&start=2028-02-28T00:00:00%2B01:00&limit=1", "23:02"),
    ("&start=2028-02-28T00:00:00+01:00&limit=1", "23:02"),
    ("&source=elsewhere", ""),
]
#: (query, status, code, field)
BAD = [
    ("", 400, "invalid", "symbol"),
    ("?symbol=NOPE", 404, "unknown_market", None),
    ("?symbol=AAPL&interval=7m", 400, "invalid", "interval"),
    ("?symbol=AAPL&interval=1H", 400, "invalid", "interval"),
    ("?symbol=AAPL&limit=0", 400, "invalid", "limit"),
    ("?symbol=AAPL&limit=1501", 400, "invalid", "limit"),
    ("?symbol=AAPL&start=yesterday", 400, "invalid", "start"),
    ("?symbol=AAPL&end=99999999999999999999", 400, "invalid", "end"),
    ("?symbol=AAPL&end=999999999999999", 400, "invalid", "end"),
    ("?symbol=AAPL&fill=perhaps", 400, "invalid", "fill"),
]


def test_candles(http):
    for query, expected in CANDLES:
        assert times(http("GET", f"/api/v1/candles/?symbol=aapl{query}")) == expected, query
    assert http("GET", "/api/candles?symbol=AAPL").json[0] == CANDLE
    assert http("GET", "/api/v1/candles/?symbol=BTCUSDT&fill=true").json == []


def test_candle_requests_that_make_no_sense_are_refused_by_name(http):
    for query, status, code, field in BAD:
        reply = http("GET", f"/api/v1/candles/{query}")
        assert (reply.status, reply.code) == (status, code), query
        assert [error["field"] for error in reply.json["errors"]] == ([field] if field else []), query


def test_imported_history_is_marked(http):
    market = Market.objects.get(symbol="AAPL")
    for day in range(3):
        bar = {name: Decimal(90 + day) for name in ("open", "high", "low", "close")}
        opened = START.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=day - 5)
        ExternalCandle.objects.create(market=market, source="Elsewhere", interval="1d", open_time=opened, **bar)
    found = http("GET", "/api/v1/candles/?symbol=AAPL&interval=1d&source=elsewhere&limit=2").json
    assert [(row["open_time"][:10], row["close"], row["source"]) for row in found] == [
        ("2028-02-23", "91", "Elsewhere"),
        ("2028-02-24", "92", "Elsewhere"),
    ]
    assert (found[0]["quote_volume"], found[0]["trades"], found[0]["volume"]) == (None, None, "0")
    since = "start=2028-02-22T00:00:00Z&end=2028-02-23T00:00:00Z"
    assert http("GET", "/api/v1/candles/?symbol=AAPL&interval=1d&source=ELSEWHERE&limit=2").json == found
    between = http("GET", f"/api/v1/candles/?symbol=AAPL&interval=1d&source=elsewhere&{since}").json
    assert [row["close"] for row in between] == ["90", "91"]
    assert "source" not in http("GET", "/api/v1/candles/?symbol=AAPL&interval=1d").json[0]


@pytest.mark.parametrize("prefix", ["/api/v1/tickers", "/api/stocks"])
def test_tickers(http, prefix):
    every = http("GET", f"{prefix}/").json
    assert (every["count"], [found["symbol"] for found in every["results"]]) == (2, ["AAPL", "BTC_USDT"])
    one = http("GET", f"{prefix}/aapl").json
    assert list(one) == TICKER_FIELDS and one == every["results"][0]
    assert (one["last"], one["open"], one["change"], one["change_percent"]) == ("101", "100.5", "0.5", "0.4975")
    assert (one["volume"], one["quote_volume"], one["trades"]) == ("4", "402.5", 2)
    assert http("GET", f"{prefix}/nope/").code == "unknown_market"
    several = http("POST", f"{prefix}/batch/", {"symbols": ["BTCUSDT", "aapl", "nope"]}).json
    assert several["tickers"] == {"BTCUSDT": every["results"][1], "aapl": one}
    assert several["errors"]["nope"]["code"] == "unknown_market"
    assert http("POST", f"{prefix}/batch/", {"symbols": []}).status == 400
    assert http("POST", f"{prefix}/batch/", {"symbol": ["AAPL"]}).status == 400


def test_trending(http, venue):
    trade(venue, 60_000, quantity="0.01", symbol="BTC_USDT")
    trade(venue, 57_000, quantity="0.01", symbol="BTC_USDT")
    venue.market("QUIET", base="BTC", quote="USD")

    def order(query: str) -> list[str]:
        return [found["symbol"] for found in http("GET", f"/api/v1/tickers/trending/{query}").json["results"]]

    assert order("") == order("?by=volume") == order("?by=move") == ["BTC_USDT", "AAPL"]
    trade(venue, 95)
    assert order("?by=MOVE") == ["AAPL", "BTC_USDT"] and order("?by=move&limit=1") == ["AAPL"]
    assert http("GET", "/api/v1/tickers/trending/?by=luck").code == "invalid"


def test_turnovers_in_different_assets_are_compared_by_their_worth(http, venue):
    """Five shares at 101 dollars each are more than 402.5 dollars."""
    venue.market("BTC_AAPL", base="BTC", quote="AAPL", tick_size=Decimal(1), lot_size=Decimal(1))
    trade(venue, 5, symbol="BTC_AAPL")
    found = http("GET", "/api/v1/tickers/trending/").json["results"]
    assert [(one["symbol"], one["quote_volume"]) for one in found] == [("BTC_AAPL", "5"), ("AAPL", "402.5")]


def test_turnovers_that_nobody_can_value_are_compared_as_they_are(http, venue, settings):
    """A venue in which the asset to value in is still to be made."""
    settings.PORTFOLIO_QUOTE = "NOPE"
    trade(venue, 60_000, quantity="0.01", symbol="BTC_USDT")
    assert [one["symbol"] for one in http("GET", "/api/v1/tickers/trending/").json["results"]] == ["BTC_USDT", "AAPL"]
