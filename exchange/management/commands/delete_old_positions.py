"""`manage.py delete_old_positions`: puts closed margin positions away, with all that they earned and paid.

They go to a table of their own, under the same id; what an account has realised is the same afterwards.
"""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import position_archive
from marketdata import clock

MOST_DAYS = 36_500


class Command(BaseCommand):
    help = "Moves margin positions that were closed long ago from the working table into the archive."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=30, help="closed before so many days (30)")

    def handle(self, *, days: int, **options) -> None:
        if not 0 <= days <= MOST_DAYS:
            raise CommandError(f"--days must be from 0 to {MOST_DAYS}.", returncode=2)
        moved = position_archive.archive(closed_before=clock.now() - timedelta(days=days))
        self.stdout.write(f"{moved:,} closed positions put away")
