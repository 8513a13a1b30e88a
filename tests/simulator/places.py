"""The demonstration's venue for tests of the simulator, and a simulator that has made its steps."""

import asyncio
import gc

import pytest

from exchange import demo
from exchange.simulator import Simulator
from tests import flush
from tests.venue import forget_everything

SYMBOLS = ["AAPL", "BTC_USDT"]


@pytest.fixture
def demo_venue(transactional_db, settings, tmp_path):
    """The demonstration, nobody trading yet."""
    settings.DATA_DIR = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    forget_everything()
    flush.begin_with(demo.seed)
    yield
    forget_everything()
    gc.collect()  # connections of threads that have ended are closed with their last reference


def seed_anew() -> None:
    """An empty venue again, in the middle of a test."""
    forget_everything()
    flush.empty()
    flush.begin_with(demo.seed)


def simulate(steps: int, *, seed: int = 1, markets=SYMBOLS, **terms) -> Simulator:
    """A simulator that has made its steps."""
    simulator = Simulator(seed, markets, **terms)

    async def run():
        try:
            await simulator.step(steps)
        finally:
            await simulator.close()

    asyncio.run(run())
    return simulator
