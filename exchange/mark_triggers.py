"""Stop orders that a mark price triggers: for markets whose `trigger_by` is MARK, instead of their last price.

A mark that moves a trailing stop or lets an order go is a command like any other: it has a sequence and a row of the
market journal, so that every process and every replay sees the same marks in the same place. One that moves nobody
leaves no trace. A mark between two ticks counts as the nearer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from exchange import following
from exchange.books import LiveBook
from exchange.commands import Refresh
from exchange.journal import Kind
from exchange.models import Order
from exchange.sequencer import sequencer
from marketdata.markets import MarketSpec
from marketdata.marks import Mark
from marketdata.models import Market


@dataclass(slots=True)
class Observe(Refresh):
    """Show a market's waiting orders its mark, in ticks."""

    price: int = 0

    def reach(self, live: LiveBook) -> set[int]:
        waits = is_by_mark(live.spec) and live.waiting.triggers.waiting
        return following.accounts(live, self.price, self.price, {}) if waits else set()

    def apply(self, batch) -> dict:
        live = batch.books.get(self.market_id)
        if live is not None and is_by_mark(live.spec) and live.waiting.triggers.concerns(self.price):
            batch.records.command(live, Kind.MARK, 0, {"price": self.price})
            live.waiting.observe(self.price, batch.records.moment)
            batch.stir(live)
        return {}


def is_by_mark(spec: MarketSpec) -> bool:
    return spec.trigger_by == Market.Trigger.MARK


def ticks_of(spec: MarketSpec, mark: Mark) -> int:
    """The mark in whole ticks."""
    return max(1, round(mark.price / spec.tick_size))


def due(specs: Mapping[int, MarketSpec], marks: Mapping[int, Mark]) -> list[Observe]:
    """What to show for these new marks: nothing where nobody waits. Reads the database."""
    by_mark = [market_id for market_id in marks if is_by_mark(specs[market_id])]
    if not by_mark:
        return []
    waiting = Order.objects.filter(market__in=by_mark, status=Order.Status.PENDING).order_by()
    found = waiting.values_list("market_id", flat=True).distinct()
    return [Observe(market_id, ticks_of(specs[market_id], marks[market_id])) for market_id in sorted(found)]


async def show(commands: list[Observe]) -> None:
    """Have them settled, from a coroutine."""
    for future in sequencer.submit_from_loop(commands):
        if isinstance(outcome := await future, Exception):
            raise outcome
