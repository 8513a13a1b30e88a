"""manage.py simulate: the simulated market in the foreground, at the pace of the clock or a number of steps at once."""

import asyncio
import time
from collections.abc import Coroutine

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.barrier import barrier
from exchange.models import Trade
from exchange.sequencer import sequencer
from exchange.simulator import Simulator
from exchange.simulator.leader import Leadership
from exchange.simulator.runner import Tally
from exchange.simulator.tape import tape_hash
from marketdata.refusals import Refusal

#: On a terminal the line is rewritten every second; in a log there is one every ten.
TERMINAL_SECONDS, LOG_SECONDS = 1.0, 10.0


class Command(BaseCommand):
    help = "Trades in the simulated market until Ctrl-C. The server must run with SIMULATOR=off, or not at all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, default=settings.SIMULATOR_SEED, help="SIMULATOR_SEED")
        parser.add_argument("--speed", type=float, default=1.0, help="times the pace of the clock")
        parser.add_argument("--markets", nargs="+", metavar="SYMBOL", help="only these; all spot markets otherwise")
        parser.add_argument("--steps", type=int, help="make so many steps as fast as the venue answers, then end")

    def handle(self, *, seed: int, speed: float, markets: list[str] | None, steps: int | None, **options) -> None:
        if speed <= 0:
            raise CommandError("--speed must be above 0.", returncode=2)
        if steps is not None and steps < 0:
            raise CommandError("--steps must not be negative.", returncode=2)
        simulator = Simulator(seed, markets, speed)
        before = Trade.objects.order_by("-id").values_list("id", flat=True).first() or 0
        try:
            asyncio.run(self._alone(simulator, steps))
        except KeyboardInterrupt:
            pass
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        finally:
            sequencer.stop()
            barrier.stop()
        self._summarise(simulator, before)

    async def _alone(self, simulator: Simulator, steps: int | None) -> None:
        leadership = Leadership()
        try:
            if not await leadership.take():
                raise CommandError("Another process simulates on this database; start its server with SIMULATOR=off.")
            await self._watch(simulator, simulator.run() if steps is None else simulator.step(steps))
        finally:
            await simulator.close()
            await leadership.close()

    async def _watch(self, simulator: Simulator, work: Coroutine) -> None:
        live = self.stdout.isatty()
        task = asyncio.create_task(work)
        try:
            commands, moment = 0, time.monotonic()
            while not task.done():
                await asyncio.wait({task}, timeout=TERMINAL_SECONDS if live else LOG_SECONDS)
                now = time.monotonic()
                line = _line(simulator.tally, (simulator.tally.commands - commands) / (now - moment))
                self.stdout.write(f"\r\x1b[K{line[:160]}" if live else line, ending="" if live else "\n")
                self.stdout.flush()
                commands, moment = simulator.tally.commands, now
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _summarise(self, simulator: Simulator, before: int) -> None:
        tally, trades = simulator.tally, Trade.objects.filter(id__gt=before).count()
        refusals = ", ".join(f"{count} {code}" for code, count in sorted(tally.refusals.items())) or "none"
        self.stdout.write(
            f"\n{tally.steps} steps, {tally.commands} commands, {trades} trades; refused: {refusals}\n"
            f"tape {tape_hash(after_trade_id=before)}"
        )


def _line(tally: Tally, rate: float) -> str:
    prices = " ".join(f"{symbol} {price}" for symbol, price in sorted(tally.prices.items()))
    return f"{tally.steps} steps, {rate:.1f} commands/s, {tally.refusals.total()} refused | {prices}"
