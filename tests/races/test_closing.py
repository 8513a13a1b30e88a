"""An order that is on its way when a competition's round ends: it is refused, or cancelled with those that rested."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import competitions
from accounts.models import Competition, User
from exchange import closing
from exchange.models import Order
from marketdata import clock
from marketdata.models import Market
from tests.races.stage import ORDER, first_one


@pytest.mark.parametrize("point", ORDER)
def test_no_order_of_an_entry_outlives_its_round(stage, point):
    stage.venue.trader("ann")
    contest = Competition.objects.create(
        name="Spring", starts_at=clock.now() - timedelta(seconds=60), ends_at=clock.now() + timedelta(seconds=60),
        starting_asset=stage.venue.assets["USD"], starting_amount=Decimal(10_000),
    )  # fmt: skip
    contest.markets.set(Market.objects.filter(symbol="AAPL"))
    entry, _ = competitions.join(competition=contest, user=User.objects.get())
    stage.venue.accounts["entry"] = entry.account

    def close():
        clock.shift(61)
        assert closing.close_due() == [contest]

    try:
        order = stage.venue.command("entry BUY 5 AAPL @ 100")
        said, _ = stage.run(point, held=order, other=close, guard="accounts")
        assert said == ("OPEN" if first_one(point, "accounts") == "held" else "competition_closed")
        assert not Order.objects.filter(status__in=Order.LIVE).exists()
    finally:
        clock.shift(0)
