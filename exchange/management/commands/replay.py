"""`manage.py replay [market]`: rebuilds books from the journal and compares them with the stored ones.

Safe while the venue runs. Exit code 0: same. 1: a difference; the first sequence that differs is named. 1, too, where
a market's figures make no sense: it is named, and the others are replayed. 2: used wrongly.
"""

import sys

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange.audit import replay
from exchange.checkpoints import NotKept
from marketdata import markets
from marketdata.models import Market
from marketdata.refusals import UnreadableMarket


class Command(BaseCommand):
    help = "Feeds each market's journal to a fresh book; compares its trades and open orders with the stored ones."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("market", nargs="?", help="a market's symbol; without it, all markets")
        parser.add_argument(
            "--until", type=int, metavar="SEQUENCE", help="stop there and print the book as it stood then"
        )

    def handle(self, *, market: str | None, until: int | None, **options) -> None:
        if until is not None and (market is None or until < 0):
            raise CommandError("--until needs a market, and a sequence of 0 or more.", returncode=2)
        rows = list(markets.complete().order_by("symbol").values_list("id", "symbol"))
        chosen = [row for row in rows if market is None or row[1] == market.upper()]
        if market is not None and not chosen and Market.objects.filter(symbol=market.upper()).exists():
            raise CommandError(f"the margin market {market.upper()} has no contract, so no book.", returncode=2)
        if market is not None and not chosen:
            names = ", ".join(symbol for _, symbol in rows) or "none"
            raise CommandError(f"there is no market {market!r}; there are: {names}.", returncode=2)
        self._print_head([symbol for _, symbol in chosen])
        results = [self._replay(market_id, symbol, until) for market_id, symbol in chosen]
        if until is not None and results[0] is not None:
            self._print_book(results[0])
        if any(result is None or result.difference for result in results):
            sys.exit(1)

    def _replay(self, market_id: int, symbol: str, until: int | None) -> replay.Replayed | None:
        """None where the market's figures make no book."""
        progress = None
        if self.stderr.isatty():

            def progress(done: int, total: int) -> None:
                self.stderr.write(f"\r\033[K{symbol}: {done:,} of {total:,}", ending="\r")
                self.stderr.flush()

        try:
            result = replay.replay(market_id, until=until, progress=progress)
        except NotKept as error:
            raise CommandError(f"{error}.", returncode=2) from None
        except UnreadableMarket as error:
            self.stdout.write(self.style.ERROR(f"{symbol:<{self._width}}  not replayed: {error.detail}"))
            return None
        if progress:
            self.stderr.write("\r\033[K", ending="")
        self._print_row(result)
        return result

    def _print_head(self, symbols: list[str]) -> None:
        self._width = max(map(len, [*symbols, "market"]))
        self.stdout.write(
            f"{'market':<{self._width}}  {'commands':>10}  {'trades':>10}  {'open orders':>11}"
            f"  {'hash':<32}  {'verdict':<7}  {'commands/s':>10}"
        )

    def _print_row(self, result: replay.Replayed) -> None:
        difference = result.difference
        line = (
            f"{result.symbol:<{self._width}}  {result.commands:>10,}  {result.trades:>10,}"
            f"  {len(result.live.book):>11,}  {result.state_hash:<32}  {'DIFFERS' if difference else 'same':<7}"
            f"  {result.commands_per_second:>10,}"
        )
        if result.begins:
            line += f"  from its checkpoint at {result.begins:,}"
        self.stdout.write(self.style.ERROR(line) if difference else line)
        if difference:
            self.stdout.write(
                self.style.ERROR(f"  first difference at sequence {difference.sequence}: {difference.text}")
            )
            if result.stored_hash:
                self.stdout.write(f"  hash of the database's open orders: {result.stored_hash}")
        self.stdout.flush()

    def _print_book(self, result: replay.Replayed) -> None:
        rows = replay.levels(result.live)
        self.stdout.write(f"\n{result.symbol} as it stood at sequence {result.live.sequence}")
        self.stdout.write(f"{'side':<4}  {'price':>20}  {'quantity':>20}  {'orders':>7}")
        for row in rows:
            self.stdout.write(f"{row.side:<4}  {row.price:>20}  {row.quantity:>20}  {row.orders:>7,}")
        if not rows:
            self.stdout.write("(empty)")
