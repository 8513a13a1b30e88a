"""The short way of a frame: the same bytes as the server's own, in the same order, and only while it is open."""

import asyncio

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets import frames
from websockets.frames import Opcode

from exchange.streams.direct import writer_of
from exchange.streams.outbox import Frame, Outbox

HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written, self.is_gone = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_gone

    def close(self) -> None:
        self.is_gone = True

    def resume_reading(self) -> None:
        pass

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self.written = self.written, b""
        return taken


class Served:
    """A WebSocket as uvicorn serves it, up to its transport, and the application's end of it."""

    def __init__(self):
        self.accepts, self.accepted, self.ends = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def open(self, *, headers: bytes = b"", accepts: bool = True) -> "Served":
        config = uvicorn.Config(self.application, interface="asgi3", proxy_headers=False, lifespan="off")
        config.load()
        self.protocol = WebSocketsSansIOProtocol(config, ServerState(), {}, _loop=asyncio.get_running_loop())
        self.transport = Transport()
        self.protocol.connection_made(self.transport)
        self.protocol.data_received(HANDSHAKE + headers + b"\r\n")
        if accepts:
            self.accepts.set()
            await self.accepted.wait()
            self.transport.take()
        self.send = self.protocol.send
        return self

    async def application(self, scope, receive, send) -> None:
        await receive()
        await self.accepts.wait()
        await send({"type": "websocket.accept"})
        self.accepted.set()
        await self.ends.wait()

    async def end(self) -> None:
        self.accepts.set()
        self.ends.set()
        self.protocol.stop_keepalive()
        await asyncio.gather(*self.protocol.tasks)


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 100_000])
async def test_it_writes_what_the_server_would(length):
    served = await Served().open()
    message = Frame({"type": "update", "price": "1.5", "note": "ü" * (length // 2)})
    assert writer_of(served.send)(message.wire)
    written = served.transport.take()
    await served.send(message)
    assert written == served.transport.take() != b""
    await served.end()


async def nothing(served: Served) -> None:
    """The peer reads."""


async def stalls(served: Served) -> None:
    served.protocol.pause_writing()


async def closes(served: Served) -> None:
    await served.send({"type": "websocket.close", "code": 1000})


async def is_closed_by_the_peer(served: Served) -> None:
    served.protocol.data_received(frames.Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))


async def is_gone(served: Served) -> None:
    served.transport.close()


@pytest.mark.parametrize(
    "event, terms, is_open",
    [
        (nothing, {}, True),
        (nothing, {"headers": DEFLATE}, False),
        (nothing, {"accepts": False}, False),
        (stalls, {}, False),
        (closes, {}, False),
        (is_closed_by_the_peer, {}, False),
        (is_gone, {}, False),
    ],
)
async def test_the_way_is_open_only_to_a_peer_that_reads_plain_frames(event, terms, is_open):
    served = await Served().open(**terms)
    await event(served)
    served.transport.take()
    assert writer_of(served.send)(Frame({"n": 1}).wire) is is_open
    assert bool(served.transport.take()) is is_open
    served.protocol.resume_writing()
    await served.end()


def test_other_servers_have_no_short_way():
    async def send(message: dict) -> None:
        """Of a test, or of daphne."""

    assert writer_of(send) is None and writer_of(Transport().write) is None


@pytest.mark.parametrize("put", [Outbox.offer, Outbox.replace])
async def test_nothing_overtakes_what_waits(put):
    served = await Served().open()
    outbox = Outbox(served.send, lambda: None)
    outbox.start()
    await outbox.drained()
    messages = [Frame({"n": number}) for number in range(4)]
    assert put(outbox, messages[0])
    assert served.transport.take() == messages[0].wire, "it leaves within the call"
    served.protocol.pause_writing()
    assert outbox.offer(messages[1])
    await asyncio.sleep(0)
    served.protocol.resume_writing()
    assert outbox.offer(messages[2]) and outbox.offer(messages[3])
    await outbox.drained()
    assert served.transport.take() == b"".join(message.wire for message in messages[1:])
    outbox.cancel()
    await served.end()


async def test_after_its_last_word_nothing_more_is_written():
    served = await Served().open()
    outbox = Outbox(served.send, lambda: None)
    outbox.start()
    await outbox.drained()
    outbox.end(1013)
    assert not outbox.offer(Frame({"n": 1})) and not outbox.replace(Frame({"n": 2}))
    await outbox.drained()
    assert served.transport.take() == frames.Frame(Opcode.CLOSE, b"\x03\xf5").serialize(mask=False)
    await served.end()
