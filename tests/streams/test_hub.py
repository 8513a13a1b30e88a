"""The hub by itself: what goes in comes out everywhere, and money code never notices it."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer

from config.embedded_redis import RedisServer
from exchange.depth import Delta
from marketdata import hub as hub_module
from marketdata.hub import Hub, decode, encode
from tests.patience import PATIENCE_SECONDS, soon

BOOK = Delta(1, "AAPL", 4, 6, [(1, 100, 5)], [{"trade_id": 9}]).message()
EVENTS = {7: '[{"type":"balance","sequence":3}]', 8: "[]"}


class SharedLayer(InMemoryChannelLayer):
    """Stands for one that other processes hear too."""


@contextmanager
def layer_of(kind: type):
    """A channel layer for one test alone."""
    before = channel_layers.set("default", kind(capacity=10_000))
    yield channel_layers["default"]
    channel_layers.set("default", before) if before else channel_layers.backends.pop("default")


@pytest.fixture
def layer():
    with layer_of(SharedLayer) as layer:
        yield layer


@pytest.fixture
def own_layer():
    with layer_of(InMemoryChannelLayer) as layer:
        yield layer


@pytest.fixture
def heard():
    return asyncio.Queue()


@pytest.fixture
async def running(heard):
    hub = Hub()
    hub.on_books(lambda books: heard.put_nowait(("books", books)))
    hub.on_accounts(lambda accounts: heard.put_nowait(("accounts", accounts)))
    await hub.start()
    yield hub
    await hub.stop()


async def test_what_another_version_says_is_passed_over(running, heard):
    await get_channel_layer().group_send(hub_module.GROUP, {"type": "venue.batch.0", "body": b"[]"})
    running.publish(books=[BOOK], accounts={})
    kind, books = await soon(heard.get())
    assert (kind, len(books), books[0][1]) == ("books", 1, "AAPL")
    assert heard.empty()


def test_events_never_go_to_another_account():
    with pytest.raises(ValueError):
        decode(encode([], EVENTS) | {"events": "[]\n[]\n[]"})


@pytest.mark.parametrize("total", [0, 5, 2**63 - 1, 2**64 - 1, 2**64, 10**30])
def test_messages_survive_the_journey(total):
    delta = Delta(1, "AAPL", 4, 6, [(-1, 100, total)])
    books, accounts = decode(encode([delta.message()], EVENTS))
    assert [list(change) for change in Delta(*books[0]).changes] == [[-1, 100, total]]
    assert accounts == list(EVENTS.items())


async def test_published_in_a_thread_heard_in_the_loop(running, heard):
    threading.Thread(target=running.publish, kwargs={"books": [BOOK], "accounts": EVENTS}).start()
    assert (await soon(heard.get()))[0] == "books"
    assert await soon(heard.get()) == ("accounts", list(EVENTS.items()))


async def test_batches_arrive_in_order(running, heard):
    for sequence in range(100):
        running.publish(books=[Delta(1, "AAPL", sequence, sequence, []).message()], accounts={})
    sequences = [(await soon(heard.get()))[1][0][3] for _ in range(100)]
    assert sequences == list(range(100))


async def test_a_handler_that_fails_disturbs_nobody(layer, heard, caplog):
    hub = Hub()
    hub.on_books(lambda books: 1 / 0)
    hub.on_books(heard.put_nowait)
    await hub.start()
    for _ in range(2):
        hub.publish(books=[BOOK], accounts={})
        assert await soon(heard.get())
    await hub.stop()
    assert caplog.text.count("a listener failed") == 2


async def test_a_hub_starts_once_and_again_after_stopping(layer, heard):
    hub = Hub()
    hub.on_books(heard.put_nowait)
    for _ in range(2):
        await hub.start()
        await hub.start()
        hub.publish(books=[BOOK], accounts={})
        assert await soon(heard.get())
        await hub.stop()
    assert heard.empty()


async def test_expired_memberships_are_renewed(layer, monkeypatch, heard):
    monkeypatch.setattr(hub_module, "REJOIN_SECONDS", 0.01)
    hub = Hub()
    hub.on_books(heard.put_nowait)
    await hub.start()
    layer.groups.clear()
    while not layer.groups:
        await asyncio.sleep(0.01)
    hub.publish(books=[BOOK], accounts={})
    assert await soon(heard.get())
    await hub.stop()


async def test_a_layer_that_is_away_neither_raises_nor_blocks(layer, monkeypatch, heard, caplog):
    async def away(*_):
        raise ConnectionError("Redis is away")

    hub = Hub()
    hub.on_books(heard.put_nowait)
    await hub.start()
    with monkeypatch.context() as patch:
        patch.setattr(layer, "group_send", away)
        for _ in range(hub_module.QUEUE_BATCHES + 10):
            hub.publish(books=[BOOK], accounts={})
        while hub._sender._waiting:
            await asyncio.sleep(0.01)
    assert caplog.text.count("takes no messages") == 1
    hub.publish(books=[BOOK], accounts={})
    assert await soon(heard.get())
    await hub.stop()


async def test_starting_does_not_wait_for_a_layer_that_is_away(layer, monkeypatch, heard):
    new_channel, failures = layer.new_channel, []

    async def away_twice(*arguments):
        if len(failures) < 2:
            failures.append(1)
            raise ConnectionError("Redis is away")
        return await new_channel(*arguments)

    monkeypatch.setattr(layer, "new_channel", away_twice)
    monkeypatch.setattr(hub_module, "START_SECONDS", 0.05)
    hub = Hub()
    hub.on_books(heard.put_nowait)
    await hub.start()
    assert len(failures) == 1
    await hub._joined.wait()
    hub.publish(books=[BOOK], accounts={})
    assert await soon(heard.get())
    await hub.stop()


def test_without_a_loop_a_process_that_is_alone_drops_it(own_layer):
    hub = Hub()
    hub.publish(books=[BOOK], accounts=EVENTS)
    assert hub._outlet is None


async def test_a_process_that_is_alone_tells_itself_without_the_layer(own_layer, running, heard):
    for number in range(3):
        book = Delta(1, "AAPL", number, number, []).message()
        await asyncio.to_thread(running.publish, books=[book], accounts=EVENTS, committed_at=1234.5)
        assert await soon(heard.get()) == ("books", [book])
        assert await soon(heard.get()) == ("accounts", list(EVENTS.items()))
    assert running.committed_at == 1234.5
    assert not own_layer.groups


async def test_a_process_that_is_alone_keeps_no_more_than_the_queue_holds(own_layer, running, heard):
    """The oldest are dropped while the loop stands still, as it does here."""
    for number in range(hub_module.QUEUE_BATCHES + 10):
        running.publish(books=[Delta(1, "AAPL", number, number, []).message()], accounts={})
    kind, books = await soon(heard.get())
    assert (kind, books[0][3]) == ("books", 10)


async def test_a_process_that_is_alone_is_told_nothing_after_it_stopped(own_layer, running, heard):
    running.publish(books=[BOOK], accounts={})
    await running.stop()
    await asyncio.sleep(0.01)
    assert heard.empty()


async def test_what_was_answered_leaves_before_the_hub_tells_of_it(own_layer, running, heard):
    """The answer's task runs a turn after its future is set, and what it writes leaves a turn later."""
    loop, answer, left = asyncio.get_running_loop(), asyncio.get_running_loop().create_future(), []
    running.on_books(lambda _: left.append("told"))

    async def ask() -> None:
        await answer
        loop.call_soon(left.append, "answered")

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    loop.call_soon_threadsafe(answer.set_result, None)
    running.publish(books=[BOOK], accounts={})
    await asyncio.gather(asking, soon(heard.get()))
    assert left == ["answered", "told"]


def test_what_cannot_be_sent_does_not_raise(layer, caplog):
    hub = Hub()
    hub._sender = object()
    hub.publish(books=[BOOK], accounts={1: object()})
    assert "publishing failed" in caplog.text


async def test_a_process_without_a_hub_sends_from_a_helper_thread(running, heard):
    """As a management command does, over Redis."""
    command = Hub()
    await asyncio.to_thread(command.publish, books=[BOOK], accounts={})
    assert (await soon(heard.get()))[0] == "books"
    assert command._outlet is not None


async def test_redis_dies_and_comes_back(heard):
    """A Redis of this test's own, killed and started again empty: messages flow again by themselves."""
    with RedisServer() as redis:
        before = channel_layers.set("default", RedisPubSubChannelLayer(hosts=[redis.url]))
        hub = Hub()
        hub.on_books(heard.put_nowait)
        await hub.start()
        hub.publish(books=[BOOK], accounts={})
        assert await soon(heard.get())
        redis.kill()
        hub.publish(books=[BOOK], accounts={})
        await asyncio.to_thread(redis.start)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while heard.empty():
                hub.publish(books=[BOOK], accounts={})
                await asyncio.sleep(0.1)
        await hub.stop()
        channel_layers.set("default", before) if before else channel_layers.backends.pop("default")


async def test_a_listener_knows_when_the_batch_was_committed(running, heard):
    seen = []
    running.on_accounts(lambda _: seen.append(running.committed_at))
    running.publish(books=[BOOK], accounts=EVENTS, committed_at=1234.5)
    await soon(heard.get())
    await soon(heard.get())
    assert seen == [1234.5]
