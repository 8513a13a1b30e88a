"""The AllTick adapter against a local server with its shapes, families of addresses and limits."""

import logging
from datetime import timedelta
from decimal import Decimal

import pytest

from marketdata.providers.alltick import AllTick
from marketdata.providers.protocol import (
    Disconnected,
    Garbled,
    KeyRefused,
    NotInPlan,
    RateLimited,
    Rejected,
)
from tests.providers.clocks import START, JumpingClock
from tests.providers.fakes import FakeAllTick

PRICES = {
    "EURUSD": ("1.08430", "1.08434"),
    "BTCUSDT": ("64000.1", "64000.2"),
    "700.HK": ("501.5", "502"),
    "AAPL.US": ("187.50", "187.51"),
}


@pytest.fixture
async def server():
    async with FakeAllTick(JumpingClock(), dict(PRICES)) as running:
        yield running


@pytest.fixture
async def provider(server):
    made = AllTick(key=server.key, clock=server.clock, base_rest=server.rest, base_ws=server.ws)
    yield made
    await made.close()


async def test_quotes_come_from_both_families_by_depth_or_trades(server, provider):
    ticks = {tick.symbol: tick for tick in await provider.quotes(list(PRICES))}
    assert (ticks["EURUSD"].bid, ticks["EURUSD"].ask) == (Decimal("1.08430"), Decimal("1.08434"))
    assert (ticks["AAPL.US"].last, ticks["AAPL.US"].bid) == (Decimal("187.50"), None)
    assert {path for path, _, _ in server.requests} == {
        "/quote-stock-b-api/depth-tick",
        "/quote-stock-b-api/trade-tick",
        "/quote-b-api/depth-tick",
    }
    assert provider.poll_seconds(list(PRICES)) == pytest.approx(3 * 86.4)


async def test_the_free_plan_is_kept_request_by_request(server, provider):
    for _ in range(30):
        await provider.quotes(["EURUSD"])
    assert server.too_fast == 0
    assert server.clock.now() - START >= timedelta(seconds=290)
    times = [at for _, _, at in server.requests]
    assert all(after - before >= timedelta(seconds=60) for before, after in zip(times, times[10:], strict=False))


async def test_one_unknown_code_does_not_spoil_the_others(server, provider):
    ticks = await provider.quotes(["EURUSD", "NOPE", "BTCUSDT"])
    assert {tick.symbol for tick in ticks} == {"EURUSD", "BTCUSDT"}
    asked = len(server.requests)
    assert len(await provider.quotes(["EURUSD", "NOPE", "BTCUSDT"])) == 2
    assert len(server.requests) == asked + 1
    assert provider.groups(["NOPE", "EURUSD"]) == [["EURUSD"]]


def test_groups_part_the_families_and_keep_to_the_plans_codes(provider):
    codes = [f"C{n}" for n in range(7)] + ["AAPL.US", "700.HK"]
    assert [len(group) for group in provider.groups(codes)] == [2, 5, 2]


@pytest.mark.parametrize(
    ("ret", "kind"),
    [
        (400, Rejected),
        (401, KeyRefused),
        (402, Rejected),
        (600, Rejected),
        (601, Rejected),
        (603, NotInPlan),
        (604, NotInPlan),
        (500, Disconnected),
    ],
)
async def test_ret_decides_not_the_status(server, provider, ret, kind):
    server.answers.append((200, {"ret": ret, "msg": "no", "data": {}}))
    with pytest.raises(kind):
        await provider.history("EURUSD", "1m", None, None, 10)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"msg": "token is required", "ret": 401}, KeyRefused),
        (503, "<html>", Disconnected),
        (200, "garbage", Garbled),
        (200, {"ret": 200, "msg": "ok", "data": None}, Garbled),
        (200, {"ret": 200, "data": {"kline_list": [{"timestamp": "1"}]}}, Garbled),
        (200, {"ret": 200, "data": {"kline_list": 7}}, Garbled),
        (200, {"ret": 200, "data": {"kline_list": "none"}}, Garbled),
    ],
)
async def test_broken_answers(server, provider, status, body, kind):
    server.answers.append((status, body))
    with pytest.raises(kind):
        await provider.history("EURUSD", "1m", None, None, 10)


async def test_too_many_requests_waits_and_asks_again(server, provider):
    server.answers += [(200, {"ret": 605, "msg": "slow down"}), (429, {"ret": 429, "msg": "slow down"})]
    [tick] = await provider.quotes(["EURUSD"])
    assert tick.ask == Decimal("1.08434")
    assert server.clock.now() - START == timedelta(seconds=120)
    server.answers += [(200, {"ret": 605})] * 3
    with pytest.raises(RateLimited):
        await provider.quotes(["EURUSD"])


async def test_unreadable_ticks_are_counted_and_the_rest_is_used(server, provider):
    rows = [server.depth("EURUSD"), {"code": "BTCUSDT"}, None, {**server.depth("BTCUSDT"), "bids": "x"}]
    server.answers.append((200, {"ret": 200, "data": {"tick_list": rows}}))
    assert [tick.symbol for tick in await provider.quotes(["EURUSD", "BTCUSDT"])] == ["EURUSD"]
    assert provider.counters["garbled"] == 3


async def test_history_is_paged_backwards(server, provider):
    first = int(START.timestamp()) - 60 * 1200
    prices = {f"{name}_price": "5" for name in ("open", "high", "low", "close")}
    server.klines = [{"timestamp": str(first + 60 * n), "volume": str(n), **prices} for n in range(1200)]
    newest = await provider.history("EURUSD", "1m", None, None, 1100)
    assert [int(bar.volume) for bar in newest] == list(range(100, 1200))
    begin = newest[200].open_time
    assert [int(bar.volume) for bar in await provider.history("EURUSD", "1m", begin, None, 50)] == list(range(300, 350))
    until = newest[10].open_time
    assert [int(bar.volume) for bar in await provider.history("EURUSD", "1m", None, until, 5)] == list(range(105, 110))
    assert server.too_fast == 0
    with pytest.raises(Rejected):
        await provider.history("AAPL.US", "4h", None, None, 5)


@pytest.mark.parametrize("path", ["", "/", "/quote-b-api", "/quote-stock-b-api/"])
async def test_operators_may_paste_a_base_path(server, path):
    provider = AllTick(key=server.key, clock=server.clock, base_rest=server.rest + path, base_ws=server.ws)
    assert len(await provider.quotes(["EURUSD", "700.HK"])) == 2
    await provider.close()


async def test_the_token_is_in_no_log_and_in_no_error(server, provider, caplog):
    caplog.set_level(logging.INFO)
    await provider.quotes(["EURUSD"])
    await server.__aexit__()
    with pytest.raises(Disconnected) as caught:
        await provider.quotes(["EURUSD"])
    assert server.key not in caplog.text + str(caught.value)
