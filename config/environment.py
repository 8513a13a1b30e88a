"""Reading settings from the environment: what is not a setting ends the process with one line that says so.

An empty variable counts as unset everywhere.
"""

import os
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit

from marketdata import units
from marketdata.contracts import RATE_DECIMALS

HOSTS = "hosts without scheme, port and path, such as trade.example.com, .example.com, 192.0.2.7 or [::1]"
ON, OFF = {"on", "true", "yes", "1"}, {"off", "false", "no", "0"}


def flag(name: str, default: bool = False) -> bool:
    """True for on, true, yes, 1, False for off, false, no, 0, in any case."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() not in ON | OFF:
        raise _wrong(name, text, "on or off")
    return text.lower() in ON


def words(name: str, default: str = "") -> list[str]:
    """The comma-separated words of a variable, without empty ones; those of the default if there are none."""
    found = [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]
    return found or (default.split(",") if default else [])


def whole(name: str, default: int, *, least: int = 0, most: int = 10**18, or_else: str = "") -> int:
    """A whole number from `least` to `most`; a refusal also names what the caller takes beside it."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    is_number = text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20
    if not is_number or not least <= int(text) <= most:
        raise _wrong(name, text, f"a whole number from {least:,} to {most:,}{or_else}")
    return int(text)


def seconds(name: str, default: float | None, *, most: int) -> float | None:
    """A number above zero and up to `most`; for durations and speeds, never for money."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise _wrong(name, text, f"a number above 0 and at most {most:,}")
    return number


def rate(name: str, default: str) -> str:
    """How many requests in how many seconds, both above 0: "600/60"."""
    text = os.environ.get(name, "").strip() or default
    found = re.fullmatch(r"([1-9]\d{0,8})\s*/\s*([1-9]\d{0,8})", text, re.ASCII)
    if found is None:
        raise _wrong(name, text, "requests/seconds, such as 600/60")
    return "/".join(found.groups())


def ratio(name: str, default: str, *, at_least: tuple[str, str] | None = None) -> str:
    """A decimal above 0, as it is written, that is whole in RATE_DECIMALS; `at_least` is another setting's name and
    value.
    """
    value = os.environ.get(name, "").strip() or default
    try:
        if not 0 < Decimal(value) < 1_000:
            raise InvalidOperation
        units.to_units(Decimal(value), RATE_DECIMALS)
    except (ArithmeticError, units.NotWhole):
        expected = f"a number above 0 with at most {RATE_DECIMALS} decimals, below 1,000"
        raise _wrong(name, value, expected) from None
    if at_least and Decimal(value) < Decimal(at_least[1]):
        raise _wrong(name, value, f"at least {at_least[0]}, which is {at_least[1]}")
    return value


def url(name: str, example: str, *schemes: str) -> str:
    """A URL of one of the schemes, or nothing. There may be a password in it, so it is not repeated."""
    text = os.environ.get(name, "").strip()
    try:
        if text and (urlsplit(text).scheme not in schemes or urlsplit(text).port == 0):
            raise ValueError
    except ValueError:  # also what urlsplit says of a port that is none
        raise SystemExit(f"{name} must be a URL such as {example}.") from None
    return text


def origins(name: str, *special: str) -> list[str]:
    """Comma-separated origins as browsers send them, scheme://host or scheme://host:port, or one of the special ones.

    Any other text would be taken, and match nobody.
    """
    found = words(name)
    for word in found:
        try:
            parts = urlsplit(word)
            is_whole = parts.scheme and parts.hostname and word == f"{parts.scheme}://{parts.netloc}"
            if not is_whole and word not in special or parts.port == 0:
                raise ValueError
        except ValueError:  # also what urlsplit says of a port that is none
            raise _wrong(name, word, "origins such as https://trade.example.com") from None
    return found


def hosts(name: str, default: str) -> list[str]:
    """Comma-separated hosts as Django matches them: a name, one with a leading dot for all below it, an address, `*`.

    Any other text would be taken, match nobody, and every request would be refused.
    """
    found = words(name, default)
    for word in found:
        if re.fullmatch(r"\*|\.?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f]*:[0-9a-f.:]+\]", word, re.ASCII | re.I) is None:
            raise _wrong(name, word, HOSTS)
    return found


def folder(name: str, default: Path) -> Path:
    """A folder that is there, or that can be made."""
    path = Path(os.environ.get(name) or default).absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise _wrong(name, str(path), "a folder, or where one can be made")
    return path


def days(name: str, default: int | None, *, least: int) -> int | None:
    """A whole number of days, at least `least`; None for `never`."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    return None if text.lower() == "never" else whole(name, 0, least=least, most=36_500, or_else=" or never")


def choice(name: str, *allowed: str) -> str:
    """One of the words, in any case; the first one when the variable is unset."""
    text = os.environ.get(name, "").strip()
    found = {word.lower(): word for word in allowed}.get(text.lower()) if text else allowed[0]
    if found is None:
        raise _wrong(name, text, f"one of {', '.join(allowed)}")
    return found


def _wrong(name: str, text: str, expected: str) -> SystemExit:
    return SystemExit(f"{name} must be {expected}, not {text!r}.")
