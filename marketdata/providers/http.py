"""GET of JSON with exact numbers, for the providers' REST sides.

Every failure of the way there and back is a ProviderError; what a status or a body means is the adapter's to say, as
providers put errors into bodies with status 200.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from marketdata.providers.protocol import Disconnected, Garbled, parse_json

TIMEOUT_SECONDS = 15.0
#: For a whole answer: a body that comes byte by byte keeps every smaller limit and never ends.
WHOLE_SECONDS = 60.0
LARGEST_BODY_BYTES = 32 * 1024 * 1024

# It logs whole addresses at INFO, and AllTick wants its token in the address.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and the parsed body of one request."""

    status: int
    headers: Mapping[str, str]
    body: object


class JsonClient:
    """Requests to one base address over kept connections."""

    def __init__(self, base: str, *, headers: Mapping[str, str] | None = None):
        self._base = base.rstrip("/")
        self._headers = dict(headers or {})
        self._client: httpx.AsyncClient | None = None

    async def get(self, path: str, parameters: Mapping[str, str]) -> Answer:
        """Disconnected when there is no answer or the server failed, Garbled when the answer is not JSON."""
        if self._client is None:
            self._client = httpx.AsyncClient(headers=self._headers, timeout=TIMEOUT_SECONDS)
        try:
            async with asyncio.timeout(WHOLE_SECONDS):
                async with self._client.stream("GET", self._base + path, params=parameters) as response:
                    content = await _limited(response)
        except TimeoutError:
            raise Disconnected(f"no whole answer in {WHOLE_SECONDS:.0f} s") from None
        except httpx.HTTPError as error:
            # The text of these errors may hold the address, and the address holds the key.
            raise Disconnected(f"no answer: {type(error).__name__}") from None
        return _answer(response.status_code, response.headers, content)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def _limited(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise Garbled(f"an answer of more than {LARGEST_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    try:
        return Answer(status, headers, parse_json(content))
    except Garbled:
        if status >= 500:
            raise Disconnected(f"the server failed: HTTP {status}") from None
        if status == 200:
            raise
        return Answer(status, headers, {})
