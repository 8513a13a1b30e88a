"""Made-up prices: the same for all, agreeing with themselves, and believable."""

import math
from datetime import timedelta
from itertools import islice
from statistics import stdev

import pytest

from marketdata import providers
from marketdata.followers import Follower
from marketdata.providers.protocol import Rejected
from marketdata.providers.synthetic import Synthetic
from tests.providers.clocks import START, JumpingClock


async def test_seed_and_time_alone_make_the_price():
    first, second = Synthetic(clock=JumpingClock(), seed=3), Synthetic(clock=JumpingClock(), seed=3)
    assert await first.quotes(["BTC@60000", "AAPL"]) == await second.quotes(["BTC@60000", "AAPL"])
    other = Synthetic(clock=JumpingClock(), seed=4)
    assert await first.quotes(["AAPL"]) != await other.quotes(["AAPL"])


@pytest.mark.parametrize("seed", [0, 7])
def test_the_seed_is_the_simulators(settings, seed):
    settings.SIMULATOR_SEED = seed
    made = providers.make("SYNTHETIC", JumpingClock())
    assert made.price("A", 1e9) == Synthetic(clock=JumpingClock(), seed=seed).price("A", 1e9)


async def test_a_known_price_of_a_known_moment():
    [tick] = await Synthetic(clock=JumpingClock(), seed=1).quotes(["BTC@60000"])
    assert tick.at == START
    assert (str(tick.bid), str(tick.last), str(tick.ask)) == ("57466.962", "57472.709", "57478.457")


async def test_bars_follow_each_other_and_agree_with_the_quotes():
    clock = JumpingClock()
    provider = Synthetic(clock=clock)
    bars = await provider.history("AAPL@187.5", "1h", None, None, 48)
    assert [bar.open_time for bar in bars] == [START - timedelta(hours=n) for n in range(48, 0, -1)]
    assert all(after.open == before.close for before, after in zip(bars, bars[1:], strict=False))
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    [tick] = await provider.quotes(["AAPL@187.5"])
    assert tick.last == bars[-1].close
    start = bars[10].open_time
    assert await provider.history("AAPL@187.5", "1h", start, None, 5) == bars[10:15]


async def test_the_price_moves_like_a_price():
    provider = Synthetic(clock=JumpingClock())
    prices = [provider.price("X@100", START.timestamp() + 86_400 * day) for day in range(400)]
    daily = stdev(math.log(after / before) for before, after in zip(prices, prices[1:], strict=False))
    assert 0.005 < daily < 0.03
    assert 20 < min(prices) < max(prices) < 500


async def test_a_stream_ticks_every_second():
    clock = JumpingClock()
    stream = Synthetic(clock=clock).stream(["A", "B"])
    ticks = [await anext(stream) for _ in range(10)]
    await stream.aclose()
    assert [tick.symbol for tick in islice(ticks, 4)] == ["A", "B", "A", "B"]
    assert ticks[-1].at - ticks[0].at == timedelta(seconds=4)


@pytest.mark.parametrize("symbol", ["X@0", "X@-1", "X@abc", "X@NaN", "X@1e99"])
async def test_an_anchor_must_be_a_price(symbol):
    provider = Synthetic(clock=JumpingClock())
    assert [tick.symbol for tick in await provider.quotes([symbol, "Y@5"])] == ["Y@5"]
    assert provider.counters["unknown_symbols"] == 1
    with pytest.raises(Rejected):
        await provider.history(symbol, "1h", None, None, 1)


def test_a_follower_has_no_state_before_it_follows():
    follower = Follower(name="SYNTHETIC", make=None, clock=JumpingClock(), random=None, publish=None)
    assert follower.status()["ticks"] == 0
