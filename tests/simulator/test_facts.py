"""The arithmetic of stylised facts, on series whose answers are known."""

from math import exp, log
from random import Random

import pytest

from exchange.simulator import facts


def gaussian(count: int, seed: int = 1) -> list[float]:
    random = Random(seed)
    return [random.gauss(0, 1) for _ in range(count)]


def autoregressive(count: int, share: float, seed: int = 1) -> list[float]:
    values, value = [], 0.0
    for shock in gaussian(count, seed):
        value = share * value + shock
        values.append(value)
    return values


@pytest.mark.parametrize(
    ("prices", "every", "returns"),
    [
        ([100, 110, 99], 1, [log(1.1), log(0.9)]),
        ([1, 2, 4, 8, 16], 2, [log(4), log(4)]),
        ([100, None, 110, 121], 1, [log(1.1)]),
        ([1, 2, 4, None, 5, 6, 10, 11], 2, [log(4), log(2)]),
        ([100, 0, 110], 1, []),
        ([100], 1, []),
        ([], 1, []),
    ],
)
def test_log_returns(prices, every, returns):
    assert facts.log_returns(prices, every=every) == pytest.approx(returns)


@pytest.mark.parametrize(
    ("values", "kurtosis"),
    [
        ([-1, 1] * 10, 1.0),
        ([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5.0),  # m4 = 0.2, m2 = 0.2
        (list(range(1, 10001)), 1.8),  # uniform
        ([3.0] * 10, None),
        ([1.0], None),
    ],
)
def test_kurtosis(values, kurtosis):
    assert facts.kurtosis(values) == (kurtosis if kurtosis is None else pytest.approx(kurtosis, abs=1e-6))


def test_the_kurtosis_of_normal_and_laplace_numbers():
    random = Random(3)
    laplace = [random.expovariate(1) * random.choice((-1, 1)) for _ in range(100_000)]
    assert facts.kurtosis(gaussian(100_000)) == pytest.approx(3, abs=0.1)
    assert facts.kurtosis(laplace) == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize(
    ("values", "lag", "expected"),
    [
        ([1, -1] * 50, 0, 1.0),
        ([1, -1] * 50, 1, -0.99),
        ([1, -1] * 50, 2, 0.98),
        ([1, 1, -1, -1] * 25, 2, -0.98),
        ([5.0] * 10, 1, None),
        ([1, 2], 1, None),
        ([1, 2, 3], -1, None),
    ],
)
def test_autocorrelation(values, lag, expected):
    assert facts.autocorrelation(values, lag) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("share", [0.0, 0.5, -0.4])
def test_the_autocorrelation_of_an_autoregression_is_a_power_of_its_share(share):
    values = autoregressive(50_000, share)
    for lag in (1, 2, 3):
        assert facts.autocorrelation(values, lag) == pytest.approx(share**lag, abs=0.02)


def test_independent_values_stay_below_the_noise_level_most_of_the_time():
    values = gaussian(5_000)
    noise = facts.noise_level(len(values))
    assert noise == pytest.approx(0.0277, abs=1e-4)
    above = sum(abs(facts.autocorrelation(values, lag)) > noise for lag in range(1, 101))
    assert 0 < above < 15


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [2, 4, 6], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, -1, -1, 1], 0.0),
        ([1, 2, 3], [7, 7, 7], None),
        ([], [], None),
    ],
)
def test_correlation(first, second, expected):
    assert facts.correlation(first, second) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.5])
def test_the_exponent_of_a_power_law_is_found(exponent):
    lags = facts.spaced_lags(100)
    assert facts.decay_exponent(lags, [0.4 * lag**-exponent for lag in lags]) == pytest.approx(exponent)


@pytest.mark.parametrize("values", [[None, None, None, None], [-1, 0, 0.5, 0.2]])
def test_two_points_make_no_power_law(values):
    assert facts.decay_exponent([1, 2, 3, 4], values) is None


@pytest.mark.parametrize(
    ("values", "part", "expected"), [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.99, 4), ([5], 0, 5), ([], 0.5, None)]
)
def test_quantile(values, part, expected):
    assert facts.quantile(values, part) == expected


@pytest.mark.parametrize(("most", "lags"), [(5, [1, 2, 3, 5]), (30, [1, 2, 3, 5, 7, 10, 15, 20, 30])])
def test_lags_are_spaced_for_a_logarithmic_axis(most, lags):
    assert facts.spaced_lags(most) == lags


def test_volatility_in_regimes_is_told_from_a_plain_walk():
    """What the report looks for: sizes remembered, directions not; and none of it in a plain walk."""
    plain, regimes, level = gaussian(20_000), [], 0.0
    for shock, change in zip(gaussian(20_000, 2), gaussian(20_000, 3), strict=True):
        level = 0.99 * level + 0.1 * change
        regimes.append(shock * exp(level))
    for values, remembers in ((plain, False), (regimes, True)):
        assert abs(facts.autocorrelation(values, 5)) < 0.05
        assert (facts.autocorrelation([abs(value) for value in values], 5) > 0.1) is remembers
        assert (facts.kurtosis(values) > 4) is remembers
