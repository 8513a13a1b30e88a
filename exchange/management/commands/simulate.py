"""manage.py simulate: the simulated market in the foreground, at the pace of the clock or a number of steps at once."""

import asyncio
import time
from collections.abc import Coroutine

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange import barrier
from exchange.models import Trade
from exchange.sequencer import sequencer
from exchange.simulator import Simulator, leader
from exchange.simulator.market import STEP_SECONDS, Tally
from exchange.simulator.scenario import Scenario, ScenarioError, built_in, load
from exchange.simulator.tape import tape_hash
from exchange.simulator.timekeeping import SimulatedClock, refuse_live_venue, start_for
from marketdata import clock
from marketdata.leadership import Leadership
from marketdata.markets import by_symbol
from marketdata.models import Market
from marketdata.refusals import Refusal, UnknownMarket

#: On a terminal the line is rewritten every second; in a log there is one every ten.
TERMINAL_SECONDS, LOG_SECONDS = 1.0, 10.0
MOST_SPEED, MOST_STEPS = 1_000_000, 1_000_000_000


class Command(BaseCommand):
    help = "Trades in the simulated market until Ctrl-C. The server must run with SIMULATOR=off, or not at all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, help="SIMULATOR_SEED; the scenario's own when it has one")
        parser.add_argument("--speed", type=float, default=settings.SIMULATOR_SPEED, help="simulated seconds a second")
        parser.add_argument("--markets", nargs="+", metavar="SYMBOL", help="only these; all spot markets otherwise")
        parser.add_argument("--steps", type=int, help=f"so many steps of {STEP_SECONDS} s as fast as it goes, then end")
        parser.add_argument(
            "--clock",
            choices=("real", "simulated"),
            default="real",
            help="simulated: with --steps, trades carry simulated time; for a venue that nobody else uses",
        )
        parser.add_argument(
            "--scenario",
            metavar="FILE",
            default=settings.SIMULATOR_SCENARIO,
            help=f"a schedule of halts, crashes and news: a TOML file, or {', '.join(built_in())}",
        )

    def handle(self, *, steps: int | None, scenario: str, **options) -> None:
        self._check(steps=steps, **options)
        if options["markets"] is not None:
            options["markets"] = _symbols(options["markets"])
        played = self._scenario(scenario, options["markets"])
        simulated = SimulatedClock(start_for(steps * STEP_SECONDS)) if options["clock"] == "simulated" else None
        wishes = (options["seed"], played and played.seed, settings.SIMULATOR_SEED)
        seed = next(seed for seed in wishes if seed is not None)
        simulator = Simulator(seed, options["markets"], options["speed"], played, simulated)
        before = Trade.objects.order_by("-id").values_list("id", flat=True).first() or 0
        try:
            asyncio.run(self._alone(simulator, steps, simulated))
        except KeyboardInterrupt:
            pass
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        finally:
            sequencer.stop()
            barrier.stop()
            if simulated is not None:
                simulated.close()
        self._summarise(simulator, before, simulated)

    def _check(self, *, steps: int | None, speed: float, clock: str, **options) -> None:
        if not 0 < speed <= MOST_SPEED:
            raise CommandError(f"--speed must be above 0, and at most {MOST_SPEED}.", returncode=2)
        if steps is not None and not 0 <= steps <= MOST_STEPS:
            raise CommandError(f"--steps must be from 0 to {MOST_STEPS}.", returncode=2)
        if clock == "simulated" and steps is None:
            raise CommandError("--clock simulated needs --steps: real time would never pass.", returncode=2)

    def _scenario(self, name: str, markets: list[str] | None) -> Scenario | None:
        """The scenario that was asked for; it must be playable, and in markets that take part."""
        if not name:
            return None
        try:
            scenario = load(name)
        except ScenarioError as error:
            raise CommandError(str(error), returncode=2) from None
        there = set(Market.objects.filter(is_active=True, kind=Market.Kind.SPOT).values_list("symbol", flat=True))
        there &= set(markets) if markets else there
        if absent := sorted(scenario.symbols() - there):
            raise CommandError(f"The scenario names markets that do not take part: {', '.join(absent)}.", returncode=2)
        return scenario

    async def _alone(self, simulator: Simulator, steps: int | None, simulated: SimulatedClock | None) -> None:
        leadership = Leadership(leader.LOCK, "simulate")
        try:
            if not await leadership.take():
                raise CommandError("Another process simulates on this database; start its server with SIMULATOR=off.")
            if simulated is not None:
                await leadership.do(refuse_live_venue)
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

    def _summarise(self, simulator: Simulator, before: int, simulated: SimulatedClock | None) -> None:
        tally, trades = simulator.tally, Trade.objects.filter(id__gt=before).count()
        refusals = ", ".join(f"{count} {code}" for code, count in sorted(tally.refusals.items())) or "none"
        self.stdout.write(
            f"\n{tally.steps} steps, {tally.commands} commands, {trades} trades; refused: {refusals}\n"
            f"tape {tape_hash(after_trade_id=before)}"
        )
        if simulated is not None:
            self.stdout.write(f"simulated time from {clock.text(simulated.start)}")


def _symbols(names: list[str]) -> list[str]:
    """The symbols of these markets, each of which the simulator must be able to trade in."""
    found, unfit = [], []
    for name in names:
        try:
            spec = by_symbol(name)
        except UnknownMarket:
            spec = None
        if spec is not None and spec.kind == Market.Kind.SPOT:
            found.append(spec.symbol)
        else:
            unfit.append(name)
    if unfit:
        raise CommandError(f"These are not active spot markets: {', '.join(unfit)}.", returncode=2)
    return found


def _line(tally: Tally, rate: float) -> str:
    prices = " ".join(f"{symbol} {price}" for symbol, price in sorted(tally.prices.items()))
    return f"{tally.steps} steps, {rate:.1f} commands/s, {tally.refusals.total()} refused | {prices}"
