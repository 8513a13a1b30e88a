"""An HTTP answer in one system call.

The server hands its transport the head and the body of an answer one after the other, and each would be sent by
itself. On the hot routes sending is the dearest thing the event loop does, so what is written within one turn of the
loop leaves together at its end.

`answer_whole` goes further for the lean way: what is the same in all answers is put together once, and an answer is its
head's few differing lines and its body. It does what the server's own `send` would do with the two messages.

A connection that is kept alive has one timer at a time, which looks when it rings whether the connection is idle,
instead of one that is set anew after each answer.

Known limit: what waits for the end of the turn is not counted by the transport's own flow control; it is one turn's
writes at most. A connection that becomes a WebSocket gets its bare transport back: its frames have their own queue.
"""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


class TurnTransport:
    """A transport that collects the writes of one turn of the event loop; everything else it passes on."""

    __slots__ = ("_call_soon", "_transport", "_waiting", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._call_soon = loop.call_soon
        self.is_closing = transport.is_closing  # asked for with each answer
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str):
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data at the end of this turn of the loop."""
        if not self._waiting:
            self._call_soon(self.flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Send what waits now."""
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            if not self.is_closing():
                self._transport.write(data)

    def bare(self) -> asyncio.Transport:
        """The transport itself, with nothing left waiting."""
        self.flush()
        return self._transport


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, but answers leave whole, and its timer is a lazy one."""

    #: Since when nothing is asked (time of the loop); None while something is.
    _idle_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(TurnTransport(transport, self.loop))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        super()._unset_keepalive_if_required()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def on_response_complete(self) -> None:
        """What the server's own does, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._ring_after(self.timeout_keep_alive)

    def _ring_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough; look again when it may be."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next answer sets the timer
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._ring_after(left)
        else:
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        super()._unset_keepalive_if_required()
        self.transport = self.transport.bare()
        super().handle_websocket_upgrade()


def answer_whole(send: Callable, status: int, headers: bytes, body: bytes) -> bool:
    """Write a whole answer at once; False where only the ASGI messages will do, with nothing written.

    `headers` are lines with lower-case names, each ending in CRLF, among them content-length.
    """
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or cycle.access_log or not cycle.keep_alive:
        return False
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    parts = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        parts += (name, b": ", value, b"\r\n")
    cycle.transport.write(b"%b%b\r\n%b" % (b"".join(parts), headers, body))
    cycle.message_event.set()
    cycle.on_response()
    return True
