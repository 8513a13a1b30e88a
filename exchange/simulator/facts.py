"""The arithmetic of stylised facts: pure functions on plain lists of numbers. No Django, no packages, no rounding.

Floats are right here: these are statistics about prices, not money.
"""

from collections.abc import Sequence
from math import log, sqrt
from statistics import fmean

Numbers = Sequence[float]


def log_returns(prices: Sequence[float | None], *, every: int = 1) -> list[float]:
    """Differences of the logarithm from each `every`-th price to the next; never across a missing one, where counting
    begins anew.
    """
    returns, last, count = [], None, 0
    for price in prices:
        if not price:
            last = None
        elif last is None:
            last, count = price, 0
        else:
            count += 1
            if count == every:
                returns.append(log(price / last))
                last, count = price, 0
    return returns


def kurtosis(values: Numbers) -> float | None:
    """The fourth moment over the squared second one: 3 for a normal distribution. None when nothing varies."""
    if len(values) < 2:
        return None
    middle = fmean(values)
    squares = [(value - middle) ** 2 for value in values]
    variance = fmean(squares)
    return fmean([square * square for square in squares]) / (variance * variance) if variance else None


def autocorrelation(values: Numbers, lag: int) -> float | None:
    """The correlation with itself `lag` places later, over one mean and one variance. None when nothing varies."""
    if lag < 0 or len(values) <= lag + 1:
        return None
    middle = fmean(values)
    centred = [value - middle for value in values]
    variance = sum(value * value for value in centred)
    if not variance:
        return None
    return sum(one * other for one, other in zip(centred, centred[lag:], strict=False)) / variance


def correlation(first: Numbers, second: Numbers) -> float | None:
    """Pearson's, of two sequences of one length. None when one of them does not vary."""
    if len(first) < 2:
        return None
    one, other = fmean(first), fmean(second)
    above = sum((a - one) * (b - other) for a, b in zip(first, second, strict=True))
    below = sqrt(sum((a - one) ** 2 for a in first) * sum((b - other) ** 2 for b in second))
    return above / below if below else None


def noise_level(count: int) -> float:
    """What an autocorrelation of so many independent values stays below, 19 times of 20."""
    return 1.96 / sqrt(count) if count else float("inf")


def decay_exponent(lags: Sequence[int], values: Sequence[float | None]) -> float | None:
    """b of the power law value = a × lag^-b that fits best, by least squares of the logarithms.

    Only positive values count; None with fewer than three of them.
    """
    points = [(log(lag), log(value)) for lag, value in zip(lags, values, strict=True) if value and value > 0]
    if len(points) < 3:
        return None
    across, up = fmean([x for x, _ in points]), fmean([y for _, y in points])
    spread = sum((x - across) ** 2 for x, _ in points)
    return -sum((x - across) * (y - up) for x, y in points) / spread if spread else None


def quantile(values: Numbers, part: float) -> float | None:
    """The value below which this part of them lies: the nearest one there is. None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spaced_lags(most: int) -> list[int]:
    """1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100 … up to `most`: even steps on a logarithmic axis, roughly."""
    lags, scale = [1, 2, 3, 5, 7], 10
    while scale <= most:
        lags += [scale * part // 2 for part in (2, 3, 4, 6, 10, 14)]
        scale *= 10
    return [lag for lag in sorted(set(lags)) if lag <= most]
