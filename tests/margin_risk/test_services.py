"""The background services: one leads, they work by themselves, and closed positions are put away without a loss."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from accounts.models import ArchivedPosition, Position
from exchange import liquidation, positions_engine
from exchange.models import Liquidation
from marketdata import clock, marks
from marketdata.leadership import Leadership, alone
from marketdata.markets import by_symbol
from marketdata.models import Market
from marketdata.threads import in_thread
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def fast(monkeypatch):
    for name in ("UPDATER_SECONDS", "ENGINE_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(positions_engine, name, 0.02)


def test_together_they_mark_quote_and_liquidate(venue, fast):
    """From a provider's quote to a liquidation against the house, with nobody's help."""
    venue.give_up_the_lead()
    venue.terms("EURUSD", is_quoted=True, quote_size_lots=1_000, mark_jump=Decimal("0.1"))
    venue.quote("EURUSD", "1.09999", "1.10001")
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")

    async def play():
        services = [asyncio.create_task(work()) for work in (positions_engine.run_updater, positions_engine.run_engine)]
        try:
            await until(lambda: len(venue.book("EURUSD").split()) == 3)
            await in_thread(venue.quote, "EURUSD", "1.07890", "1.07910")
            await until(Liquidation.objects.filter(ended_at__isnull=False).exists)
        finally:
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)

    venue.run(play())
    assert venue.liquidations("ann") == ["RESTORED 0/1"]
    assert marks.mark(by_symbol("EURUSD").id).price == Decimal("1.079")
    assert venue.house_position("EURUSD") != "flat"
    assert venue.is_sound()


async def until(condition) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await in_thread(condition):
            await asyncio.sleep(0.01)


def test_of_two_engines_one_leads_and_the_other_takes_over(venue):
    async def play():
        second = Leadership(positions_engine.ENGINE_LOCK, "second")
        try:
            assert not await second.take()
            await first.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await second.take():  # the server lets go once it has noticed
                    await asyncio.sleep(0.01)
        finally:
            await second.close()

    first, venue.leader = venue.leader, None
    venue.run(play())


def test_what_the_hub_says_is_enough(venue):
    """Between two comparisons with the database the monitor lives on what it hears."""
    venue.trade("ann", "BUY", "rich", "1", "EURUSD", "1.10000")
    venue.watch()
    monitor = venue.engine.monitor
    venue.trade("bob", "BUY", "rich", "4", "EURUSD", "1.10000")
    bob = venue.accounts["bob"].id
    assert not monitor.knows(bob)
    venue.engine.hear([(bob, orjson.dumps(venue.heard("bob", "position")).decode())])
    venue.run(venue.engine.step(venue.leader))
    assert monitor.knows(bob)


class OneLine(StringIO):
    """Whoever reads it ends the command when the first line is there."""

    def flush(self) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["run_positions_engine", "run_margin_updater"])
def test_the_commands_say_who_works_and_end(venue, name):
    def said() -> str:
        call_command(name, stdout=(out := OneLine()))
        return out.getvalue()

    venue.give_up_the_lead()
    lock = {"run_positions_engine": positions_engine.ENGINE_LOCK, "run_margin_updater": positions_engine.UPDATER_LOCK}
    with alone(lock[name]):
        assert said() == "waiting: another process on this database does it (a server, or this command)\n"
    assert said() == "working: any other process on this database waits\n"
    Market.objects.update(is_active=False)
    assert said() == "waiting: there is no active margin market\n"
    call_command(name, "--seconds", "0.1", stdout=StringIO())
    with pytest.raises(CommandError):
        call_command(name, "--seconds", "0")


def test_who_cannot_be_told_who_works_holds_up_nothing(venue, monkeypatch):
    """Whoever read it is gone: the lock was kept then, and the work not done, by nobody."""

    def say(text: str) -> None:
        raise BrokenPipeError

    async def work(leader: Leadership) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(positions_engine, "IDLE_SECONDS", 0.01)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(asyncio.wait_for(positions_engine._lead(7, "engine", work, say), 1))


def test_what_a_dead_engine_left_under_way_is_ended_and_begun_anew(venue, fast):
    venue.trade("ann", "BUY", "rich", "4", "EURUSD", "1.10000")
    venue.mark("EURUSD", "1.07900")
    monitor = venue.engine.monitor
    liquidation.begin(monitor.step(monitor.check()).liquidate)
    venue.give_up_the_lead()
    venue.order("rich BUY 10 EURUSD @ 1.07900")

    async def play():
        service = asyncio.create_task(positions_engine.run_engine())
        try:
            await until(lambda: Liquidation.objects.filter(ended_at__isnull=False).count() == 2)
        finally:
            service.cancel()
            await asyncio.gather(service, return_exceptions=True)

    venue.run(play())
    assert venue.liquidations("ann") == ["UNFILLED 0/0", "RESTORED 0/1"]


def test_closed_positions_are_put_away_and_nothing_is_lost(venue):
    venue.trade("ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    venue.mark("EURUSD", "1.10500")
    venue.trade("ann", "SELL", "bob", "3", "EURUSD", "1.10500")
    sums = {name: Sum(name) for name in ("realized", "realized_quote", "fees", "financing")}
    before = Position.objects.aggregate(**sums)
    assert Position.objects.filter(closed_at__isnull=False).count() == 2
    said = StringIO()
    call_command("delete_old_positions", stdout=said)
    assert said.getvalue() == "0 closed positions put away\n"
    clock.shift(timedelta(days=31).total_seconds())
    try:
        call_command("delete_old_positions", stdout=said)
    finally:
        clock.shift(0)
    assert said.getvalue().endswith("2 closed positions put away\n")
    assert Position.objects.filter(closed_at__isnull=False).count() == 0
    after, archived = Position.objects.aggregate(**sums), ArchivedPosition.objects.aggregate(**sums)
    assert {name: after[name] + archived[name] for name in sums} == before
    assert venue.is_sound()
