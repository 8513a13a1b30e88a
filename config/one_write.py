"""An HTTP answer in one system call.

The server hands its transport the head and the body of an answer one after the other, and each would be sent by
itself. On the hot routes sending is the dearest thing the event loop does, so what is written within one turn of the
loop leaves together at its end.

Known limit: what waits for the end of the turn is not counted by the transport's own flow control; it is one turn's
writes at most. A connection that becomes a WebSocket gets its bare transport back: its frames have their own queue.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TurnTransport:
    """A transport that collects the writes of one turn of the event loop; everything else it passes on."""

    __slots__ = ("_call_soon", "_transport", "_waiting")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._call_soon = loop.call_soon
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
            if not self._transport.is_closing():
                self._transport.write(data)

    def bare(self) -> asyncio.Transport:
        """The transport itself, with nothing left waiting."""
        self.flush()
        return self._transport


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, but answers leave whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(TurnTransport(transport, self.loop))

    def handle_websocket_upgrade(self) -> None:
        self.transport = self.transport.bare()
        super().handle_websocket_upgrade()
