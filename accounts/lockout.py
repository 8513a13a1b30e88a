"""Who guesses passwords is locked out: RATE_LIMIT_LOGIN_FAILURES failures of one name from one address, counted by
django-axes in the database, so for all processes, for logging in over the API and in the admin alike.

One address that guesses at many names is stopped too, at ADDRESS_FACTOR times as many failures; that is counted by
each process for itself. A name counts however it is written, by the key that it is looked up by at login. Nothing is
counted while RATE_LIMITS is off.
"""

from datetime import timedelta
from hashlib import sha256

from axes.backends import AxesStandaloneBackend
from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest

from accounts.models import User
from marketdata import clock
from marketdata.throttling import Rate, Throttled, address_of_request, rate, windows

ADDRESS_FACTOR = 10
ATTEMPT_NAME_LENGTH = AccessAttempt._meta.get_field("username").max_length


class GuessedNames(AxesStandaloneBackend):
    """Stops the login of a locked-out name at the admin's door."""

    def authenticate(self, request: HttpRequest | None, **credentials) -> None:
        """PermissionDenied for a name that is locked out; None leaves it to the backends behind this one."""
        # Who checks a password without a request (a shell, the login of Django's test client) has no address to count.
        if request is not None:
            super().authenticate(request, **credentials)


def check(request: HttpRequest, username: str) -> None:
    """Throttled for a name or an address with too many failures."""
    if not settings.RATE_LIMITS:
        return
    if not AxesProxyHandler.is_allowed(request, {"username": username}):
        raise Throttled(seconds_left(request, username))
    windows.charge(*_window(request), cost=0).check()


def failed(request: HttpRequest, username: str) -> None:
    """One more failure."""
    if settings.RATE_LIMITS:
        windows.charge(*_window(request))
        user_login_failed.send(sender=__name__, credentials={"username": username}, request=request)


def succeeded(request: HttpRequest, user: User) -> None:
    """The right password ends the name's count."""
    if settings.RATE_LIMITS:
        AxesProxyHandler.user_logged_in(__name__, request=request, user=user)


def seconds_left(request: HttpRequest, username: str) -> int:
    """How long the lockout of that name lasts yet."""
    name = client_name(request, {"username": username})
    rows = AccessAttempt.objects.filter(username=name, ip_address=client_address(request))
    last = rows.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
    limit = get_cool_off(request)
    left = limit if last is None else last + limit - clock.now()
    return max(1, int(left.total_seconds()))


def _window(request: HttpRequest) -> tuple[object, Rate]:
    limit = rate(settings.RATE_LIMIT_LOGIN_FAILURES)
    return ("login", address_of_request(request)), Rate(limit.limit * ADDRESS_FACTOR, limit.seconds)


# What django-axes asks for, by name in the settings


def failure_limit(request: HttpRequest, credentials: dict | None) -> int:
    return rate(settings.RATE_LIMIT_LOGIN_FAILURES).limit


def cool_off(request: HttpRequest | None) -> timedelta:
    return timedelta(seconds=rate(settings.RATE_LIMIT_LOGIN_FAILURES).seconds)


def client_address(request: HttpRequest) -> str:
    return address_of_request(request)


def client_name(request: HttpRequest, credentials: dict | None) -> str:
    """The name's key; text that PostgreSQL cannot keep, and more than the doors let in, is no name of anybody's.

    A key that has no place in the table of failures is counted by its digest: cut short, it could be another's.
    """
    name = (credentials or {}).get("username") or request.POST.get("username") or ""
    key = User.objects.key_of(name.replace("\x00", "")[:150])
    return key if len(key) <= ATTEMPT_NAME_LENGTH else sha256(key.encode()).hexdigest()


def client_text(username: str, ip_address: str, user_agent: str, path_info: str, request: HttpRequest) -> str:
    """Who failed, as the log says it: name and address stand in the table of failures only."""
    return f"somebody at {request.path_info}"
