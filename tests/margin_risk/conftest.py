"""What tests of margin risk share."""

from decimal import Decimal

import pytest

from marketdata import clock, marks
from marketdata.models import Asset, Market
from tests.margin_risk.venue import RiskVenue


@pytest.fixture
def market(db) -> Market:
    """A market and nothing else."""
    marks.forget()
    euro, dollar = (Asset.objects.create(symbol=symbol, name=symbol, kind="FIAT") for symbol in ("EUR", "USD"))
    yield Market.objects.create(
        symbol="EURUSD", base=euro, quote=dollar, kind=Market.Kind.MARGIN, tick_size=Decimal("0.00001"),
        lot_size=Decimal("1000"),
    )  # fmt: skip
    marks.forget()


@pytest.fixture
def venue(venue):
    """Two traders with 10,000 dollars each and a rich one who takes the other side."""
    marks.forget()
    made = RiskVenue(venue)
    for name, dollars in (("ann", 10_000), ("bob", 10_000), ("rich", 10_000_000)):
        made.trader(name, USD=dollars)
    yield made
    made.close()
    clock.stand(None)
