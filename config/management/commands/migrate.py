"""`manage.py migrate`: Django's, but one at a time on a database: of several hosts that start together one does it, the
others wait and find it done. A database that another version has changed already is left as it is; and a migration is
done and noted in one transaction, so that whoever is killed anywhere in between goes on with the next start.
"""

from contextlib import nullcontext

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from marketdata.leadership import alone

#: An advisory lock. `serve` holds it too, while it migrates and seeds.
STARTING_LOCK = 0x76656E7565
#: Other packages drop migrations that they have squashed; these never do.
ROOMS = frozenset({"accounts", "exchange", "marketdata"})


class WholeSteps(MigrationExecutor):
    """Django notes a migration that made indexes or references in a second transaction: killed before that, it was
    tried again for ever, and failed over tables that exist already.
    """

    def apply_migration(self, state, migration, *arguments, **options):
        with transaction.atomic(self.connection.alias) if migration.atomic else nullcontext():
            return super().apply_migration(state, migration, *arguments, **options)


migrate.MigrationExecutor = WholeSteps  # the command offers no other way to name it


class Command(migrate.Command):
    help = migrate.Command.help

    def handle(self, *arguments, database: str, **options) -> None:
        with alone(STARTING_LOCK, connections[database]):
            _refuse_what_is_newer(database)
            super().handle(*arguments, database=database, **options)


def _refuse_what_is_newer(database: str) -> None:
    """This version would trade by its own rules on tables that are meant for others."""
    loader = MigrationLoader(connections[database])
    unknown = sorted({key for key in loader.applied_migrations if key[0] in ROOMS} - loader.disk_migrations.keys())
    if unknown:
        raise CommandError(
            f"another version of the venue, most likely a newer one, has changed this database ({_named(unknown)}); "
            "this one does not know what that means and has changed nothing. Start that version, or restore the "
            "backup from before the upgrade into a new database."
        )


def _named(migrations: list[tuple[str, str]]) -> str:
    return ", ".join(".".join(key) for key in migrations)
