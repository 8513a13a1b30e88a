"""Commands passed on between processes: settled once, by the owner or here, and answers arrive as they were given."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal

import pytest
import uvloop

from exchange import commands as c
from exchange import relay, transaction
from exchange.commands import Amend, Cancel, CancelAll, Place, Refresh, Replay
from exchange.relay import Packer, Relay
from exchange.transaction import OutcomeUnknown
from marketdata.markets import MarketSpec
from marketdata.refusals import Malformed, Refusal
from tests.patience import soon, until

SPEC = MarketSpec(
    **{
        field: 1
        for field in MarketSpec.__dataclass_fields__
        if field not in ("id", "symbol", "price_band", "tick_size", "lot_size")
    },
    id=1,
    symbol="AAPL",
    price_band=None,
    tick_size=Decimal("0.01"),
    lot_size=Decimal(1),
)


def place(market_id: int, account: int = 7, version: int = 1) -> Place:
    spec = replace(SPEC, id=market_id, version=version)
    return Place(account, spec, 1, "LIMIT", 100, 5, None, "GTC", False, "EXPIRE_TAKER", more={"display": 2})


class Process:
    """One server process as the relay sees it: what it settled itself, and what it says to each command."""

    def __init__(self, directory, index: int, count: int):
        self.settled, self.answers, self.deadlines = [], {}, []
        self.relay = Relay(directory, index, count, self.submit)
        self.refuses = None

    def submit(self, commands, deadlines=()):
        self.deadlines += deadlines
        if self.refuses is not None:
            raise self.refuses
        futures = []
        for command in commands:
            self.settled.append(command)
            futures.append(asyncio.get_running_loop().create_future())
            answer = self.answers.get(type(command), {"id": 100 + len(self.settled)})
            if answer is not None:
                futures[-1].set_result(answer)
        return futures


@pytest.fixture
async def two(tmp_path):
    """Process 0 owns even markets, process 1 odd ones; they know each other already."""
    pair = [Process(tmp_path, index, 2) for index in range(2)]
    for each in pair:
        await each.relay.start()
    for each in pair:
        for market_id in (1, 2):
            each.relay.submit([place(market_id)])
    await until(lambda: all(peer._link for each in pair for peer in each.relay._peers.values()), "their acquaintance")
    for each in pair:
        each.settled.clear()
    yield pair
    for each in pair:
        await each.relay.stop()


async def outcomes(process: Process, *commands) -> list:
    return await soon(asyncio.gather(*process.relay.submit(commands)))


@pytest.mark.parametrize(
    "markets, passed_on", [((1, 3, 1), True), ((2, 4), False), ((1, 2, 1), False), ((2, 1), False)]
)
async def test_one_owner_settles_all_and_answers_come_back_in_order(two, markets, passed_on):
    here, owner = two
    placed = [place(market_id, account) for account, market_id in enumerate(markets)]
    assert await outcomes(here, *placed) == [{"id": 100 + number} for number in range(1, len(markets) + 1)]
    assert (owner.settled, here.settled) == ((placed, []) if passed_on else ([], placed))


async def test_orders_are_followed_to_their_market(two):
    here, owner = two
    [order] = await outcomes(here, place(1))
    await outcomes(here, Cancel(7, order["id"]), Amend(7, order["id"], Decimal(5), None))
    assert [type(command) for command in owner.settled] == [Place, Cancel, Amend] and not here.settled


async def test_what_is_passed_on_must_be_begun_before_its_sender_gives_up(two):
    here, owner = two
    sent = time.monotonic()
    await outcomes(here, place(1), place(3))
    await outcomes(here, place(2))
    assert all(0 < deadline - sent - relay.BEGIN_SECONDS < 1 for deadline in owner.deadlines)
    assert (len(owner.deadlines), len(here.deadlines)) == (2, 0)
    assert relay.BEGIN_SECONDS + transaction.PAUSE_TIMEOUT_MS / 1000 < relay.RELAY_SECONDS


@pytest.mark.parametrize("command", [CancelAll(7, 1), Refresh(1), Cancel(7, 999), Amend(7, 999, None, Decimal(1))])
async def test_what_names_no_market_stays_here(two, command):
    here, owner = two
    await outcomes(here, command)
    assert here.settled == [command] and not owner.settled


def refusals(kind=Refusal):
    for each in kind.__subclasses__():
        yield each
        yield from refusals(each)


async def test_every_refusal_arrives_as_it_was(two):
    here, owner = two
    for kind in {*refusals()} - {OutcomeUnknown}:
        try:
            owner.answers[Place] = given = kind("Do something else.")
        except TypeError:
            continue  # it makes its own text
        [came] = await outcomes(here, place(1))
        assert (type(came), vars(came), str(came)) == (kind, vars(given), str(given))


@pytest.mark.parametrize(
    "answer", [Replay(5), [{"id": 1}], OutcomeUnknown(), Malformed("no", errors=[{"field": "price"}])]
)
async def test_other_answers_arrive_as_they_were(two, answer):
    here, owner = two
    owner.answers[Place] = answer
    [came] = await outcomes(here, place(1))
    assert type(came) is type(answer) and (came == answer or vars(came) == vars(answer))


async def test_a_bug_over_there_arrives_as_its_text(two):
    here, owner = two
    owner.answers[Place] = ZeroDivisionError(lambda: None)
    [came] = await outcomes(here, place(1))
    assert type(came) is RuntimeError and "ZeroDivisionError" in str(came)


async def test_an_owner_that_takes_none_says_so(two):
    here, owner = two
    owner.refuses = c.MarketHalted("stopping")
    [came] = await outcomes(here, place(1))
    assert came.code == "market_halted"


async def test_without_the_owner_commands_are_settled_here(two):
    here, owner = two
    await owner.relay.stop()
    await until(lambda: here.relay._peers[1]._link is None, "the end of the link")
    command = place(1)
    await outcomes(here, command)
    assert here.settled == [command]


async def test_what_was_under_way_when_the_owner_died_is_unknown(two):
    here, owner = two
    owner.answers[Place] = None
    futures = here.relay.submit([place(1), place(1)])
    await until(lambda: len(owner.settled) == 2, "both to be begun")
    here.relay._peers[1]._link.transport.abort()
    came = await soon(asyncio.gather(*futures))
    assert [type(each) for each in came] == [OutcomeUnknown] * 2
    for future in owner.relay._serving:
        future.set_result({"id": 1})


async def test_an_owner_that_sleeps_is_left_alone_until_it_says_something(two, monkeypatch):
    here, owner = two
    owner.answers[Place] = None
    with monkeypatch.context() as patch:
        patch.setattr(relay, "RELAY_SECONDS", -1.0)
        [late] = here.relay.submit([place(1)])
    [fresh] = here.relay.submit([place(1)])
    assert type(await soon(late)) is OutcomeUnknown
    assert not fresh.done()  # it is given up in its own time: it may still be begun
    for _ in range(2):
        await outcomes(here, place(3))
    assert (len(here.settled), len(owner.settled)) == (2, 2)
    for future in list(owner.relay._serving):
        future.set_result({"id": 1})
    assert await soon(fresh) == {"id": 1}
    owner.answers[Place] = {"id": 2}
    assert await outcomes(here, place(3)) == [{"id": 2}]


async def test_an_owner_that_stops_begins_nothing_new(two):
    here, owner = two
    owner.answers[Place] = None
    [first] = here.relay.submit([place(1)])
    await until(lambda: owner.relay._serving, "the first to be begun")
    stopping = asyncio.create_task(owner.relay.stop())
    await asyncio.sleep(0.05)
    [second] = await outcomes(here, place(1))
    assert (second.code, len(owner.settled)) == ("not_accepting", 1)
    owner.relay._serving.copy().pop().set_result({"id": 1})
    await stopping
    assert await soon(first) == {"id": 1}
    await owner.relay.start()


def test_a_spec_travels_once_for_each_version():
    sender, receiver = Packer(), Packer()
    for command, travels in [(place(1), True), (place(1), False), (place(1, version=2), True), (place(3), True)]:
        packed = sender.pack(command)
        assert (packed[0] is not None) == travels
        assert receiver.unpack(packed) == command


def test_what_comes_in_the_turn_in_which_the_connection_ends_is_settled_here(tmp_path):
    """In the servers' own loop: what is written then raises, where asyncio's says nothing."""

    async def cut_off():
        broken = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(context["message"]))
        here, owner = (Process(tmp_path, index, 2) for index in range(2))
        await asyncio.gather(here.relay.start(), owner.relay.start())
        peer = here.relay._peers[1]
        here.relay.submit([place(1)])
        await until(lambda: peer._link, "their acquaintance")
        peer._link.transport.abort()
        outcome = await outcomes(here, place(1))
        await asyncio.gather(here.relay.stop(), owner.relay.stop())
        return outcome, broken

    assert uvloop.run(cut_off()) == ([{"id": 102}], [])
