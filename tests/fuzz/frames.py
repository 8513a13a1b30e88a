"""Frames of every kind to every socket of the venue: it answers or closes with a code that says why, and nothing else.

    python -m tests.fuzz.frames [--cases 5000] [--seed 1] [--sockets 16]

A case is one message or one broken frame. After each that keeps to the WebSocket protocol a ping must be answered, or
the socket be closed for a reason a client can act on; 1011 (a bug), 1013 (not accepting; here is nothing that would
keep up a quiet venue), a `result` with a status above 499 and an end without a close frame are problems. At the end
the server's log is read, and audit and replay run.
"""

import argparse
import asyncio
import base64
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from tests.fuzz.messages import CLOSE, TEXT, Messages, frame, readable
from tests.fuzz.verdict import problems

ANSWER_SECONDS = 30
MESSAGES_PER_SOCKET = 25
#: The client's mistakes, each with a code of its own; see exchange.streams.sockets.
HONEST_CODES = {1000, 1002, 1003, 1007, 1008, 1009, 4401, 4404, 4429}


class Ended(Exception):
    """The server has closed; the code, None without a close frame."""

    def __init__(self, code: int | None):
        super().__init__(code)
        self.code = code


@dataclass
class Result:
    """What was sent, what came back, and what is wrong."""

    cases: int = 0
    answers: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Socket:
    """One connection, as raw as it gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, venue: PrivateVenue, path: str, headers: str) -> tuple["Socket", int]:
        """The connection and the status of the handshake."""
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        key = base64.b64encode(b"0123456789abcdef").decode()
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
        head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write(head.encode("utf-8", "surrogateescape"))
        answer = await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer), int(answer.split(b" ", 2)[1])

    async def messages(self) -> AsyncIterator[dict]:
        """Everything that the server says, until it ends: then Ended."""
        try:
            while True:
                head = await self.reader.readexactly(2)
                size = head[1] & 127
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                payload = await self.reader.readexactly(size)
                if head[0] & 15 == CLOSE:
                    raise Ended(int.from_bytes(payload[:2], "big") if payload else 1000)
                if head[0] & 15 == TEXT:
                    yield json.loads(payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Ended(None) from None

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def close(self) -> None:
        self.writer.transport.abort()


class Fuzzer:
    """One socket after the other until enough was sent."""

    def __init__(self, venue: PrivateVenue, cases: int, seed: str, result: Result):
        self.venue, self.left, self.seed, self.result = venue, cases, seed, result
        self.dice = random.Random(seed)
        self.words = Messages(self.dice, venue.markets + venue.margin_markets, venue.users[0]["token"])

    async def run(self) -> None:
        while self.left > 0 and not self.result.problems:
            path = self.words.path()
            sent: list[bytes] = []
            try:
                async with asyncio.timeout(ANSWER_SECONDS * 2):
                    await self._one_socket(path, sent)
            except TimeoutError:
                self._problem(path, sent, "no answer")

    async def _one_socket(self, path: str, sent: list[bytes]) -> None:
        socket, status = await Socket.open(self.venue, path, self._headers(path))
        self.result.answers[f"handshake {status}"] += 1
        try:
            if status == 101:
                await self._talk(socket, path, sent)
            else:
                self.left -= 1
                self.result.cases += 1
            if status >= 500:
                self._problem(path, sent, f"the handshake is answered with {status}")
        finally:
            socket.close()

    async def _talk(self, socket: Socket, path: str, sent: list[bytes]) -> None:
        """Messages until enough, until a broken frame (then the server has to end it), or until the server closes."""
        heard, keeps_to_protocol = socket.messages(), True
        try:
            if path.startswith("/ws/user") and self.dice.random() < 0.9:
                socket.send(_text({"type": "authenticate", "token": self.words.token}))
            for number in range(self.dice.randint(1, MESSAGES_PER_SOCKET)):
                data, keeps_to_protocol = self.words.frames(path)
                sent.append(data)
                self.left -= 1
                self.result.cases += 1
                socket.send(data)
                if not keeps_to_protocol:
                    with suppress(OSError):  # the server may have ended it already
                        socket.writer.write_eof()
                    break
                socket.send(_text({"type": "ping", "id": number}))
                await self._until_pong(heard, path, sent, number)
            if not keeps_to_protocol:
                await self._until_pong(heard, path, sent, None)
        except Ended as ended:
            self.result.answers[f"close {ended.code}"] += 1
            if keeps_to_protocol and ended.code not in HONEST_CODES:
                self._problem(path, sent, f"closed with {ended.code}")

    async def _until_pong(self, heard: AsyncIterator[dict], path: str, sent: list[bytes], number: int | None) -> None:
        """Until the answer to that ping; to none: until the end."""
        async with asyncio.timeout(ANSWER_SECONDS):
            async for message in heard:
                kind = message["type"]
                self.result.answers[f"{kind} {message['status']}" if kind == "result" else kind] += 1
                if kind == "result" and message["status"] >= 500:
                    self._problem(path, sent, f"answered with {message}")
                if kind == "error" and not (message["code"] and message["detail"]):
                    self._problem(path, sent, f"an error that does not say what to do: {message}")
                if kind == "pong" and number is not None and message.get("id") == number:
                    return

    def _headers(self, path: str) -> str:
        """Mostly none; a page's origin, a protocol, a login as it must not be."""
        if self.dice.random() < 0.85:
            return ""
        good = f"Authorization: Bearer {self.words.token}\r\n"
        odd = ("Origin: http://elsewhere.example\r\n", "Origin: \r\n", "Origin: null\r\n", "Origin: http://[\r\n")
        odd += ("Sec-WebSocket-Protocol: a, b\r\n", "Authorization: Bearer\r\n", "Authorization: Bearer x.y.z\r\n")
        odd += ("Authorization: Bearer \x7fé\r\n", f"{good}X-Account: {10**20}\r\n", "X-Forwarded-For: ,,\r\n")
        odd += (f"{good}X-Account: ٣\r\n", "Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n", "Cookie: =;=\r\n")
        return self.dice.choice((good, *odd))

    def _problem(self, path: str, sent: list[bytes], what: str) -> None:
        last = [readable(data)[:600] for data in sent[-2:]]
        self.result.problems.append(f"{what}, by seed {self.seed!r} at {path[:200]} after {last}")


def _text(content: dict) -> bytes:
    return frame(TEXT, json.dumps(content).encode())


async def _fuzz(venue: PrivateVenue, cases: int, seed: int, sockets: int) -> Result:
    result = Result()
    fuzzers = [Fuzzer(venue, -(-cases // sockets), f"{seed} {number}", result) for number in range(sockets)]
    await asyncio.gather(*(fuzzer.run() for fuzzer in fuzzers))
    return result


def fuzz(venue: PrivateVenue, *, cases: int, seed: int, sockets: int = 16) -> Result:
    """That many messages on so many sockets at a time, then every check there is."""
    result = asyncio.run(_fuzz(venue, cases, seed, sockets))
    result.problems += problems(venue)
    return result


def main() -> int:
    """The command; 1 when something was found."""
    parser = argparse.ArgumentParser(description="Fuzz every socket of a venue of its own.")
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--sockets", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with PrivateVenue(users=2, markets=2, margin=1) as venue:
        result = fuzz(venue, cases=options.cases, seed=options.seed, sockets=options.sockets)
    print(table(("answer", "times"), sorted(result.answers.items(), key=lambda item: -item[1])))
    print("\n\n".join(result.problems[:20]))
    verdict = "clean" if not result.problems else f"{len(result.problems)} PROBLEMS"
    print(f"{result.cases:,} frames, seed {options.seed}: {verdict}")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
