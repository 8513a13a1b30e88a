"""Feeding marks to stop orders: each new mark of a margin market whose stops go by it is a `Mark` for the matcher.

Only where orders wait is there anything to tell. A mark between two ticks counts as the nearer one.
"""

from collections.abc import Mapping

from exchange.mark_price import Mark as MarkCommand
from exchange.models import Order
from exchange.sequencer import sequencer
from marketdata.markets import MarketSpec
from marketdata.marks import Mark


def due(specs: Mapping[int, MarketSpec], marks: Mapping[int, Mark]) -> list[MarkCommand]:
    """What to tell of these new marks. Reads the database."""
    by_mark = [market_id for market_id in marks if specs[market_id].trigger_by == "MARK"]
    if not by_mark:
        return []
    waiting = Order.objects.filter(market__in=by_mark, status=Order.Status.PENDING).order_by()
    found = waiting.values_list("market_id", flat=True).distinct()
    return [MarkCommand(market_id, specs[market_id].nearest(marks[market_id].price)) for market_id in sorted(found)]


async def tell(commands: list[MarkCommand]) -> None:
    """Have them settled, from a coroutine."""
    for future in sequencer.submit_from_loop(commands):
        if isinstance(outcome := await future, Exception):
            raise outcome
