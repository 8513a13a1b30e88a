"""Frames written at once, by the short way: what a feed tells is put into bytes once and given to every socket's
transport as it is.

The server's own `send` makes the frame anew for each socket, and is a coroutine that somebody's task has to wait in;
for a peer that reads neither is needed. Where the short way is not open (another server, a handshake that is not done,
compression, a peer that does not read, a socket that is closing) the outbox goes the long one, with the same frames.
"""

from collections.abc import Callable

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN


def wire(text: bytes) -> bytes:
    """A text frame from a server: UTF-8, whole, not compressed."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


def writer_of(send: Callable) -> Callable[[bytes], bool] | None:
    """How to write a whole frame to the socket behind an ASGI `send`; None where only `send` will do.

    The function returns False, with nothing written, while the short way is closed.
    """
    protocol = getattr(send, "__self__", None)
    if type(protocol) is not WebSocketsSansIOProtocol:
        return None
    transport, connection = protocol.transport, protocol.conn
    is_writable, is_closing = protocol.writable.is_set, transport.is_closing

    def write(frame: bytes) -> bool:
        is_open = protocol.handshake_complete and not protocol.close_sent and connection.state is OPEN
        if not is_open or connection.extensions or not is_writable() or is_closing():
            return False
        transport.write(frame)
        return True

    return write
