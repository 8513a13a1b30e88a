"""`manage.py prune [part …]`: shows what of the history may go by the venue's settings; with --yes lets it go.

Safe while the venue trades; interrupted, it goes on the next time. See exchange.retention for what each part is.
Exit code 0: shown, or done. 1: a journal that cannot be proved, or somebody else is pruning. 2: used wrongly.
"""

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from exchange import retention
from exchange.retention.journal import NotProved
from marketdata.leadership import Taken, alone
from marketdata.refusals import UnreadableMarket

MEGABYTE = 1_000_000


class Command(BaseCommand):
    help = "Shows what of the history may go by the venue's settings (KEEP_…_DAYS); with --yes deletes it."

    def add_arguments(self, parser: CommandParser) -> None:
        names = [part.name for part in retention.PARTS]
        parser.add_argument("parts", nargs="*", metavar="part", help=f"only these; there are {', '.join(names)}")
        parser.add_argument("--yes", action="store_true", help="delete; without it nothing changes")

    def handle(self, *, parts: list[str], yes: bool, **options) -> None:
        chosen = [part for part in retention.PARTS if not parts or part.name in parts]
        if unknown := set(parts) - {part.name for part in retention.PARTS}:
            names = ", ".join(part.name for part in retention.PARTS)
            raise CommandError(f"there is no part {sorted(unknown)[0]!r}; there are {names}.", returncode=2)
        self._line("part", "kept for", "rows (about)", "size", "gone" if yes else "may go")
        if not yes:
            for part in chosen:
                self._show(part, part.rows())
            self.stdout.write("\nNothing was deleted; --yes does it.")
            return
        try:
            with alone(retention.LOCK, waits=False):
                for part in chosen:
                    self._show(part, self._prune(part))
        except Taken:
            raise CommandError("another process is pruning this database.") from None
        except (NotProved, UnreadableMarket) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            text = str(error).strip().partition("\n")[0]
            raise CommandError(f"stopped: {text}. What is gone is gone; run it again for the rest.") from None

    def _prune(self, part: retention.Part) -> int:
        cutoff, gone = part.cutoff(), 0
        if cutoff is None:
            return 0
        for went in part.prune(cutoff):
            gone += went
            self._progress(f"{part.name}: {gone:,}")
        self._progress("")
        return gone

    def _show(self, part: retention.Part, rows: int) -> None:
        days, (stored, size) = part.days(), part.stored()
        kept = "ever" if days is None else f"{days:,} days"
        self._line(part.name, kept, f"{stored:,}", f"{size / MEGABYTE:,.1f} MB", f"{rows:,}")

    def _line(self, *cells: str) -> None:
        name, *others = cells
        self.stdout.write(f"{name:<12}" + "".join(f"{cell:>14}" for cell in others))
        self.stdout.flush()

    def _progress(self, text: str) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r\033[K{text}", ending="")
            self.stderr.flush()
