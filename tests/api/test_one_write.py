"""The server's HTTP protocol as we bend it: idle connections are closed in time with a timer that is set once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import uvicorn
from uvicorn.server import ServerState

from config.one_write import OneWriteProtocol
from config.serving import listen

IDLE_SECONDS = 65
REQUEST = b"GET / HTTP/1.1\r\nHost: venue\r\n\r\n"


async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def config(**settings) -> uvicorn.Config:
    made = uvicorn.Config(application, http=OneWriteProtocol, lifespan="off", log_config=None, **settings)
    made.load()
    return made


class Clock:
    """A loop of which only the clock and the timers are there."""

    def __init__(self):
        self.now, self.timers = 0.0, []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback) -> None:
        callback()

    def call_later(self, seconds, callback) -> "Timer":
        timer = Timer(self, self.now + seconds, callback)
        self.timers.append(timer)
        return timer

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= until]:
            self.now = due[0].at
            due[0].cancel()
            due[0].callback()
        self.now = until


@dataclass(eq=False)
class Timer:
    clock: Clock
    at: float
    callback: Callable[[], None]

    def cancel(self) -> None:
        self.clock.timers.remove(self)


class Transport(asyncio.Transport):
    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def protocol(clock, transport):
    made = OneWriteProtocol(config(timeout_keep_alive=IDLE_SECONDS), ServerState(), {}, _loop=clock)
    made.connection_made(transport)
    return made


def ask(protocol, clock, seconds: float) -> None:
    """A request and, after so many seconds, its answer."""
    protocol._unset_keepalive_if_required()  # what data that arrives does first
    clock.wait(seconds)
    protocol.on_response_complete()


#: (seconds that answers take, pauses between them, whether the connection is open after the last pause)
USES = [
    ([0], [64], True),
    ([0], [65], False),
    ([0, 0, 0], [64, 64, 64], True),
    ([0, 0, 0], [64, 64, 65], False),
    ([0, 200], [1, 64], True),
    ([0, 200], [1, 65], False),
    ([200], [64], True),
]


@pytest.mark.parametrize("takes, pauses, is_open", USES)
def test_what_is_idle_for_long_is_closed(protocol, clock, transport, takes, pauses, is_open):
    for seconds, pause in zip(takes, pauses, strict=True):
        assert not transport.closed
        ask(protocol, clock, seconds)
        clock.wait(pause)
    assert transport.closed is not is_open
    assert len(clock.timers) <= 1


def test_a_lost_connection_leaves_no_timer(protocol, clock):
    ask(protocol, clock, 0)
    assert clock.timers
    protocol.connection_lost(ConnectionResetError())
    assert not clock.timers


async def test_requests_in_a_row_are_answered_in_their_order():
    """Pipelined: the next one starts when the one before is answered."""
    server, listener = uvicorn.Server(config()), listen("127.0.0.1", 0)
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(REQUEST * 3)
        for _ in range(3):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
        writer.close()
    finally:
        await server.shutdown(sockets=[listener])
