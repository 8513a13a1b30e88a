"""The Twelve Data adapter against a local server with its shapes and its credits."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketdata.providers import http
from marketdata.providers.protocol import (
    Disconnected,
    Garbled,
    KeyRefused,
    NotInPlan,
    RateLimited,
    Rejected,
)
from marketdata.providers.twelve_data import TwelveData
from tests.patience import soon
from tests.providers.clocks import START, JumpingClock
from tests.providers.fakes import FakeTwelveData, error

PRICES = {"AAPL": "187.5000", "EUR/USD": "1.08431", "BTC/USD": "64000.10"}


@pytest.fixture
async def server():
    async with FakeTwelveData(JumpingClock(), dict(PRICES)) as running:
        yield running


@pytest.fixture
async def provider(server):
    made = TwelveData(key=server.key, clock=server.clock, base_rest=server.rest, base_ws=server.ws)
    yield made
    await made.close()


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows(count: int, step: timedelta, first: datetime, form: str) -> list[dict]:
    return [
        {"datetime": (first + step * n).strftime(form), "open": "1.5", "high": "3", "low": "1", "close": str(2 + n)}
        for n in range(count)
    ]


async def test_quotes_of_several_symbols_cost_one_request(server, provider):
    ticks = {tick.symbol: tick for tick in await provider.quotes(list(PRICES))}
    assert {symbol: str(tick.last) for symbol, tick in ticks.items()} == PRICES
    assert ticks["AAPL"].at == START - timedelta(seconds=5)
    assert len(server.requests) == 1


async def test_a_single_symbol_is_answered_without_a_batch(provider):
    [tick] = await provider.quotes(["AAPL"])
    assert (tick.symbol, tick.last, tick.bid) == ("AAPL", Decimal("187.5"), None)


async def test_an_unknown_symbol_is_left_out_and_not_asked_again(server, provider):
    assert [tick.symbol for tick in await provider.quotes(["AAPL", "WHAT"])] == ["AAPL"]
    await provider.quotes(["AAPL", "WHAT"])
    assert server.requests[-1][1]["symbol"] == "AAPL"
    assert provider.groups(["AAPL", "WHAT"]) == [["AAPL"]]
    assert await provider.quotes(["NEVER"]) == []
    assert provider.counters["unknown_symbols"] == 2


async def test_credits_are_never_overdrawn(server, provider):
    for _ in range(20):
        await provider.quotes(list(PRICES))
    assert server.over_the_limit == 0
    assert max(server.used.values()) <= 8
    # Two rounds of three fit into each minute.
    assert server.clock.now() == START + timedelta(minutes=9)


async def test_more_symbols_than_credits_a_minute_go_in_parts(server, provider):
    server.prices = {f"S{n}": "5" for n in range(20)}
    assert len(await provider.quotes(list(server.prices))) == 20
    assert server.over_the_limit == 0
    assert provider.poll_seconds(list(server.prices)) == 20 * 108


async def test_out_of_credits_waits_for_the_next_full_minute(server, provider):
    server.clock.moment = START + timedelta(seconds=42)
    server.answers.append((200, error(429, "You have run out of API credits for the current minute.")))
    [tick] = await provider.quotes(["AAPL"])
    assert tick.last == Decimal("187.5")
    assert server.clock.slept == [18.0]
    assert provider.counters["rate_limited"] == 1


async def test_out_of_credits_for_the_day_is_told(server, provider):
    server.answers.append((429, error(429, "You have run out of API credits for the day.")))
    with pytest.raises(RateLimited) as caught:
        await provider.quotes(["AAPL"])
    assert caught.value.wait_seconds == 10 * 3600


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, error(401, "**apikey** parameter is incorrect or not specified."), KeyRefused),
        (401, error(401, "no"), KeyRefused),
        (403, error(403, "not in your plan"), NotInPlan),
        (200, error(400, "bad interval"), Rejected),
        (414, {}, Rejected),
        (500, error(500, "sorry"), Disconnected),
        (502, "<html>Bad gateway</html>", Disconnected),
        (200, "<html>hello</html>", Garbled),
        (200, [], Garbled),
        (200, {"status": "ok"}, Garbled),
        (200, {"values": [{"datetime": "yesterday"}]}, Garbled),
        (200, {"values": [None]}, Garbled),
    ],
)
async def test_errors_in_status_or_body(server, provider, status, body, kind):
    server.answers.append((status, body))
    with pytest.raises(kind):
        await provider.history("AAPL", "1d", None, None, 10)


async def test_no_server_at_all(provider, server):
    await server.__aexit__()
    with pytest.raises(Disconnected):
        await provider.history("AAPL", "1d", None, None, 10)


async def test_a_wrong_key(server):
    provider = TwelveData(key="wrong", clock=server.clock, base_rest=server.rest)
    with pytest.raises(KeyRefused):
        await provider.quotes(["AAPL"])
    await provider.close()


async def test_the_newest_bars_oldest_first(server, provider):
    server.values = rows(40, timedelta(days=1), day("2026-06-01"), "%Y-%m-%d")
    bars = await provider.history("AAPL", "1d", None, None, 3)
    assert [(bar.open_time, bar.close) for bar in bars] == [
        (day("2026-07-08"), 39),
        (day("2026-07-09"), 40),
        (day("2026-07-10"), 41),
    ]
    assert server.requests[-1][1]["timezone"] == "UTC"


async def test_a_long_history_is_paged_without_an_outputsize(server, provider):
    first = day("2026-08-01")
    server.values = rows(7000, timedelta(minutes=1), first, "%Y-%m-%d %H:%M:%S")
    bars = await provider.history("AAPL", "1m", first, first + timedelta(minutes=6500), 10_000)
    assert [bar.open_time for bar in bars] == [first + timedelta(minutes=n) for n in range(6500)]
    assert len(server.requests) == 2
    assert all("outputsize" not in parameters for _, parameters, _ in server.requests)


async def test_nothing_in_that_time_is_no_error(provider):
    assert await provider.history("AAPL", "1d", day("2001-01-01"), day("2001-02-01"), 10) == []


async def test_an_interval_that_it_does_not_have(provider):
    with pytest.raises(Rejected):
        await provider.history("AAPL", "3m", None, None, 10)


async def test_the_key_is_in_no_address_and_in_no_log(server, provider, caplog):
    caplog.set_level(logging.INFO)
    await provider.quotes(["AAPL"])
    assert all(server.key not in str(parameters) for _, parameters, _ in server.requests)
    assert server.key not in caplog.text


async def test_a_body_that_comes_drop_by_drop_is_not_waited_for(monkeypatch):
    """Each drop in time for the limit on a pause, and never an end."""
    monkeypatch.setattr(http, "WHOLE_SECONDS", 0.3)
    let_go = asyncio.Event()

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        with suppress(ConnectionError):
            while not let_go.is_set():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as dripping:
        port = dripping.sockets[0].getsockname()[1]
        slow = TwelveData(key="k", clock=JumpingClock(), base_rest=f"http://127.0.0.1:{port}")
        with pytest.raises(Disconnected, match="no whole answer"):
            await soon(slow.quotes(["AAPL"]))
        let_go.set()
        await slow.close()
