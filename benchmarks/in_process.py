"""Django in this very process, on a private database: for measurements and proofs that need no server."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import django

from benchmarks.server import PrivateDatabase

#: The database's settings for proofs that cut no power.
CARELESS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@contextmanager
def private_tables(settings: Mapping[str, str] | None = None, **environment: str) -> Iterator[None]:
    """Meanwhile Django has an empty database with all tables, which goes afterwards. Once in a process: import nothing
    before that needs Django.
    """
    database = PrivateDatabase(settings).start()
    try:
        os.environ.update(
            environment,
            DATABASE_URL=database.url,
            DATA_DIR=str(database.data_dir),
            DJANGO_SETTINGS_MODULE="config.settings",
        )
        django.setup()
        from django.core.management import call_command
        from django.db import connections

        from tests.venue import forget_everything

        call_command("migrate", verbosity=0, interactive=False)
        try:
            yield
        finally:
            forget_everything()
            connections.close_all()
    finally:
        database.stop()
