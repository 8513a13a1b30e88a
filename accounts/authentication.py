"""Who is asking: bearer tokens, the principal behind each, and which of their accounts they mean.

A verified token is remembered for a few seconds (see accounts.verified). `revoke` forgets a user at once in this
process (a password change and a deactivation do that); other processes notice within PRINCIPAL_SECONDS. Tokens carry
a hash of the password's hash, so a changed password ends those issued before. API keys come in through
accounts.callers; what they may do at a route stands in the view's `keys_may`. X-Account names which of the caller's
own accounts is meant; without it, it is the main one, or the key's.
"""

import time
from dataclasses import dataclass, replace

from rest_framework.permissions import BasePermission
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts import api_keys
from accounts.models import Account, ApiKey, User
from accounts.users import main_account
from accounts.verified import VerifiedTokens
from marketdata.refusals import NotFound, Refusal

MAX_OWNERS = 50_000
SCHEME = "bearer"
READ, TRADE, WITHDRAW = ApiKey.Permission.values
#: What a key needs, by method: at most routes, where one trades, where one withdraws. Nothing suffices where only
#: people come in: `keys_may = {}`.
READING = {"GET": READ, "HEAD": READ, "OPTIONS": READ}
TRADING = {**READING, "POST": TRADE, "PUT": TRADE, "PATCH": TRADE, "DELETE": TRADE}
WITHDRAWING = {**READING, "POST": WITHDRAW, "DELETE": WITHDRAW}


class NotAuthenticated(Refusal):
    """The route needs a token and there is none."""

    code, status, title = "not_authenticated", 401, "Not authenticated"


class TokenInvalid(Refusal):
    """The token is not one of ours, was revoked, or its user may not log in."""

    code, status, title = "token_invalid", 401, "Token is not valid"


class TokenExpired(Refusal):
    """The access token's time is over."""

    code, status, title = "token_expired", 401, "Token has expired"


class PermissionDenied(Refusal):
    """The API key was not made for this."""

    code, status, title = "permission_denied", 403, "Permission denied"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller: the user, the account that is meant, and until when (Unix seconds) this may be believed.

    `permissions` is None for a person, who may do everything that is theirs. `claim` is the token's hash of the
    password's hash, None for a key: only tokens end when the password is changed.
    """

    user_id: int
    account_id: int
    is_staff: bool
    expires_at: float
    key_id: int | None = None
    permissions: frozenset[str] | None = None
    claim: str | None = None

    @property
    def limited_as(self) -> object:
        """Whose rate limit counts: the user's, or the key's own."""
        return self.user_id if self.key_id is None else ("key", self.key_id)

    def require(self, permission: str | None) -> None:
        """PermissionDenied for a key without it; None is what no key may."""
        if self.permissions is None or permission in self.permissions:
            return
        if permission is None:
            raise PermissionDenied("This is never done by an API key; log in.")
        raise PermissionDenied(f"The API key has no permission to {permission.lower()}.")


def _reread(user_ids: set[int]) -> dict[int, tuple[bool, str]]:
    rows = User.objects.filter(pk__in=user_ids, is_active=True).values_list("pk", "is_staff", "password")
    return {pk: (is_staff, get_md5_hash_password(password)) for pk, is_staff, password in rows}


_verified_tokens = VerifiedTokens(_reread)


#: (user id, account id) pairs that were looked up; who owns an account never changes.
_owners: set[tuple[int, int]] = set()


def revoke(user_id: int) -> None:
    """Forget what this process believes of the user's tokens and keys; the next request reads the user again."""
    _verified_tokens.revoke(user_id)
    api_keys.forget(user_id)


def forget() -> None:
    """Forget all tokens, keys and accounts: between tests."""
    _verified_tokens.revoke(None)
    api_keys.forget()
    _owners.clear()


def cached_principal(token: str) -> Principal | None:
    """The principal of a token verified in the last seconds, else None. Touches no database."""
    return _verified_tokens.get(token)


def principal_for_token(token: str) -> Principal:
    """The principal of an access token; TokenExpired or TokenInvalid. May query: not for the event loop."""
    principal = _verified_tokens.get(token)
    if principal is None:
        revocations, read_at = _verified_tokens.revocations, time.monotonic()
        principal = _verified(token)
        _verified_tokens.put(token, principal, read_at=read_at, revocations=revocations)
    return principal


def _verified(token: str) -> Principal:
    """What the token says, of a user who may log in by the password that it was issued for."""
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
    claim = get_md5_hash_password(user.password)
    if claims.get(api_settings.REVOKE_TOKEN_CLAIM) != claim:
        raise TokenInvalid("The password was changed since; log in again.")
    return Principal(user.pk, account.pk, user.is_staff, float(claims["exp"]), claim=claim)


def principal_for_user(user: User) -> Principal:
    """The principal of somebody who is known already, for this one request. Queries."""
    return Principal(user.pk, main_account(user).pk, user.is_staff, expires_at=float("inf"))


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


# Which account


def cached_choice(principal: Principal, chosen: str | None) -> Principal | None:
    """The principal with the account that an X-Account header chose; None if that must be looked up first."""
    if chosen is None:
        return principal
    account_id = _account_id(chosen)
    if account_id == principal.account_id:
        return principal
    if principal.key_id is None and (principal.user_id, account_id) in _owners:
        return replace(principal, account_id=account_id)
    return None


def choose_account(principal: Principal, chosen: str | None) -> Principal:
    """The same; NotFound unless the account is the user's own. A key has its one account. May query."""
    known = cached_choice(principal, chosen)
    if known is not None:
        return known
    account_id = _account_id(chosen)
    owned = Account.objects.filter(pk=account_id, user_id=principal.user_id)
    if principal.key_id is not None or not owned.exists():
        raise NotFound(f"You have no account {account_id}.")
    if len(_owners) >= MAX_OWNERS:
        _owners.clear()
    _owners.add((principal.user_id, account_id))
    return replace(principal, account_id=account_id)


def _account_id(chosen: str) -> int:
    if not (chosen.isascii() and chosen.isdigit() and len(chosen) < 19):
        raise NotFound("X-Account is the id of one of your accounts.")
    return int(chosen)


class SignedIn(BasePermission):
    """Whoever shows a valid token, and keys that may do what the view's `keys_may` asks of the method."""

    def has_permission(self, request, view) -> bool:
        if request.auth is None and request.user.is_authenticated:
            # Only DRF's own test client says who it is without a token (`force_authenticate`).
            principal = principal_for_user(request.user)
            request.auth = choose_account(principal, request.META.get("HTTP_X_ACCOUNT"))
        if request.auth is None:
            raise NotAuthenticated("This needs the header Authorization: Bearer <access token>; get one from token/.")
        request.auth.require(getattr(view, "keys_may", READING).get(request.method))
        return True
