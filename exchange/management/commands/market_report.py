"""`manage.py market_report`: is the market alive like a real one? Its stylised facts against the literature.

Exit code 0 whatever the verdicts are: they are findings, not faults. 2: what was asked for is not there.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.simulator.observation import Observation, observe
from exchange.simulator.plots import NoPlotting, draw
from exchange.simulator.report import Fact, Real, measure, real_tape
from exchange.simulator.scenario import duration
from marketdata import clock, markets
from marketdata.models import Market

VERDICTS = {True: "holds", False: "does not", None: "too little"}


class Command(BaseCommand):
    help = "Measures the stylised facts of markets from their journals and compares them with the literature."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--market", nargs="+", metavar="SYMBOL", help="only these; all that traded otherwise")
        parser.add_argument("--since", help="a time (2026-01-31T09:00:00Z), or how long ago (90s, 1h30m)")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
        parser.add_argument("--plots", type=Path, metavar="DIR", help="draw PNG pictures into this folder (matplotlib)")

    def handle(self, *, market: list[str] | None, since: str | None, json: bool, plots: Path | None, **options) -> None:
        moment, real = _moment(since), real_tape()
        report = {"since": moment and clock.text(moment), "comparison": real.about, "markets": {}}
        for symbol in _symbols(market):
            seen = observe(symbol, since=moment)
            table = measure(seen, real)
            pictures = self._draw(seen, plots)
            report["markets"][symbol] = _summary(seen) | {
                "facts": [asdict(fact) for fact in table],
                "plots": [str(path) for path in pictures],
            }
            if not json:
                self._print(seen, table, real, pictures)
        if json:
            self.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())

    def _draw(self, seen: Observation, folder: Path | None) -> list[Path]:
        if folder is None:
            return []
        try:
            return draw(seen, folder)
        except NoPlotting as error:
            raise CommandError(str(error), returncode=2) from None
        except OSError as error:
            raise CommandError(f"cannot draw into {folder}: {error.strerror}.", returncode=2) from None

    def _print(self, seen: Observation, table: list[Fact], real: Real, pictures: list[Path]) -> None:
        summary = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in _summary(seen).items())
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n{seen.symbol}: {summary}"))
        heads = ("fact", "measured", "expected", "source", "real", "verdict")
        rows = [(f.name, f.measured, f.expected, f.source, f.real, VERDICTS[f.holds]) for f in table]
        widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
        for row in [heads, *rows]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.stdout.write(self.style.ERROR(line) if row[-1] == VERDICTS[False] else line)
        self.stdout.write(real.about)
        for path in pictures:
            self.stdout.write(f"drawn: {path}")


def _summary(seen: Observation) -> dict[str, int]:
    return {"seconds": seen.seconds, "commands": sum(seen.commands.values()), "trades": seen.trades}


def _symbols(wanted: list[str] | None) -> list[str]:
    if not wanted:
        return list(markets.complete().filter(sequence__gt=0).order_by("symbol").values_list("symbol", flat=True))
    symbols = [symbol.upper() for symbol in wanted]
    known = set(Market.objects.filter(symbol__in=symbols).values_list("symbol", flat=True))
    if absent := sorted(set(symbols) - known):
        raise CommandError(f"No such market: {', '.join(absent)}.", returncode=2)
    if bare := sorted(known - set(markets.complete().values_list("symbol", flat=True))):
        raise CommandError(f"Margin market without a contract, so without a book: {', '.join(bare)}.", returncode=2)
    return symbols


def _moment(since: str | None) -> datetime | None:
    """UTC. A time without a zone is UTC."""
    if since is None:
        return None
    try:
        return clock.now() - timedelta(seconds=duration(since))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise CommandError(f"--since {since!r} is neither a time nor a span such as 1h30m.", returncode=2) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
