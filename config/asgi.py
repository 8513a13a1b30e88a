"""The ASGI application: HTTP through the lean door, WebSockets to Channels, and what runs beside them for the life of
the server.

Servers with a lifespan (uvicorn) start and stop the background by it; `serve --server daphne` calls `startup` and
`shutdown` itself; under `runserver` there is neither, and the hub starts with the first socket.
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

# These need the apps to be loaded.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from config.background import lifespan, shutdown, startup  # noqa: E402
from config.lean import HttpDoor  # noqa: E402
from config.logs import RequestLog  # noqa: E402
from config.stock import ThreadedHandler  # noqa: E402
from exchange.streams.routing import websocket_urlpatterns  # noqa: E402

__all__ = ["application", "shutdown", "startup"]

http = HttpDoor(ThreadedHandler())
application = ProtocolTypeRouter(
    {
        "http": RequestLog(http) if settings.LOG_REQUESTS else http,
        "websocket": URLRouter(websocket_urlpatterns),
        "lifespan": lifespan,
    }
)
