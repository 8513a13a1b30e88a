"""Checks of a deployment (`manage.py check --deploy`): what is right for a demo and wrong for a venue that others
use.
"""

from django.conf import settings
from django.core.checks import Tags, Warning, register

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
    }
)


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
