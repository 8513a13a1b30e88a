"""Stylised facts of a market against the literature: what was measured, what is expected, who says so, and a verdict.

Sources (short names in the table)
- Cont 2001: R. Cont, Empirical properties of asset returns: stylized facts and statistical issues, Quantitative
  Finance 1, 223-236.
- Roll 1984: R. Roll, A simple implicit measure of the effective bid-ask spread in an efficient market, Journal of
  Finance 39, 1127-1139.
- Lillo Farmer 2004: F. Lillo, J. D. Farmer, The long memory of the efficient market, Studies in Nonlinear Dynamics &
  Econometrics 8(3).
- Bouchaud 2002: J.-P. Bouchaud, M. Mézard, M. Potters, Statistical properties of stock order books, Quantitative
  Finance 2, 251-256.
- Gopikrishnan 2000: P. Gopikrishnan et al., Statistical properties of share volume traded in financial markets,
  Physical Review E 62, R4493.
- Hautsch Huang 2012: N. Hautsch, R. Huang, Limit order flow, market impact and optimal order sizes, in: Market
  Microstructure: Confronting Many Viewpoints.

The bounds of the verdicts are ours: loose enough for an hour of one market, tight enough that a random walk with
Poisson trades fails several. Below LEAST_SECONDS and LEAST_TRADES there is no verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean

from exchange.simulator import facts
from exchange.simulator.observation import Observation
from marketdata.datasets import DATASETS
from marketdata.importing import Inspection, Unreadable, bars, open_lines

LEAST_SECONDS, LEAST_TRADES = 900, 200
HORIZONS_SECONDS = (1, 10, 60)
REAL = "stock-minute"


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the table. `holds` None: too little data. `real`: the same of a real tape, where there is one."""

    name: str
    measured: str
    expected: str
    source: str
    holds: bool | None
    real: str = "-"


@dataclass(frozen=True, slots=True)
class Real:
    """Minute closes of a real tape, oldest first; None between two days. Empty when it is not installed."""

    closes: tuple[float | None, ...]
    about: str

    @property
    def returns(self) -> list[float]:
        return facts.log_returns(self.closes)


def real_tape() -> Real:
    """The minute prices of a real share that the demonstration's packages carry, if they are installed."""
    dataset = DATASETS[REAL]
    try:
        with open_lines(dataset.file()) as (lines, _):
            rows = list(Inspection().sound(bars(lines, decimals=dataset.decimals), now=datetime.now(UTC)))
    except Unreadable as error:
        return Real((), f"no real tape to compare with: {error}")
    rows.sort(key=lambda row: row.open_time)
    closes: list[float | None] = []
    for before, row in zip([None, *rows], rows, strict=False):
        if before is not None and (row.open_time - before.open_time).total_seconds() > 600:
            closes.append(None)
        closes.append(float(row.close))
    return Real(tuple(closes), f"real: {dataset.about} ({dataset.source}), {len(rows)} minutes")


def measure(seen: Observation, real: Real) -> list[Fact]:
    """The whole table of one market."""
    returns = facts.log_returns(seen.mids)
    found = [*_tails(seen, real), *_memory(returns, real), *_flow(seen), *_book(seen)]
    if seen.seconds >= LEAST_SECONDS and len(seen.taken) >= LEAST_TRADES:
        return found
    return [Fact(**(asdict(fact) | {"holds": None})) for fact in found]


def _tails(seen: Observation, real: Real) -> list[Fact]:
    measured = [facts.kurtosis(facts.log_returns(seen.mids, every=horizon)) for horizon in HORIZONS_SECONDS]
    first, later = measured[0], [value for value in measured[1:] if value is not None]
    true = [facts.kurtosis(facts.log_returns(real.closes, every=horizon)) for horizon in (1, 10, 60)]
    return [
        Fact("kurtosis of returns, 1 s", _text(first), "> 3 (heavy tails)", "Cont 2001", _above(first, 3)),
        Fact(
            "kurtosis at 1, 10, 60 s",
            _texts(measured),
            "falls with the horizon",
            "Cont 2001",
            None if first is None or not later else first > later[0] and first > later[-1],
            f"{_texts(true)} at 1, 10, 60 min" if real.closes else "-",
        ),
    ]


def _memory(returns: Sequence[float], real: Real) -> list[Fact]:
    noise = facts.noise_level(len(returns))
    plain = [facts.autocorrelation(returns, lag) for lag in range(2, 21)]
    largest = max((abs(value) for value in plain if value is not None), default=None)
    lags = facts.spaced_lags(100)
    sizes = [abs(value) for value in returns]
    clustered = [facts.autocorrelation(sizes, lag) for lag in lags]
    exponent = facts.decay_exponent(lags, clustered)
    averages = [_average(sizes, *span) for span in ((1, 5), (10, 30), (50, 100))]
    true = [abs(value) for value in real.returns]
    return [
        Fact(
            "autocorrelation of returns, lags 2 to 20 s",
            f"largest {_text(largest)}, noise {noise:.3f}",
            "none: below 0.1 or thrice the noise",
            "Cont 2001",
            None if largest is None else largest < max(0.1, 3 * noise),
            _largest(real.returns, range(2, 21)),
        ),
        Fact(
            "... of absolute returns, 1-5, 10-30, 50-100 s",
            _texts(averages),
            "positive, above the noise to a minute",
            "Cont 2001",
            None if None in averages else averages[0] > 2 * noise and averages[1] > noise and averages[2] > 0,
            f"{_texts([_average(true, 1, 5), _average(true, 10, 30)])} in min" if true else "-",
        ),
        Fact(
            "... how it decays: exponent",
            _text(exponent),
            "slowly: 0.2 to 0.4 at days, below 1",
            "Cont 2001",
            None if exponent is None else 0 < exponent < 1,
        ),
    ]


def _flow(seen: Observation) -> list[Fact]:
    signs = [taken.sign for taken in seen.taken]
    steps = facts.log_returns([taken.price for taken in seen.taken])
    bounce = facts.autocorrelation(steps, 1)
    lags = facts.spaced_lags(50)
    near, far = _average(signs, 1, 3), _average(signs, 10, 20)
    exponent = facts.decay_exponent(lags, [facts.autocorrelation(signs, lag) for lag in lags])
    lots = [taken.lots for taken in seen.taken]
    middle, large = facts.quantile(lots, 0.5), facts.quantile(lots, 0.99)
    moving = facts.correlation(*_minutes(seen))
    return [
        Fact("autocorrelation of trade returns, lag 1", _text(bounce), "negative: bid-ask bounce", "Roll 1984",
             None if bounce is None else bounce < 0),
        Fact("... of trade signs, lags 1-3, 10-20", _texts([near, far]), "positive for long", "Lillo Farmer 2004",
             None if near is None or far is None else near > 0.05 and far > 0),
        Fact("... how it decays: exponent", _text(exponent), "slowly: about 0.5, below 1", "Lillo Farmer 2004",
             None if exponent is None else 0 < exponent < 1),
        Fact("trade size, 99 % over the median", _text(large / middle if middle else None), "> 5 (heavy tail)",
             "Gopikrishnan 2000", _above(large / middle if middle else None, 5)),
        Fact("volume and volatility by the minute", _text(moving), "correlated: > 0", "Cont 2001", _above(moving, 0)),
    ]  # fmt: skip


def _book(seen: Observation) -> list[Fact]:
    spreads = [spread for spread in seen.spreads if spread is not None]
    middle = facts.quantile(spreads, 0.5)
    mean = fmean(spreads) if spreads else None
    price = next((mid for mid in reversed(seen.mids) if mid), None)
    points = f" = {middle / price * 10_000:.2f} bp" if middle and price else ""
    deepest = max(range(len(seen.depth)), key=seen.depth.__getitem__) if any(seen.depth) else None
    orders = sum(seen.commands.values())
    ratio = orders / len(seen.taken) if seen.taken else None
    life = [facts.quantile(seen.lifetimes, part) for part in (0.1, 0.5, 0.9)]
    spread_of_lives = life[2] / max(life[0], 0.5) if seen.lifetimes else None
    return [
        Fact("spread: median, mean, 99 % in ticks", f"{_texts([middle, mean, facts.quantile(spreads, 0.99)])}{points}",
             "positive, mean above median or 1 tick", "Bouchaud 2002",
             None if not spreads else min(spreads) > 0 and (mean >= middle or middle == 1)),
        Fact("depth: deepest bucket from the best price", _text(deepest), "not at the best price (hump)",
             "Bouchaud 2002", _above(deepest, 0)),
        Fact("orders, amendments, cancels a trade", _text(ratio), "> 2", "Hautsch Huang 2012", _above(ratio, 2)),
        Fact("lifetime of cancelled orders, 10, 50, 90 %", f"{_texts(life)} s", "from moments to minutes",
             "Hautsch Huang 2012", _above(spread_of_lives, 10)),
    ]  # fmt: skip


def _minutes(seen: Observation) -> tuple[list[float], list[float]]:
    """Lots and the size of the move, minute by minute."""
    volumes, moves = [], []
    for start in range(0, seen.seconds - 60, 60):
        returns = facts.log_returns(seen.mids[start : start + 61])
        volumes.append(float(sum(seen.volumes[start : start + 60])))
        moves.append(sum(abs(value) for value in returns))
    return volumes, moves


def _average(values: Sequence[float], first: int, last: int) -> float | None:
    """The mean autocorrelation over these lags."""
    found = [facts.autocorrelation(values, lag) for lag in range(first, last + 1)]
    return None if None in found else fmean(found)


def _largest(values: Sequence[float], lags: Sequence[int]) -> str:
    found = [abs(value) for lag in lags if (value := facts.autocorrelation(values, lag)) is not None]
    return f"largest {max(found):.3f} in min" if found else "-"


def _above(value: float | None, bound: float) -> bool | None:
    return None if value is None else value > bound


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _texts(values: Sequence[float | None]) -> str:
    return ", ".join(_text(value) for value in values)
