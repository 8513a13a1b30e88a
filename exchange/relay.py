"""One owner process for each market: commands go to it over a socket between the server processes of one machine.

Any process can settle any command, because the database decides; but two that settle the same market wait for each
other's locks and read each other's journal all the time. So where several processes serve one port, each market has
one that by rule settles it (its id, modulo the number of processes), and the others pass their commands on. This is a
hint, never a right: whoever cannot reach the owner settles the command itself, and nothing is wrong with that.

Only what names its market is passed on: placements, and amendments and cancellations of orders that this process saw
being placed; of what belongs in one order, as a batch of orders does, only what has one owner. What waits for an answer
when the connection breaks, or for RELAY_SECONDS, is answered 503: whether the owner settled it is for the client to
look up, as after any lost answer. So that what the client finds then stays true, an owner that was stopped or is far
behind begins nothing later than BEGIN_SECONDS after it was sent.

Messages are pickles over a Unix socket in a directory that only this user can enter: four bytes of length, then a list
of (number, command, deadline) one way, of (number, outcome) the other. What is sent within one turn of the loop leaves
together. Deadlines are times of CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

import asyncio
import itertools
import logging
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from exchange.commands import Amend, Cancel, Command, NotAccepting, Place
from exchange.transaction import PAUSE_TIMEOUT_MS, OutcomeUnknown
from marketdata.markets import MarketSpec
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

#: How long a sender waits for the answer before it says that the outcome is unknown.
RELAY_SECONDS = 15.0
#: For writing and committing a batch.
WRITE_SECONDS = 2.0
#: How long after it was sent a command may still be begun. The owner asks in the transaction that holds the market's
#: lock (exchange.batch): it may be stopped anywhere before, for any time, and the command lies in a socket or a queue.
#: What passes there is settled before the sender gives up, or never: a process that stops after that look loses its
#: transaction after PAUSE_TIMEOUT_MS, and all that was left to do is one write, which waits for nobody's lock. If the
#: database takes longer than WRITE_SECONDS for that, an order can still appear after a client looked for it in vain.
#: It cannot overtake anything: what the client commands next waits for the same lock, so it is decided afterwards.
BEGIN_SECONDS = RELAY_SECONDS - PAUSE_TIMEOUT_MS / 1000 - WRITE_SECONDS
#: How long a peer that could not be reached is left alone.
AWAY_SECONDS = 1.0
KNOWN_ORDERS = 100_000
LENGTH_BYTES = 4
PLACE_FIELDS = tuple(field.name for field in fields(Place))

#: Given commands and, if they are another process's, their deadlines (see exchange.sequencer).
Submit = Callable[..., list[asyncio.Future]]


class Packer:
    """Commands as tuples. A market's spec travels once, afterwards its name does; each end of a connection has one."""

    def __init__(self):
        self._specs: dict[tuple[int, int], MarketSpec] = {}

    def pack(self, command: Command) -> tuple:
        """What `unpack` of the other end makes the command of."""
        if type(command) is not Place:
            return (command,)
        spec = command.spec
        name = (spec.id, spec.version)
        values = [getattr(command, field) for field in PLACE_FIELDS]
        values[PLACE_FIELDS.index("spec")] = name
        if self._specs.get(name) == spec:
            return (None, values)
        self._specs[name] = spec
        return (spec, values)

    def unpack(self, packed: tuple) -> Command:
        spec, *values = packed
        if not values:
            return spec
        terms = dict(zip(PLACE_FIELDS, values[0], strict=True))
        if spec is not None:
            self._specs[spec.id, spec.version] = spec
        terms["spec"] = self._specs[terms["spec"]]
        return Place(**terms)


class Link(asyncio.Protocol):
    """One connection between two processes: takes messages apart and puts them together."""

    def __init__(self, received: Callable[[list], None], lost: Callable[[], None]):
        self._received, self._lost = received, lost
        self._buffer, self._waiting = bytearray(), []
        self._loop = asyncio.get_running_loop()
        self.packer = Packer()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if len(self._buffer) < end:
                return
            message = pickle.loads(memoryview(self._buffer)[LENGTH_BYTES:end])
            del self._buffer[:end]
            self._received(message)

    def send(self, item: tuple) -> None:
        """Send it at the end of this turn of the loop."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(item)

    def _flush(self) -> None:
        items, self._waiting = self._waiting, []
        message = pickle.dumps(items, pickle.HIGHEST_PROTOCOL)
        self.transport.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)


class Peer:
    """Another process, as an owner of markets."""

    def __init__(self, path: Path):
        self._path = path
        self._link: Link | None = None
        self._connecting: asyncio.Task | None = None
        self._away_until = 0.0
        #: It let a command wait for too long, and has said nothing since.
        self._is_silent = False
        self._numbers = itertools.count()
        #: (future, deadline) by number, in the order in which they were sent.
        self._pending: dict[int, tuple[asyncio.Future, float]] = {}

    def send(self, command: Command) -> asyncio.Future | None:
        """A future of the outcome; None while the peer cannot be reached or does not answer."""
        if self._link is None:
            self._connect()
        if self._link is None or self._link.transport.is_closing() or self._is_silent:
            return None
        future, number, now = asyncio.get_running_loop().create_future(), next(self._numbers), time.monotonic()
        self._pending[number] = future, now + RELAY_SECONDS
        self._link.send((number, self._link.packer.pack(command), now + BEGIN_SECONDS))
        return future

    def give_up_late(self) -> None:
        """Answer what has waited for too long, each in its own time: what was sent later may still be done. The peer is
        sent nothing more until it says something; that it does when it wakes, because it answers whatever it was sent.
        """
        now = time.monotonic()
        for number in [number for number, (_, deadline) in self._pending.items() if deadline < now]:
            if not self._is_silent:
                logger.warning("the process at %s does not answer; settling its markets here", self._path.name)
                self._is_silent = True
            future, _ = self._pending.pop(number)
            if not future.done():
                future.set_result(OutcomeUnknown())

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.transport.close()

    def _connect(self) -> None:
        if self._connecting is None and time.monotonic() > self._away_until:
            self._connecting = asyncio.get_running_loop().create_task(self._try(), name="relay")

    async def _try(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, self._link = await loop.create_unix_connection(lambda: Link(self._answered, self._lose), self._path)
        except OSError:
            self._away_until = time.monotonic() + AWAY_SECONDS
        finally:
            self._connecting = None

    def _answered(self, answers: list[tuple]) -> None:
        self._is_silent = False
        for number, outcome in answers:
            future, _ = self._pending.pop(number, (None, 0))
            if future is not None and not future.done():
                future.set_result(outcome)

    def _lose(self) -> None:
        self._link, self._is_silent, pending = None, False, self._pending
        self._away_until, self._pending = time.monotonic() + AWAY_SECONDS, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_result(OutcomeUnknown())


class Relay:
    """This process among the others. Belongs to one event loop, between `start` and `stop`."""

    def __init__(self, directory: Path, index: int, count: int, submit: Submit):
        self._directory, self._index, self._count = directory, index, count
        self._submit = submit
        self._peers = {each: Peer(directory / str(each)) for each in range(count) if each != index}
        self._orders: OrderedDict[int, int] = OrderedDict()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task | None = None
        self._serving: set[asyncio.Future] = set()
        self._served: set[Link] = set()

    async def start(self) -> None:
        """Take the others' commands."""
        path = self._directory / str(self._index)
        path.unlink(missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(self._accept, path)
        self._sweeper = asyncio.create_task(self._sweep(), name="relay-sweeper")

    async def stop(self) -> None:
        """Answer what was asked, then leave."""
        self._sweeper.cancel()
        self._server.close()
        self._submit = _refuse
        if self._serving:  # what is not begun by the end of this never is, so whoever is cut off then hears the truth
            await asyncio.wait(self._serving, timeout=RELAY_SECONDS)
            await asyncio.sleep(0)  # the last answers leave at the end of this turn
        for link in self._served:
            link.transport.close()
        for peer in self._peers.values():
            peer.close()

    def submit(self, commands: Sequence[Command]) -> list[asyncio.Future]:
        """Futures of the outcomes, in this order: from the owner, or from here. What has several owners stays here, or
        it would not be settled in this order: which of them gets the funds that are not enough for all?
        """
        markets = [self._market_of(command) for command in commands]
        owners = {self._owner_of(market_id) for market_id in markets}
        if len(owners) > 1 or self._index in owners:
            return self._submit(commands)
        futures = [self._send(*each) for each in zip(commands, markets, strict=True)]
        here = [command for command, future in zip(commands, futures, strict=True) if future is None]
        local = iter(self._submit(here) if here else ())
        return [next(local) if future is None else future for future in futures]

    def _market_of(self, command: Command) -> int | None:
        kind = type(command)
        if kind is Place:
            return command.spec.id
        return self._orders.get(command.order_id) if kind is Cancel or kind is Amend else None

    def _owner_of(self, market_id: int | None) -> int:
        """This process if nobody knows."""
        return self._index if market_id is None else market_id % self._count

    def _send(self, command: Command, market_id: int) -> asyncio.Future | None:
        """The owner's future; None while it cannot be reached."""
        future = self._peers[self._owner_of(market_id)].send(command)
        if future is not None and type(command) is Place:
            future.add_done_callback(lambda done: self._remember(done, market_id))
        return future

    def _remember(self, done: asyncio.Future, market_id: int) -> None:
        outcome = None if done.cancelled() else done.result()
        if type(outcome) is dict:
            self._orders[outcome["id"]] = market_id
            while len(self._orders) > KNOWN_ORDERS:
                self._orders.popitem(last=False)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for peer in self._peers.values():
                peer.give_up_late()

    # As the owner

    def _accept(self) -> Link:
        link = Link(lambda items: self._serve(link, items), lambda: self._served.discard(link))
        self._served.add(link)
        return link

    def _serve(self, link: Link, items: list[tuple]) -> None:
        numbers, packed, deadlines = zip(*items, strict=True)
        try:
            futures = self._submit([link.packer.unpack(one) for one in packed], deadlines)
        except Refusal as refusal:  # the sequencer takes none now
            for number in numbers:
                link.send((number, refusal))
            return
        for number, future in zip(numbers, futures, strict=True):
            self._serving.add(future)
            future.add_done_callback(lambda done, number=number: self._reply(link, number, done))

    def _reply(self, link: Link, number: int, done: asyncio.Future) -> None:
        self._serving.discard(done)
        if not link.transport.is_closing():
            link.send((number, _portable(done.result())))


def _refuse(commands: Sequence[Command], deadlines: Sequence[float]) -> list[asyncio.Future]:
    raise NotAccepting("The server is stopping.")


def _portable(outcome: object) -> object:
    """The outcome as it can travel: an unforeseen error becomes its text."""
    if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
        return RuntimeError(f"{type(outcome).__name__}: {outcome}")
    return outcome
