"""What several of the tooling tests need."""

import os
from urllib.parse import quote

import pytest
from django.db import connection


@pytest.fixture
def empty_database(venue):
    """The URL of a new database in the cluster of the tests."""
    terms, name = connection.get_connection_params(), f"restored_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    who = quote(str(terms.get("user") or ""), safe="")
    if terms.get("password"):
        who += ":" + quote(str(terms["password"]), safe="")
    host, port = quote(str(terms.get("host") or "localhost"), safe=""), terms.get("port") or 5432
    yield f"postgresql://{who}@{host}:{port}/{name}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
