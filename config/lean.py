"""The ASGI door for HTTP: size limit for the API's bodies, and the lean way for the hot routes. Everything else goes
to Django.

The lean way does for a few routes what Django and DRF do for all, without their threads and hops: the same door
functions, the same serializers, tokens, limits, errors and headers. It only takes what is evidently an ordinary
request; whatever is unusual about one (an Origin, an unknown host, a bad token, another content type, a caller who
cannot be looked up now) goes the stock way with its body, so that there is one answer to it.
Known limit: middleware that is added to settings later does not see hot requests; `LEAN=off` sends all of them
through Django.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from accounts import api_keys
from accounts.authentication import (
    READING,
    Principal,
    bearer_token,
    cached_choice,
    cached_principal,
    choose_account,
    principal_for_token,
)
from accounts.callers import principal_for_key, principal_for_signed, raw_path_of, signed_request
from config import rendering
from config.middleware import API_HEADERS, BodyTooLarge
from config.one_write import answer_whole
from config.paths import VERSIONED, canonical, is_api
from exchange.api import doors, views
from marketdata import tracing
from marketdata.api.doors import Answer, Call, Door
from marketdata.api.problems import CONTENT_TYPE as PROBLEM
from marketdata.api.problems import problem_of
from marketdata.refusals import Refusal
from marketdata.threads import in_thread
from marketdata.throttling import Charge, address_of, charge_request
from marketdata.tracing import request_id_for

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0
NO_QUERY = QueryDict()
BEARER = b"Bearer "
#: So many routes are remembered, of paths that are no longer than this.
ROUTES_REMEMBERED, PATH_REMEMBERED = 4096, 64


@dataclass(frozen=True, slots=True)
class Hot:
    """A hot route: its door, the DRF view that serves it the stock way, whether anybody may call it."""

    door: Door
    view: type
    is_public: bool = False


class Disconnected(Exception):
    """The client went away before its request was whole."""


#: (method, path below /api/v1/ with numbers as <id> and a symbol as <symbol>)
ROUTES = {
    ("POST", "orders/"): Hot(doors.place, views.OrderListView),
    ("POST", "orders/batch/"): Hot(doors.place_batch, views.OrderBatchView),
    ("PUT", "orders/<id>/"): Hot(doors.amend, views.OrderView),
    ("PATCH", "orders/<id>/"): Hot(doors.amend, views.OrderView),
    ("DELETE", "orders/<id>/"): Hot(doors.cancel, views.OrderView),
    ("POST", "orders/<id>/cancel/"): Hot(doors.cancel, views.OrderCancelView),
    ("GET", "orderbook/"): Hot(doors.book, views.BookView, is_public=True),
    ("GET", "orderbook/<symbol>/"): Hot(doors.book, views.BookOfView, is_public=True),
}


def routed(method: str, path: str) -> tuple[bool, tuple[Hot, dict] | None]:
    """Whether the path, as it was asked for, is the API's, and its `match`."""
    return _remembered(method, path) if len(path) <= PATH_REMEMBERED else _routed(method, path)


def _routed(method: str, path: str) -> tuple[bool, tuple[Hot, dict] | None]:
    path = canonical(path)
    return is_api(path), match(method, path)


_remembered = lru_cache(maxsize=ROUTES_REMEMBERED)(_routed)


def match(method: str, path: str) -> tuple[Hot, dict] | None:
    """The hot route of a canonical path and the parts of the path it takes, or None."""
    if not path.startswith(VERSIONED):
        return None
    rest = path[len(VERSIONED) :]
    if hot := ROUTES.get((method, rest)):
        return hot, {}
    first, _, below = rest.partition("/")
    second, _, third = below.partition("/")
    if first == "orders" and second.isascii() and second.isdigit():
        hot = ROUTES.get((method, f"orders/<id>/{third}"))
        return hot and (hot, {"order_id": int(second)}) if len(second) < 30 else None
    if first == "orderbook" and second and not third:
        hot = ROUTES.get((method, "orderbook/<symbol>/"))
        return hot and (hot, {"symbol": second})
    return None


class HttpDoor:
    """The ASGI application for scope type http."""

    def __init__(self, django):
        self.django = django
        self.common = _common_headers()
        self.allow = {hot.view: _allowed_methods(hot.view) for hot in ROUTES.values()}
        self.fixed_lines = {view: _lines([*self.common, (b"allow", allow)]) for view, allow in self.allow.items()}
        self.hosts: dict[bytes, bool] = {}

    async def __call__(self, scope, receive, send):
        is_of_api, found = routed(scope["method"], scope["path"])
        if not is_of_api:
            return await self.django(scope, receive, send)
        headers = dict(scope["headers"])
        try:
            body = await _read_body(receive, headers)
        except Disconnected:
            return None
        except BodyTooLarge as refusal:
            return await self._refuse_body(scope, headers, receive, send, refusal)
        is_repeated = len(headers) != len(scope["headers"])
        if found is not None and settings.LEAN and not is_repeated and self._is_ordinary(found[0], headers, body):
            if await self._lean(*found, scope, headers, body, send):
                return None
        return await self.django(_with_length(scope, headers, body), _replay(body, receive), send)

    # The lean way

    async def _lean(self, hot: Hot, arguments: dict, scope, headers: dict, body: bytes, send) -> bool:
        """Answer the request; False when the stock way should, with nothing done or counted."""
        try:
            principal = _known_principal(headers) or await self._principal(scope, headers, body)
            query = QueryDict(scope["query_string"].decode()) if scope["query_string"] else NO_QUERY
        except (Refusal, UnicodeDecodeError, TooManyFieldsSent, DatabaseError, InterfaceError):
            return False
        if principal is None and not hot.is_public:
            return False
        request_id = request_id_for(_text(headers, b"x-request-id"))
        tracing.request_id.set(request_id)
        if principal is not None:
            charge = charge_request(principal.limited_as, "")
        else:
            charge = charge_request(None, _address(scope, headers))
        content_type = rendering.JSON
        try:
            if charge is not None:
                charge.check()
            if not hot.is_public:
                principal.require(getattr(hot.view, "keys_may", READING).get(scope["method"]))
            sent = (rendering.parse(body) if body else {}) if hot.door.takes_body else None
            answer = await hot.door.enter_async(Call(principal, sent, query, arguments, request_id))
        except Exception as error:
            problem = problem_of(error, request_id)
            answer, content_type = Answer(problem.status, problem.body, problem.headers), PROBLEM
        await self._send(send, hot, answer, content_type, request_id, charge)
        return True

    async def _principal(self, scope, headers: dict, body: bytes) -> Principal | None:
        """Who is asking, and for which account. Queries only what no cache knows, in a thread."""
        principal = await self._key_principal(scope, headers, body)
        if principal is None:
            token = bearer_token(_text(headers, b"authorization"))
            if token is None:
                return None
            principal = cached_principal(token) or await in_thread(principal_for_token, token)
        chosen = _text(headers, b"x-account")
        return cached_choice(principal, chosen) or await in_thread(choose_account, principal, chosen)

    async def _key_principal(self, scope, headers: dict, body: bytes) -> Principal | None:
        if b"x-api-key" not in headers:
            return None
        texts = {name.decode(): value.decode("latin1") for name, value in headers.items() if name.startswith(b"x-api-")}
        raw_path = raw_path_of(scope, scope["path"])
        signed = signed_request(texts, scope["method"], raw_path, scope["query_string"], body)
        record, address = api_keys.cached_record(signed.key), _address(scope, headers)
        if record is None or api_keys.is_touch_due(record):
            return await in_thread(principal_for_signed, signed, address)
        return principal_for_key(record, signed, address)

    def _is_ordinary(self, hot: Hot, headers: dict, body: bytes) -> bool:
        """Nothing about the request that middleware, parser or negotiation would have a word on."""
        if b"origin" in headers or b"content-encoding" in headers:
            return False
        if settings.BEHIND_TLS and headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip() != b"https":
            return False
        if not self._knows_host(headers.get(b"host", b"")):
            return False
        if not (hot.door.takes_body and body):
            return True
        return headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"

    def _knows_host(self, host: bytes) -> bool:
        known = self.hosts.get(host)
        if known is None:
            domain, _ = split_domain_port(host.decode("latin1"))
            known = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
            if len(self.hosts) < 1000:
                self.hosts[host] = known
        return known

    async def _send(
        self,
        send,
        hot: Hot | None,
        answer: Answer,
        content_type: str,
        request_id: str,
        charge: Charge | None,
        origin: str | None = None,
    ):
        body = rendering.render(answer.payload)
        extra = answer.headers if charge is None else {**answer.headers, **charge.headers()}
        varying = [
            ("content-type", content_type),
            ("content-length", str(len(body))),
            ("x-request-id", request_id),
            *((name.lower(), value) for name, value in extra.items()),
        ]
        if hot is not None:
            lines = "".join([f"{name}: {value}\r\n" for name, value in varying]).encode()
            if answer_whole(send, answer.status, lines + self.fixed_lines[hot.view], body):
                return
        fixed = _common_headers(origin) if hot is None else [*self.common, (b"allow", self.allow[hot.view])]
        headers = [*((name.encode(), value.encode()) for name, value in varying), *fixed]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # Bodies

    async def _refuse_body(self, scope, headers: dict, receive, send, refusal: BodyTooLarge) -> None:
        """413, after reading on for a while: a client that is still sending would otherwise see a reset, not the
        answer.
        """
        if b"expect" not in headers:
            await _drain(receive)
        request_id = request_id_for(_text(headers, b"x-request-id"))
        charge = charge_request(None, _address(scope, headers))
        error = refusal
        if charge is not None:
            try:
                charge.check()
            except Refusal as throttled:
                error = throttled
        problem = problem_of(error, request_id)
        answer = Answer(problem.status, problem.body, {**problem.headers, "Connection": "close"})
        await self._send(send, None, answer, PROBLEM, request_id, charge, _text(headers, b"origin"))


def _known_principal(headers: dict) -> Principal | None:
    """Who shows a token that was verified lately, and nothing else; None for everybody else. Refuses nobody."""
    header = headers.get(b"authorization")
    if header is None or header[: len(BEARER)] != BEARER or b"x-api-key" in headers or b"x-account" in headers:
        return None
    return cached_principal(header[len(BEARER) :].decode("latin1"))


def _common_headers(origin: str | None = None) -> list[tuple[bytes, bytes]]:
    """What the stock middleware puts on every answer to a page of that origin, taken from the middleware itself."""
    dummy = HttpRequest()
    if origin is not None:
        dummy.META["HTTP_ORIGIN"] = origin
    dummy.META.update(SERVER_NAME="localhost", SERVER_PORT="80", HTTP_X_FORWARDED_PROTO="https")
    dummy.path = dummy.path_info = VERSIONED
    response = SecurityMiddleware(CorsMiddleware(XFrameOptionsMiddleware(lambda request: HttpResponse())))(dummy)
    headers = {**dict(response.items()), **API_HEADERS}
    return [(name.lower().encode(), value.encode()) for name, value in headers.items() if name != "Content-Type"]


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in an answer."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _allowed_methods(view: type) -> bytes:
    """The Allow header that DRF sends for the view."""
    instance = view()
    instance.setup(HttpRequest())
    return ", ".join(instance.allowed_methods).encode()


def _text(headers: dict, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin1")


def _address(scope, headers: dict) -> str:
    client = scope.get("client")
    return address_of(client[0] if client else None, _text(headers, b"x-forwarded-for"))


async def _read_body(receive, headers: dict) -> bytes:
    """The whole body; BodyTooLarge as soon as that is known, Disconnected when the client leaves."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        raise BodyTooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    if not message.get("more_body"):
        body = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge
        return body
    chunks, size = [message.get("body", b"")], len(message.get("body", b""))
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise BodyTooLarge
    return b"".join(chunks)


async def _drain(receive) -> None:
    """Read and drop what is left of a body, within reason."""
    deadline, size = time.monotonic() + DRAIN_SECONDS, 0
    while size < DRAIN_BYTES and (left := deadline - time.monotonic()) > 0:
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        size += len(message.get("body", b""))


def _with_length(scope, headers: dict, body: bytes):
    """The scope with the body's length stated, for bodies that came in chunks: DRF believes the header, not the
    stream.
    """
    if not body or b"content-length" in headers:
        return scope
    return {**scope, "headers": [*scope["headers"], (b"content-length", b"%d" % len(body))]}


def _replay(body: bytes, receive):
    """A `receive` that gives the body that was read, then whatever comes after it."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return first.pop() if first else await receive()

    return replayed
