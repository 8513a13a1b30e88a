"""API keys: making, listing and revoking them, and checking what they sign.

A request is signed by hex HMAC-SHA256(secret, timestamp + method + path with query + raw body), all as sent. A key
that was looked up is remembered for KEY_SECONDS at most; revoking forgets it at once in this process, others notice
within that time. Known limits: a request can be repeated by whoever reads it, within its window (that is what TLS,
client_order_id and Idempotency-Key are for); the window itself is not signed.
"""

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from threading import Lock

from django.db import transaction
from django.db.models import Q

from accounts import sealing
from accounts.models import Account, ApiKey, User
from marketdata import clock
from marketdata.refusals import Malformed, NotFound, Refusal

KEY_SECONDS = 5.0
MAX_KEYS_KNOWN = 20_000
MAX_KEYS_PER_USER = 20
TOUCH_SECONDS = 60.0
DEFAULT_WINDOW_MS, MAX_WINDOW_MS, AHEAD_MS = 5_000, 60_000, 1_000
#: IPv4 addresses as IPv6 writes them; a caller's address is read as the IPv4 address (see _is_within).
MAPPED = ip_network("::ffff:0:0/96")


class ApiKeyInvalid(Refusal):
    """No such key, or it was revoked, has expired, or its user may not log in."""

    code, status, title = "api_key_invalid", 401, "API key is not valid"


class SignatureInvalid(Refusal):
    """The signature is not that of this request by this key."""

    code, status, title = "signature_invalid", 401, "Signature is not valid"


class TimestampOutOfWindow(Refusal):
    """The request was signed too long ago, or in the future."""

    code, status, title = "timestamp_out_of_window", 401, "Timestamp is out of the window"


class IpNotAllowed(Refusal):
    """The key is bound to other addresses."""

    code, status, title = "ip_not_allowed", 403, "Address is not allowed for this key"


class TooManyKeys(Refusal):
    """As many active keys as a user may have."""

    code, title = "too_many_api_keys", "Too many API keys"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An active key as requests are checked against it. `expires_at` in Unix seconds."""

    id: int
    user_id: int
    account_id: int
    is_staff: bool
    secret: bytes
    permissions: frozenset[str]
    networks: tuple
    expires_at: float


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed request: what was signed, and what the headers say about it."""

    key: str
    timestamp: str
    sign: str
    window: str | None
    message: bytes


# Managing them


def create(
    *,
    account: Account,
    name: str,
    permissions: list[str],
    allowed_ips: list[str],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """A new key for one of the user's accounts, and its secret, which nobody is ever shown again.

    Malformed for addresses that are none and for an expiry that is over, TooManyKeys.
    """
    if expires_at is not None and expires_at <= clock.now():
        raise _malformed("expires_at", "Must be in the future.")
    key, secret = secrets.token_hex(16), secrets.token_hex(32)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=account.user_id)
        if ApiKey.objects.filter(account__user_id=account.user_id, is_active=True).count() >= MAX_KEYS_PER_USER:
            raise TooManyKeys(f"At most {MAX_KEYS_PER_USER} active keys; revoke one.")
        row = ApiKey.objects.create(
            account=account,
            name=name,
            key=key,
            sealed_secret=sealing.seal(secret, key),
            permissions=sorted(set(permissions)),
            allowed_ips=[str(_network(text)) for text in allowed_ips],
            expires_at=expires_at,
        )
    return row, secret


def find(*, key_id: int, user_id: int) -> ApiKey:
    """The user's key of that id, revoked or not; NotFound."""
    row = ApiKey.objects.filter(pk=key_id, account__user_id=user_id).first()
    if row is None:
        raise NotFound(f"You have no API key {key_id}.")
    return row


def revoke(*, user_id: int, key_id: int | None = None) -> list[ApiKey]:
    """End one key of the user's, or all; those that were still active. NotFound for somebody else's."""
    if key_id is not None:
        find(key_id=key_id, user_id=user_id)
    rows = ApiKey.objects.filter(account__user_id=user_id, is_active=True)
    found = list(rows if key_id is None else rows.filter(pk=key_id))
    for row in found:
        end(row)
    return found


def end(row: ApiKey) -> None:
    """Revoke a key for ever: its secret is erased."""
    row.is_active, row.sealed_secret = False, b""
    row.save(update_fields=["is_active", "sealed_secret"])  # accounts.revocation hears of it


def alive(key_ids: set[int]) -> set[int]:
    """Those of the keys that still open the door: for sockets that are open."""
    rows = ApiKey.objects.filter(pk__in=key_ids, is_active=True, account__user__is_active=True)
    return set(rows.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now())).values_list("pk", flat=True))


def _network(text: str):
    try:
        return _unmapped(ip_network(text.strip(), strict=False))
    except ValueError:
        raise _malformed("allowed_ips", f"{text!r} is neither an address nor a network.") from None


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """A network of mapped addresses as the IPv4 network that it stands for; any other as it is."""
    if network.version == 6 and network.subnet_of(MAPPED):
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - MAPPED.prefixlen))
    return network


def _malformed(field: str, detail: str) -> Malformed:
    return Malformed(f"{field}: {detail}", errors=[{"field": field, "code": "invalid", "detail": detail}])


# Checking what they sign


class _Records:
    """Keys looked up lately. Bounded: the oldest are forgotten first."""

    def __init__(self):
        self._known: dict[str, tuple[float, KeyRecord]] = {}
        self._lock = Lock()
        self.generation = 0

    def get(self, key: str) -> KeyRecord | None:
        found = self._known.get(key)
        return None if found is None or found[0] <= time.monotonic() else found[1]

    def put(self, key: str, record: KeyRecord, generation: int) -> None:
        """Remember, unless some key was revoked while this one was being read."""
        with self._lock:
            if generation != self.generation:
                return
            self._known.pop(key, None)
            self._known[key] = (time.monotonic() + KEY_SECONDS, record)
            while len(self._known) > MAX_KEYS_KNOWN:
                del self._known[next(iter(self._known))]

    def forget(self, user_id: int | None) -> None:
        """A user's keys, or all."""
        with self._lock:
            self.generation += 1
            self._known = {k: found for k, found in self._known.items() if user_id not in (None, found[1].user_id)}


_records = _Records()
_touched: dict[int, float] = {}


def forget(user_id: int | None = None) -> None:
    """Forget what this process remembers of a user's keys, or of all: they are read again."""
    _records.forget(user_id)
    if user_id is None:
        _touched.clear()


def cached_record(key: str) -> KeyRecord | None:
    """A key looked up in the last seconds. Touches no database."""
    return _records.get(key)


def record_of(key: str) -> KeyRecord:
    """The active key of that public half; ApiKeyInvalid. May query: not for the event loop."""
    record = _records.get(key)
    if record is None:
        generation = _records.generation
        record = _load(key)
        _records.put(key, record, generation)
    return record


def _load(key: str) -> KeyRecord:
    row = None
    if len(key) <= 64 and key.isascii() and key.isprintable():
        row = ApiKey.objects.select_related("account__user").filter(key=key, is_active=True).first()
    if row is None or not row.account.user.is_active:
        raise ApiKeyInvalid("There is no active API key like that.")
    try:
        secret = sealing.unseal(row.sealed_secret, row.key)
    except sealing.Unsealable:
        raise ApiKeyInvalid("The key was made under another secret of the server; make a new one.") from None
    user, granted = row.account.user, frozenset(row.permissions)
    networks = tuple(_unmapped(ip_network(text)) for text in row.allowed_ips)
    expires_at = float("inf") if row.expires_at is None else row.expires_at.timestamp()
    return KeyRecord(row.pk, user.pk, row.account_id, user.is_staff, secret.encode(), granted, networks, expires_at)


def check(record: KeyRecord, signed: Signed, address: str) -> None:
    """Pass, or SignatureInvalid, TimestampOutOfWindow, ApiKeyInvalid (expired), IpNotAllowed; pure but for the clock.

    Nothing is told about a key to somebody who cannot sign with it.
    """
    expected = hmac.new(record.secret, signed.timestamp.encode() + signed.message, sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signed.sign.lower().encode()):
        raise SignatureInvalid("Sign timestamp + method + path with query + raw body, exactly as sent, in hex.")
    now = clock.now()
    _check_time(signed, int(now.timestamp() * 1000))
    if record.expires_at <= now.timestamp():
        raise ApiKeyInvalid("The API key has expired; make a new one.")
    if record.networks and not _is_within(address, record.networks):
        raise IpNotAllowed(f"This key is not for requests from {address}.")


def _check_time(signed: Signed, now_ms: int) -> None:
    window, sent = _whole(signed.window or str(DEFAULT_WINDOW_MS)), _whole(signed.timestamp)
    if window is None or not 0 < window <= MAX_WINDOW_MS:
        raise TimestampOutOfWindow(f"X-API-RECV-WINDOW is 1 to {MAX_WINDOW_MS} milliseconds.")
    if sent is None:
        raise TimestampOutOfWindow("X-API-TIMESTAMP is the time of signing in milliseconds since 1970, UTC.")
    if sent >= now_ms + AHEAD_MS or now_ms - sent > window:
        allowed = f"at most {window} ms before and less than {AHEAD_MS} ms ahead"
        raise TimestampOutOfWindow(f"The request was signed at {sent}, here it is {now_ms}: {allowed} is taken.")


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None


def _is_within(address: str, networks: tuple) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


# Last use


def is_touch_due(record: KeyRecord) -> bool:
    """Whether this process should note the key's use now: once a minute."""
    return _touched.get(record.id, float("-inf")) + TOUCH_SECONDS <= time.monotonic()


def touch(record: KeyRecord) -> None:
    """Note the use, unless another process did so within the minute."""
    if len(_touched) > MAX_KEYS_KNOWN:
        _touched.clear()
    _touched[record.id] = time.monotonic()
    now = clock.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=TOUCH_SECONDS))
    ApiKey.objects.filter(stale, pk=record.id).update(last_used_at=now)
