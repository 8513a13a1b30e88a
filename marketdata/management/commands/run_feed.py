"""`manage.py run_feed`: follows the price providers in a process of its own, until Ctrl-C.

The servers do so by themselves; this is for watching it, or for keeping it out of them. While another process has the
lead, it waits. Every few seconds it prints what it counts.
"""

import asyncio
from contextlib import suppress

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketdata import feed


class Command(BaseCommand):
    help = "Follows the price providers of all active price sources; prints its counters now and then."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="between two reports (10)")
        parser.add_argument("--seconds", type=float, metavar="SECONDS", help="end after so long; else never")

    def handle(self, *, every: float, seconds: float | None, **options) -> None:
        if not every > 0 or not (seconds is None or seconds > 0):  # NaN is not above 0 either
            raise CommandError("--every and --seconds must be positive.", returncode=2)
        with suppress(KeyboardInterrupt):
            asyncio.run(self._run(every, seconds))
        self._print()

    async def _run(self, every: float, seconds: float | None) -> None:
        reporting = asyncio.create_task(self._report(every))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await feed.run()
        finally:
            reporting.cancel()

    async def _report(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self._print()

    def _print(self) -> None:
        self.stdout.write(orjson.dumps(feed.status()).decode())
        self.stdout.flush()
