"""`manage.py migrate`: Django's, but one at a time on a database: of several hosts that start together one does it, the
others wait and find it done.
"""

from django.core.management.commands import migrate
from django.db import connections

#: An advisory lock. `serve` holds it too, while it migrates and seeds.
STARTING_LOCK = 0x76656E7565


class Command(migrate.Command):
    help = migrate.Command.help

    def handle(self, *arguments, database: str, **options) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [STARTING_LOCK])
        try:
            super().handle(*arguments, database=database, **options)
        finally:
            with connections[database].cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [STARTING_LOCK])
