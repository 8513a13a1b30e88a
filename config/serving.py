"""One server process: listening, and running the ASGI application under uvicorn or daphne until told to stop.

uvicorn is the default: it waits for slow sockets. daphne knows no ASGI lifespan, so the application's start
and stop hooks run in its event loop around the server.
Invariant: the port is taken before anything else is started, so that a port in use costs nothing and leaves
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from config import locks

APPLICATION = "config.asgi:application"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SERVERS = ("uvicorn", "daphne")
BACKLOG = 2048
GRACEFUL_STOP_SECONDS = 5
KEEP_ALIVE_SECONDS = 65  # longer than the usual proxy keeps its own side open
LARGEST_SOCKET_MESSAGE_BYTES = 256 * 1024
#: What the kernel may hold for a peer that does not read (it takes twice that for its own needs). Left to itself it
#: takes megabytes, and a reader that has fallen behind is noticed minutes late.
SEND_BUFFER_BYTES = 128 * 1024
#: What to ask for where the system allows more, or any number: some then refuse the first.
OPEN_FILES = (65_536, 10_240)
#: After what a server does at its end; all that is waited for there with a limit takes less.
STOP_SECONDS = 40.0
#: One that was just told to stop still answers its last requests.
LEAVE_SECONDS = 10.0
POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


class ClaimError(Exception):
    """The data directory cannot be had; the text says why and what to do about it."""


class PortError(Exception):
    """The address cannot be listened on; the text says why and what to do about it."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises PortError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortError(f"cannot listen on HOST {host!r}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortError(_port_advice(host, port, error)) from error
    return listener


@contextmanager
def claim(data_dir: Path, *, shared: bool) -> Iterator[None]:
    """Have a data directory's venue, alone or with others who share it. Raises ClaimError if it stays taken.

    Servers that share no Redis would not hear of each other's trades. The kernel drops the claim of a killed process.
    """
    deadline = time.monotonic() + LEAVE_SECONDS
    with ExitStack() as stack:
        try:
            lock = locks.opened(data_dir / "serve.lock")
            stack.callback(os.close, lock)
            while not locks.is_had(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise ClaimError(
                        f"another server runs on DATA_DIR {data_dir}, and several reach each other only through Redis: "
                        "stop that one, choose another DATA_DIR, or set REDIS_URL for both (then WORKERS=2 is two "
                        "behind one port)."
                    )
                time.sleep(POLL_SECONDS)
        except OSError as error:  # a file system may have no locks
            raise ClaimError(f"cannot use DATA_DIR {data_dir}: {error}. Choose another DATA_DIR.") from error
        yield


def _port_advice(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: choose another PORT (PORT={min(port + 1, 65535)} make run)"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"port {port} on {host} needs privileges: choose a PORT above 1023"
    return f"cannot listen on {host} port {port} ({error.strerror}): choose another HOST or PORT"


def allow_open_files() -> int:
    """Let this process and its children have as many files open as they may, each connection is one; how many that is.

    Most systems begin at 1,024, which is no more than one address may have sockets, and allow far more to who asks.
    Whoever has no room for a connection closes it without a word, uvloop without a line in the log.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in OPEN_FILES if soft != resource.RLIM_INFINITY else ():
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if allowed > soft:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
                return allowed
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def address_of(listener: socket.socket) -> str:
    """The URL under which a person on this machine reaches the listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def stop_on_signals() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end the process in order, with exit code 0; not SIGHUP under nohup."""
    for number in STOP_SIGNALS:
        if not _is_under_nohup(number):
            signal.signal(number, _leave)


def _is_under_nohup(number: int) -> bool:
    """Whether it is the signal of a closed terminal, which whoever started this process wants it to outlive."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _leave(*_: object) -> None:
    raise SystemExit(0)


def ignore_signals() -> None:
    """While the last things are being stopped, an impatient second Ctrl-C must not leave one behind."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def bounded() -> Iterator[None]:
    """For a server's end, which no signal breaks off: a database that hangs would have it wait for ever.

    Threads that wait there cannot be ended, only the process can; what is lost is what a kill -9 loses.
    """
    timer = threading.Timer(STOP_SECONDS, _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up() -> None:
    logger.error("not everything has stopped after %.0f s: this process ends all the same", STOP_SECONDS)
    os._exit(1)


def run(listener: socket.socket, *, server: str, ready: Callable[[], None]) -> None:
    """Serve on the listener until a signal; `ready` is called once, when requests are answered.

    Raises SystemExit, with 0 if the end was asked for.
    """
    {"uvicorn": _run_uvicorn, "daphne": _run_daphne}[server](listener, ready)


def _run_uvicorn(listener: socket.socket, ready: Callable[[], None]) -> None:
    import uvicorn

    from config.one_write import OneWriteProtocol

    class AnnouncingServer(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """uvicorn knows two of the three: what `_leave` raises would end its loop in the middle of whatever runs.
            """
            if not _is_under_nohup(signal.SIGHUP):
                signal.signal(signal.SIGHUP, self.handle_exit)
            with super().capture_signals():
                yield

        def handle_exit(self, number: int, frame: FrameType | None) -> None:
            """A second Ctrl-C would have uvicorn leave without what the application does at its end."""
            super().handle_exit(number, frame)
            self.force_exit = False

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            with bounded():
                await super().shutdown(sockets=sockets)

    config = uvicorn.Config(
        APPLICATION,
        loop="uvloop",
        http=OneWriteProtocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=LARGEST_SOCKET_MESSAGE_BYTES,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # settings.TRUSTED_PROXIES decides whose word is taken
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
    )
    AnnouncingServer(config).run(sockets=[listener])


def _run_daphne(listener: socket.socket, ready: Callable[[], None]) -> None:
    from daphne.server import Server, twisted_loop

    from config import asgi

    server = Server(
        application=asgi.application,
        endpoints=[f"fd:fileno={os.dup(listener.fileno())}"],  # daphne closes what it is given
        ready_callable=ready,
        signal_handlers=False,  # Twisted would leave SIGINT to the handler that is there already
        server_name="",
        websocket_max_message_size=LARGEST_SOCKET_MESSAGE_BYTES,
        websocket_max_frame_size=LARGEST_SOCKET_MESSAGE_BYTES,
    )
    twisted_loop.run_until_complete(asgi.startup())
    for number in STOP_SIGNALS:
        if not _is_under_nohup(number):
            twisted_loop.add_signal_handler(number, server.stop)
    try:
        server.run()
    finally:
        ignore_signals()
        with bounded():
            twisted_loop.run_until_complete(asgi.shutdown())
