"""The two funded traders, a client, and competitions that start and end when a test says so."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models import Competition
from marketdata import clock
from marketdata.models import Market
from tests.api.conftest import api

__all__ = ["api"]


@pytest.fixture
def contest(api):
    """Makes a competition on AAPL that runs now: contest(starts=60, ends=120) are seconds from now."""

    def make(name: str = "Spring", *, starts: float = -60, ends: float = 3600, **fields) -> Competition:
        now = clock.now()
        competition = Competition.objects.create(
            name=name,
            starts_at=now + timedelta(seconds=starts),
            ends_at=now + timedelta(seconds=ends),
            starting_asset=api.venue.assets["USD"],
            starting_amount=Decimal(10_000),
            **fields,
        )
        competition.markets.set(Market.objects.filter(symbol="AAPL"))
        return competition

    yield make
    clock.shift(0)
