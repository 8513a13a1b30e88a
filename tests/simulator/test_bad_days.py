"""Scenarios played on a venue, and simulated time: halts on schedule, crashes and outages, the same day twice."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models import Max, Min

from exchange import audit, demo
from exchange.models import BookCommand, Trade
from exchange.simulator import Simulator, conductor, leader, timekeeping
from exchange.simulator.scenario import parse
from exchange.simulator.tape import tape_hash
from exchange.simulator.timekeeping import SimulatedClock, VenueInUse, refuse_live_venue, start_for
from marketdata import clock, feed, markets
from marketdata.leadership import Leadership
from marketdata.models import Candle, Market, PriceSource
from tests.patience import soon, wait_until
from tests.simulator.places import demo_venue, seed_anew, simulate
from tests.venue import quoted

__all__ = ["demo_venue"]

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
HALTED_MINUTE = 'event = [{at = 5, action = "halt", duration = "1m", markets = ["AAPL"]}]'
ROUGH = """
[[event]]
at = 2
action = "news"
size = -0.02
[[event]]
at = 5
action = "flash_crash"
size = -0.04
duration = 20
[[event]]
at = 10
action = "halt"
markets = ["BTC_USDT"]
duration = 3
[[event]]
at = 18
action = "outage"
duration = 5
"""


@pytest.fixture
def simulated():
    """The venue's clock in the simulator's hand."""
    hand = SimulatedClock(START)
    yield hand
    hand.close()


def status(symbol: str = "AAPL") -> str:
    return Market.objects.get(symbol=symbol).status


def stages(text: str, *steps: int, symbol: str = "AAPL", markets=("AAPL",), **terms):
    """What `look` saw after so many steps more each, of one simulation; the market as it was left last."""
    simulator, seen = Simulator(1, list(markets), scenario=parse(text), **terms), []

    async def run():
        try:
            for count in steps:
                await simulator.step(count)
                market = await asyncio.to_thread(in_thread, lambda: Market.objects.get(symbol=symbol))
                seen.append((market.status, market.sequence, market.last_price))
        finally:
            await simulator.close()

    asyncio.run(run())
    return seen


def in_thread(function):
    try:
        return function()
    finally:
        connection.close()


def test_the_same_seed_and_scenario_give_the_same_tape(demo_venue, simulated):
    hashes = []
    for scenario in (ROUGH, ROUGH, None):
        seed_anew()
        simulate(25, scenario=scenario and parse(scenario), clock=SimulatedClock(START))
        hashes.append(tape_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_audit_is_clean_after_a_bad_day(demo_venue, simulated):
    simulate(60, markets=["BTC_USDT", "ETH_BTC"], scenario=parse(ROUGH), clock=simulated)
    assert Trade.objects.count() > 30
    assert {finding.name: finding.offenders for finding in audit.run() if finding.violations} == {}


def test_a_market_is_halted_for_a_minute_and_goes_on(demo_venue):
    before, during, still, after = stages(HALTED_MINUTE, 9, 2, 118, 21)
    assert [seen[0] for seen in (before, during, still, after)] == ["OPEN", "HALTED", "HALTED", "OPEN"]
    assert during[1] == still[1] < after[1]


def test_others_trade_on(demo_venue):
    _, first, last = stages(HALTED_MINUTE, 9, 2, 20, symbol="BTC_USDT", markets=("AAPL", "BTC_USDT"))
    assert first[0] == "OPEN" and first[1] < last[1]


def test_who_ends_a_run_opens_what_it_halted(demo_venue):
    assert stages(HALTED_MINUTE, 20)[0][0] == "HALTED"
    assert status() == "OPEN"


def test_what_a_killed_process_left_halted_is_opened_by_the_next_run(demo_venue):
    """But not what an operator has halted since."""
    for symbol in ("AAPL", "MSFT"):
        conductor._change(symbol, "HALTED")
    operators = Market.objects.get(symbol="MSFT")
    operators.status = "OPEN"
    operators.save(update_fields=["status"])
    operators.status = "HALTED"
    operators.save(update_fields=["status"])
    simulate(1, markets=["AAPL", "MSFT"])
    assert [Market.objects.get(symbol=symbol).status for symbol in ("AAPL", "MSFT")] == ["OPEN", "HALTED"]


def test_a_change_that_failed_is_made_the_next_time(demo_venue, monkeypatch):
    def gone(*_):
        raise OperationalError("the database is gone")

    schedule = conductor.Conductor(None)
    with monkeypatch.context() as patched, pytest.raises(OperationalError):
        patched.setattr(conductor, "_change", gone)
        schedule.impose("AAPL", "HALTED")
    assert not schedule.is_imposed("AAPL", "HALTED")
    schedule.impose("AAPL", "HALTED")
    assert (schedule.is_imposed("AAPL", "HALTED"), status()) == (True, "HALTED")


@pytest.mark.parametrize("ruling", ["CLOSED", "CANCEL_ONLY"])
def test_an_operator_has_the_last_word(demo_venue, ruling):
    def overrule():
        market = Market.objects.get(symbol="AAPL")
        market.status = ruling
        market.save()

    simulator = Simulator(1, ["AAPL"], scenario=parse(HALTED_MINUTE))

    async def run():
        try:
            await simulator.step(12)
            await asyncio.to_thread(in_thread, overrule)
            await simulator.step(5)
        finally:
            await simulator.close()

    asyncio.run(run())
    assert status() == ruling


def rule(status: str, symbol: str = "AAPL") -> None:
    """What an operator does."""
    market = Market.objects.get(symbol=symbol)
    market.status = status
    market.save(update_fields=["status"])


@pytest.mark.parametrize("ruling", ["HALTED", "CANCEL_ONLY"])
def test_a_schedule_leaves_what_an_operator_has_halted(demo_venue, ruling):
    """Before the schedule's own halt begins, and after it is over."""
    rule(ruling)
    assert [seen[0] for seen in stages(HALTED_MINUTE, 9, 3, 125)] == [ruling] * 3
    assert status() == ruling


def test_an_operators_halt_that_comes_at_the_same_moment_stands(demo_venue):
    conductor._change("AAPL", "HALTED")
    reopening = threading.Thread(target=in_thread, args=[lambda: conductor._change("AAPL", "OPEN")])
    with transaction.atomic():
        rule("HALTED")
        reopening.start()
        with connection.cursor() as cursor:
            wait_until(lambda: is_waited_for(cursor), "the schedule to wait")
    reopening.join()
    assert status() == "HALTED"


def is_waited_for(cursor) -> bool:
    """Whether another connection waits for a lock of this one."""
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    return cursor.fetchone()[0] > 0


def test_a_closed_market_is_not_reopened_by_a_schedule(demo_venue):
    Market.objects.filter(symbol="AAPL").update(status="CLOSED")
    assert [seen[0] for seen in stages(HALTED_MINUTE, 12, 125)] == ["CLOSED", "CLOSED"]


def test_a_crash_goes_down_and_comes_back(demo_venue):
    text = '[[event]]\nat = 10\naction = "flash_crash"\nsize = -0.05\nduration = 40\n'
    before, bottom, after = (float(seen[2]) for seen in stages(text, 20, 18, 90))
    assert bottom < before * 0.97
    assert after == pytest.approx(before, rel=0.01)


def test_makers_without_a_feed_quote_the_price_that_they_knew(demo_venue):
    text = '[[event]]\nat = 5\naction = "outage"\nduration = 20\n[[event]]\nat = 6\naction = "news"\nsize = 0.02\n'
    before, blind, after = (float(seen[2]) for seen in stages(text, 10, 20, 60))
    assert blind == pytest.approx(before, rel=0.004)
    assert after == pytest.approx(before * 1.02, rel=0.008)


def test_related_markets_agree(demo_venue):
    text = '[[event]]\nat = 5\naction = "news"\nsize = 0.03\nmarkets = ["BTC_USDT"]\n'
    simulate(60, markets=["BTC_USDT", "ETH_BTC", "ETH_USDT"], scenario=parse(text))
    last = {market.symbol: market.last_price for market in Market.objects.all()}
    assert last["ETH_BTC"] * last["BTC_USDT"] / last["ETH_USDT"] == pytest.approx(Decimal(1), rel=Decimal("0.004"))


def test_a_providers_price_is_followed_while_it_is_fresh(demo_venue):
    market = Market.objects.get(symbol="AAPL")
    PriceSource.objects.create(market=market, provider_symbol="AAPL@190")
    quoted(market_id=market.id, bid=Decimal("190.00"), ask=Decimal("190.10"), stale_after_seconds=3600)
    simulate(40, markets=["AAPL"])
    assert float(Market.objects.get(symbol="AAPL").last_price) == pytest.approx(190.05, rel=0.003)


class TestSimulatedTime:
    def test_everything_carries_it(self, demo_venue, simulated):
        simulate(60, clock=simulated)
        times = BookCommand.objects.aggregate(first=Min("created_at"), last=Max("created_at"))
        assert START < times["first"] < START + timedelta(seconds=1)
        assert START + timedelta(seconds=29) < times["last"] < START + timedelta(seconds=30.5)
        assert Trade.objects.count() == Trade.objects.filter(executed_at__range=(START, times["last"])).count() > 0
        seconds = Candle.objects.filter(interval_seconds=1).values_list("open_time", flat=True)
        assert START <= min(seconds) and max(seconds) <= START + timedelta(seconds=30)
        assert len(set(seconds)) > 10

    def test_time_never_goes_back_within_a_market(self, demo_venue, simulated):
        simulate(40, clock=simulated)
        for market in Market.objects.filter(sequence__gt=0):
            moments = list(BookCommand.objects.filter(market=market).order_by("sequence").values_list("created_at"))
            assert moments == sorted(moments)

    def test_afterwards_the_clock_runs_again(self, simulated):
        simulated.step(5)
        assert clock.now() == clock.now() == START + timedelta(seconds=5)
        simulated.command()
        assert clock.now() == START + timedelta(seconds=5, microseconds=timekeeping.COMMAND_MICROSECONDS)
        simulated.close()
        assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)

    def test_it_ends_about_now_but_begins_after_what_was_traded(self, demo_venue, simulated):
        assert abs(start_for(600) + timedelta(seconds=600) - datetime.now(UTC)) < timedelta(seconds=5)
        simulate(4)
        newest = BookCommand.objects.latest("created_at").created_at
        assert newest <= start_for(600) <= newest + timedelta(seconds=1)

    async def test_a_venue_in_use_is_refused(self, demo_venue):
        following = Leadership(feed.LOCK, "feed")
        try:
            assert await following.take()
            with pytest.raises(VenueInUse):
                await asyncio.to_thread(in_thread, refuse_live_venue)
        finally:
            await following.close()
        await asyncio.to_thread(in_thread, refuse_live_venue)


class TestCommands:
    def run(self, *arguments: str, **options) -> str:
        out = StringIO()
        call_command("simulate", "--markets", "AAPL", *arguments, stdout=out, **options)
        return out.getvalue()

    def test_a_run_says_what_it_did_and_another_does_the_same(self, demo_venue):
        outputs = []
        for _ in range(2):
            seed_anew()
            outputs.append(self.run("--steps", "20", "--clock", "simulated", "--scenario", "halted_minute"))
        assert "20 steps" in outputs[0] and "simulated time from" in outputs[0]
        tapes = [next(line for line in out.splitlines() if line.startswith("tape ")) for out in outputs]
        assert tapes[0] == tapes[1]

    def test_what_cannot_be_done_is_said(self, demo_venue):
        for arguments, said in (
            ("--clock simulated", "--clock simulated needs --steps"),
            ("--steps 1 --scenario no_such_day", "Scenarios that come along: bad_day"),
            ("--steps 1 --scenario flash_crash", "do not take part: BTC_USDT"),
            ("--steps -1", "--steps must be from 0"),
            ("--speed 0", "--speed must be above 0"),
        ):
            with pytest.raises(CommandError, match=said):
                self.run(*arguments.split())
        assert not Trade.objects.exists()

    def test_markets_that_cannot_be_simulated_are_named(self, demo_venue):
        Market.objects.filter(symbol="MSFT").update(is_active=False)
        markets.forget()
        for chosen, named in (("NOPE", "NOPE"), ("aapl EURUSD nope", "EURUSD, nope"), ("MSFT BTCUSDT", "MSFT")):
            for steps in ([], ["--steps", "1"]):
                with pytest.raises(CommandError, match=f"not active spot markets: {named}[.]") as refused:
                    call_command("simulate", "--markets", *chosen.split(), *steps, stdout=StringIO())
                assert refused.value.returncode == 2
        assert not Trade.objects.exists()

    def test_a_market_may_be_named_without_its_separator(self, demo_venue):
        out = StringIO()
        call_command("simulate", "--markets", "btcusdt", "--steps", "2", "--scenario", "flash_crash", stdout=out)
        assert "2 steps" in out.getvalue()

    def test_a_server_that_simulates_is_left_alone(self, demo_venue):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [leader.LOCK])
            try:
                with pytest.raises(CommandError, match="Another process simulates"):
                    self.run("--steps", "1", "--clock", "simulated")
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [leader.LOCK])
        assert not Trade.objects.exists()


class TestSettings:
    def test_speed_and_scenario_come_from_the_environment(self, settings):
        settings.SIMULATOR_SPEED, settings.SIMULATOR_SCENARIO = 4.0, "flash_crash"
        simulator = leader.from_settings()
        assert simulator.speed == 4
        assert simulator._run.conductor.conditions("BTC_USDT", 124, 125).pressure == -1

    @pytest.mark.parametrize("speed", [0, -1])
    def test_a_speed_must_be_above_nothing(self, settings, speed):
        settings.SIMULATOR_SPEED = speed
        with pytest.raises(ImproperlyConfigured, match="SIMULATOR_SPEED"):
            leader.from_settings()

    async def test_a_scenario_that_cannot_be_played_stops_the_simulator_and_says_so(self, demo_venue, settings, caplog):
        settings.SIMULATOR, settings.SIMULATOR_SCENARIO = True, "no_such_day"
        await soon(leader.run_as_leader())
        assert "SIMULATOR_SCENARIO is not playable" in caplog.text

    def test_the_demonstrations_markets_are_all_related_as_they_should_be(self):
        reference = {symbol: Decimal(terms[-1]) for symbol, terms in demo.MARKETS.items()}
        assert reference["ETH_BTC"] * reference["BTC_USDT"] == reference["ETH_USDT"]
