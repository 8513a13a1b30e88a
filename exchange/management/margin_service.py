"""What the commands of the two margin services (exchange.positions_engine) have in common: run until Ctrl-C.

The servers run both services by themselves; the commands are for keeping them out of the servers. Of all processes on
the database one works, the others wait, so that a command may be started any number of times; it says which it does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.positions_engine import Say, stop_threads
from exchange.sequencer import sequencer
from marketdata import hub


class ServiceCommand(BaseCommand):
    """Runs `service`, which is told whom to say it to when it begins to work or to wait."""

    service: Callable[[Say], Awaitable]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=float, metavar="SECONDS", help="end after so long; else never")

    def handle(self, *, seconds: float | None, **options) -> None:
        if seconds is not None and seconds <= 0:
            raise CommandError("--seconds must be positive.", returncode=2)
        with suppress(KeyboardInterrupt):
            asyncio.run(self._run(seconds))

    async def _run(self, seconds: float | None) -> None:
        await hub.start()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.service(self._say)
        finally:
            await hub.stop()
            await asyncio.to_thread(sequencer.stop)
            await asyncio.to_thread(stop_threads)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
