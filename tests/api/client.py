"""A client for the ASGI application as servers see it, used from plain tests: one event loop in a thread of its own."""

import asyncio
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from django.conf import settings

from config.lean import HttpDoor
from config.stock import ThreadedHandler, requests
from tests.patience import PATIENCE_SECONDS


@dataclass(frozen=True)
class Reply:
    """An answer: status, header values by lower-case name, raw body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code."""
        assert self.headers["content-type"] == "application/problem+json", self
        return self.json["code"]


class Client:
    """Requests to a fresh HttpDoor. `token` is sent with each when set."""

    def __init__(self):
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        self.stock_requests = 0
        self.application = HttpDoor(self._stock)
        self.django = ThreadedHandler()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.token: str | None = None

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE_SECONDS)
        self.loop.close()
        requests.stop()

    def run(self, coroutine):
        """The coroutine's result from the client's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_SECONDS)

    def __call__(self, method: str, target: str, body=None, *, headers=None, token=..., chunks=None) -> Reply:
        """`body`: bytes as they are, anything else as JSON. `chunks`: a body in pieces, without a Content-Length."""
        sent = {"host": "testserver"}
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent |= {"content-type": "application/json", "content-length": str(len(body))}
        if chunks is not None:
            sent["content-type"] = "application/json"
        token = self.token if token is ... else token
        if token:
            sent["authorization"] = f"Bearer {token}"
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        raw = [(n.encode(), v.encode("latin1")) for n, v in sent.items() if v is not None]
        return self.run(self._exchange(method, target, raw, chunks or [body or b""]))

    async def _stock(self, scope, receive, send):
        """Django, counting what reaches it."""
        self.stock_requests += 1
        await self.django(scope, receive, send)

    async def _exchange(self, method: str, target: str, headers: list, chunks: list[bytes]) -> Reply:
        path, _, query = target.partition("?")
        path = unquote(path)
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 5000),
            "server": ("testserver", 80),
            "scheme": "http",
            "http_version": "1.1",
        }
        parts = [{"type": "http.request", "body": c, "more_body": i + 1 < len(chunks)} for i, c in enumerate(chunks)]
        sent = []

        async def receive():
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await self.application(scope, receive, send)
        start = sent[0]
        names = {name.decode().lower(): value.decode("latin1") for name, value in start["headers"]}
        return Reply(start["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))
