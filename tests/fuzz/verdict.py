"""What a fuzzed venue may not show, whatever was sent to it: a bug's trace in its log, a server that is gone or not
ready, money that does not add up.
"""

import re
import urllib.error
import urllib.request

from benchmarks.server import PrivateVenue
from tests.chaos.verdict import auditors

#: A log line of somebody's mistake. Warnings are for what was refused on purpose.
TROUBLE = re.compile(r"^(Traceback \(most recent call last\):|.*\b(ERROR|CRITICAL)\b.*|.*never (retrieved|awaited).*)$")
SHOWN_LINES = 25


def traces(log: str) -> list[str]:
    """The first places of a server's log that tell of a bug, each with what follows it."""
    lines, found, number = log.splitlines(), [], 0
    while number < len(lines):
        if TROUBLE.match(lines[number]):
            found.append("\n".join(lines[number : number + SHOWN_LINES]))
            number += SHOWN_LINES
        number += 1
    return found


def problems(venue: PrivateVenue) -> list[str]:
    """All that is wrong with the venue now; nothing if it took everything well."""
    found = [f"in the server's log:\n{trace}" for trace in traces(venue.server.output())]
    if not venue.server.is_running():
        return [*found, "the server has ended"]
    try:
        with urllib.request.urlopen(f"{venue.url}/health/ready", timeout=30):
            pass
    except (urllib.error.URLError, TimeoutError) as error:
        found.append(f"/health/ready: {error!r}")
    return found + auditors(venue)
