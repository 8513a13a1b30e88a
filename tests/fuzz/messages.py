"""What a fuzzer says to a socket: messages that are right, nearly right, and anything but; and frames that no client
library would send. All drawn from one dice, so that a seed tells everything.
"""

import json
import random
from dataclasses import dataclass

from config.serving import LARGEST_SOCKET_MESSAGE_BYTES

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
MASK = b"\x5a\xa5\x0f\xf0"
ODD_VALUES = (
    None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400,
    float("nan"), float("inf"), "", " ", "0", "1", "-1", "1e400", "NaN", "null", "true", "\x00", "a\x00b", "\ud800",
    "💥", "ＡＡＰＬ", "' OR 1=1 --", "../../etc/passwd", "{}", "A" * 70, "9" * 300, "A" * 70_000, [], {}, [[]],
    [None], {"": None}, {"a": {"b": {"c": []}}}, ["x"] * 400,
)  # fmt: skip
DAMAGE = (b"", b"[" * 50_000, b'{"a":' * 20_000, b"1" * 5000, b'{"type":"ping","type":1}', b"\xff\xfe")
ORDER_TYPES = ("LIMIT", "MARKET", "STOP_LOSS", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TRAILING_STOP")
PRICES = ("100", "99.99", 101, 100.5, "0.01", "149.9", "50", "150.01")
QUANTITIES = ("1", "0.001", 2, "3.5", "1000000")


@dataclass
class Messages:
    """The dice, and what exists on the venue."""

    dice: random.Random
    symbols: list[str]
    token: str

    def path(self) -> str:
        """Where to open a socket: mostly what exists."""
        symbol = self.dice.choice(self.symbols)
        known = ("/ws/user/", f"/ws/orderbook/{symbol}/", f"/ws/orderbook/?symbol={symbol}", "/ws/market/")
        known += (f"/ws/trades/?symbol={symbol}", "/ws/prices/", f"/ws/trades/{symbol}", "/ws/user")
        odd = ("/ws/", "/ws/nothing/", "/ws/orderbook/", "/ws/orderbook/NONE/", "/ws/orderbook/%00%ff/", "/ws/trades/?")
        odd += (f"/ws/orderbook/?symbol={'A' * 3000}", "/ws/orderbook/?symbol=%F0%9F%92%A5&symbol=", "/ws/user/../../")
        return self.dice.choice(known if self.dice.random() < 0.9 else odd)

    def content(self, path: str) -> object:
        """A message for that socket, right or not."""
        message = self._right(path)
        while self.dice.random() < 0.4:
            message = self._changed(message)
        return message if self.dice.random() < 0.95 else self.dice.choice((*ODD_VALUES, [message], [message] * 50))

    def text(self, path: str) -> bytes:
        """The same on the wire."""
        text = json.dumps(self.content(path), ensure_ascii=self.dice.random() < 0.5)
        written = text.encode("utf-8", "surrogatepass")
        return written if self.dice.random() < 0.85 else self._damaged(written)

    def _right(self, path: str) -> dict:
        if path.startswith("/ws/user"):
            return self._trading()
        if path.startswith("/ws/market"):
            names = self.dice.sample(self.symbols, self.dice.randint(1, len(self.symbols)))
            kind = self.dice.choice(("subscribe", "subscribe", "unsubscribe", "snapshot"))
            return {"type": kind, "symbols": names, "order_book": self.dice.random() < 0.5}
        depth = self.dice.randint(1, 50)
        odd = {"type": "ping", "id": self.dice.choice(ODD_VALUES)}
        return self.dice.choice(({"type": "resync"}, {"depth": depth}, {"type": "depth", "depth": depth}, odd))

    def _trading(self) -> dict:
        dice = self.dice
        terms = {"symbol": dice.choice(self.symbols), "side": dice.choice(("buy", "SELL"))}
        terms |= {"price": dice.choice(PRICES), "quantity": dice.choice(QUANTITIES)}
        terms |= {"client_order_id": f"f{dice.randint(1, 50)}"}
        order_id = {"order_id": dice.randint(1, 200)}
        kinds = (
            {"type": "authenticate", "token": self.token},
            {"type": "authenticate", "key": "k", "timestamp": 1, "sign": "0" * 64},
            {"type": "resume", "after": dice.randint(0, 30)},
            {"type": "place", "id": dice.randint(1, 99)} | terms,
            {"type": "place", "order_type": dice.choice(ORDER_TYPES), "stop_price": dice.choice(PRICES)} | terms,
            {"type": "place", "displayed_quantity": "1", "reduce_only": dice.random() < 0.5} | terms,
            {"type": "cancel_on_disconnect", "on": dice.random() < 0.5},
            {"type": "amend", "price": dice.choice(PRICES)} | order_id,
            {"type": "cancel"} | order_id,
        )
        return dict(dice.choice(kinds))

    def _changed(self, message: dict) -> dict:
        """One key gone, odd, or too much."""
        name = self.dice.choice([*message, "", "type", "odd", "account", "symbols"])
        roll = self.dice.random()
        if roll < 0.25:
            return {key: value for key, value in message.items() if key != name}
        return message | {name: self.dice.choice(ODD_VALUES)}

    def _damaged(self, text: bytes) -> bytes:
        roll, at = self.dice.random(), self.dice.randrange(len(text) + 1)
        if roll < 0.3:
            return text[:at]
        if roll < 0.6:
            return text[:at] + self.dice.randbytes(self.dice.randint(1, 8)) + text[at:]
        if roll < 0.8:
            return text + text
        return self.dice.choice(DAMAGE)

    def frames(self, path: str) -> tuple[bytes, bool]:
        """One message as bytes for the wire, and whether they keep to the protocol."""
        payload, roll = self.text(path), self.dice.random()
        if roll < 0.80:
            return frame(TEXT, payload), _is_good(payload)
        if roll < 0.85:
            return frame(BINARY, payload), len(payload) <= LARGEST_SOCKET_MESSAGE_BYTES
        if roll < 0.90:
            return self._in_pieces(payload), _is_good(payload)
        if roll < 0.95:
            return frame(PING, payload[:125]), True
        return self._broken(payload), False

    def _in_pieces(self, payload: bytes) -> bytes:
        cuts = sorted(self.dice.randrange(len(payload) + 1) for _ in range(self.dice.randint(1, 4)))
        pieces = [payload[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        last = len(pieces) - 1
        return b"".join(
            frame(0 if number else TEXT, piece, is_last=number == last) for number, piece in enumerate(pieces)
        )

    def _broken(self, payload: bytes) -> bytes:
        """What the protocol forbids."""
        whole = frame(TEXT, payload)
        return self.dice.choice(
            (
                frame(TEXT, payload, masked=False),
                frame(self.dice.choice((3, 7, 11, 15)), payload[:50]),
                bytes([whole[0] | 0x40]) + whole[1:],
                frame(0, payload),
                frame(PING, b"p" * 126),
                frame(CLOSE, self.dice.randbytes(self.dice.randint(0, 20))),
                bytes([0x81, 0xFF]) + b"\xff" * 8 + MASK + payload[:50],
                bytes([0x81, 0xFF]) + (10**7).to_bytes(8, "big") + MASK + b"A" * 300_000,
                whole[: max(1, len(whole) // 2)],
                self.dice.randbytes(200),
            )
        )


def frame(opcode: int, payload: bytes, *, is_last: bool = True, masked: bool = True) -> bytes:
    """A client's frame."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes([size | bit])
    elif size < 2**16:
        head = bytes([126 | bit]) + size.to_bytes(2, "big")
    else:
        head = bytes([127 | bit]) + size.to_bytes(8, "big")
    begin = bytes([opcode | (0x80 if is_last else 0)]) + head
    return begin + MASK + _masked(payload) if masked else begin + payload


def _masked(payload: bytes) -> bytes:
    key = int.from_bytes((MASK * (len(payload) // 4 + 1))[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def readable(data: bytes) -> bytes:
    """A frame with its payload unmasked, for a person."""
    size = {126: 2, 127: 8}.get(data[1] & 127, 0) if len(data) > 1 else 0
    begin = 2 + size + len(MASK)
    return data[:1] + _masked(data[begin:]) if len(data) > begin and data[1] & 0x80 else data


def _is_good(payload: bytes) -> bool:
    """Whether a server has to read it: whoever is told that it was too long may miss that while still sending."""
    if len(payload) > LARGEST_SOCKET_MESSAGE_BYTES:
        return False
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
