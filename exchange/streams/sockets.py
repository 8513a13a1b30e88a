"""What all sockets of the venue have in common: who may open one, what counts as a message, how one ends.

A socket is a Channels consumer without a channel of its own (the process's hub has the only one). Messages are
handled one after the other; everything sent goes through the outbox. A message that cannot be understood is
answered with {"type": "error", "code", "detail"}, and its "id" if it had one, and changes nothing; close codes are
4401 not authenticated, 4404 no such market or path, 4429 too many, 1013 too slow or try again later, 1011 a bug here.
The reason of a close is the error's code, or `too_slow`.
"""

import asyncio
import time
from collections import Counter
from urllib.parse import urlsplit

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from exchange.streams import lifecycle
from exchange.streams.outbox import TRY_AGAIN_LATER, Outbox, Reply, closing
from marketdata import exact_json, markets, metrics, tracing
from marketdata.api.problems import Problem, problem_of
from marketdata.markets import MarketSpec
from marketdata.refusals import Malformed, Refusal, Unavailable
from marketdata.threads import in_thread
from marketdata.throttling import address_of

MAX_MESSAGE_CHARACTERS = 64 * 1024
LARGEST_NAME, LONGEST_NAME = 2**63, 64
NOT_AUTHENTICATED, NOT_FOUND, TOO_MANY, BROKEN = 4401, 4404, 4429, 1011

#: Open sockets of this process by address.
addresses: Counter[str] = Counter()


class BadMessage(Malformed):
    """The message is not one that this socket knows."""

    code, title = "bad_message", "Bad message"


class MessageTooBig(Malformed):
    """A message that nobody needs to be that long."""

    code, title = "message_too_big", "Message too big"


class TooMany(Refusal):
    """Too many messages on this socket, or too many sockets."""

    code, status, title = "too_many", 429, "Too many"


class StreamConsumer(AsyncConsumer):
    """One socket. Subclasses say what happens when it has `opened`, for each message (`received`), and when it
    has `left`.
    """

    messages_per_second = 50
    #: What Prometheus calls sockets like this one.
    kind = "other"

    async def __call__(self, scope, receive, send):
        self.scope, self.base_send = scope, send
        self.address = _address(scope)
        self.name = tracing.request_id_for(header(scope, b"x-request-id"))
        tracing.request_id.set(self.name)
        self._task = asyncio.current_task()
        self._is_receiving = self._is_finished = False
        self._window = (0.0, 0)
        self._is_counted = False
        self.outbox = Outbox(send, self._finish)
        metrics.SOCKETS.labels(self.kind).inc()
        try:
            while not self._is_finished:
                await self.dispatch(await self._next(receive))
        except StopConsumer:
            pass
        finally:
            metrics.SOCKETS.labels(self.kind).dec()
            self._leave()

    async def _next(self, receive) -> dict:
        """The next message from the peer. StopConsumer when the outbox ends while we wait for it."""
        self._is_receiving = True
        try:
            return await receive()
        except asyncio.CancelledError:
            if not self._is_finished or self._task.uncancel():
                raise  # by somebody else
            raise StopConsumer from None
        finally:
            self._is_receiving = False

    def _finish(self) -> None:
        """No more can be sent: nor need we listen."""
        self._is_finished = True
        if self._is_receiving:
            self._task.cancel()

    async def dispatch(self, message):
        try:
            await getattr(self, get_handler_name(message))(message)
        except StopConsumer:
            raise
        except Exception as error:
            self.fail(error)

    # What subclasses do

    async def opened(self) -> None:
        """The socket is open."""

    async def received(self, message: dict) -> None:
        """A message came. A Refusal raised here is told, and the socket stays open."""
        raise BadMessage(f"This socket does not know the type {message.get('type')!r}.")

    def left(self) -> None:
        """The socket is gone."""

    # What they use

    def tell(self, content: dict) -> None:
        self.outbox.reply(Reply(content))

    def tell_error(self, error: Exception, message: dict | None = None) -> Problem:
        """Say what is wrong, with the name of the message that it is about; what it would be over REST."""
        problem = problem_of(error, self.name)
        body = problem.body
        named = {"id": message["id"]} if message and is_name(message.get("id")) else {}
        what = {name: body[name] for name in ("code", "detail", "errors") if body[name]}
        self.tell({"type": "error", **named, **what})
        return problem

    def fail(self, error: Exception, code: int | None = None) -> None:
        """Say why, then close. Without a code it is something that passes, such as a database that is away, or a bug.
        """
        problem = self.tell_error(error)
        passes = problem.status == Unavailable.status
        self.outbox.end(code or (TRY_AGAIN_LATER if passes else BROKEN), problem.body["code"])

    async def market(self, symbol: str) -> MarketSpec:
        """The active market of that symbol; UnknownMarket."""
        return markets.cached(symbol) or await in_thread(markets.by_symbol, symbol)

    # Events

    async def websocket_connect(self, message: dict) -> None:
        if not _origin_is_allowed(self.scope):
            await self.send(closing(1000))  # before the handshake is answered, this is an HTTP 403
            raise StopConsumer
        await self.send({"type": "websocket.accept", "headers": [(b"x-request-id", self.name.encode())]})
        self.outbox.start()  # from here on whatever fails can be told
        await lifecycle.ensure_started()
        if not self._count_in():
            return self.fail(TooMany(f"At most {settings.SOCKETS_PER_ADDRESS} sockets from one address."), TOO_MANY)
        await self.opened()

    async def websocket_receive(self, message: dict) -> None:
        if self.outbox.is_ending:
            return
        if not self._count_message():
            return self.fail(TooMany(f"At most {self.messages_per_second} messages a second."), TOO_MANY)
        content = None
        try:
            content = _parse(message)
            await self._receive(content)
        except Refusal as refusal:
            self.tell_error(refusal, content)

    async def _receive(self, message: dict) -> None:
        if message.get("type") == "ping":
            return self.tell({"type": "pong"} | ({"id": name_of(message)} if "id" in message else {}))
        await self.received(message)

    async def websocket_disconnect(self, message: dict) -> None:
        raise StopConsumer

    def _leave(self) -> None:
        self.outbox.cancel()
        if self._is_counted:
            addresses[self.address] -= 1
            if not addresses[self.address]:
                del addresses[self.address]
        self.left()

    # Limits

    def _count_in(self) -> bool:
        self._is_counted = not settings.RATE_LIMITS or addresses[self.address] < settings.SOCKETS_PER_ADDRESS
        if self._is_counted:
            addresses[self.address] += 1
        return self._is_counted

    def _count_message(self) -> bool:
        second, count = self._window
        now = time.monotonic()
        if now - second >= 1:
            second, count = now, 0
        self._window = (second, count + 1)
        return count < self.messages_per_second


def _parse(message: dict) -> dict:
    text = message.get("text")
    if text is None:
        raise BadMessage("Send text frames.")
    if len(text) > MAX_MESSAGE_CHARACTERS:
        raise MessageTooBig(f"A message has at most {MAX_MESSAGE_CHARACTERS} characters.")
    try:
        content = exact_json.parse(text.encode("utf-8", "surrogatepass"))
    except Malformed as malformed:
        raise BadMessage(malformed.detail) from None
    if not isinstance(content, dict):
        raise BadMessage("A message is a JSON object.")
    return content


def name_of(message: dict) -> int | str | None:
    """The client's name for its message, given back in the answer: a whole number that JSON readers agree on, or a
    short text.
    """
    name = message.get("id")
    if name is None or is_name(name):
        return name
    raise BadMessage(f"id is a whole number of 64 bits or a text of at most {LONGEST_NAME} characters.")


def is_name(value: object) -> bool:
    """Whether a client may call a message that."""
    if type(value) is int:
        return -LARGEST_NAME <= value < LARGEST_NAME
    return type(value) is str and len(value) <= LONGEST_NAME


def header(scope: dict, name: bytes) -> str | None:
    """A header of the handshake, of several lines one as over REST; None when it is not there."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(lines) if lines else None


def _address(scope: dict) -> str:
    client = scope.get("client")
    return address_of(client[0] if client else None, header(scope, b"x-forwarded-for"))


def _origin_is_allowed(scope: dict) -> bool:
    """Bots send no Origin; a page's must be one of ours, or it could use its visitor's network place."""
    origin = header(scope, b"origin")
    if origin is None or origin in settings.CORS_ALLOWED_ORIGINS:
        return True
    try:
        domain, _ = split_domain_port(urlsplit(origin).netloc)
    except ValueError:  # not even an address
        return False
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
