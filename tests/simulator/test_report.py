"""market_report: what is observed is what happened, verdicts follow the numbers, and the pictures are drawn."""

import csv
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from math import exp
from random import Random

import pytest
from django.core.management import CommandError, call_command

from exchange.engine.book import BUY, SELL
from exchange.models import BookCommand, Trade
from exchange.simulator import report
from exchange.simulator.observation import Observation, Taken, observe
from exchange.simulator.plots import draw
from exchange.simulator.report import Real, measure, real_tape
from exchange.simulator.timekeeping import SimulatedClock
from marketdata.datasets import DATASETS
from marketdata.markets import by_symbol
from tests.simulator.places import demo_venue, simulate

__all__ = ["demo_venue"]

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
NOTHING = Real((), "no real tape")


def made_up(*, lively: bool, seconds: int = 4000, seed: int = 5) -> Observation:
    """A market like a real one, or a plain random walk with trades by the toss of a coin."""
    random, seen, level = Random(seed), Observation("MADE", bucket_ticks=5), 0.0
    price, sign, left = 100_000.0, 1, 0
    for second in range(seconds):
        level = 0.995 * level + 0.1 * random.gauss(0, 1) if lively else 0.0
        price *= exp(random.gauss(0, 0.0002) * exp(level))
        spread = 2 + int(random.expovariate(0.5)) if lively else 3
        if not left:
            sign, left = random.choice((1, -1)), int(random.paretovariate(1.3)) if lively else 1
        left -= 1
        lots = int(10 * (random.lognormvariate(0, 1) if lively else 1)) + 1
        seen.mids.append(price)
        seen.spreads.append(spread)
        seen.volumes.append(int(lots * exp(level)))
        seen.taken.append(Taken(float(second), round(price + sign * 40), lots, sign))
        seen.lifetimes.append(random.lognormvariate(1, 2) if lively else 5.0)
    seen.trades, seen.depth = seconds, [1.0, 5.0, 3.0] if lively else [5.0, 3.0, 1.0]
    seen.commands.update({"PLACE": seconds * (3 if lively else 1), "CANCEL": seconds if lively else 0})
    return seen


class TestVerdicts:
    def test_a_lively_market_has_every_fact(self):
        assert {fact.name: fact.measured for fact in measure(made_up(lively=True), NOTHING) if not fact.holds} == {}

    def test_a_plain_walk_fails_where_it_should(self):
        table = {fact.name: fact.holds for fact in measure(made_up(lively=False), NOTHING)}
        failed = {name for name, holds in table.items() if not holds}
        assert failed >= {
            "... of trade signs, lags 1-3, 10-20",
            "trade size, 99 % over the median",
            "depth: deepest bucket from the best price",
            "orders, amendments, cancels a trade",
        }
        assert any("absolute returns" in name for name in failed)
        assert table["autocorrelation of returns, lags 2 to 20 s"] is True
        assert table["autocorrelation of trade returns, lag 1"] is True

    @pytest.mark.parametrize("seen", [Observation("EMPTY"), made_up(lively=True, seconds=300)], ids=["empty", "short"])
    def test_too_little_has_no_verdict(self, seen):
        assert {fact.holds for fact in measure(seen, NOTHING)} == {None}

    def test_every_source_is_named_in_full(self):
        for fact in measure(made_up(lively=True, seconds=50), NOTHING):
            assert fact.source in report.__doc__


class TestRealTape:
    @pytest.fixture
    def installed(self, tmp_path, monkeypatch):
        """A file as the package would have it: three days of minutes."""
        random, price, path = Random(1), 200.0, tmp_path / "minutes.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["datetime", "open", "high", "low", "close", "volume"])
            for day in range(3):
                for minute in range(390):
                    price *= exp(random.gauss(0, 0.0005))
                    text = f"{price:.4f}"
                    moment = datetime(2026, 1, 5 + day, 14, 30, tzinfo=UTC) + timedelta(minutes=minute)
                    writer.writerow([moment.isoformat(), text, text, text, text, 100])
        monkeypatch.setattr(type(DATASETS["stock-minute"]), "file", lambda dataset: path)

    def test_it_is_compared_day_by_day(self, installed):
        real = real_tape()
        assert len(real.closes) == 3 * 390 + 2 and real.closes.count(None) == 2
        assert len(real.returns) == 3 * 389
        table = {fact.name: fact.real for fact in measure(made_up(lively=True), real)}
        assert table["kurtosis at 1, 10, 60 s"].endswith("at 1, 10, 60 min")

    def test_without_one_that_is_said(self, monkeypatch):
        absent = replace(DATASETS["stock-minute"], distribution="no-such-package-here")
        monkeypatch.setitem(DATASETS, "stock-minute", absent)
        assert real_tape().closes == ()
        assert "no real tape to compare with" in real_tape().about


@pytest.fixture
def simulated(demo_venue):
    """A minute of one market, in simulated time."""
    hand = SimulatedClock(START)
    try:
        simulate(120, markets=["AAPL"], clock=hand)
        yield
    finally:
        hand.close()


def test_what_is_observed_is_what_happened(simulated):
    seen = observe("AAPL")
    assert seen.seconds in (59, 60) and None not in seen.mids
    assert seen.trades == Trade.objects.count()
    assert sum(seen.commands.values()) == BookCommand.objects.count()
    lots = sum(by_symbol("AAPL").lots(trade.quantity) for trade in Trade.objects.all())
    assert sum(taken.lots for taken in seen.taken) == lots
    signs = {BUY: "BUY", SELL: "SELL"}
    takers = Trade.objects.order_by("id").values_list("taker_side", flat=True)
    assert [signs[taken.sign] for taken in seen.taken] == [
        side for side, order in zip(takers, _first_of_each_order(), strict=True) if order
    ]
    assert min(seen.spreads) > 0 and sum(seen.depth) > 0
    late = observe("AAPL", since=START + timedelta(seconds=30))
    assert 0 < late.trades < seen.trades
    assert late.mids == seen.mids[-late.seconds :]


def _first_of_each_order() -> list[bool]:
    orders = list(Trade.objects.order_by("id").values_list("taker_order", flat=True))
    return [before != order for before, order in zip([None, *orders], orders, strict=False)]


class TestCommand:
    def run(self, *arguments: str) -> str:
        out = StringIO()
        call_command("market_report", *arguments, stdout=out)
        return out.getvalue()

    def test_it_prints_a_table_of_what_traded(self, simulated):
        out = self.run()
        assert "AAPL: " in out and "BTC_USDT" not in out
        assert "kurtosis of returns, 1 s" in out and "Cont 2001" in out and "too little" in out

    def test_it_answers_json_and_draws(self, simulated, tmp_path):
        answer = json.loads(self.run("--json", "--market", "aapl", "--since", "2026-01-05T09:30:30Z",
                                     "--plots", str(tmp_path / "pictures")))  # fmt: skip
        market = answer["markets"]["AAPL"]
        assert market["seconds"] in (29, 30, 31) and len(market["facts"]) == 14
        for path in market["plots"]:
            with open(path, "rb") as file:
                assert file.read(8) == b"\x89PNG\r\n\x1a\n"

    def test_what_is_not_there_is_said(self, transactional_db):
        for arguments, said in (("--market NONE", "No such market: NONE"), ("--since soon", "neither a time")):
            with pytest.raises(CommandError, match=said):
                self.run(*arguments.split())

    def test_without_matplotlib_plots_say_so(self, demo_venue, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(CommandError, match="plots need matplotlib: .*-m pip install matplotlib"):
            self.run("--market", "AAPL", "--plots", str(tmp_path))


def test_pictures_of_a_lively_market(tmp_path):
    assert [path.name for path in draw(made_up(lively=True, seconds=600), tmp_path)] == [
        "MADE-price.png", "MADE-returns.png", "MADE-memory.png", "MADE-book.png",
    ]  # fmt: skip
