"""A fast way through a request serializer, made from the serializer itself.

`accept(Serializer, body)` gives exactly `Serializer(data=body).validated_data`. Where the body is evidently valid it
does so with one loop over the body's fields, calling the fields' own `read`; anything else, an error above all, goes
through the serializer. Only serializers without cross-field rules, nested fields or validators are taken apart;
others always run whole.
"""

from collections.abc import Callable
from functools import lru_cache

from rest_framework import serializers
from rest_framework.fields import empty

from marketdata.api.fields import Reading, Unreadable


def accept(serializer: type[serializers.Serializer], body: object) -> dict:
    """The validated body; rest_framework's ValidationError when it is not valid."""
    fast = acceptor(serializer)
    accepted = fast(body) if fast is not None else None
    return validated(serializer, body) if accepted is None else accepted


def validated(serializer: type[serializers.Serializer], body: object) -> dict:
    """The same by the serializer, always."""
    checked = serializer(data=body)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def read_query(serializer: type[serializers.Serializer], query) -> dict:
    """The known, non-empty parameters of a query string, validated; ValidationError otherwise."""
    return accept(serializer, {name: query[name] for name in _names(serializer) if query.get(name) not in (None, "")})


@lru_cache(maxsize=64)
def _names(serializer: type[serializers.Serializer]) -> tuple[str, ...]:
    return tuple(serializer().fields)


@lru_cache(maxsize=64)
def acceptor(serializer: type[serializers.Serializer]) -> Callable[[object], dict | None] | None:
    """A function that answers a valid body's dictionary, or None for "let the serializer say"; None if it cannot be
    made.
    """
    fields = serializer().fields
    if serializer.validate is not serializers.Serializer.validate or not all(map(_is_plain, fields.values())):
        return None
    if any(hasattr(serializer, f"validate_{name}") for name in fields):
        return None
    readers = {name: (field.read, field.allow_null) for name, field in fields.items()}
    defaults = {name: field.default for name, field in fields.items() if field.default is not empty}
    required = frozenset(name for name, field in fields.items() if field.required)

    def fast(body: object) -> dict | None:
        if type(body) is not dict or not required <= body.keys():
            return None
        accepted = defaults.copy()
        try:
            for name, value in body.items():
                read, allow_null = readers[name]
                if value is not None:
                    accepted[name] = read(value)
                elif allow_null:
                    accepted[name] = None
                else:
                    return None
        except (Unreadable, KeyError):
            return None
        return accepted

    return fast


def _is_plain(field: serializers.Field) -> bool:
    """Whether `read` is all that the field does."""
    return (
        isinstance(field, Reading)
        and not field.validators
        and not field.read_only
        and (field.default is empty or not callable(field.default))
        and field.source == field.field_name
        and type(field).to_internal_value is Reading.to_internal_value
    )
