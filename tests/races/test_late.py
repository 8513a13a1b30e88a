"""A command that was passed on and is begun too late, because its process stood still: it leaves no trace."""

from decimal import Decimal

import pytest

from exchange.commands import Amend
from tests.races.stage import LAST_HELD, ORDER

#: Where the commands of a batch have been decided already.
DECIDED = ORDER.index("before it writes")
POINTS = ORDER[: LAST_HELD + 1]


@pytest.mark.parametrize("point", POINTS)
def test_an_amendment_that_was_given_up_does_not_overwrite_a_later_one(stage, point):
    stage.venue.trader("ann", USD=10_000)
    order = stage.venue.order("ann BUY 5 AAPL @ 100")
    abandoned, later = (
        Amend(stage.venue.accounts["ann"].id, order["id"], None, Decimal(quantity)) for quantity in (7, 2)
    )
    said, _ = stage.run(point, held=abandoned, other=later, guard="market", too_long=True)
    # What was decided in time comes first, because the later one has waited for its lock.
    assert said == ("OPEN" if ORDER.index(point) >= DECIDED else "not_accepting")
    assert stage.venue.stored(order)["quantity"] == "2"


@pytest.mark.parametrize("point", POINTS)
def test_an_order_that_was_looked_for_in_vain_does_not_appear(stage, point):
    stage.venue.trader("ann", USD=10_000)
    stage.venue.trader("bob", USD=10_000)
    command, other = (stage.venue.command(f"{name} BUY 5 AAPL @ 100") for name in ("ann", "bob"))
    said, _ = stage.run(point, held=command, other=other, guard="market", too_long=True)
    is_decided = ORDER.index(point) >= DECIDED
    assert (said, stage.venue.funds("ann", "USD") == "10000+0") == (
        ("OPEN", False) if is_decided else ("not_accepting", True)
    )
