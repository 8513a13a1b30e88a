"""One socket's outgoing queue: bounded, pumped by a task of its own, able to drop a peer that does not read.

Frames are ASGI messages; one is made per broadcast (`Frame`) and given to every socket. While nothing waits before
it, a frame leaves at once if the socket takes it (see exchange.streams.direct), else the pump sends it. What overflows
is refused here and made good by whoever offered it: feeds send a fresh snapshot later, account streams read the event
table. Replies cannot be made good, so they have room of their own: a peer that fills that too is parted with.

A server that waits for slow sockets (uvicorn) blocks in `send` while its buffer is full; `watch` finds pumps
that wrote nothing for `settings.SOCKET_STALL_SECONDS`, frees their queue and ends them with 1013. A peer that
reads again within PARTING_SECONDS still gets that code; after them the connection is aborted, because closing
in order would wait for the peer for ever and keep the buffer. Known limit: daphne buffers without limit and
never blocks, so there only its own ping timeout ends a reader that is gone.
"""

import asyncio
import contextlib
import logging
import os
import socket
import struct
import weakref
from collections import deque
from collections.abc import Callable

import orjson
from django.conf import settings

from exchange.streams import direct
from marketdata import metrics

logger = logging.getLogger(__name__)

MAX_FRAMES = 1_000
MAX_CHARACTERS = 1_000_000
PARTING_SECONDS = 2.0
LINGERING_SECONDS = 15.0
TRY_AGAIN_LATER = 1013
TOO_SLOW = "too_slow"

#: Every outbox with a running pump, for the watch.
running: weakref.WeakSet["Outbox"] = weakref.WeakSet()


class Frame(dict):
    """An ASGI message that sends the content as JSON text, and the same as the bytes that reach the peer."""

    __slots__ = ("wire",)

    def __init__(self, content: dict):
        text = orjson.dumps(content)
        super().__init__(type="websocket.send", text=text.decode())
        self.wire = direct.wire(text)


class Reply(Frame):
    """A frame that answers what its peer has sent: nothing newer stands for it, so it is never dropped for that."""


def closing(code: int, reason: str = "") -> dict:
    return {"type": "websocket.close", "code": code, "reason": reason}


class Outbox:
    """Frames on their way to one socket. All methods belong to the event loop; `finished` is called once, when
    no more can be sent.
    """

    __slots__ = (
        "_send",
        "_write",
        "_finished",
        "_frames",
        "_characters",
        "_reply_characters",
        "_waiter",
        "_sending_since",
        "_when_drained",
        "_drain_waiters",
        "_task",
        "_loop",
        "is_ending",
        "_is_parting",
        "_has_ended",
        "__weakref__",
    )

    def __init__(self, send: Callable, finished: Callable[[], None]):
        self._send, self._finished = send, finished
        self._write = direct.writer_of(send)
        self._loop = asyncio.get_running_loop()
        self._frames: deque[Frame | dict] = deque()
        self._characters = self._reply_characters = 0
        self._waiter: asyncio.Future | None = None
        self._sending_since: float | None = None
        self._when_drained: Callable[[], None] | None = None
        self._task: asyncio.Task | None = None
        self._drain_waiters: list[asyncio.Future] = []
        self.is_ending = self._is_parting = self._has_ended = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be sent: what was offered has left, or is being written."""
        return not self._frames

    def start(self) -> None:
        self._task = self._loop.create_task(self._pump())
        running.add(self)

    # Filling

    def offer(self, message: Frame) -> bool:
        """Send a frame, or queue it. False when the queue is full or ending: then nothing was."""
        if self._is_at_rest() and self._write(message.wire):
            return True
        size = len(message["text"])
        is_full = len(self._frames) >= MAX_FRAMES or self._characters + size > MAX_CHARACTERS
        if self.is_ending or (is_full and self._frames):
            return False
        self._queue(message)
        return True

    def reply(self, message: Reply) -> None:
        """Send an answer, or queue it, however much else waits; end the socket (1013) if too many answers wait."""
        if self._is_at_rest() and self._write(message.wire):
            return
        size = len(message["text"])
        if self._reply_characters and self._reply_characters + size > MAX_CHARACTERS:
            self.end(TRY_AGAIN_LATER, TOO_SLOW)
        elif not self.is_ending:
            self._queue(message)

    def _is_at_rest(self) -> bool:
        """Whether all that came before has been written, and the short way is known."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and self._write is not None and not self.is_ending

    def _queue(self, message: Frame) -> None:
        self._frames.append(message)
        self._count(message, 1)
        self._wake()

    def _count(self, message: Frame, sign: int) -> None:
        size = sign * len(message["text"])
        if type(message) is Reply:
            self._reply_characters += size
        else:
            self._characters += size

    def replace(self, message: Frame) -> bool:
        """Send a frame, or queue it in the place of all that wait but replies: for frames of which only the newest
        matters, which is why even a queue full of replies takes it.
        """
        if self.is_ending:
            return False
        if self._is_at_rest() and self._write(message.wire):
            return True
        self.clear()
        self._queue(message)
        return True

    def clear(self) -> None:
        """Forget what waits but replies (what is being written now still arrives). A socket that is ending keeps its
        last words.
        """
        if not self.is_ending:
            replies = [message for message in self._frames if type(message) is Reply]
            self._drop()
            for message in replies:
                self._queue(message)

    def _drop(self) -> None:
        self._frames.clear()
        self._characters = self._reply_characters = 0

    def end(self, code: int, reason: str = "") -> None:
        """Close the socket with `code` once everything queued has left."""
        if not self.is_ending:
            self.is_ending = True
            self._frames.append(closing(code, reason))
            self._wake()

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call once, when everything queued has left; soon if nothing waits, never if the socket ends before."""
        self._when_drained = callback
        self._wake()

    async def drained(self) -> None:
        """Return when everything queued has left, or the socket has ended (then `is_ending`)."""
        if not self._has_ended:
            self._drain_waiters.append(self._loop.create_future())
            self._wake()
            await self._drain_waiters[-1]

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Emptying

    async def _pump(self) -> None:
        try:
            while True:
                while self._frames:
                    message = self._frames.popleft()
                    self._sending_since = self._loop.time()
                    if message["type"] == "websocket.close":
                        return await self._send(message)
                    self._count(message, -1)
                    await self._send(message)
                    self._sending_since = None
                self._announce_drained()
                if not self._frames:
                    self._waiter = self._loop.create_future()
                    await self._waiter
                    self._waiter = None
        except Exception as error:  # every server has its own way to say that the peer is gone
            logger.debug("sending ended: %r", error)
        finally:
            self._sending_since = self._when_drained = None
            self.is_ending = self._has_ended = True
            self._announce_drained()
            if not self._is_parting:
                self._finished()

    def _announce_drained(self) -> None:
        callback, self._when_drained = self._when_drained, None
        if callback is not None:
            callback()
        waiters, self._drain_waiters = self._drain_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def cancel(self) -> None:
        """End the pump; nothing more is sent."""
        self.is_ending = True
        self._drop()
        if self._task is not None:
            self._task.cancel()

    # Peers that do not read

    def stalled_seconds(self) -> float:
        """For how long the frame in hand could not be written."""
        return 0.0 if self._sending_since is None else self._loop.time() - self._sending_since

    async def part(self) -> None:
        """End a socket whose peer does not read: 1013 if it reads again soon, else drop the connection."""
        metrics.SOCKETS_DROPPED.inc()
        logger.info("a socket took nothing for %.1f s; closing it", self.stalled_seconds())
        self._is_parting = True
        self.cancel()
        try:
            async with asyncio.timeout(PARTING_SECONDS):
                await self._send(closing(TRY_AGAIN_LATER, TOO_SLOW))
            # The server now waits for the peer's answer, and then for its own buffer: not for ever.
            self._loop.call_later(LINGERING_SECONDS, abort, self._send)
        except Exception as error:
            logger.debug("parting in order failed: %r", error)
            abort(self._send)
        finally:
            self._finished()


def abort(send: Callable) -> None:
    """Drop the connection and its buffer now. ASGI has no word for it, so the server's protocol is asked behind
    its `send`.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        _reset_on_close(transport)
        transport.abort()


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Have the kernel drop its buffer too: without this it would offer it to the peer for minutes after the
    close.
    """
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def watch() -> None:
    """For ever: part with sockets that took nothing for too long."""
    partings: set[asyncio.Task] = set()
    try:
        while True:
            await asyncio.sleep(min(0.5, settings.SOCKET_STALL_SECONDS / 4))
            _part_with_stalled(partings)
    finally:
        for task in partings:
            task.cancel()
        await asyncio.gather(*partings, return_exceptions=True)


def _part_with_stalled(partings: set[asyncio.Task]) -> None:
    """A function of its own, so that the watch keeps no reference to an outbox while it sleeps."""
    for outbox in list(running):
        if outbox.stalled_seconds() > settings.SOCKET_STALL_SECONDS:
            running.discard(outbox)
            task = asyncio.create_task(outbox.part())
            partings.add(task)
            task.add_done_callback(partings.discard)
