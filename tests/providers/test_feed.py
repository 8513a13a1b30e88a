"""The feed on a database: sources in, quotes out; one leader; nothing that a provider does gets out of it."""

import asyncio
import logging
from datetime import timedelta
from decimal import Decimal

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from marketdata import clock as venue_clock
from marketdata import feed, leadership, quotes
from marketdata.models import Market, PriceSource
from marketdata.providers import make
from marketdata.providers.alltick import AllTick
from marketdata.providers.limits import Clock
from marketdata.providers.protocol import KeyMissing
from marketdata.threads import in_thread
from tests.patience import until
from tests.providers.fakes import FakeAllTick
from tests.venue import quoted


class HurriedClock(Clock):
    """The venue's time; sleeps take a hundredth."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


def follow(symbol: str, provider_symbol: str, **terms) -> PriceSource:
    market = Market.objects.get(symbol=symbol)
    return PriceSource.objects.create(market=market, provider_symbol=provider_symbol, **terms)


async def latest() -> dict[str, quotes.MarketQuote]:
    return await in_thread(latest_by_symbol)


def latest_by_symbol() -> dict[str, quotes.MarketQuote]:
    symbols = dict(Market.objects.values_list("id", "symbol"))
    return {symbols[market_id]: quote for market_id, quote in quotes.latest().items()}


class Running:
    """Feeds that run as background tasks; all are stopped at the end."""

    def __init__(self):
        self.feeds: list[feed.Feed] = []
        self.tasks: list[asyncio.Task] = []

    def start(self, make=make) -> feed.Feed:
        one = feed.Feed(clock=HurriedClock(), make=make, seed=1)
        self.feeds.append(one)
        self.tasks.append(asyncio.create_task(one.run()))
        return one

    async def stop(self, index: int = 0) -> None:
        self.feeds.pop(index)
        task = self.tasks.pop(index)
        assert not task.done(), "a feed never ends by itself"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def running(venue):
    group = Running()
    yield group
    while group.tasks:
        await group.stop()


async def test_sources_become_quotes(running):
    await in_thread(follow, "AAPL", "AAPL@187.5", spread=Decimal("0.01"))
    await in_thread(follow, "BTC_USDT", "BTC@60000")
    one = running.start()
    while len(found := await latest()) < 2:
        await asyncio.sleep(0.01)
    quote = found["AAPL"]
    assert 0 < quote.bid < quote.mid < quote.ask
    assert (quote.ask - quote.bid) / quote.mid >= Decimal("0.01")
    assert not quote.bid % Decimal("0.01") and not quote.ask % Decimal("0.01")
    assert (quote.provider, quote.is_stale) == ("SYNTHETIC", False)
    status = one.status()
    assert status["state"] == "leading"
    assert status["providers"]["SYNTHETIC"]["state"] == "live"
    assert status["providers"]["SYNTHETIC"]["dropped"]["unconfirmed"] == 2


async def test_without_sources_it_idles_and_wakes_when_one_appears(running):
    one = running.start()
    await until(lambda: one.state == "idle", "idling")
    source = await in_thread(follow, "AAPL", "AAPL@187.5")
    await until(lambda: one.state == "leading", "waking")
    await in_thread(source.delete)
    await until(lambda: one.state == "idle", "idling again")


async def test_operators_changes_are_noticed(running):
    source = await in_thread(follow, "AAPL", "AAPL@187.5")
    one = running.start()
    await until(lambda: one.status()["quotes_written"] > 0, "a quote")
    await in_thread(follow, "BTC_USDT", "BTC@60000")
    while len(await latest()) < 2:
        await asyncio.sleep(0.01)
    source.is_active = False
    await in_thread(source.save)
    await until(lambda: one.status()["providers"]["SYNTHETIC"]["symbols"] == 1, "the change")


async def test_one_process_leads_and_another_takes_over(running):
    await in_thread(follow, "AAPL", "AAPL@187.5")
    first = running.start()
    await until(lambda: first.state == "leading", "leading")
    second = running.start()
    await until(lambda: second.state == "waiting", "waiting")
    assert first.state == "leading"
    await running.stop()
    await until(lambda: second.state == "leading", "taking over")


async def test_a_broken_session_gives_the_lead_back(running):
    await in_thread(follow, "AAPL", "AAPL@187.5")
    one = running.start()
    await until(lambda: one.status()["quotes_written"] > 0, "a quote")
    await in_thread(terminate_leader)
    await until(lambda: one.failures >= 1, "noticing")
    await until(lambda: one.state == "leading" and one.status()["quotes_written"] > 0, "leading again")


def terminate_leader() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [feed.LOCK]
        )


async def test_a_missing_key_is_said_once_and_the_rest_runs_on(running, caplog, settings):
    settings.ALLTICK_API_KEY = ""
    await in_thread(follow, "AAPL", "AAPL.US", provider="ALLTICK")
    await in_thread(follow, "BTC_USDT", "BTC@60000")
    caplog.set_level(logging.INFO)
    one = running.start()
    await until(lambda: one.status()["quotes_written"] > 5, "the other provider's quotes")
    assert one.status()["providers"]["ALLTICK"]["state"] == "no_key"
    assert caplog.text.count("ALLTICK_API_KEY is not set") == 1
    assert set(await latest()) == {"BTC_USDT"}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("no such provider"), KeyMissing("none")])
async def test_nothing_a_provider_does_ends_the_feed(running, error):
    class Broken:
        counters = {}

        def groups(self, symbols):
            raise error

        async def close(self):
            raise error

    await in_thread(follow, "AAPL", "AAPL@187.5")
    one = running.start(make=lambda name, clock: Broken())
    await until(lambda: one.failures >= 3, "three attempts")


async def test_a_real_adapter_and_a_silent_server_make_a_stale_quote(running, settings):
    settings.QUOTE_STALE_SECONDS = 1
    async with FakeAllTick(Clock(), {"BTCUSDT": ("64000.1", "64000.2")}) as server:
        await in_thread(follow, "BTC_USDT", "BTCUSDT", provider="ALLTICK", spread=Decimal(0))
        terms = {"key": server.key, "base_rest": server.rest, "base_ws": server.ws}
        one = running.start(make=lambda name, clock: AllTick(clock=clock, **terms))
        await until(lambda: server.subscribed.get(22002) == ["BTCUSDT"], "the subscription")
        while not await latest():
            await server.push("BTCUSDT")
            await asyncio.sleep(0.01)
        quote = (await latest())["BTC_USDT"]
        assert (quote.bid, quote.ask, quote.is_stale) == (Decimal("64000.1"), Decimal("64000.2"), False)
        await until(lambda: one.status()["stale_noted"] == 1, "becoming stale")
        assert (await latest())["BTC_USDT"].is_stale
        await running.stop()


async def test_the_lock_is_free_after_close(venue):
    first, second = leadership.Leadership(7, "first"), leadership.Leadership(7, "second")
    assert await first.take() and await first.take()
    assert not await second.take()
    assert await first.holds() and not await second.holds()
    with pytest.raises(leadership.Lost):
        await second.do(quotes.mark_stale)
    assert await first.do(quotes.mark_stale) == []
    await first.close()
    assert await second.take()
    await second.close()


def test_the_command_follows_for_a_while_and_reports(venue, capsys):
    follow("AAPL", "AAPL@187.5")
    call_command("run_feed", "--seconds", "3", "--every", "1")
    reports = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["state"] for report in reports][-1] == "stopped"
    assert reports[-1]["providers"]["SYNTHETIC"]["ticks"] >= 1
    assert quotes.latest()
    with pytest.raises(CommandError):
        call_command("run_feed", "--every", "0")


# Quotes


def test_quotes_never_go_back_in_time(venue):
    market = Market.objects.get(symbol="AAPL")
    now = venue_clock.now()
    assert quoted(market_id=market.id, bid=Decimal(99), ask=Decimal(101), quoted_at=now)
    assert not quoted(market_id=market.id, bid=Decimal(50), ask=Decimal(51), quoted_at=now - timedelta(seconds=1))
    quote = quotes.latest([market.id])[market.id]
    assert (quote.bid, quote.ask, quote.mid, quote.provider) == (99, 101, 100, "SYNTHETIC")
    assert quoted(market_id=market.id, bid=Decimal(50), ask=Decimal(51), quoted_at=now)
    assert quotes.latest([market.id])[market.id].mid == Decimal("50.5")


def test_a_quote_of_a_clock_that_was_put_back_is_stale_and_gives_way(venue):
    market = Market.objects.get(symbol="AAPL")
    later = venue_clock.now() + timedelta(hours=1)
    quoted(market_id=market.id, bid=Decimal(99), ask=Decimal(101), quoted_at=later)
    assert quotes.latest()[market.id].is_stale
    assert quoted(market_id=market.id, bid=Decimal(98), ask=Decimal(102))
    assert not quotes.latest()[market.id].is_stale


def test_stale_are_the_sources_without_a_fresh_quote(venue):
    """A provider that never came is one of them; a price that nobody follows any more is not."""
    source = follow("AAPL", "AAPL", provider="TWELVE_DATA")
    assert feed.freshness() == (1, 1)
    quoted(market_id=source.market_id, bid=Decimal(99), ask=Decimal(101))
    assert feed.freshness() == (0, 1)
    quoted(market_id=source.market_id, bid=Decimal(99), ask=Decimal(101), stale_after_seconds=-1)
    assert feed.freshness() == (1, 1)
    PriceSource.objects.update(is_active=False)
    assert feed.freshness() == (0, 0)


def test_a_reader_sees_staleness_before_anybody_notes_it(venue):
    market = Market.objects.get(symbol="AAPL")
    old = venue_clock.now() - timedelta(minutes=1)
    quoted(market_id=market.id, bid=Decimal(99), ask=Decimal(101), stale_after_seconds=60.2)
    assert not quotes.latest()[market.id].is_stale
    quoted(market_id=market.id, bid=Decimal(99), ask=Decimal(101), stale_after_seconds=-1)
    assert quotes.latest()[market.id].is_stale
    assert quotes.latest([]) == {}
    other = Market.objects.get(symbol="BTC_USDT")
    quoted(market_id=other.id, bid=Decimal(1), ask=Decimal(1), quoted_at=old, stale_after_seconds=59)
    assert quotes.latest()[other.id].is_stale
    assert quotes.mark_stale() == []
