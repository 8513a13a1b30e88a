"""A real server for sockets in a thread, clients that speak to it, and other processes that trade on the same
database.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import uvicorn
from channels.routing import ProtocolTypeRouter, URLRouter
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from exchange.streams import lifecycle
from exchange.streams.routing import websocket_urlpatterns
from marketdata import threads
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]


class LiveServer:
    """uvicorn as `serve` runs it, on a free port, with the streams only. `send_buffer_bytes` makes slow readers
    felt early.
    """

    def __init__(self, *, has_lifespan: bool = True, send_buffer_bytes: int | None = None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        if send_buffer_bytes:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        self.port = self.listener.getsockname()[1]
        self._has_lifespan = has_lifespan
        self._ready = threading.Event()
        config = uvicorn.Config(
            ProtocolTypeRouter({"websocket": URLRouter(websocket_urlpatterns), "lifespan": self._lifespan}),
            loop="uvloop",
            http="httptools",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=256 * 1024,
            lifespan="on" if has_lifespan else "off",
            log_config=None,
            timeout_graceful_shutdown=2,
        )
        self.server = _Announcing(config, self._ready)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, name="server")

    async def _lifespan(self, scope, receive, send):
        await receive()
        await lifecycle.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await lifecycle.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def start(self) -> "LiveServer":
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the server does not stop"
        if not self._has_lifespan:
            lifecycle.forget()  # its feeds belong to a loop that is gone, and the next test's markets have their ids
        threads.stop()
        self.listener.close()

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def client(self, path: str, **options) -> "Client":
        return Client(self.url(path), **options)

    def open_connections(self) -> int:
        return len(self.server.server_state.connections)


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets=sockets)
        self._ready.set()


class Client:
    """A socket of the venue, as a bot would hold it."""

    def __init__(self, url: str, **options):
        self._connection = connect(url, compression=None, max_size=None, **options)
        self.socket = self._connection.__enter__()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._connection.__exit__(None, None, None)

    def send(self, message) -> None:
        """An object as JSON, or a text or bytes as they are."""
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def next(self) -> dict:
        """The next message, whatever it is."""
        return json.loads(self.socket.recv(PATIENCE_SECONDS))

    def until(self, condition: Callable[[dict], bool]) -> dict:
        """The next message that fulfils the condition; those before it are passed over."""
        while not condition(message := self.next()):
            pass
        return message

    def take(self, count: int) -> list[dict]:
        return [self.next() for _ in range(count)]

    def rest(self) -> tuple[list[dict], int]:
        """What comes until the server closes, and its close code."""
        messages = []
        try:
            while True:
                messages.append(self.next())
        except ConnectionClosed:
            return messages, self.socket.close_code


class Mirror:
    """A book kept from snapshots and updates alone; an update that does not connect is an error."""

    def __init__(self):
        self.sequence = None
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}

    def take(self, message: dict) -> None:
        if message["type"] == "snapshot":
            self.sides = {side: dict(message[side]) for side in ("bids", "asks")}
        else:
            assert message["type"] == "update"
            assert message["first_sequence"] == self.sequence + 1, (message["first_sequence"], self.sequence)
            for side, levels in self.sides.items():
                levels.update(message[side])
                self.sides[side] = {price: quantity for price, quantity in levels.items() if quantity != "0"}
        assert message["sequence"] >= message.get("first_sequence", 0)
        self.sequence = message["sequence"]

    def follow(self, client: Client, until: int) -> "Mirror":
        """Take messages until that sequence."""
        while self.sequence is None or self.sequence < until:
            self.take(client.next())
        return self

    def __eq__(self, snapshot: dict) -> bool:
        return (
            all(self.sides[side] == dict(snapshot[side]) for side in self.sides)
            and self.sequence == snapshot["sequence"]
        )


class OtherProcess:
    """Another process of the venue, without sockets: it places what it is told, sentence by sentence."""

    def __init__(self):
        parts = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(parts._replace(path="/" + connection.settings_dict["NAME"]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.streams.other_process"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "OtherProcess":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_SECONDS) == 0

    def order(self, account_id: int, sentence: str) -> dict:
        """`SIDE quantity SYMBOL @ price`, placed and committed there; the order object."""
        self.process.stdin.write(json.dumps([account_id, *sentence.split()]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())
