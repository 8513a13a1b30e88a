"""WebSocket frames by hand, for clients whose own share of a measurement must stay small."""

import base64
import os


def handshake(path: str) -> bytes:
    """The request that opens a socket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(text: str) -> bytes:
    """A client's text frame, masked with zeros."""
    payload = text.encode()
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + b"\x00\x00\x00\x00" + payload


def take_frames(received: bytearray) -> list[tuple[int, bytes]]:
    """The whole frames at the beginning as (opcode, payload), which are taken out."""
    found, begin, size = [], 0, len(received)
    while size - begin >= 2:
        length, start = received[begin + 1] & 127, begin + 2
        if length > 125:
            start = begin + (4 if length == 126 else 10)
            if start > size:
                break
            length = int.from_bytes(received[begin + 2 : start], "big")
        if start + length > size:
            break
        found.append((received[begin] & 15, bytes(received[start : start + length])))
        begin = start + length
    del received[:begin]
    return found
