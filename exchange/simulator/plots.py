"""Pictures of a market's stylised facts, as PNG files. Needs matplotlib, which nothing else here does."""

from pathlib import Path

from exchange.simulator import facts
from exchange.simulator.observation import Observation
from marketdata import packages


class NoPlotting(Exception):
    """matplotlib is not installed."""


def draw(seen: Observation, folder: Path) -> list[Path]:
    """Four pictures into the folder; their paths. NoPlotting without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPlotting(f"plots need matplotlib: {packages.install('matplotlib')}") from None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, paint in (("price", _price), ("returns", _returns), ("memory", _memory), ("book", _book)):
        figure = Figure(figsize=(10, 5), layout="constrained")
        paint(seen, figure.subplots(1, 1 if name == "price" else 2))
        figure.suptitle(f"{seen.symbol}: {name}, {seen.seconds} s, {seen.trades} trades")
        paths.append(folder / f"{seen.symbol}-{name}.png")
        figure.savefig(paths[-1], dpi=110)
    return paths


def _price(seen: Observation, axis) -> None:
    axis.plot([float("nan") if mid is None else mid for mid in seen.mids], linewidth=0.8)
    axis.set(xlabel="seconds", ylabel="middle of the book, ticks")


def _returns(seen: Observation, axes) -> None:
    for axis, horizon in zip(axes, (1, 60), strict=True):
        returns = facts.log_returns(seen.mids, every=horizon)
        axis.hist([value * 10_000 for value in returns], bins=80, log=bool(returns))
        kurtosis = facts.kurtosis(returns)
        title = f"{horizon} s, kurtosis {kurtosis:.1f}" if kurtosis is not None else f"{horizon} s"
        axis.set(xlabel="return, basis points", ylabel="count", title=title)


def _memory(seen: Observation, axes) -> None:
    returns = facts.log_returns(seen.mids)
    lags = facts.spaced_lags(200)
    sizes = [abs(value) for value in returns]
    for values, label in ((returns, "returns"), (sizes, "absolute returns")):
        axes[0].semilogx(lags, [facts.autocorrelation(values, lag) for lag in lags], marker=".", label=label)
    axes[0].axhspan(-facts.noise_level(len(returns)), facts.noise_level(len(returns)), alpha=0.2, label="noise")
    axes[0].set(xlabel="lag, seconds", ylabel="autocorrelation", title="returns")
    axes[0].legend()
    signs = [taken.sign for taken in seen.taken]
    axes[1].semilogx(lags, [facts.autocorrelation(signs, lag) for lag in lags], marker=".")
    axes[1].axhspan(-facts.noise_level(len(signs)), facts.noise_level(len(signs)), alpha=0.2)
    axes[1].set(xlabel="lag, trades", ylabel="autocorrelation", title="trade signs")


def _book(seen: Observation, axes) -> None:
    axes[0].hist([spread for spread in seen.spreads if spread is not None], bins=60)
    axes[0].set(xlabel="spread, ticks", ylabel="seconds")
    axes[1].bar(range(len(seen.depth)), seen.depth)
    axes[1].set(xlabel=f"distance from the best price, {seen.bucket_ticks} ticks", ylabel="average lots a side")
