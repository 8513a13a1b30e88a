"""A migration may stand still between two statements: it works out the models in between, which takes seconds on a slow
machine, and what it has locked nobody else needs. The settings end such a session of everybody else.
"""

from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

SETTING = "idle_in_transaction_session_timeout"


def _allow(using: str, **_: object) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SET {SETTING} = 0")


def _forbid(using: str, **_: object) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(f"RESET {SETTING}")


pre_migrate.connect(_allow, dispatch_uid="a migration may pause")
post_migrate.connect(_forbid, dispatch_uid="after a migration nobody may pause")
