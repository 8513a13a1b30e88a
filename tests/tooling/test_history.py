"""The past that a benchmark gives a venue is one that the venue could have."""

from decimal import Decimal

from benchmarks import history
from exchange import audit
from exchange.models import Order


def test_written_orders_hold_together_and_can_be_traded_with(venue):
    venue.change("AAPL", lot_size=Decimal("0.001"))
    venue.trader("ann", USD=10_000, AAPL=1_000)
    venue.trader("bob", USD=10_000, AAPL=1_000)
    history.fill(resting=20, past=20, past_of_one=10)
    assert Order.objects.filter(status="OPEN").count() == 20 and Order.objects.count() == 50
    assert venue.book().startswith("| 0.01@105.01 0.01@105.02")
    assert venue.order("bob BUY 1 AAPL @ 99")["status"] == "OPEN"
    broken = {finding.name for finding in audit.run() if finding.violations}
    assert all("journal" in name for name in broken), broken
