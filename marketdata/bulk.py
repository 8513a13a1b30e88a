"""Many rows in one statement, many statements in one round trip: how the hot paths write.

Each column travels as one PostgreSQL array literal (`{1,2,NULL}`) that `unnest` opens on the server; measured
against multi-row VALUES and the ORM this is the cheapest way from a few rows to a few hundred. JSON travels as lines,
because quoting it once more for an array and taking that apart again costs more than storing it. Values are written
by `array` and `lines`, never pasted into SQL.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import orjson

#: (sql, parameters)
Statement = tuple[str, list]
#: (column, PostgreSQL type, values of all rows)
Column = tuple[str, str, Sequence]

#: Types whose values need no quotes. A varchar here is a word of ours (BUY, LIMIT, a status), never a user's text.
BARE_TYPES = {"bigint", "integer", "smallint", "numeric", "boolean", "timestamptz", "varchar"}


def array(values: Collection, sql_type: str) -> str:
    """The text of a PostgreSQL array; None becomes NULL."""
    if sql_type in BARE_TYPES:
        return "{" + _joined(values) + "}"
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _joined(values: Collection) -> str:
    try:
        return ",".join(values)
    except TypeError:  # not all are texts already; in JSON's words an array is read too, and they are written quickly
        return _as_json([*values])


def _as_json(values: list) -> str:
    try:
        return orjson.dumps(values, default=str).decode()[1:-1]
    except orjson.JSONEncodeError:  # a whole number of more than 64 bits
        return ",".join([str(value) for value in values]).replace("None", "NULL")


def _quoted(value: str) -> str:
    if value.isalnum():
        return f'"{value}"'
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines(documents: Iterable[str]) -> str:
    """JSON documents, none of which holds a bare line break (orjson writes none)."""
    return "\n".join(documents)


def _parameter(sql_type: str) -> str:
    return r"string_to_array(%s, E'\n')::json[]" if sql_type == "json" else f"%s::{sql_type}[]"


def _value(sql_type: str, values: Sequence) -> str:
    return lines(values) if sql_type == "json" else array(values, sql_type)


def insert(table: str, columns: Sequence[Column], suffix: str = "") -> Statement:
    """INSERT of all rows, each column an array of equal length."""
    shape = tuple([(name, sql_type) for name, sql_type, _ in columns])
    return _insert_text(table, shape, suffix), [_value(sql_type, values) for _, sql_type, values in columns]


@lru_cache(maxsize=1024)
def _insert_text(table: str, shape: tuple[tuple[str, str], ...], suffix: str) -> str:
    names = ", ".join(name for name, _ in shape)
    arrays = ", ".join(_parameter(sql_type) for _, sql_type in shape)
    return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {suffix}"


def update(table: str, keys: Sequence[Column], columns: Sequence[Column], assignments: str | None = None) -> Statement:
    """UPDATE of the rows with those keys (aliased `t`) from arrays of new values (aliased `d`).

    `assignments` replaces plain `x = d.x`.
    """
    every = [*keys, *columns]
    shape = tuple([(name, sql_type) for name, sql_type, _ in every])
    sql = _update_text(table, shape, len(keys), assignments)
    return sql, [_value(sql_type, values) for _, sql_type, values in every]


@lru_cache(maxsize=1024)
def _update_text(table: str, shape: tuple[tuple[str, str], ...], keys: int, assignments: str | None) -> str:
    names = ", ".join(name for name, _ in shape)
    arrays = ", ".join(_parameter(sql_type) for _, sql_type in shape)
    matches = " AND ".join(f"t.{name} = d.{name}" for name, _ in shape[:keys])
    assignments = assignments or ", ".join(f"{name} = d.{name}" for name, _ in shape[keys:])
    return f"UPDATE {table} t SET {assignments} FROM unnest({arrays}) AS d({names}) WHERE {matches}"


def execute(cursor, statements: Iterable[Statement]) -> None:
    """Send all statements in one round trip; the cursor then holds the last one's result."""
    sql, parameters = [], []
    for text, values in statements:
        sql.append(text)
        parameters.extend(values)
    if sql:
        cursor.execute(";\n".join(sql), parameters)


def execute_prepared(cursor, statements: Iterable[Statement]) -> None:
    """The same with each statement prepared on first sight: parsing and planning them costs more than running them.

    For a connection that is closed after any error, because the server may then know more or fewer statements than we
    think. Needs a psycopg2 cursor and no transaction-pooling proxy in between.
    """
    known = _prepared.setdefault(cursor.connection, {})
    sql, parameters = [], []
    for text, values in statements:
        if text in UTILITIES:
            sql.append(text)
            continue
        name = known.get(text)
        if name is None:
            name = known[text] = f"s{len(known)}"
            sql.append(f"PREPARE {name} AS {_numbered(text)}")
        sql.append(f"EXECUTE {name}" + (f" ({', '.join(['%s'] * len(values))})" if values else ""))
        parameters.extend(values)
    if sql:
        cursor.execute(";\n".join(sql), parameters)


#: Cannot be prepared, and need not be.
UTILITIES = {"BEGIN", "COMMIT"}
#: The names of prepared statements by their text, for each living connection.
_prepared: WeakKeyDictionary = WeakKeyDictionary()


def _numbered(text: str) -> str:
    """`%s` placeholders as `$1`, `$2`, …"""
    parts = text.split("%s")
    return "".join(part + (f"${number}" if number < len(parts) else "") for number, part in enumerate(parts, 1))
