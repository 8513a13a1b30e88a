"""What is written as arrays is what the database reads, whatever a column holds."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection

from marketdata import bulk
from marketdata.models import Market

MOMENT = datetime(2030, 1, 31, 16, 0, 0, 123456, tzinfo=UTC)
HUGE = 10**37

COLUMNS = {
    "no rows": ("bigint", []),
    "whole numbers": ("bigint", [1, -2, 2**63 - 1]),
    "some unknown": ("bigint", [1, None]),
    "all unknown": ("numeric", [None, None]),
    "more than 64 bits": ("numeric", [HUGE, None, -HUGE]),
    "decimals": ("numeric", [Decimal("1.50"), None, Decimal("1E-18")]),
    "texts of numbers": ("numeric", ["187.5", "0.000000000000000001", "-3"]),
    "texts of numbers, some unknown": ("numeric", ["187.5", None]),
    "flags": ("boolean", [True, False, None]),
    "words": ("varchar", ["BUY", "SELL"]),
    "words, some unknown": ("varchar", ["BUY", None]),
    "words of a choice, some unknown": ("varchar", [Market.Status.OPEN, None]),
    "moments": ("timestamptz", [MOMENT, None]),
    "texts of moments, some unknown": ("timestamptz", ["2030-01-31T16:00:00.123456Z", None]),
    "texts that mean something to an array": ("text", ["a,b", '{"x"}', "back\\slash", "", "NULL", "null", None, "ü\n"]),
}


@pytest.mark.django_db
@pytest.mark.parametrize("sql_type, values", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_column_is_read_as_it_was_written(sql_type, values, kind):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT unnest(%s::{sql_type}[])", [bulk.array(kind(values), sql_type)])
        read = [value for (value,) in cursor.fetchall()]
    known = {"numeric": Decimal, "varchar": str, "timestamptz": _moment}.get(sql_type, lambda value: value)
    assert read == [None if value is None else known(value) for value in values]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [set, frozenset, dict.fromkeys, lambda ids: dict.fromkeys(ids, 1).keys()])
def test_ids_come_in_any_collection(kind):
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(%s::bigint[])", [bulk.array(kind([3, 1, 2]), "bigint")])
        assert {value for (value,) in cursor.fetchall()} == {1, 2, 3}


def _moment(value) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
