"""One socket's queue: what is dropped for something newer, and what never is."""

import asyncio

import orjson

from exchange.streams.outbox import Frame, Outbox, Reply


class Peer:
    """A peer that reads only when told to."""

    def __init__(self):
        self.reads, self.got = asyncio.Event(), []
        self.outbox = Outbox(self.send, lambda: None)
        self.outbox.start()

    async def send(self, message: dict) -> None:
        await self.reads.wait()
        self.got.append(orjson.loads(message["text"])["n"] if "text" in message else message["code"])

    async def read_all(self) -> list[int]:
        self.reads.set()
        await self.outbox.drained()
        self.outbox.cancel()
        return self.got


async def stuck(*waiting: dict) -> Peer:
    """A peer with one frame in hand that it does not take, and these in its queue."""
    peer = Peer()
    peer.outbox.offer(Frame({"n": 0}))
    while peer.outbox._sending_since is None:
        await asyncio.sleep(0)
    for message in waiting:
        assert peer.outbox.offer(message)
    return peer


async def test_only_the_newest_of_what_replaces():
    peer = await stuck()
    for number in (1, 2, 3):
        assert peer.outbox.replace(Frame({"n": number}))
    assert await peer.read_all() == [0, 3]


async def test_replies_outlive_what_replaces_the_rest():
    peer = await stuck(Frame({"n": 1}), Reply({"n": 2}), Frame({"n": 3}), Reply({"n": 4}))
    assert peer.outbox.replace(Frame({"n": 5}))
    assert await peer.read_all() == [0, 2, 4, 5]


async def test_replies_outlive_falling_behind():
    peer = await stuck(Frame({"n": 1}), Reply({"n": 2}))
    peer.outbox.clear()
    assert await peer.read_all() == [0, 2]


async def test_a_queue_full_of_replies_still_takes_the_newest(monkeypatch):
    monkeypatch.setattr("exchange.streams.outbox.MAX_FRAMES", 2)
    peer = await stuck(Reply({"n": 1}), Reply({"n": 2}))
    assert not peer.outbox.offer(Frame({"n": 3}))
    assert peer.outbox.replace(Frame({"n": 4})) and peer.outbox.replace(Frame({"n": 5}))
    assert await peer.read_all() == [0, 1, 2, 5]


async def test_a_full_queue_still_takes_replies(monkeypatch):
    monkeypatch.setattr("exchange.streams.outbox.MAX_FRAMES", 2)
    peer = await stuck(Frame({"n": 1}), Frame({"n": 2}))
    assert not peer.outbox.offer(Frame({"n": 3}))
    peer.outbox.reply(Reply({"n": 4}))
    assert await peer.read_all() == [0, 1, 2, 4]


async def test_a_peer_that_lets_its_replies_pile_up_is_parted_with(monkeypatch):
    monkeypatch.setattr("exchange.streams.outbox.MAX_CHARACTERS", 20)
    peer = await stuck(Frame({"n": 1}))
    for number in range(2, 6):
        peer.outbox.reply(Reply({"n": number}))
    assert peer.outbox.is_ending
    assert await peer.read_all() == [0, 1, 2, 3, 1013]
