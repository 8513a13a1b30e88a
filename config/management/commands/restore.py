"""`manage.py restore FILE`: a backup into an empty database, all or nothing."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from config import dumps


class Command(BaseCommand):
    help = (
        "Reads a backup into an empty database, all or nothing. Into a new one beside the old: "
        "DATA_DIR=new manage.py restore FILE. Then: migrate, audit, replay, serve."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("file", type=Path, help="what `backup` wrote")

    def handle(self, *, file: Path, **_: object) -> None:
        try:
            dumps.restore(file)
        except dumps.DumpError as error:
            raise CommandError(str(error)) from None
        self.stdout.write("restored; now: manage.py migrate && manage.py audit && manage.py replay")
