"""Hidden prices: regimes of volatility, news, providers' prices, and markets that hang together."""

from dataclasses import dataclass
from decimal import Decimal
from math import exp, log
from random import Random
from statistics import fmean, pstdev

import pytest

from exchange.simulator import facts
from exchange.simulator.memory import Stocks, Trend
from exchange.simulator.reference import CrossPrice, ReferencePrice
from exchange.simulator.weather import Weather
from exchange.simulator.world import World


def reference(anchor: str = "100", seed: int = 1) -> ReferencePrice:
    return ReferencePrice(anchor=Decimal(anchor), start=None, random=Random(seed))


class TestWeather:
    def seen(self, steps: int = 40_000) -> tuple[list[float], list[float], list[float]]:
        weather, news, volatility, activity = Weather(Random(2)), [], [], []
        for _ in range(steps):
            news.append(weather.advance(0.5))
            volatility.append(weather.volatility)
            activity.append(weather.activity)
        return news, volatility, activity

    def test_volatility_comes_in_regimes_around_the_ordinary_one(self):
        _, volatility, activity = self.seen()
        assert 0.6 < fmean(volatility) < 1.8
        assert facts.autocorrelation(volatility, 120) > 0.3
        assert 0.5 <= min(activity) < fmean(activity) < 1.6 < max(activity) <= 3

    def test_news_come_in_clusters(self):
        news, _, _ = self.seen(200_000)
        times = [index for index, size in enumerate(news) if size]
        apart = [after - before for before, after in zip(times, times[1:], strict=False)]
        assert 60 < len(times) < 400
        assert pstdev(apart) > 1.15 * fmean(apart)  # as much as they are apart, if they did not know of each other


class TestProviders:
    def test_it_is_the_providers_price_and_walks_on_from_there(self):
        price = reference()
        price.follow(Decimal("110"))
        price.advance(10)
        assert price.price() == pytest.approx(110)
        price.follow(None)
        assert price.price() == pytest.approx(110)
        price.advance(1)
        assert price.price() != 110 and price.price() == pytest.approx(110, rel=0.01)

    def test_news_of_a_scenario_stay(self):
        price = reference()
        price.jump(log(0.8))
        assert price.price() == pytest.approx(80)
        for _ in range(1000):
            price.advance(10)
        assert price.price() == pytest.approx(80, rel=0.042)


@dataclass
class Held:
    """A market as the world knows it."""

    symbol: str
    reference: ReferencePrice | None


class TestCrossPrices:
    ROWS = (("BTC_USDT", 1, 9), ("ETH_BTC", 2, 1), ("ETH_USDT", 2, 9), ("AAPL", 3, 8))

    def world(self) -> World:
        world = World()
        world.relate(self.ROWS)
        for symbol, anchor in (("BTC_USDT", "65000"), ("ETH_USDT", "3250")):
            world.enter(Held(symbol, reference(anchor, seed=len(symbol))))
        return world

    def price_of(self, world: World, symbol: str, anchor: str) -> ReferencePrice:
        return world.price_of(Held(symbol, None), Decimal(anchor), None, Random(7))

    def test_parts_come_first(self):
        assert self.world().in_order(["AAPL", "BTC_USDT", "ETH_BTC", "ETH_USDT"]) == [
            "AAPL", "BTC_USDT", "ETH_USDT", "ETH_BTC",
        ]  # fmt: skip

    def test_the_cross_is_the_quotient_wherever_the_parts_go(self):
        world = self.world()
        above, below = (world._markets[symbol].reference for symbol in ("ETH_USDT", "BTC_USDT"))
        cross = self.price_of(world, "ETH_BTC", "0.05")
        above.jump(0.1)
        for _ in range(2000):
            for price in (above, below, cross):
                price.advance(0.5)
            assert abs(log(cross.price() * below.price() / above.price())) < 0.0003
        assert cross.price() == pytest.approx(0.05 * exp(0.1), rel=0.09)

    @pytest.mark.parametrize(
        ("symbol", "anchor", "is_cross"), [("ETH_BTC", "0.05", True), ("AAPL", "187", False), ("ETH_USDT", "1", False)]
    )
    def test_only_a_market_of_two_parts_is_one(self, symbol, anchor, is_cross):
        assert isinstance(self.price_of(self.world(), symbol, anchor), CrossPrice) is is_cross

    def test_made_up_prices_are_left_alone(self):
        assert self.price_of(self.world(), "ETH_BTC", "7").price() == pytest.approx(7)


class TestMemory:
    def test_a_trend_needs_time_and_fades(self):
        trend = Trend()
        for _ in range(100):
            trend.note(100.0, 0.5)
        assert trend.value() is None
        for _ in range(100):
            trend.note(100.0, 0.5)
        assert trend.value() == pytest.approx(0)
        for _ in range(20):
            trend.note(101.0, 0.5)
        assert 0.003 < trend.value() < 0.01
        for _ in range(2000):
            trend.note(101.0, 0.5)
        assert trend.value() == pytest.approx(0, abs=1e-5)

    def test_a_stock_is_what_was_gained_by_trading_and_becomes_ordinary(self):
        stocks = Stocks()
        assert stocks.gained(1, 1000, 0.5) == 0
        assert stocks.gained(1, 1100, 0.5) == 100
        stocks.given(1, 500)
        assert stocks.gained(1, 1600, 0.5) == 100
        for _ in range(10_000):
            kept = stocks.gained(1, 1600, 0.5)
        assert kept == 0
