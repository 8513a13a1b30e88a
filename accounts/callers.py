"""How callers come in over HTTP: by an API key that signs the request, or by a bearer token.

A request with X-API-KEY is the key's, whatever else it carries. The signature is checked over the raw bytes, before
anything is parsed. The lean handler uses the same functions.
"""

from collections.abc import Mapping
from urllib.parse import quote

from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication

from accounts import api_keys
from accounts.authentication import Principal, bearer_token, choose_account, principal_for_token
from accounts.models import User
from marketdata.throttling import address_of_request

PREFIX = "x-api-"


def signed_request(
    headers: Mapping[str, str], method: str, raw_path: bytes, query: bytes, body: bytes
) -> api_keys.Signed | None:
    """What an API key signed, from headers by lower-case name and the rest as sent; None without a key."""
    key = headers.get("x-api-key")
    if key is None:
        return None
    target = raw_path + (b"?" + query if query else b"")
    sign, timestamp = headers.get("x-api-sign", ""), headers.get("x-api-timestamp", "")
    window = headers.get("x-api-recv-window")
    return api_keys.Signed(key, timestamp, sign, window, method.encode() + target + body)


def raw_path_of(scope: Mapping, path: str) -> bytes:
    """The path of a request as it was sent, percent-encoded."""
    return (scope.get("raw_path") or quote(path).encode()).partition(b"?")[0]


def principal_for_key(record: api_keys.KeyRecord, signed: api_keys.Signed, address: str) -> Principal:
    """The principal of a request that the key signed; see api_keys.check for what it refuses. Touches no database."""
    api_keys.check(record, signed, address)
    return Principal(
        record.user_id, record.account_id, record.is_staff, record.expires_at, record.id, record.permissions
    )


def principal_for_signed(signed: api_keys.Signed, address: str) -> Principal:
    """The same with the key looked up and its use noted. May query: not for the event loop."""
    record = api_keys.record_of(signed.key)
    principal = principal_for_key(record, signed, address)
    if api_keys.is_touch_due(record):
        api_keys.touch(record)
    return principal


class CallerAuthentication(BaseAuthentication):
    """DRF's way in: `request.auth` is the Principal, `request.user` its User, read only when somebody looks."""

    def authenticate(self, request):
        principal = _key_principal(request._request)
        if principal is None:
            token = bearer_token(request.META.get("HTTP_AUTHORIZATION"))
            if token is None:
                return None
            principal = principal_for_token(token)
        principal = choose_account(principal, request.META.get("HTTP_X_ACCOUNT"))
        return SimpleLazyObject(lambda: User.objects.get(pk=principal.user_id)), principal

    def authenticate_header(self, request) -> str:
        return 'Bearer realm="api"'


def _key_principal(request) -> Principal | None:
    if "HTTP_X_API_KEY" not in request.META:
        return None
    headers = {name.lower(): value for name, value in request.headers.items() if name.lower().startswith(PREFIX)}
    raw_path = raw_path_of(getattr(request, "scope", {}), request.path)
    query = request.META.get("QUERY_STRING", "").encode("latin1")
    signed = signed_request(headers, request.method, raw_path, query, request.body)
    return principal_for_signed(signed, address_of_request(request))
