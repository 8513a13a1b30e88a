"""The id of the request (or socket) on whose behalf something runs, so that every line of a log can name it.

The id is kept in a context variable: tasks and look-up threads inherit it from whoever started them. The writer
works for many at once and has none; it is known by its name (`sequencer`).
"""

import itertools
import re
import secrets
from contextvars import ContextVar

#: Empty outside of requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def request_id_for(sent: str | None) -> str:
    """The caller's own request id if it is a sane one, else a new one."""
    return sent if sent and SANE_ID.fullmatch(sent) else f"{_process}-{next(_numbers):x}"
