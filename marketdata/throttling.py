"""Rate limits of this process: fixed windows per key, in bounded memory. Pure counting; the doors decide what a key
is.

A rate is written "requests/seconds" in settings. With several server processes each counts by itself, so that the
venue's limit is at most the setting times the processes: a limit guards one process against one caller, it is not an
account of anything.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from math import ceil
from threading import Lock

from django.conf import settings

from marketdata.refusals import Refusal

MAX_KEYS = 50_000


class Throttled(Refusal):
    """Too many requests in the window."""

    code, status, title = "throttled", 429, "Too many requests"

    def __init__(self, retry_after_seconds: int):
        super().__init__(
            f"Too many requests; try again in {retry_after_seconds} s.", retry_after_seconds=retry_after_seconds
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` in any window of `seconds`."""

    limit: int
    seconds: int


@lru_cache(maxsize=64)
def rate(text: str) -> Rate:
    """The rate written as "12000/60"."""
    limit, seconds = text.split("/")
    return Rate(int(limit), int(seconds))


@dataclass(frozen=True, slots=True)
class Charge:
    """One request counted: what is left of the window, and whether it was within."""

    rate: Rate
    remaining: int
    reset_seconds: int
    allowed: bool

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"default";q={self.rate.limit};w={self.rate.seconds}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }

    def check(self) -> None:
        """Throttled when it was not allowed."""
        if not self.allowed:
            raise Throttled(self.reset_seconds)


class Windows:
    """Counts by key; the least recently opened windows are forgotten when there are too many."""

    def __init__(self, max_keys: int = MAX_KEYS):
        self._max_keys = max_keys
        self._windows: OrderedDict[object, list] = OrderedDict()
        self._lock = Lock()

    def charge(self, key: object, rate: Rate, cost: int = 1) -> Charge:
        """Count a request (or, with cost 0, only look)."""
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(key)
            if window is None or window[0] <= now:
                window = self._open(key, now + rate.seconds) if cost else [now + rate.seconds, 0]
            window[1] += cost
            ends_at, count = window
        allowed = count <= rate.limit if cost else count < rate.limit
        return Charge(rate, max(0, rate.limit - count), max(1, ceil(ends_at - now)), allowed)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._windows.clear()

    def __len__(self) -> int:
        return len(self._windows)

    def _open(self, key: object, ends_at: float) -> list:
        window = self._windows[key] = [ends_at, 0]
        self._windows.move_to_end(key)
        if len(self._windows) > self._max_keys:
            self._windows.popitem(last=False)
        return window


windows = Windows()


def charge_request(caller: object | None, address: str) -> Charge | None:
    """Count an API request of a user (by id), of an API key (("key", id)), or of an address that shows neither. None
    while limits are off.
    """
    if not settings.RATE_LIMITS:
        return None
    if type(caller) is tuple:
        return windows.charge(caller, rate(settings.RATE_LIMIT_KEY))
    if caller is not None:
        return windows.charge(caller, rate(settings.RATE_LIMIT_USER))
    return windows.charge(address, rate(settings.RATE_LIMIT_ANONYMOUS))


def address_of(remote_address: str | None, forwarded_for: str | None) -> str:
    """Who is calling: the peer, or what the last TRUSTED_PROXIES proxies say, if that is an address."""
    proxies, said = settings.TRUSTED_PROXIES, ""
    if proxies > 0 and forwarded_for:
        chain = [part.strip() for part in forwarded_for.split(",") if part.strip()]
        if chain:
            said = _bare_address(chain[-min(proxies, len(chain))])
    return said or remote_address or ""


def _bare_address(text: str) -> str:
    """An address without the port or interface that some proxies write; empty for what is none: the database keeps
    these, and refuses others.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        ip_address(text)
    except ValueError:
        return ""
    return text


def address_of_request(request) -> str:
    """The same for a Django or DRF request."""
    return address_of(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR"))
