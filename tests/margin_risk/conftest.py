"""What tests of margin risk share."""

from decimal import Decimal

import pytest

from marketdata import marks
from marketdata.models import Asset, Market
from tests.margin.conftest import with_two_traders
from tests.margin_risk.venue import RiskVenue
from tests.venue import beginning_with


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


def with_three_traders() -> None:
    """Two traders with 10,000 dollars each and a rich one who takes the other side."""
    with_two_traders().trader("rich", USD=10_000_000)


@pytest.fixture
def venue(transactional_db):
    """Fresh as `with_three_traders` makes it, and nothing left of it afterwards."""
    with beginning_with(with_three_traders) as fresh:
        made = RiskVenue(fresh)
        yield made
        made.close()
