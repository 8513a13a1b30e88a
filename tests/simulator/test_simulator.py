"""The simulated market: same seed, same tape; both sides quoted; money exact; halts respected."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F, Max, Sum

from accounts.models import Account, Balance, Entry, User
from accounts.users import register
from exchange import barrier, demo, kill_switch, orders
from exchange.engine.book import BUY, SELL
from exchange.models import Order, Trade
from exchange.simulator import Simulator, leader, population
from exchange.simulator.tape import tape_hash
from marketdata.leadership import Leadership
from marketdata.markets import by_symbol
from marketdata.models import Market
from marketdata.refusals import Unavailable
from tests.patience import soon
from tests.simulator.places import SYMBOLS, demo_venue, seed_anew, simulate
from tests.venue import forget_everything, withdraw

__all__ = ["demo_venue"]


def best(symbol: str) -> tuple[int | None, int | None]:
    view = barrier.view(by_symbol(symbol))
    return view.best(BUY), view.best(SELL)


def test_the_same_seed_gives_the_same_tape(demo_venue):
    hashes = []
    for seed in (7, 7, 8):
        seed_anew()
        simulate(25, seed=seed)
        assert Trade.objects.count() > 10
        hashes.append(tape_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_first_step_quotes_both_sides(demo_venue):
    simulate(1, markets=None)
    for symbol, (*_, reference) in demo.MARKETS.items():
        bid, ask = best(symbol)
        middle = by_symbol(symbol).ticks(Decimal(reference))
        assert bid < ask, symbol
        assert abs(bid + ask - 2 * middle) < middle // 100, symbol


def test_after_100_steps_the_books_stand_and_the_money_is_right(demo_venue):
    simulator = simulate(100)
    assert simulator.tally.refusals.keys() <= {"order_not_open"}
    assert Trade.objects.count() > 40
    for symbol in SYMBOLS:
        bid, ask = best(symbol)
        assert bid < ask
        assert Trade.objects.filter(market__symbol=symbol).values("taker_side").distinct().count() == 2
    sums = Entry.objects.order_by().values("asset").annotate(sum=Sum("amount")).values_list("sum", flat=True)
    assert set(sums) == {0}
    assert not Balance.objects.filter(available__lt=0).exists() and not Balance.objects.filter(reserved__lt=0).exists()
    totals = Entry.objects.order_by().values("account", "asset").annotate(sum=Sum("amount"))
    expected = {(row["account"], row["asset"]): row["sum"] for row in totals.exclude(account__kind="OUTSIDE")}
    held = (
        Balance.objects.annotate(held=F("available") + F("reserved"))
        .exclude(held=0)
        .values_list("account", "asset", "held")
    )
    assert {(account, asset): total for account, asset, total in held} == {k: v for k, v in expected.items() if v}


def test_an_operator_takes_away_what_it_left_in_the_books(demo_venue):
    """As docs/settings.md says: by the kill switch of each of those accounts."""
    simulate(60)
    left = Order.objects.filter(status__in=Order.LIVE)
    makers = set(Account.objects.filter(kind="MARKET_MAKER", market__kind="SPOT").values_list("pk", flat=True))
    names = [name for name, _, _ in population.TRADERS]
    people = set(Account.objects.filter(kind="MAIN", user__username__in=names).values_list("pk", flat=True))
    assert set(left.values_list("account", flat=True)) <= makers | people
    assert left.filter(account__in=makers).exists() and left.filter(account__in=people).exists()
    for account_id in makers | people:
        kill_switch.pull(account_id=account_id, by=kill_switch.OPERATOR)
    assert not left.exists() and {best(symbol) for symbol in SYMBOLS} == {(None, None)}
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert [name for name in names if f"`{name}`" not in text] == ["noise2", "noise3"]  # `noise1` to `noise4`


def test_it_stays_gentle(demo_venue):
    simulator = simulate(150, markets=["AAPL"])
    assert 1 <= simulator.tally.commands / (150 * 0.5) <= 5  # a second
    market = Market.objects.get(symbol="AAPL")
    per_account = Order.objects.filter(market=market, status__in=Order.ACTIVE).values_list("account", flat=True)
    assert max(list(per_account).count(account) for account in set(per_account)) <= 16


def test_a_restart_goes_on_with_the_quotes_that_stand(demo_venue):
    simulate(30)
    before = Order.objects.filter(status__in=Order.ACTIVE).count()
    forget_everything()
    simulate(1, seed=2)
    assert Order.objects.filter(status__in=Order.ACTIVE).count() <= before + 8


@pytest.mark.parametrize("status", ["HALTED", "CANCEL_ONLY", "CLOSED"])
def test_a_market_that_is_not_open_pauses_alone_and_goes_on(demo_venue, status):
    simulate(5)
    set_status("AAPL", status)
    paused, other = sequence("AAPL"), sequence("BTC_USDT")
    simulate(10)
    assert sequence("AAPL") == paused
    assert sequence("BTC_USDT") > other
    set_status("AAPL", "OPEN")
    simulate(10)
    assert sequence("AAPL") > paused


def test_a_halt_in_the_middle_of_a_step_ends_the_step_only(demo_venue, monkeypatch):
    simulate(3, markets=["AAPL"])
    place = orders.place_async
    calls = []

    async def halting(command):
        calls.append(command)
        await ask(set_status, "AAPL", "HALTED")
        return await place(command)

    monkeypatch.setattr(orders, "place_async", halting)
    simulator = simulate(40, markets=["AAPL"])
    assert len(calls) == 1
    assert simulator.tally.refusals.total() == 0


def sequence(symbol: str) -> int:
    return Market.objects.get(symbol=symbol).sequence


def set_status(symbol: str, status: str) -> None:
    market = Market.objects.get(symbol=symbol)
    market.status = status
    market.save()


def in_thread(function, *arguments, **terms):
    """For threads of a pool: leave no connection open behind."""
    try:
        return function(*arguments, **terms)
    finally:
        connection.close()


def test_running_low_it_is_topped_up_through_the_ledger(demo_venue):
    simulate(1)
    maker = Account.objects.get(kind="MARKET_MAKER", market__symbol="AAPL")
    given = Entry.objects.filter(account=maker, journal__reason=population.REASON)
    before = given.count()
    balance = maker.balances.get(asset__symbol="USD")
    withdraw(account=maker, asset=balance.asset, amount=balance.available)
    simulate(1)
    assert given.count() == before + 1
    assert maker.balances.get(asset__symbol="USD").total > balance.total * 9 / 10


def test_a_price_at_the_edge_of_the_band_is_led_back(demo_venue):
    """Somebody traded far from where the simulator thinks the price is: its quotes must still be taken."""
    simulate(1, markets=["AAPL"])
    Market.objects.filter(symbol="AAPL").update(last_price=Decimal("230"))
    forget_everything()
    simulator = simulate(40, markets=["AAPL"])
    assert simulator.tally.refusals["price_out_of_band"] <= 3  # the first trades move the band under a step
    bid, ask = best("AAPL")
    assert bid < ask


def test_a_person_named_noise1_is_not_traded_for(transactional_db, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    forget_everything()
    person = register(username="noise1", password="correct-horse-battery")
    demo.seed()
    simulate(60, markets=["AAPL"])
    assert not Order.objects.filter(account__user=person).exists()
    assert not User.objects.get(username="noise2").has_usable_password()
    forget_everything()


@asynccontextmanager
async def running(work):
    """A task for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(function, *arguments, **terms):
    """The database, from a coroutine."""
    return await asyncio.to_thread(in_thread, function, *arguments, **terms)


async def until(condition) -> None:
    """Wait for the database to say so; the suite's timeout is the other way out."""
    while not await ask(condition):
        await asyncio.sleep(0.02)


class TestRunning:
    """The simulator tied to the clock, as the server runs it."""

    async def test_it_trades_until_cancelled_and_leaves_no_task(self, demo_venue):
        async with running(Simulator(1, SYMBOLS, speed=20).run()):
            await until(lambda: Trade.objects.values("market").distinct().count() == len(SYMBOLS))
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    async def test_a_venue_that_does_not_answer_is_tried_again(self, demo_venue, monkeypatch):
        place, refused = orders.place_async, []

        async def failing(command):
            if len(refused) < 3:
                refused.append(command)
                raise Unavailable("not now")
            return await place(command)

        monkeypatch.setattr(orders, "place_async", failing)
        async with running(Simulator(1, ["AAPL"], speed=20).run()):
            await until(Trade.objects.exists)
        assert len(refused) == 3

    async def test_a_new_market_is_found(self, demo_venue, monkeypatch):
        monkeypatch.setattr("exchange.simulator.runner.DIRECTORY_SECONDS", 0.05)
        await ask(Market.objects.exclude(symbol="AAPL").update, is_active=False)
        async with running(Simulator(1, None, speed=20).run()):
            await until(lambda: Order.objects.filter(market__symbol="AAPL").exists())
            await ask(Market.objects.filter(symbol="MSFT").update, is_active=True)
            await until(lambda: Order.objects.filter(market__symbol="MSFT").exists())
            assert not await ask(Order.objects.filter(market__symbol="TSLA").exists)


class TestLeader:
    async def test_of_two_servers_one_simulates_and_the_other_takes_over(self, demo_venue, monkeypatch, settings):
        settings.SIMULATOR = True
        monkeypatch.setattr(leader, "RETRY_SECONDS", 0.05)
        started, tries, take = [], [], Leadership.take

        async def counted_take(self):
            tries.append(await take(self))
            return tries[-1]

        class Counted(Simulator):
            async def run(self):
                started.append(self)
                await super().run()

        monkeypatch.setattr(Leadership, "take", counted_take)
        monkeypatch.setattr(leader, "Simulator", Counted)
        async with running(leader.run_as_leader()) as first:
            await until(Trade.objects.exists)
            async with running(leader.run_as_leader()) as second:
                await until(lambda: tries.count(False) >= 3)
                assert len(started) == 1
                first.cancel()
                seen = await ask(Trade.objects.aggregate, last=Max("id"))
                await until(lambda: len(started) == 2 and Trade.objects.filter(id__gt=seen["last"]).exists())
                assert not second.done()

    async def test_the_server_opens_when_both_sides_of_every_book_are_quoted(self, demo_venue, settings):
        settings.SIMULATOR = True
        first, second = asyncio.Event(), asyncio.Event()
        async with running(leader.run_as_leader(quoted=first)):
            await soon(first.wait())
            for symbol in demo.MARKETS:
                assert all(await ask(best, symbol)), symbol
            async with running(leader.run_as_leader(quoted=second)):
                await soon(second.wait())

    async def test_the_server_does_not_wait_for_a_simulator_that_fails(self, demo_venue, monkeypatch, settings):
        settings.SIMULATOR = True
        monkeypatch.setattr(leader, "from_settings", lambda markets: 1 / 0)
        quoted = asyncio.Event()
        async with running(leader.run_as_leader(quoted=quoted)):
            await soon(quoted.wait())

    async def test_a_failure_is_survived(self, demo_venue, monkeypatch, settings):
        settings.SIMULATOR = True
        monkeypatch.setattr(leader, "RETRY_SECONDS", 0.05)
        failures = []

        class Fragile(Simulator):
            async def run(self):
                if len(failures) < 2:
                    failures.append(self)
                    raise ValueError("a bug")
                await super().run()

        monkeypatch.setattr(leader, "Simulator", Fragile)
        async with running(leader.run_as_leader()):
            await until(Trade.objects.exists)
        assert len(failures) == 2

    async def test_off_means_off(self, demo_venue, settings):
        settings.SIMULATOR = False
        await soon(leader.run_as_leader())
        assert not await ask(Order.objects.exists)
