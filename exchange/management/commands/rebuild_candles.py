"""`manage.py rebuild_candles`: writes the candles anew from the trades, or proves with --check that they are equal.

The check is safe while the venue runs; a rebuild stops the market's trading until it is done. Exit code 0: done, or
equal. 1: the check found a difference; the first of each market is printed. 2: used wrongly.
"""

import sys
import time

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange import candle_proof
from marketdata import clock
from marketdata.models import Candle, Market


class Command(BaseCommand):
    help = "Writes the candles anew from the trades; with --check only compares, and exits 1 at a difference."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--market", metavar="SYMBOL", help="only this market; without it, all")
        parser.add_argument("--check", action="store_true", help="change nothing; compare at every stored interval")

    def handle(self, *, market: str | None, check: bool, **options) -> None:
        chosen = Market.objects.order_by("symbol")
        if market is not None:
            chosen = chosen.filter(symbol=market.upper())
            if not chosen:
                raise CommandError(f"there is no market {market!r}.", returncode=2)
        work = self._check if check else self._rebuild
        same = [work(row) for row in chosen]
        if not all(same):
            sys.exit(1)

    def _rebuild(self, market: Market) -> bool:
        started = time.perf_counter()
        count = candle_proof.rebuild(market.id)
        seconds = time.perf_counter() - started
        self.stdout.write(f"{market.symbol}: {count:,} candles rebuilt in {seconds:.2f} s")
        return True

    def _check(self, market: Market) -> bool:
        difference = candle_proof.first_difference(market.id)
        if difference is None:
            count = Candle.objects.filter(market=market).count()
            self.stdout.write(f"{market.symbol}: {count:,} candles equal the trades")
            return True
        opened = clock.text(difference["open_time"])
        self.stdout.write(
            self.style.ERROR(f"{market.symbol}: {difference['interval_seconds']} s candle from {opened} differs")
        )
        self.stdout.write(f"  by the trades: {difference['by_trades'] or 'no such candle'}")
        self.stdout.write(f"  stored:        {difference['stored'] or 'no such candle'}")
        return False
