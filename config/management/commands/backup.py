"""`manage.py backup FILE`: the whole database in one file, also while the venue trades."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from config import dumps


class Command(BaseCommand):
    help = (
        "Writes the whole database to a file: one consistent snapshot, also while the venue trades. Keep "
        "DATA_DIR/secret_key with it: API keys are sealed with it."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("file", type=Path, help="must not exist yet")

    def handle(self, *, file: Path, **_: object) -> None:
        try:
            dumps.dump(file)
        except dumps.DumpError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{file}: {file.stat().st_size:,} bytes; read it back with: manage.py restore {file}")
