"""What the venue logs: one line a record, for people (`LOG_FORMAT=text`) or for machines (`json`).

Every record carries the request's id where there is one, and the name of its thread or background task, so that a line
of the sequencer, the feed or the simulator is told from a request's. Nothing here logs bodies, query strings, headers
(but for a foreign Host), addresses or user names: a request is its method, path, status and time. JSON lines hold the
traceback as one text.
"""

import asyncio
import logging
import re
import time
import traceback
from datetime import UTC, datetime
from urllib.parse import quote

import orjson

from exchange import writers
from marketdata import tracing

logger = logging.getLogger("venue.requests")

#: Fields that a caller may add with `extra=`.
EXTRAS = ("method", "path", "status", "milliseconds")
UNNAMED_TASK = re.compile(r"Task-\d+")
LONGEST_PATH = 200
#: While Redis is away, one line says so every so often.
REMIND_SECONDS = 60.0


class Origin(logging.Filter):
    """Adds to each record on whose behalf it was written, and by what."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "request_id", ""):
            record.request_id = tracing.request_id.get()
        record.origin = _task_name() or ("sequencer" if writers.current() else record.threadName)
        return True


def _task_name() -> str:
    """The name of the running background task; empty for tasks that nobody has named."""
    try:
        name = asyncio.current_task().get_name()
    except (RuntimeError, AttributeError):
        return ""
    return "" if UNNAMED_TASK.fullmatch(name) else name


class PeersMistakes(logging.Filter):
    """Drops the trace that uvicorn writes when a text frame is not UTF-8; that socket is closed with 1007."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, UnicodeDecodeError) and record.msg.startswith("Invalid UTF-8"))


class ForeignHosts(logging.Filter):
    """Makes a short warning of a request for a host that is not ours. Django logs it as an error with its traceback,
    but whoever scans the network sends it, and it is answered 400. The host is named, alone of all headers: it is what
    whoever set the venue up may have to add to ALLOWED_HOSTS.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.msg, record.args = record.getMessage()[:LONGEST_PATH], ()
        record.exc_info = record.exc_text = None
        return True


class AbsentRedis(logging.Filter):
    """Makes one short warning of a minute without Redis. channels_redis logs forty lines of traceback a second and
    process, but it joins again by itself, and the streams live from the database until then.
    """

    def __init__(self):
        super().__init__()
        self.silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not (isinstance(error, OSError) or type(error).__module__ == "redis.exceptions"):
            return True
        now = time.monotonic()
        if now < self.silent_until:
            return False
        self.silent_until = now + REMIND_SECONDS
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.msg, record.args = "Redis cannot be listened to (%s); streams catch up from the database", (error,)
        record.exc_info = record.exc_text = None
        return True


class TextFormatter(logging.Formatter):
    """For people at a terminal."""

    def __init__(self):
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        origin = "" if record.origin == "MainThread" else record.origin
        marks = " ".join(mark for mark in (record.request_id, origin) if mark)
        return f"{line} [{marks}]" if marks else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "origin": record.origin,
            "process": record.process,
        }
        if record.request_id:
            content["request_id"] = record.request_id
        content |= {name: getattr(record, name) for name in EXTRAS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0]:
            content["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(content, default=str).decode()


class RequestLog:
    """The ASGI application for HTTP with one record for each answer. Wrapped around it only where LOG_REQUESTS asks
    for that.
    """

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        started, answer = time.perf_counter(), {}

        async def noting(message):
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                answer["request_id"] = _header(message, b"x-request-id")
            await send(message)

        try:
            await self.application(scope, receive, noting)
        finally:
            _log(scope, answer, time.perf_counter() - started)


def _header(message: dict, name: bytes) -> str:
    return next((value.decode("latin1") for key, value in message["headers"] if key.lower() == name), "")


def _log(scope, answer: dict, seconds: float) -> None:
    terms = {
        "method": scope["method"],
        "path": quote(scope["path"][:LONGEST_PATH]),
        "status": answer.get("status", 0),
        "milliseconds": round(seconds * 1000, 1),
    }
    line = "%(method)s %(path)s %(status)s %(milliseconds)s ms"
    logger.info(line, terms, extra={**terms, "request_id": answer.get("request_id", "")})


def configuration(*, form: str, level: str) -> dict:
    """Django's LOGGING."""
    formatters = {"text": TextFormatter, "json": JsonFormatter}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "origin": {"()": Origin},
            "peers": {"()": PeersMistakes},
            "hosts": {"()": ForeignHosts},
            "redis": {"()": AbsentRedis},
        },
        "formatters": {"line": {"()": formatters[form]}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["origin"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"filters": ["hosts"]},
            "uvicorn.error": {"level": "WARNING", "filters": ["peers"]},
            "channels_redis.pubsub": {"filters": ["redis"]},
            "daphne": {"level": "WARNING"},
            "axes": {"level": "WARNING"},
        },
    }
