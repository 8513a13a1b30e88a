"""JSON in and out, exactly: the one definition for REST and sockets.

In: a number is read from its raw text, never through a float; what JSON leaves to chance (duplicate names, NaN, NUL
characters, lone surrogates) is refused. Out: orjson; decimals leave as plain strings.
"""

import json
from datetime import datetime
from decimal import Decimal

import orjson

from marketdata import clock
from marketdata.refusals import Malformed
from marketdata.units import plain


class MalformedJSON(Malformed):
    """The body is not JSON, or not JSON that means one thing only."""

    code, title = "malformed_json", "Malformed JSON"


def parse(body: bytes) -> object:
    """The value of a JSON text: objects, lists, strings, ints, Decimals, booleans, None. MalformedJSON otherwise."""
    value = _parse_flat(body)
    return _parse_whole(body) if value is None else value


def _parse_flat(body: bytes) -> dict | None:
    """An object of strings, small ints and constants, fast; None for everything else.

    Without escapes every string of the text has two quotation marks, so the count tells whether a name came twice.
    """
    if b"\\" in body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    strings = len(value)
    for each in value.values():
        kind = type(each)
        if kind is str:
            strings += 1
        elif kind is not int and kind is not bool and each is not None:
            return None
    return value if body.count(b'"') == 2 * strings else None


def _parse_whole(body: bytes) -> object:
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise MalformedJSON(f"The body is not valid JSON: {_reason(error)}.") from None
    if b"\\u" in body:
        _check_strings(value)
    return value


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError("a number is too large")
    return number


def _no_constant(name: str):
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if "digits" not in str(error) else "a number has too many digits"


def _check_strings(value: object) -> None:
    """Refuse NUL and lone surrogates, which no store and no other text can hold."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedJSON("A string contains NUL or half of a surrogate pair.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_strings(name)
            _check_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_strings(inner)


def render(payload: object) -> bytes:
    """The JSON text of an answer."""
    return orjson.dumps(payload, default=_default)


def _default(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return clock.text(value)
    return str(value)
