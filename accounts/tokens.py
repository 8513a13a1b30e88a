"""JWT pairs: logging in, rotating, logging out. Refresh tokens are used once; access tokens live for minutes."""

from datetime import timedelta

from django.contrib.auth.hashers import make_password
from django.db import transaction
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.authentication import TokenExpired, TokenInvalid
from accounts.models import User
from marketdata.refusals import Refusal

#: Tokens say that they are so much older: a token from the future is refused, and another host's clock may be behind.
BEHIND = timedelta(seconds=5)


class InvalidCredentials(Refusal):
    """No active user has that name and password."""

    code, status, title = "invalid_credentials", 401, "Wrong username or password"


def log_in(*, username: str, password: str) -> tuple[dict[str, str], User]:
    """{access, refresh} and whose they are; InvalidCredentials, which takes as long for a name that nobody has."""
    user = User.objects.named(username)
    if user is None:
        make_password(password)
    if user is None or not user.check_password(password) or not user.is_active:
        raise InvalidCredentials("No active user has that name and password.")
    return _pair(user), user


def refresh(token: str) -> dict[str, str]:
    """A new pair for a refresh token, which is used up by it: of two at the same time, one gets the pair."""
    with transaction.atomic():
        claims = _use_up(token)
        user = User.objects.filter(pk=claims[api_settings.USER_ID_CLAIM], is_active=True).first()
        if user is None or claims.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
            raise TokenInvalid("The token's user cannot log in, or changed the password; log in again.")
        return _pair(user)


def log_out(token: str) -> None:
    """The refresh token ends here."""
    with transaction.atomic():
        _use_up(token)


def _pair(user: User) -> dict[str, str]:
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    for token in (refresh, access):
        token.set_iat(at_time=token.current_time - BEHIND)
    return {"access": str(access), "refresh": str(refresh)}


def _use_up(token: str) -> RefreshToken:
    """Verify the refresh token and blacklist it, under a lock on its row. Nothing that it says is used before."""
    try:
        claims = RefreshToken(token)
        OutstandingToken.objects.select_for_update().filter(jti=claims[api_settings.JTI_CLAIM]).first()
        claims.check_blacklist()  # again: another may have used it up before the lock was ours
        claims.blacklist()
    except ExpiredTokenError:
        raise TokenExpired("The refresh token has expired; log in again.") from None
    except TokenError:
        raise TokenInvalid("The refresh token is not valid or was used before.") from None
    return claims
