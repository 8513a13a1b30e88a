"""The yfinance adapter against a stand-in for the library: its shapes as documented, not Yahoo itself.

The library is not installed here, so what is shown is what the adapter makes of the library's answers.
"""

import math
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from marketdata.providers.protocol import Disconnected, KeyMissing, NotInPlan, RateLimited, Rejected
from marketdata.providers.yfinance import YFinance
from tests.providers.clocks import START, JumpingClock


class Stamp:
    """Like a pandas timestamp, as far as it is used."""

    def __init__(self, moment: datetime):
        self._moment = moment

    def to_pydatetime(self) -> datetime:
        return self._moment


class Frame(dict):
    def __init__(self, rows: list[tuple]):
        names = ("Open", "High", "Low", "Close", "Volume")
        super().__init__({name: [row[n + 1] for row in rows] for n, name in enumerate(names)})
        self.index = [Stamp(row[0]) for row in rows]


class Library:
    """What `import yfinance` gives."""

    def __init__(self):
        self.frame = Frame([])
        self.meta: dict = {}
        self.error: Exception | None = None
        self.asked: list[tuple[str, dict]] = []

    def Ticker(self, symbol: str):
        def history(**terms):
            self.asked.append((symbol, terms))
            if self.error:
                raise self.error
            return self.frame

        return SimpleNamespace(history=history, history_metadata=self.meta)


@pytest.fixture
def library(monkeypatch):
    made = Library()
    monkeypatch.setitem(sys.modules, "yfinance", made)
    return made


def test_without_the_library_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(KeyMissing, match="not installed: .*-m pip install yfinance"):
        YFinance(clock=JumpingClock())


async def test_binary_noise_is_rounded_to_the_symbols_decimals(library):
    library.meta = {"regularMarketPrice": 205.38999938964844, "regularMarketTime": 1785938400, "priceHint": 2}
    [tick] = await YFinance(clock=JumpingClock()).quotes(["AAPL"])
    assert (tick.last, tick.at.timestamp()) == (Decimal("205.39"), 1785938400)


async def test_bars_with_holes_and_the_live_one_are_left_out(library):
    step, first = timedelta(minutes=5), START - timedelta(minutes=20)
    good = (1.1, 1.3000000000000003, 1.05, 1.2, 1000)
    library.frame = Frame(
        [
            (first, *good),
            (first + step, 1.1, math.nan, 1.0, 1.2, 10),
            (first + step * 2, *good),
            (START - timedelta(seconds=17), *good),
        ]
    )
    bars = await YFinance(clock=JumpingClock()).history("EURUSD=X", "5m", first, START, 10)
    assert [bar.open_time for bar in bars] == [first, first + step * 2]
    assert bars[0].high == Decimal("1.3000")
    assert library.asked[0][1]["interval"] == "5m"
    assert library.asked[0][1]["auto_adjust"] is False


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (type("YFRateLimitError", (Exception,), {})("Too Many Requests. Rate limited."), RateLimited),
        (type("YFPricesMissingError", (Exception,), {})("possibly delisted"), Rejected),
        (ConnectionError("reset"), Disconnected),
        (KeyError("chart"), Disconnected),
    ],
)
async def test_errors_of_the_library(library, error, kind):
    library.error = error
    with pytest.raises(kind):
        await YFinance(clock=JumpingClock()).history("AAPL", "1d", None, None, 5)


async def test_symbols_without_a_price_are_left_out(library):
    provider = YFinance(clock=JumpingClock())
    assert await provider.quotes(["AAPL"]) == []
    assert provider.counters["garbled"] == 1


async def test_it_is_polled_slowly(library):
    clock = JumpingClock()
    provider = YFinance(clock=clock)
    library.meta = {"regularMarketPrice": 1.5, "regularMarketTime": datetime(2026, 8, 6, tzinfo=UTC)}
    for _ in range(61):
        await provider.quotes(["AAPL"])
    assert clock.now() - START >= timedelta(minutes=2)
    with pytest.raises(NotInPlan):
        await anext(provider.stream(["AAPL"]))
