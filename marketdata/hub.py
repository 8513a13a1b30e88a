"""The fan-out hub: what was committed, told to every process once, over one Channels group. A process that is alone,
because the channel layer lies in its own memory, tells itself without it.

Each server process has one member in the group "venue" (`start` and `stop` run in its event loop); rooms above
say what they want to hear with `on_books` and `on_accounts`, and get each batch on the event loop. A process
without a loop (a command, a shell) sends from a helper thread. Batches are opaque here: a book message is the
list that `exchange.depth.Delta.message` makes; an account's events travel as the JSON text that was stored of them,
so that only who has a listener for the account takes it apart.

Invariants: `publish` never blocks and never raises, because money code calls it; each batch is serialised once,
whatever the number of listeners; a handler that fails stops neither the others nor the hub. Known limits: a
channel layer delivers at most once and in no order between senders. Batches are lost while Redis is away, when
the queue of QUEUE_BATCHES overflows, and when a short command ends before its helper thread was connected.
Sequences in the messages let listeners notice, and what was missed is in the database.
"""

import asyncio
import atexit
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import orjson
from channels.layers import InMemoryChannelLayer, get_channel_layer

from marketdata import metrics

logger = logging.getLogger(__name__)

GROUP = "venue"
#: Changes with the format, so that a process of another version that shares the Redis is passed over.
MESSAGE_TYPE = "venue.batch.3"
#: Batches that wait for a slow Redis; the oldest are dropped beyond.
QUEUE_BATCHES = 2_000
SEND_SECONDS = 5.0
#: Layers may let memberships expire, so they are renewed.
REJOIN_SECONDS = 5.0
START_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 5.0
FLUSH_AT_EXIT_SECONDS = 2.0

HUB_LAG = metrics.LAG_SECONDS.labels("hub")

#: With two turns half of 2,000 sockets had their updates some 10 ms later (benchmarks.fanout, 9 runs against 4).
TURNS_FOR_ANSWERS = 4

BooksHandler = Callable[[list[list]], None]
AccountsHandler = Callable[[list[tuple[int, str]]], None]


class _Sender:
    """Batches on their way into the group, in order, through one event loop. `put` may be called from any
    thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable | None = None):
        self.loop, self._hear = loop, hear
        #: Messages for the group; of a process that is alone the arguments of its own `hear`.
        self._waiting: deque[dict | tuple] = deque(maxlen=QUEUE_BATCHES)
        self._arrived = asyncio.Event()
        self._idle = threading.Event()
        self._is_down = False

    def put(self, message: dict | tuple) -> None:
        """RuntimeError when the loop is closed."""
        self._idle.clear()
        self._waiting.append(message)
        self.loop.call_soon_threadsafe(self._arrived.set)

    def flush(self) -> None:
        """Give what is waiting a moment to leave."""
        self._idle.wait(FLUSH_AT_EXIT_SECONDS)

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                message = self._waiting.popleft()
                await (self._hear_later(*message) if isinstance(message, tuple) else self._send(message))
            self._idle.set()

    async def _hear_later(self, *batch: object) -> None:
        """A few turns of the loop later: the answers to those who asked for it leave in these."""
        for _ in range(TURNS_FOR_ANSWERS - 1):
            await asyncio.sleep(0)
        self._hear(*batch)

    async def _send(self, message: dict) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await get_channel_layer().group_send(GROUP, message)
            self._is_down = False
        except Exception as error:
            if not self._is_down:
                logger.warning("the channel layer takes no messages (%r); streams catch up from the database", error)
            self._is_down = True


class Hub:
    """This process's member of the group, and whoever listens to it."""

    def __init__(self):
        self._books_handlers: list[BooksHandler] = []
        self._accounts_handlers: list[AccountsHandler] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task] = []
        self._sender: _Sender | None = None
        self._outlet: _Sender | None = None
        self._outlet_lock = threading.Lock()
        self._channel: str | None = None
        self._joined: asyncio.Event | None = None
        #: When the batch that is being heard was committed (Unix time).
        self.committed_at = 0.0

    # Sending

    def publish(
        self, *, books: list[list], accounts: dict[int, str], committed_at: float | None = None
    ) -> None:
        """Tell every process; from any thread. `accounts`: the events of each by id, as a JSON text in one line;
        `committed_at` (Unix time) is now when left out.
        """
        at = committed_at or time.time()
        try:
            mine = self._sender if self.is_running() else None  # a loop may be closed without `stop`
            if (sender := mine or self._helper()) is not None:
                is_own = is_alone()
                sender.put((books, list(accounts.items()), at) if is_own else encode(books, accounts) | {"at": at})
        except Exception:
            logger.exception("publishing failed; streams catch up from the database")

    def _helper(self) -> _Sender | None:
        """The helper thread's sender, for a process that serves no sockets; None where nobody else could hear
        it.
        """
        if is_alone():
            return None
        with self._outlet_lock:
            if self._outlet is None:
                self._outlet = _Sender(asyncio.new_event_loop())
                threading.Thread(target=_run_outlet, args=[self._outlet], name="hub-sender", daemon=True).start()
                atexit.register(self.flush)
        return self._outlet

    def flush(self) -> None:
        """Give what the helper thread has to send a moment to leave."""
        if self._outlet is not None:
            self._outlet.flush()

    # Listening

    def on_books(self, handler: BooksHandler) -> None:
        """Call `handler` on the event loop with the book messages of each batch. Registering twice is harmless."""
        if handler not in self._books_handlers:
            self._books_handlers.append(handler)

    def on_accounts(self, handler: AccountsHandler) -> None:
        """Call `handler` on the event loop with (account id, JSON text of numbered events) pairs of each batch."""
        if handler not in self._accounts_handlers:
            self._accounts_handlers.append(handler)

    def forget_accounts(self, handler: AccountsHandler) -> None:
        """Call it no more."""
        if handler in self._accounts_handlers:
            self._accounts_handlers.remove(handler)

    def is_running(self) -> bool:
        return self._loop is not None and not self._loop.is_closed()

    async def start(self) -> None:
        """Join the group from the running loop; again is harmless. A Redis that is away delays nothing: joining
        goes on behind.
        """
        loop = asyncio.get_running_loop()
        if self.is_running():
            if self._loop is not loop:
                raise RuntimeError("this process's hub already runs in another event loop")
            return
        self._loop, self._joined = loop, asyncio.Event()
        self._sender = _Sender(loop, self._hear)
        works = {"hub-send": self._sender.run}
        if is_alone():
            self._joined.set()
        else:
            works |= {"hub-listen": self._listen, "hub-rejoin": self._rejoin}
        self._tasks = [loop.create_task(work(), name=name) for name, work in works.items()]
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._joined.wait()
        except TimeoutError:
            logger.warning("the channel layer does not answer yet; streams live from the database until it does")

    async def stop(self) -> None:
        """Leave the group. What is published from now on goes the helper thread's way."""
        if not self.is_running():
            return
        self._sender = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._leave()
        self._tasks, self._loop, self._channel = [], None, None

    async def _leave(self) -> None:
        if self._channel is None:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await get_channel_layer().group_discard(GROUP, self._channel)
        except Exception as error:
            logger.debug("leaving the group failed: %r", error)

    async def _listen(self) -> None:
        """Receive for ever; after a failure join again, ever slower."""
        pause_seconds = 0.1
        while True:
            try:
                layer = get_channel_layer()
                self._channel = await layer.new_channel()
                await layer.group_add(GROUP, self._channel)
                self._joined.set()
                while True:
                    message = await layer.receive(self._channel)
                    pause_seconds = 0.1
                    self._take(message)
            except Exception as error:
                self._channel = None
                logger.warning("listening failed (%r); joining again in %.1f s", error, pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    async def _rejoin(self) -> None:
        while True:
            await asyncio.sleep(REJOIN_SECONDS)
            try:
                if self._channel is not None:
                    await get_channel_layer().group_add(GROUP, self._channel)
            except Exception as error:
                logger.debug("renewing the membership failed: %r", error)

    def _take(self, message: dict) -> None:
        if message["type"] != MESSAGE_TYPE:
            return
        self._hear(*decode(message), message.get("at") or time.time())

    def _hear(self, books: list[list], accounts: list[tuple[int, str]], at: float) -> None:
        self.committed_at = at
        HUB_LAG.observe(max(0.0, time.time() - self.committed_at))
        if books:
            _call(self._books_handlers, books)
        if accounts:
            _call(self._accounts_handlers, accounts)


def is_alone() -> bool:
    """Whether no other process could hear this one."""
    return type(get_channel_layer()) is InMemoryChannelLayer


def _call(handlers: list[Callable], argument) -> None:
    for handler in handlers:
        try:
            handler(argument)
        except Exception:
            logger.exception("a listener failed")


def _run_outlet(outlet: _Sender) -> None:
    asyncio.set_event_loop(outlet.loop)
    outlet.loop.run_until_complete(outlet.run())


def encode(books: list[list], accounts: dict[int, str]) -> dict:
    """The group's message of a batch."""
    message = {"type": MESSAGE_TYPE, "accounts": list(accounts), "events": "\n".join(accounts.values())}
    try:
        return message | {"books": orjson.dumps(books)}
    except TypeError:  # orjson ends at 64 bits, the total of a level of tiny lots may not
        return message | {"books": json.dumps(books).encode(), "is_wide": True}


def decode(message: dict) -> tuple[list[list], list[tuple[int, str]]]:
    """Books and (account id, events) pairs of a group's message."""
    loads = json.loads if message.get("is_wide") else orjson.loads
    accounts = message["accounts"]
    events = message["events"].split("\n") if accounts else []
    return loads(message["books"]), list(zip(accounts, events, strict=True))


hub = Hub()
publish = hub.publish
flush = hub.flush
on_books = hub.on_books
on_accounts = hub.on_accounts
forget_accounts = hub.forget_accounts
start = hub.start
stop = hub.stop
is_running = hub.is_running


def committed_at() -> float:
    """When the batch that a handler is being told of was committed (Unix time)."""
    return hub.committed_at
