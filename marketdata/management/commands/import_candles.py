"""`manage.py import_candles FILE|DATASET|PROVIDER --market SYMBOL`: history of the outside world for the candles API.

All or nothing: rows that are wrong are dropped and counted, but an import that breaks off leaves nothing. Running it
again changes nothing. Exit code 1: nothing could be read, or no row was good.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from marketdata import clock, datasets, external, importing, markets, providers
from marketdata.importing import Inspection, Unreadable
from marketdata.models import PriceSource
from marketdata.providers import spans
from marketdata.providers.limits import Clock
from marketdata.providers.protocol import Bar, ProviderError
from marketdata.refusals import UnknownMarket

CHUNK = 5_000
SAMPLE = 1_000
BAR_WIDTH = 40
SOURCE_LENGTH = 32
DEFAULT_DECIMALS = 8
LIMIT = 5_000
#: What only a provider is asked.
OF_PROVIDERS = ("symbol", "start", "limit")
#: That a stored price has.
MOST_DECIMALS = 18

Rows = tuple[Iterator[Bar | str], Callable[[], float]]


class Command(BaseCommand):
    help = "Imports OHLCV bars for a market: from a CSV file (.gz, .zip), a named dataset, or a price provider."

    def add_arguments(self, parser: CommandParser) -> None:
        names = ", ".join([*datasets.DATASETS, *PriceSource.Provider.values])
        parser.add_argument("origin", metavar="FILE|DATASET|PROVIDER", help=f"a file, or one of: {names}")
        parser.add_argument("--market", required=True, metavar="SYMBOL")
        parser.add_argument("--interval", choices=list(spans.LENGTHS), help="else the commonest step in the file")
        parser.add_argument("--source", metavar="NAME", help="else the dataset's, provider's or file's name")
        parser.add_argument("--timezone", default="UTC", help="of times that name none (default UTC)")
        parser.add_argument(
            "--decimals", type=int, metavar="N",
            help="round prices to so many decimals (default 8); volumes are rounded to the base asset's",
        )  # fmt: skip
        parser.add_argument("--symbol", help="the provider's name of it; else the market's price source's")
        parser.add_argument("--start", help="provider: first day or time; else the newest bars")
        parser.add_argument("--limit", type=int, help=f"provider: at most so many bars (default {LIMIT})")
        parser.add_argument("--dry-run", action="store_true", help="read and check, store nothing")

    def handle(self, *, origin: str, market: str, dry_run: bool, **options) -> None:
        if options["decimals"] is not None and not 0 <= options["decimals"] <= MOST_DECIMALS:
            raise CommandError(f"--decimals must be from 0 to {MOST_DECIMALS}.", returncode=2)
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.", returncode=2)
        is_provider = origin.upper() in PriceSource.Provider.values
        if not is_provider and (idle := [name for name in OF_PROVIDERS if options[name] is not None]):
            raise CommandError(f"--{idle[0]} is for price providers; {origin} is none.", returncode=2)
        try:
            spec = markets.by_symbol(market)
            with self._rows(origin, spec, options) as (rows, progress), transaction.atomic():
                self._import(spec, rows, progress, dry_run, options)
        except (Unreadable, UnknownMarket, ProviderError) as error:
            raise CommandError(str(error)) from error

    @contextmanager
    def _rows(self, origin: str, spec: markets.MarketSpec, options: dict) -> Iterator[Rows]:
        """The rows of the origin and how far they have been read. Fills in what the options leave open."""
        if origin.upper() in PriceSource.Provider.values:
            bars = self._fetch(origin.upper(), spec, options)
            options["source"] = options["source"] or origin.upper()
            yield iter(bars), lambda: 1.0
            return
        dataset = datasets.DATASETS.get(origin.lower())
        path = dataset.file() if dataset else Path(origin)
        options["source"] = options["source"] or (dataset.source if dataset else path.name.partition(".")[0])
        options["interval"] = options["interval"] or (dataset.interval if dataset else None)
        with importing.open_lines(path) as (lines, progress):
            if dataset is datasets.DATASETS[datasets.ECB]:
                yield datasets.cross_rates(lines, base=spec.base, quote=spec.quote), progress
            else:
                decimals = options["decimals"]
                if decimals is None:
                    decimals = dataset.decimals if dataset else DEFAULT_DECIMALS
                terms = {"zone": _zone(options["timezone"]), "volume_decimals": spec.base_decimals}
                yield importing.bars(lines, decimals=decimals, **terms), progress

    def _fetch(self, name: str, spec: markets.MarketSpec, options: dict) -> list[Bar]:
        symbol = options["symbol"] or self._provider_symbol(name, spec)
        options["interval"] = interval = options["interval"] or "1d"
        start = importing.time_of(options["start"]) if options["start"] else None
        if options["start"] and start is None:
            raise CommandError(f"--start {options['start']} is not a time.", returncode=2)

        async def fetch() -> list[Bar]:
            provider = providers.make(name, Clock())
            try:
                return await provider.history(symbol, interval, start, None, options["limit"] or LIMIT)
            finally:
                await provider.close()

        return asyncio.run(fetch())

    def _provider_symbol(self, name: str, spec: markets.MarketSpec) -> str:
        source = PriceSource.objects.filter(market_id=spec.id, provider=name).first()
        if source is None:
            raise CommandError(f"--symbol is needed: {spec.symbol} has no price source at {name}.", returncode=2)
        return source.provider_symbol

    def _import(self, spec, rows, progress: Callable[[], float], dry_run: bool, options: dict) -> None:
        inspection, now = Inspection(), clock.now()
        bars = inspection.sound(rows, now=now)
        sample = list(islice(bars, SAMPLE))
        interval = options["interval"] or spans.guess(sorted(bar.open_time for bar in sample))
        if interval is None:
            reasons = "".join(f", {count} dropped: {reason}" for reason, count in sorted(inspection.dropped.items()))
            counts = f"{inspection.kept} good rows of {inspection.read}{reasons}"
            raise CommandError(f"No interval can be seen in {counts}. Name it by --interval.")
        source, bars = options["source"][:SOURCE_LENGTH], chain(sample, bars)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the rows may come from a slow pipe
        inserted = changed = 0
        while chunk := list(islice(bars, CHUNK)):
            if not dry_run:
                counts = external.store(market_id=spec.id, source=source, interval=interval, bars=chunk)
                inserted, changed = inserted + counts[0], changed + counts[1]
            self._show(progress(), inspection)
        self._report(inspection, spec, source, interval)
        unchanged = inspection.kept - inserted - changed
        told = f"{inserted:,} new, {changed:,} changed, {unchanged:,} as before"
        self.stdout.write(self.style.SUCCESS("nothing stored (dry run)" if dry_run else told))
        if not inspection.kept:
            raise CommandError("no row was good.")
        if not dry_run:
            self.stdout.write(
                f"read it with GET candles/?symbol={spec.symbol}&interval={interval}&source={source}; "
                "other intervals are not made of it: import them too"
            )

    def _show(self, part: float, inspection: Inspection) -> None:
        """The progress bar, for people only."""
        if self.stderr.isatty():
            full = round(part * BAR_WIDTH)
            bar = "█" * full + "·" * (BAR_WIDTH - full)
            self.stderr.write(f"\r\033[K{bar} {part:4.0%}  {inspection.read:,} rows", ending="")
            self.stderr.flush()

    def _report(self, inspection: Inspection, spec, source: str, interval: str) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r\033[K", ending="")
        self.stdout.write(f"{spec.symbol} {interval} from {source}")
        lines = [("rows read", inspection.read), ("kept", inspection.kept)]
        lines += [(f"dropped: {reason}", count) for reason, count in sorted(inspection.dropped.items())]
        gaps, longest = inspection.gaps(interval)
        lines += [("out of order", inspection.out_of_order), (f"gaps (longest {longest})", gaps)]
        for name, count in lines:
            self.stdout.write(f"  {name:<44}{count:>12,}")
        if inspection.times:
            first, last = min(inspection.times), max(inspection.times)
            self.stdout.write(f"  {_text(first)} to {_text(last)}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CommandError(f"there is no time zone {name!r}.", returncode=2) from error


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
