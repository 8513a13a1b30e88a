"""What tests of margin risk share."""

from decimal import Decimal

import pytest

from marketdata import marks
from marketdata.models import Asset, Market


@pytest.fixture
def market(db) -> Market:
    """A margin market and nothing else."""
    marks.forget()
    euro, dollar = (Asset.objects.create(symbol=symbol, name=symbol, kind="FIAT") for symbol in ("EUR", "USD"))
    yield Market.objects.create(
        symbol="EURUSD", base=euro, quote=dollar, kind=Market.Kind.MARGIN, tick_size=Decimal("0.00001"),
        lot_size=Decimal("1000"),
    )  # fmt: skip
    marks.forget()
