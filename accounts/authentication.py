"""Who is asking: bearer tokens, and the principal behind each.

A verified token is remembered for PRINCIPAL_SECONDS at most and never beyond its expiry, so that a busy client costs
one signature and one query every few seconds. `revoke` forgets a user at once in this process (a password change and
a deactivation do that); other processes notice within PRINCIPAL_SECONDS. Tokens carry a hash of the password's hash,
so a changed password ends those issued before.
"""

import time
from dataclasses import dataclass
from threading import Lock

from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.models import Account, User
from accounts.users import main_account
from marketdata.refusals import Refusal

PRINCIPAL_SECONDS = 5.0
MAX_TOKENS = 20_000
SCHEME = "bearer"


class NotAuthenticated(Refusal):
    """The route needs a token and there is none."""

    code, status, title = "not_authenticated", 401, "Not authenticated"


class TokenInvalid(Refusal):
    """The token is not one of ours, was revoked, or its user may not log in."""

    code, status, title = "token_invalid", 401, "Token is not valid"


class TokenExpired(Refusal):
    """The access token's time is over."""

    code, status, title = "token_expired", 401, "Token has expired"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller: the user, the account that trades, and until when (Unix seconds) this may be believed."""

    user_id: int
    account_id: int
    is_staff: bool
    expires_at: float


class _Principals:
    """Verified tokens. Bounded: the oldest are forgotten first."""

    def __init__(self):
        self._known: dict[str, tuple[float, Principal]] = {}
        self._lock = Lock()
        self.revocations = 0

    def get(self, token: str) -> Principal | None:
        found = self._known.get(token)
        if found is None or found[0] <= time.monotonic() or found[1].expires_at <= time.time():
            return None
        return found[1]

    def put(self, token: str, principal: Principal, revocations: int) -> None:
        """Remember, unless somebody was revoked while the token was being verified."""
        with self._lock:
            if revocations != self.revocations:
                return
            self._known.pop(token, None)
            self._known[token] = (time.monotonic() + PRINCIPAL_SECONDS, principal)
            while len(self._known) > MAX_TOKENS:
                del self._known[next(iter(self._known))]

    def revoke(self, user_id: int | None) -> None:
        with self._lock:
            self.revocations += 1
            self._known = {t: found for t, found in self._known.items() if user_id not in (None, found[1].user_id)}


_principals = _Principals()


def revoke(user_id: int) -> None:
    """Forget what this process believes of the user's tokens; the next request reads the user again."""
    _principals.revoke(user_id)


def forget() -> None:
    """Forget all tokens: between tests."""
    _principals.revoke(None)


def cached_principal(token: str) -> Principal | None:
    """The principal of a token verified in the last seconds, else None. Touches no database."""
    return _principals.get(token)


def principal_for_token(token: str) -> Principal:
    """The principal of an access token; TokenExpired or TokenInvalid. May query: not for the event loop."""
    principal = _principals.get(token)
    if principal is None:
        revocations = _principals.revocations
        principal = _verified(token)
        _principals.put(token, principal, revocations)
    return principal


def _verified(token: str) -> Principal:
    try:
        claims = AccessToken(token)
    except ExpiredTokenError:
        raise TokenExpired("The access token has expired; get a new one from token/refresh/.") from None
    except TokenError:
        raise TokenInvalid("The access token is not valid.") from None
    account = _main_account(claims.get(api_settings.USER_ID_CLAIM))
    user = account and account.user
    if user is None or not user.is_active:
        raise TokenInvalid("The token's user cannot log in.")
    if claims.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenInvalid("The password was changed since; log in again.")
    return Principal(user.pk, account.pk, user.is_staff, float(claims["exp"]))


def _main_account(claim: object) -> Account | None:
    """The main account, with its user, of the user whom the token names; one query for all but a new superuser."""
    text = str(claim)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    found = Account.objects.select_related("user").filter(user_id=int(text), kind=Account.Kind.MAIN).first()
    user = None if found else User.objects.filter(pk=int(text)).first()
    return main_account(user) if user else found


def bearer_token(header: str | None) -> str | None:
    """The token of an Authorization header; None without a header, TokenInvalid when it is something else."""
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != SCHEME or not token or not token.isascii():
        raise TokenInvalid("Use the header Authorization: Bearer <access token>.")
    return token


class BearerAuthentication(BaseAuthentication):
    """DRF's way in: `request.auth` is the Principal, `request.user` its User, read only when somebody looks."""

    def authenticate(self, request):
        token = bearer_token(request.META.get("HTTP_AUTHORIZATION"))
        if token is None:
            return None
        principal = principal_for_token(token)
        return SimpleLazyObject(lambda: User.objects.get(pk=principal.user_id)), principal

    def authenticate_header(self, request) -> str:
        return 'Bearer realm="api"'


class SignedIn(BasePermission):
    """Whoever shows a valid token."""

    def has_permission(self, request, view) -> bool:
        if request.auth is None:
            raise NotAuthenticated("This needs the header Authorization: Bearer <access token>; get one from token/.")
        return True
