"""One WebSocket connection to a provider: says hello, keeps beating, notices silence, reads exact numbers.

It ends by a ProviderError, always: reconnecting is the feed's. Anything unreadable is counted and skipped; a
connection that brings nothing else is given up.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from marketdata.providers.limits import Clock
from marketdata.providers.protocol import (
    Disconnected,
    Garbled,
    KeyRefused,
    NotInPlan,
    ProviderError,
    RateLimited,
    parse_json,
)

HEARTBEAT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
#: Between two messages of ours.
PAUSE_SECONDS = 1.0
REFUSED_WAIT_SECONDS = 60.0
GARBLED_IN_A_ROW = 50
LARGEST_MESSAGE_BYTES = 1024 * 1024


async def messages(
    url: str, *, hello: Sequence[str], heartbeat: Callable[[], str], clock: Clock, counters: Counter
) -> AsyncIterator[dict]:
    """The JSON objects that the server sends. `hello` is sent first, `heartbeat()` every HEARTBEAT_SECONDS."""
    connection = await _connect(url)
    counters["connections"] += 1
    talking = asyncio.create_task(_talk(connection, hello, heartbeat, clock))
    garbled_in_a_row = 0
    try:
        while True:
            content = await clock.wait_for(connection.recv(), SILENCE_SECONDS)
            counters["messages"] += 1
            try:
                yield _object(content)
                garbled_in_a_row = 0
            except Garbled as error:
                counters["garbled"] += 1
                garbled_in_a_row += 1
                if garbled_in_a_row >= GARBLED_IN_A_ROW:
                    raise Disconnected(f"{garbled_in_a_row} unreadable messages in a row") from error
    except TimeoutError:
        counters["silences"] += 1
        raise Disconnected(f"silent for {SILENCE_SECONDS:.0f} s") from None
    except ConnectionClosed as error:
        code = error.rcvd.code if error.rcvd else "none"
        raise Disconnected(f"the connection ended, close code {code}") from None
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        await _leave(connection)


async def _connect(url: str) -> ClientConnection:
    try:
        return await connect(
            url, compression=None, ping_interval=None, close_timeout=1, max_size=LARGEST_MESSAGE_BYTES
        )
    except InvalidStatus as error:
        raise _refused(error.response.status_code) from None
    except (OSError, TimeoutError, WebSocketException, ValueError) as error:
        # The text may hold the address, and the address holds the key.
        raise Disconnected(f"no connection: {type(error).__name__}") from None


def _refused(status: int) -> ProviderError:
    detail = f"the handshake was answered with HTTP {status}"
    if status == 429:
        return RateLimited(detail, wait_seconds=REFUSED_WAIT_SECONDS)
    return {401: KeyRefused, 403: NotInPlan}.get(status, Disconnected)(detail)


async def _talk(connection: ClientConnection, hello: Sequence[str], heartbeat: Callable[[], str], clock: Clock) -> None:
    """Our side of the conversation. When the connection ends, reading notices it."""
    with suppress(ConnectionClosed):
        for text in hello:
            await connection.send(text)
            await clock.sleep(PAUSE_SECONDS)
        while True:
            await clock.sleep(HEARTBEAT_SECONDS - PAUSE_SECONDS)
            await connection.send(heartbeat())
            await clock.sleep(PAUSE_SECONDS)


async def _leave(connection: ClientConnection) -> None:
    with suppress(WebSocketException, OSError, TimeoutError):
        await connection.close()


def _object(content: str | bytes) -> dict:
    message = parse_json(content)
    if not isinstance(message, dict):
        raise Garbled("not a JSON object")
    return message
