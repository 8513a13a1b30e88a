"""Fields of request serializers that read exactly what was sent: decimals without floats, words in any case, no
unknown names.

Each field has a `read(value)`, a plain function that returns the native value or raises `Unreadable`. DRF's
validation calls it, and so does the fast acceptor (marketdata.api.acceptor): there is one definition of what is
valid.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

#: Digits and exponent that a number may have before anyone computes with it.
MAX_DIGITS = 60
MAX_EXPONENT = 40
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
#: Within the bounds whatever it says; most numbers are like that.
ORDINARY = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?", re.ASCII)
MAX_ID = 2**63 - 1


class Unreadable(ValueError):
    """The value is not what the field takes: a code and a text for people."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code, self.detail = code, detail


def decimal_of(value: object) -> Decimal:
    """A finite decimal from a JSON string or number, exactly as written; Unreadable otherwise. Floats never get here.
    """
    if type(value) is str:
        if ORDINARY.fullmatch(value):
            return Decimal(value)
        if not NUMBER.fullmatch(value):
            raise Unreadable("invalid_number", "Not a decimal number.")
        number = Decimal(value)
    elif type(value) is Decimal:
        number = value
    elif type(value) is int:
        if value.bit_length() > 200:
            raise Unreadable("number_too_long", f"A number has at most {MAX_DIGITS} digits.")
        return Decimal(value)
    else:
        raise Unreadable("invalid_number", "Must be a decimal number, as a string or a JSON number.")
    if not number.is_finite():
        raise Unreadable("invalid_number", "Must be a finite number.")
    _, digits, exponent = number.as_tuple()
    if len(digits) > MAX_DIGITS or not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
        raise Unreadable(
            "number_too_long", f"A number has at most {MAX_DIGITS} digits and an exponent within ±{MAX_EXPONENT}."
        )
    return number


class Reading:
    """Mixin: DRF validation through `read`."""

    def read(self, value):
        raise NotImplementedError

    def to_internal_value(self, data):
        try:
            return self.read(data)
        except Unreadable as error:
            raise serializers.ValidationError(error.detail, code=error.code) from None


class PlainDecimal(Reading, serializers.Field):
    """A decimal above zero, as a string or a number."""

    def read(self, value) -> Decimal:
        number = decimal_of(value)
        if number <= 0:
            raise Unreadable("must_be_positive", "Must be above zero.")
        return number

    def to_representation(self, value):
        return str(value)


class Word(Reading, serializers.ChoiceField):
    """One of a few words, in any case; the native value is in upper case."""

    def read(self, value) -> str:
        if type(value) is str:
            word = value.upper()
            if word in self.choice_strings_to_values:
                return word
        raise Unreadable("invalid_choice", f"Must be one of {', '.join(self.choice_strings_to_values)}.")


class Text(Reading, serializers.Field):
    """Printable text of bounded length, taken as it is."""

    def __init__(self, *, max_length: int, **kwargs):
        self.max_length = max_length
        super().__init__(**kwargs)

    def read(self, value) -> str:
        if type(value) is not str:
            raise Unreadable("invalid", "Must be a string.")
        if not value:
            raise Unreadable("blank", "Must not be empty.")
        if len(value) > self.max_length:
            raise Unreadable("max_length", f"At most {self.max_length} characters.")
        if not value.isprintable():
            raise Unreadable("not_printable", "Only printable characters.")
        return value

    def to_representation(self, value):
        return value


class Flag(Reading, serializers.BooleanField):
    """true or false; the words in a string too, nothing else."""

    WORDS = {"true": True, "false": False}

    def read(self, value) -> bool:
        if type(value) is bool:
            return value
        word = self.WORDS.get(value.lower()) if type(value) is str else None
        if word is None:
            raise Unreadable("invalid", "Must be true or false.")
        return word


class Whole(Reading, serializers.IntegerField):
    """A whole number in a range, from a query string."""

    def __init__(self, *, least: int = 0, most: int = MAX_ID, **kwargs):
        self.least, self.most = least, most
        super().__init__(min_value=least, max_value=most, **kwargs)
        self.validators = []  # `read` says it; the bounds above are for the document

    def read(self, value) -> int:
        if type(value) is int or (type(value) is str and re.fullmatch(r"-?[0-9]{1,20}", value, re.ASCII)):
            number = int(value)
            if self.least <= number <= self.most:
                return number
            raise Unreadable("out_of_range", f"Must be {self.least} to {self.most}.")
        raise Unreadable("invalid", "Must be a whole number.")


class Several(Reading, serializers.ListField):
    """A list of so many values, taken as they are: whoever reads them says what is wrong with one of them."""

    def __init__(self, *, least: int, most: int, **kwargs):
        self.least, self.most = least, most
        super().__init__(**kwargs)
        self.validators = []  # `read` says it
        extend_schema_field({"type": "array", "items": {}, "minItems": least, "maxItems": most})(self)

    def read(self, value) -> list:
        if type(value) is not list:
            raise Unreadable("not_a_list", "Must be a list.")
        if not self.least <= len(value) <= self.most:
            code = "min_length" if len(value) < self.least else "max_length"
            raise Unreadable(code, f"Must have {self.least} to {self.most} items.")
        return value


class Moment(serializers.DateTimeField):
    """RFC 3339; a `+` that a query string turned into a space is read as one, no offset means UTC."""

    def __init__(self, **kwargs):
        super().__init__(default_timezone=UTC, **kwargs)

    def to_internal_value(self, value):
        if isinstance(value, str) and value.count(" ") == 1 and "T" in value:
            value = value.replace(" ", "+")
        try:
            return super().to_internal_value(value)
        except OverflowError:
            self.fail("invalid", format="RFC 3339")


class Instant(Reading, serializers.DateTimeField):
    """RFC 3339 in a request body; no offset means UTC."""

    def read(self, value) -> datetime:
        try:
            moment = datetime.fromisoformat(value) if type(value) is str and "T" in value else None
        except ValueError:
            moment = None
        if moment is None:
            raise Unreadable("invalid", "Must be a time as in RFC 3339: 2030-01-31T16:00:00Z.")
        try:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except OverflowError:
            raise Unreadable("invalid", "Out of range.") from None


class StrictSerializer(serializers.Serializer):
    """A request body: a field that it does not know is refused, with the nearest name that it does."""

    default_error_messages = {"invalid": "Must be a JSON object: {{…}}."}

    def to_internal_value(self, data):
        errors = {}
        if isinstance(data, dict):
            for name in [name for name in data if name not in self.fields]:
                near = get_close_matches(str(name).lower(), list(self.fields), n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(self.fields)}."
                errors[str(name)] = [ErrorDetail(f"Unknown field.{hint}", code="unknown_field")]
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **errors}) from None
        if errors:
            raise serializers.ValidationError(errors)
        return value
