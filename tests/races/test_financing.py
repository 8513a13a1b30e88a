"""An order that is under way when a rollover is posted: whoever held at that moment is charged, seen by then or not."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import FinancingCharge
from exchange import financing
from exchange.models import Fill
from marketdata import clock
from tests.margin.conftest import MarginVenue
from tests.races.stage import ORDER

ROLLOVER = datetime(2026, 3, 16, 21, tzinfo=UTC)  # five in the afternoon in New York


@pytest.mark.parametrize("point", ORDER)
def test_who_held_by_the_fills_is_charged(stage, point):
    clock.stand(ROLLOVER - timedelta(seconds=1))
    venue = MarginVenue(stage.venue)
    for name in ("ann", "bob", "carl", "dora"):
        venue.trader(name, USD=10_000)
    for first, second in (("bob SELL", "ann BUY"), ("ann SELL", "bob BUY")):
        venue.order(f"{first} 1 EURUSD @ 1.10000")
        venue.order(f"{second} 1 EURUSD @ 1.10000")
    venue.order("carl SELL 1 EURUSD @ 1.10000")

    def post() -> int:
        clock.stand(ROLLOVER + timedelta(seconds=1))
        venue.mark("EURUSD", "1.10000")
        return financing.post_due()

    said, _ = stage.run(point, held=venue.command("dora BUY 1 EURUSD @ 1.10000"), other=post, guard="market")
    assert said == "FILLED"
    in_time = Fill.objects.filter(account=venue.accounts["dora"], executed_at__lt=ROLLOVER).exists()
    charged = set(FinancingCharge.objects.values_list("account__user__username", flat=True))
    assert charged == ({"carl", "dora"} if in_time else set())
    assert in_time == (ORDER.index(point) >= ORDER.index("holding the accounts"))
