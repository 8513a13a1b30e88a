"""Settings of the whole venue: one file, every knob from the environment.

A machine with nothing set gets a safe local venue: the embedded PostgreSQL in DATA_DIR, an in-memory channel layer,
a generated SECRET_KEY, loopback only. https://docs.djangoproject.com/en/5.2/ref/settings/
"""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from config import embedded, logs, secret
from config.environment import choice, days, flag, folder, hosts, origins, rate, ratio, seconds, url, whole, words

BASE_DIR = Path(__file__).resolve().parent.parent


def database(text):
    """Django's dictionary for a postgresql:// URL; query parameters become connection options."""
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query))
    if not parts.path.lstrip("/") and "service" not in query:
        raise SystemExit("DATABASE_URL must name a database: postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or query.pop("user", "") or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "")),
        "OPTIONS": query,
    }


# Where things are
DATA_DIR = folder("DATA_DIR", BASE_DIR / ".data")
HOST = os.environ.get("HOST") or "127.0.0.1"
PORT = whole("PORT", 8000, most=65_535)
WORKERS = whole("WORKERS", 1, most=256)
DATABASE_URL = url("DATABASE_URL", "postgresql://user:password@host:5432/name", "postgresql", "postgres")
REDIS_URL = url("REDIS_URL", "redis://host:6379/0", "redis", "rediss", "unix")

# Safety
DEBUG = flag("DEBUG")
try:
    SECRET_KEY = os.environ.get("SECRET_KEY") or secret.generated(DATA_DIR / "secret_key")
except OSError as error:
    raise SystemExit(f"DATA_DIR must be a folder that can be written to: {error}.") from None
except secret.Lost as error:
    raise SystemExit(f"{error}.") from None
SECRET_KEY_FALLBACKS = words("SECRET_KEY_FALLBACKS")
API_KEYS_SECRET = os.environ.get("API_KEYS_SECRET", "")
ADMIN_REQUIRE_TOTP = flag("ADMIN_REQUIRE_TOTP")
ALLOWED_HOSTS = hosts("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
CORS_ALLOWED_ORIGINS = origins("CORS_ALLOWED_ORIGINS", "null", "file://")
CORS_EXPOSE_HEADERS = ["Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"]
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "idempotency-key", "x-account", "x-api-key", "x-api-recv-window",
    "x-api-sign", "x-api-timestamp", "x-csrftoken", "x-otp", "x-request-id",
]  # fmt: skip
CSRF_TRUSTED_ORIGINS = origins("CSRF_TRUSTED_ORIGINS")
BEHIND_TLS = flag("BEHIND_TLS")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
# Takes a default within ten seconds of the clock for a forgotten now(): a contract's rollover, each day at 17:00.
SILENCED_SYSTEM_CHECKS = ["fields.W161"]

# The house
INSTALLED_APPS = [
    "config",
    "unfold.apps.BasicAppConfig",
    "config.apps.OperatorsConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "channels",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "marketdata",
    "accounts",
    "exchange",
]
MIDDLEWARE = [
    "config.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

# Stores
DATABASES = {"default": database(DATABASE_URL or embedded.database_url(DATA_DIR))}
DATABASES["default"].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)
DATABASES["default"]["OPTIONS"].setdefault("application_name", "venue")
# Where a machine is gone without a word (power, network), the other side takes it for gone after a minute: a server's
# session would keep its advisory locks for hours, the right to liquidate among them (marketdata.leadership), and who
# waits for the answer of a database would wait for a quarter of an hour. Local sockets know no such thing.
# One that takes a connection and then says nothing (stopped, or a disk that hangs) is waited for ten seconds.
GONE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 4, "tcp_user_timeout": 60_000}
DATABASES["default"]["OPTIONS"] = GONE | {"connect_timeout": 10} | DATABASES["default"]["OPTIONS"]
# A process that stands still in the middle of a transaction loses it, and with it the locks that others wait for. What
# takes its time between two statements says so itself (`SET LOCAL`): the audit, for one. And who has waited for a lock
# reads what was committed before, whatever the role is used to: at a stricter level the database refuses whom it made
# wait. The URL's own options win.
DATABASES["default"]["OPTIONS"]["options"] = " ".join(
    [
        r"-c idle_in_transaction_session_timeout=5000 -c default_transaction_isolation=read\ committed",
        *(f"-c tcp_{name.removeprefix('tcp_')}={value}" for name, value in GONE.items()),
        DATABASES["default"]["OPTIONS"].get("options", ""),
    ]
).strip()
if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL], "prefix": os.environ.get("CHANNEL_PREFIX") or "venue"},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# People
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
SESSION_ENGINE = "accounts.browser_sessions"
AUTHENTICATION_BACKENDS = ["accounts.lockout.GuessedNames", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Who guesses passwords is locked out by name and address together: see accounts.lockout.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = "accounts.lockout.failure_limit"
AXES_COOLOFF_TIME = "accounts.lockout.cool_off"
AXES_CLIENT_IP_CALLABLE = "accounts.lockout.client_address"
AXES_USERNAME_CALLABLE = "accounts.lockout.client_name"
AXES_CLIENT_STR_CALLABLE = "accounts.lockout.client_text"
AXES_LOCKOUT_CALLABLE = "config.views.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username", "password", "otp_code"]
OTP_TOTP_ISSUER = os.environ.get("VENUE_NAME") or "Venue"
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=whole("ACCESS_TOKEN_MINUTES", 15, least=1, most=525_600)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": False,
    "CHECK_REVOKE_TOKEN": True,
}

# Doors
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.callers.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.SignedIn"],
    "DEFAULT_RENDERER_CLASSES": ["config.rendering.PlainJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.rendering.ExactJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.rendering.AlwaysJSON",
    "DEFAULT_METADATA_CLASS": "config.rendering.Methods",
    "DEFAULT_PAGINATION_CLASS": "config.pagination.PagePagination",
    "DEFAULT_THROTTLE_CLASSES": ["config.throttles.VenueThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
    "COERCE_DECIMAL_TO_STRING": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
LEAN = flag("LEAN", default=True)
RATE_LIMITS = AXES_ENABLED = flag("RATE_LIMITS", default=True)
RATE_LIMIT_USER = rate("RATE_LIMIT_USER", "12000/60")
RATE_LIMIT_KEY = rate("RATE_LIMIT_KEY", "12000/60")
RATE_LIMIT_ANONYMOUS = rate("RATE_LIMIT_ANONYMOUS", "3000/60")
RATE_LIMIT_LOGIN_FAILURES = rate("RATE_LIMIT_LOGIN_FAILURES", "10/300")
# A class behind one address registers and logs in within a minute, with a few mistakes each.
RATE_LIMIT_REGISTER = rate("RATE_LIMIT_REGISTER", "150/600")
TRUSTED_PROXIES = whole("TRUSTED_PROXIES", 0, most=100)
SPECTACULAR_SETTINGS = {
    "TITLE": "Venue",
    "DESCRIPTION": "A trading venue: REST and WebSocket, price-time matching, every cent accounted for. "
    "The sockets, which OpenAPI has no words for, are described in docs/sockets.md.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "PREPROCESSING_HOOKS": ["config.openapi.only_versioned_paths"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.describe_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "WithdrawalStatus": "accounts.models.Withdrawal.Status",
        "SideEnum": "exchange.models.Side",
        "PositionSideEnum": "accounts.positions.SIDES",
        "OrderListKind": "exchange.models.ListKind",
        "MarketPhase": "marketdata.api.shapes.PHASES",
        "OrderType": "exchange.models.OrderType",
        "TimeInForce": "exchange.models.TimeInForce",
    },
    "COMPONENT_SPLIT_REQUEST": True,
}
UNFOLD = {
    "SITE_TITLE": "Venue",
    "SITE_HEADER": "Venue operators",
    "SITE_SYMBOL": "candlestick_chart",
    "SHOW_HISTORY": True,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "exchange.dashboard.context",
}

# The venue
SEED_DEMO = flag("SEED_DEMO", default=True)
SIMULATOR = flag("SIMULATOR", default=True)
SIMULATOR_SEED = whole("SIMULATOR_SEED", 1)
# Simulated seconds a second; a schedule of halts, crashes and news: a file, or a name in exchange/simulator/scenarios.
SIMULATOR_SPEED = seconds("SIMULATOR_SPEED", 1, most=1_000_000)
SIMULATOR_SCENARIO = os.environ.get("SIMULATOR_SCENARIO", "")
# Price providers; an address that is empty is the provider's own (marketdata/providers)
TWELVE_DATA_API_KEY = os.environ.get("TWELVE_DATA_API_KEY", "")
TWELVE_DATA_BASE_REST = os.environ.get("TWELVE_DATA_BASE_REST", "")
TWELVE_DATA_BASE_WS = os.environ.get("TWELVE_DATA_BASE_WS", "")
TWELVE_DATA_CREDITS_PER_MINUTE = whole("TWELVE_DATA_CREDITS_PER_MINUTE", 8, least=1)
TWELVE_DATA_CREDITS_PER_DAY = whole("TWELVE_DATA_CREDITS_PER_DAY", 800, least=1)
ALLTICK_API_KEY = os.environ.get("ALLTICK_API_KEY", "")
ALLTICK_BASE_REST = os.environ.get("ALLTICK_BASE_REST", "")
ALLTICK_BASE_WS = os.environ.get("ALLTICK_BASE_WS", "")
ALLTICK_PLAN = choice("ALLTICK_PLAN", "free", "basic", "premium", "professional")
QUOTE_STALE_SECONDS = seconds("QUOTE_STALE_SECONDS", None, most=31_536_000)
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")
FAUCET = flag("FAUCET", default=True)
FAUCET_DAILY_LIMIT = whole("FAUCET_DAILY_LIMIT", 10_000_000)
WITHDRAWALS_INSTANT = flag("WITHDRAWALS_INSTANT", default=False)
# Of equity to used margin: where an account is called, and where its positions are closed.
STOP_OUT_LEVEL = ratio("STOP_OUT_LEVEL", "0.5")
MARGIN_CALL_LEVEL = ratio("MARGIN_CALL_LEVEL", "1", at_least=("STOP_OUT_LEVEL", STOP_OUT_LEVEL))
# That many markets halted by their own rules halt the venue; 0: never.
VENUE_HALT_MARKETS = whole("VENUE_HALT_MARKETS", 0)
PORTFOLIO_QUOTE = (os.environ.get("PORTFOLIO_QUOTE") or "USD").upper()
SOCKETS_PER_ADDRESS = whole("SOCKETS_PER_ADDRESS", 1_000)
SOCKET_STALL_SECONDS = seconds("SOCKET_STALL_SECONDS", 5, most=86_400)

# How long what may go is kept, in days or `never` (see exchange.retention); nothing goes before `manage.py prune --yes`
KEEP_JOURNAL_DAYS = days("KEEP_JOURNAL_DAYS", 90, least=1)
KEEP_EVENTS_DAYS = days("KEEP_EVENTS_DAYS", 30, least=1)
KEEP_SECOND_CANDLES_DAYS = days("KEEP_SECOND_CANDLES_DAYS", 30, least=2)
KEEP_EXTERNAL_CANDLES_DAYS = days("KEEP_EXTERNAL_CANDLES_DAYS", None, least=1)
KEEP_IDEMPOTENCY_DAYS = days("KEEP_IDEMPOTENCY_DAYS", 90, least=2)
KEEP_LOGINS_DAYS = days("KEEP_LOGINS_DAYS", 30, least=1)

LOG_REQUESTS = flag("LOG_REQUESTS")
LOGGING = logs.configuration(
    form=choice("LOG_FORMAT", "text", "json"),
    level=choice("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL"),
)
