"""Checks of a deployment (`manage.py check --deploy`): what is right for a demo and wrong for a venue that others
use. What is wrong everywhere (see `unsafe`) also keeps `serve` from starting.
"""

import ipaddress

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

SECRET_KEY_CHARACTERS = 32
SECRET_KEY_KINDS = 8
EXAMPLES = ("django-insecure", "changeme", "change-me", "change_me", "secret-key", "your-secret")

#: What config.lean takes account of; it sends no request through the middleware itself.
KNOWN_MIDDLEWARE = frozenset(
    {
        "config.middleware.RequestMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "corsheaders.middleware.CorsMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django_otp.middleware.OTPMiddleware",
        "axes.middleware.AxesMiddleware",
    }
)


def unsafe(*, debug: bool, host: str, secret_key: str) -> list[str]:
    """Why a server must not start like that; empty if it may."""
    reasons = []
    if debug and not is_loopback(host):
        reasons.append(f"DEBUG shows secrets to everybody who reaches HOST {host}: set DEBUG=off, or HOST=127.0.0.1.")
    is_example = any(example in secret_key.lower() for example in EXAMPLES)
    if len(secret_key) < SECRET_KEY_CHARACTERS or len(set(secret_key)) < SECRET_KEY_KINDS or is_example:
        reasons.append(
            f"SECRET_KEY can be guessed: set at least {SECRET_KEY_CHARACTERS} random characters, or unset it to have "
            "one generated."
        )
    return reasons


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@register(Tags.security)
def the_server_may_start(app_configs, **kwargs) -> list[Error]:
    """See `unsafe`."""
    reasons = unsafe(debug=settings.DEBUG, host=settings.HOST, secret_key=settings.SECRET_KEY)
    return [Error(reason, id="venue.E001") for reason in reasons]


@register(Tags.security)
def hot_routes_see_the_same_middleware(app_configs, **kwargs) -> list[Warning]:
    """Middleware that the lean way knows nothing of."""
    unknown = [name for name in settings.MIDDLEWARE if name not in KNOWN_MIDDLEWARE]
    if not (settings.LEAN and unknown):
        return []
    hint = "Teach config.lean about it and name it in config.checks, or set LEAN=off."
    return [Warning(f"Hot routes do not pass through {', '.join(unknown)}.", hint=hint, id="venue.W001")]


@register(Tags.security, deploy=True)
def nothing_of_the_demo_is_left(app_configs, **kwargs) -> list[Warning]:
    """Demo conveniences that are still on."""
    findings = [
        (settings.FAUCET, "FAUCET", "users can deposit out of nothing", "W002"),
        (settings.SIMULATOR, "SIMULATOR", "the house trades simulated orders", "W003"),
        (not settings.RATE_LIMITS, "RATE_LIMITS", "requests are not limited", "W004"),
    ]
    return [
        Warning(
            f"{name}: {what}.", hint=f"Set {name}={'on' if name == 'RATE_LIMITS' else 'off'}.", id=f"venue.{number}"
        )
        for is_wrong, name, what, number in findings
        if is_wrong
    ]
