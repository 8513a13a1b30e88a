"""`manage.py top`: the venue live in a terminal. q or Ctrl-C ends it; over a pipe it prints frame after frame.

It reads /metrics of the server on this machine (or --url, with METRICS_TOKEN) and the database; it changes nothing.
"""

import contextlib
import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config import watching

HOME, CLEAR_LINE, CLEAR_BELOW = "\033[H", "\033[K", "\033[J"
ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"


class Command(BaseCommand):
    help = "Shows the venue live: markets, orders a second, batch times, sockets, database. q ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        host = "127.0.0.1" if settings.HOST in ("", "0.0.0.0", "::") else settings.HOST
        url = f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}"
        parser.add_argument("--url", default=url, help=f"where a server answers (without it, {url})")
        parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between frames (1)")
        parser.add_argument("--once", action="store_true", help="print one frame and end")

    def handle(self, *, url: str, interval: float, once: bool, **options) -> None:
        if not 0 < interval <= 86_400:
            raise CommandError("--interval is a number of seconds above 0, and at most 86400.", returncode=2)
        is_live = not once and sys.stdin.isatty() and self.stdout.isatty()
        try:
            with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), _screen(is_live) as is_quit:
                self._watch(url.rstrip("/"), is_live, lambda: is_quit(interval), once)
        except DatabaseError as error:
            raise CommandError(f"the database cannot be read: {str(error).splitlines()[0]}") from None

    def _watch(self, url: str, is_live: bool, is_quit: Callable[[], bool], once: bool) -> None:
        before = watching.sample(url, settings.METRICS_TOKEN)
        while not is_quit():
            now = watching.sample(url, settings.METRICS_TOKEN)
            self._show(watching.Between(before, now), is_live)
            if once:
                return
            before = now

    def _show(self, between: watching.Between, is_live: bool) -> None:
        if not is_live:
            self.stdout.write("\n".join(watching.frame(between, width=200)) + "\n")
            return self.stdout.flush()
        width, height = shutil.get_terminal_size()
        lines = watching.frame(between, width=width, height=height, is_colored="NO_COLOR" not in os.environ)
        self.stdout.write(HOME + "\n".join(line + CLEAR_LINE for line in lines) + CLEAR_BELOW, ending="")
        return self.stdout.flush()


@contextlib.contextmanager
def _screen(is_live: bool) -> Iterator:
    """How to wait: on a terminal of our own until q is pressed, else just for the time."""
    if not is_live:
        yield _wait
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    sys.stdout.write(ENTER)
    try:
        yield _wait_for_key
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _wait_for_key(seconds: float) -> bool:
    """Whether q was pressed within the time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and os.read(sys.stdin.fileno(), 1) in (b"q", b"Q", b"", b"\x04"):
            return True
    return False
