"""Reading bars from files: CSV in many dialects, plain, gzip or zip; and saying what was wrong with which rows.

Pure but for opening the file. A reader yields a Bar or the reason why a row is none; `Inspection.sound` lets good
bars through and counts the rest. Prices and volumes are read from the text and rounded to decimals of their own, never
by floats.

Known limits: dates with slashes are read as year/month/day only, as the other orders can't be told apart. Where clocks
are set back, local times that come twice are taken for the first of the two, and the second is dropped as a duplicate.
"""

import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

from marketdata.providers import spans
from marketdata.providers.protocol import Bar, Garbled, number

DELIMITERS = ",;\t|"
#: What a damaged, encrypted or strangely packed file makes the standard library raise.
UNPACKING_ERRORS = (
    OSError, EOFError, zipfile.BadZipFile, UnicodeDecodeError, zlib.error, lzma.LZMAError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
NAMES = {
    "time": ("opentime", "datetime", "timestamp", "date", "time", "gmttime", "localtime", "ts", "unix", "epoch"),
    "open": ("open", "o", "openprice", "priceopen"),
    "high": ("high", "h", "highprice", "max", "pricehigh"),
    "low": ("low", "l", "lowprice", "min", "pricelow"),
    "close": ("close", "c", "closeprice", "last", "price", "value", "priceclose"),
    "volume": ("volume", "vol", "v", "tickvolume", "basevolume", "tickvol"),
}
#: Columns of a file without a header, as exchanges export them.
HEADERLESS = {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}
TIME_FORMATS = (
    "%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M",
    "%Y.%m.%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d %H%M%S", "%Y%m%d %H:%M:%S",
)  # fmt: skip
#: Twelve digits; strptime would divide fewer ones somehow.
MINUTE_DIGITS, MINUTE_FORMAT = 12, "%Y%m%d%H%M"
#: Digits of an epoch time in seconds, milliseconds, microseconds, nanoseconds.
EPOCH_DIGITS = {9: 0, 10: 0, 13: 3, 15: 6, 16: 6, 18: 9, 19: 9}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WIDE = Context(prec=80)
LARGEST_EXPONENT = 19


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says why."""


@dataclass(slots=True)
class Inspection:
    """What was read and what became of it."""

    read: int = 0
    kept: int = 0
    out_of_order: int = 0
    dropped: Counter = field(default_factory=Counter)
    times: set[datetime] = field(default_factory=set)
    _newest: datetime | None = None

    def sound(self, rows: Iterable[Bar | str], *, now: datetime) -> Iterator[Bar]:
        """The bars that are plausible, each time once (the first one stays). Counts everything."""
        for row in rows:
            self.read += 1
            reason = row if isinstance(row, str) else implausible(row, now) or self._seen(row)
            if reason:
                self.dropped[reason] += 1
                continue
            self._note_time(row.open_time)
            self.kept += 1
            yield row

    def _seen(self, bar: Bar) -> str | None:
        return "duplicate" if bar.open_time in self.times else None

    def _note_time(self, time: datetime) -> None:
        self.times.add(time)
        if self._newest is not None and time < self._newest:
            self.out_of_order += 1
        else:
            self._newest = time

    def gaps(self, interval: str) -> tuple[int, timedelta]:
        """How many neighbours are farther apart than the interval, and the longest distance."""
        times, step = sorted(self.times), spans.length(interval)
        apart = [after - before for before, after in zip(times, times[1:], strict=False) if after - before > step]
        return len(apart), max(apart, default=timedelta(0))


def implausible(bar: Bar, now: datetime) -> str | None:
    """Why no market can have traded like this; None when one can."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(price.is_finite() for price in (*prices, bar.volume)):
        return "not a number"
    if any(price <= 0 for price in prices):
        return "price not positive"
    if bar.volume < 0:
        return "negative volume"
    if bar.high < bar.low:
        return "high below low"
    if not (bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high):
        return "open or close outside of high and low"
    if max(bar.high.adjusted(), bar.volume.adjusted()) > LARGEST_EXPONENT:
        return "too large"
    return "in the future" if bar.open_time > now else None


@contextmanager
def open_lines(path: Path) -> Iterator[tuple[Iterator[str], Callable[[], float]]]:
    """The text lines of a plain, .gz or .zip file, and a function that tells which part of it was read (0 to 1)."""
    try:
        size = max(path.stat().st_size, 1)
        with path.open("rb") as raw, _unpacked(path, raw) as content:
            text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
            yield text, lambda: min(1.0, raw.tell() / size)
    except UNPACKING_ERRORS as error:
        raise Unreadable(f"cannot read {path}: {error}") from error


def _unpacked(path: Path, raw):
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if path.suffix != ".zip":
        return io.BufferedReader(raw)
    archive = zipfile.ZipFile(raw)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        raise Unreadable(f"{path} must hold exactly one file, it holds {len(names)}")
    return archive.open(names[0])


def bars(
    lines: Iterator[str], *, zone: tzinfo = UTC, decimals: int = 8, volume_decimals: int = 8
) -> Iterator[Bar | str]:
    """A Bar or a reason for each row of a CSV text. `zone`: of times that name none. Unreadable without columns."""
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)
    try:
        head = next(csv.reader([first], delimiter=delimiter), [])
        columns, has_header = _columns(head)
        read = _RowReader(columns, zone, decimals, volume_decimals)
        if not has_header:
            yield read(head)
        # Strict: a quote that is never closed would swallow all the rows below it, uncounted.
        for row in csv.reader(lines, delimiter=delimiter, strict=True):
            if row:
                yield read(row)
    except csv.Error as error:
        raise Unreadable(f"not CSV: {error}") from error


def _columns(head: list[str]) -> tuple[dict[str, int], bool]:
    """Where which column is, and whether the first row says so. `date` and `time` together make the time."""
    names = [re.sub(r"[^a-z]", "", name.lower()) for name in head]
    if head and not any(names) and len(head) >= 5:
        return HEADERLESS, False
    columns = {}
    for meaning, known in NAMES.items():
        places = [names.index(name) for name in known if name in names]
        if places:
            columns[meaning] = places[0]
    if {"date", "time"} <= set(names):
        columns["time"], columns["time of day"] = names.index("date"), names.index("time")
    if "time" not in columns or "close" not in columns:
        raise Unreadable(f"the first row must name at least time and close; it reads {', '.join(head)[:200]!r}")
    return columns, True


class _RowReader:
    """Makes a Bar, or the reason why not, of one row. Without open, high and low they equal the close."""

    def __init__(self, columns: dict[str, int], zone: tzinfo, decimals: int, volume_decimals: int):
        self._columns = columns
        self._zone = zone
        self._price_step = Decimal(1).scaleb(-decimals)
        self._volume_step = Decimal(1).scaleb(-volume_decimals)

    def __call__(self, row: list[str]) -> Bar | str:
        opened = self._time(row)
        if opened is None:
            return "unreadable time"
        try:
            close = self._price(row, "close")
            others = [self._price(row, name) if name in self._columns else close for name in ("open", "high", "low")]
            volume = self._number(row, "volume", self._volume_step) if "volume" in self._columns else Decimal(0)
        except (Garbled, IndexError):
            return "unreadable number"
        if close is None or None in others:
            return "missing price"
        return Bar(opened, *others, close, Decimal(0) if volume is None else volume)

    def _price(self, row: list[str], name: str) -> Decimal | None:
        return self._number(row, name, self._price_step)

    def _number(self, row: list[str], name: str, step: Decimal) -> Decimal | None:
        text = row[self._columns[name]].strip()
        if text.upper() in {"", "N/A", "NA", "-", "NULL", "NONE"}:
            return None
        value = number(text)
        if not value.is_finite() or value.adjusted() > LARGEST_EXPONENT:
            return value
        return value.quantize(step, ROUND_HALF_EVEN, context=WIDE)

    def _time(self, row: list[str]) -> datetime | None:
        try:
            parts = [row[self._columns[name]].strip() for name in ("time", "time of day") if name in self._columns]
        except IndexError:
            return None
        return time_of(" ".join(parts), self._zone)


def time_of(text: str, zone: tzinfo = UTC) -> datetime | None:
    """A time as files write it, in UTC: ISO 8601, days with dots or slashes, or seconds since 1970 and finer."""
    text = text.removesuffix("UTC").removesuffix("GMT").strip()
    digits = re.fullmatch(r"([0-9]+)(\.[0-9]*)?", text)
    if digits and (places := EPOCH_DIGITS.get(len(digits[1]))) is not None:
        return EPOCH + timedelta(microseconds=int(Decimal(text).scaleb(6 - places)))
    found = _iso(text) or _formatted(text)
    if found is None:
        return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return None


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _formatted(text: str) -> datetime | None:
    is_minute = len(text) == MINUTE_DIGITS and text.isdecimal()
    for form in (MINUTE_FORMAT,) if is_minute else TIME_FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007
        except ValueError:
            continue
    return None
