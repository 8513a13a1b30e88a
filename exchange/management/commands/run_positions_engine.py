"""`manage.py run_positions_engine`: watches every margin account, liquidates, posts financing; until Ctrl-C.

The servers do so by themselves; this is for keeping it out of them. Of all processes on the database one works, the
others wait, so that it may be started any number of times; it says which it does.
"""

import asyncio
from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange import positions_engine


class Command(BaseCommand):
    help = "Watches every margin account, liquidates, and posts financing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=float, metavar="SECONDS", help="end after so long; else never")

    def handle(self, *, seconds: float | None, **options) -> None:
        if seconds is not None and seconds <= 0:
            raise CommandError("--seconds must be positive.", returncode=2)
        with suppress(KeyboardInterrupt):
            asyncio.run(positions_engine.foreground(positions_engine.run_engine, seconds, self._say))

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
