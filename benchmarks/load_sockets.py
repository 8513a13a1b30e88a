"""One private WebSocket that trades: the socket counterpart of benchmarks.load's HTTP connection.

Each socket keeps a few orders on their way, each of which is placed, amended, cancelled and placed again, and waits
for the result of one step before it sends the next. It also gets, and drops, the private events of all that it does,
as a bot would. Latency runs from writing a command to the last byte of its result.
"""

import asyncio
import json
import time

from benchmarks.frames import handshake, masked, take_frames

#: Orders that one socket keeps on their way at the same time.
WINDOW = 4


class SocketConnection(asyncio.Protocol):
    """Sends, waits for each result, sends the next step, until told to stop."""

    def __init__(self, mix, result):
        self.mix, self.result = mix, result
        self.measuring = self.stopping = False
        loop = asyncio.get_running_loop()
        self.ended, self.is_open = loop.create_future(), loop.create_future()
        self._received = bytearray()
        self._is_websocket = False
        self._sent_at = [0.0] * WINDOW
        self._steps = [0] * WINDOW
        self._orders = [0] * WINDOW
        self._left = WINDOW

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(handshake("/ws/user/"))

    def send(self) -> None:
        """Begin."""
        for number in range(WINDOW):
            self._next(number)

    def _next(self, number: int) -> None:
        """The next step of one order: place, amend, cancel."""
        step, order_id = self._steps[number], self._orders[number]
        if step == 0:
            terms = {**self.mix.order(), "quantity": "0.02"}
            message = {**terms, "type": "place", "order_type": terms["type"], "id": number}
        elif step == 1:
            message = {"type": "amend", "id": number, "order_id": order_id, "quantity": "0.01"}
        else:
            message = {"type": "cancel", "id": number, "order_id": order_id}
        self._sent_at[number] = time.perf_counter()
        self.transport.write(masked(json.dumps(message)))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_websocket:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            del self._received[: end + 4]
            self._is_websocket = True
            self.transport.write(masked(json.dumps({"type": "authenticate", "token": self.mix.tokens[0]})))
        for opcode, payload in take_frames(self._received):
            self._take(opcode, payload)

    def _take(self, opcode: int, text: bytes) -> None:
        if opcode == 9:
            self.transport.write(bytes([0x8A, 0x80 | len(text)]) + b"\x00\x00\x00\x00" + text)
        elif not self.is_open.done():
            self.is_open.set_result(None)  # the snapshot
        elif text.startswith(b'{"type":"result"'):
            self._answered(text)

    def _answered(self, text: bytes) -> None:
        answer = json.loads(text)
        number, status = answer["id"], answer["status"]
        if self.measuring:
            self.result.latencies.append(time.perf_counter() - self._sent_at[number])
            self.result.statuses[status] += 1
            self.result.orders += 200 <= status < 300
        if 200 <= status < 300:
            self._orders[number] = answer["order"]["id"]
            self._steps[number] = (self._steps[number] + 1) % 3
        else:
            self._steps[number] = 0
        if not self.stopping:
            return self._next(number)
        self._left -= 1
        if not self._left and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, error) -> None:
        for future in (self.is_open, self.ended):
            if not future.done():
                future.set_exception(error or ConnectionError("the server closed the socket"))
