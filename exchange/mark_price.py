"""Mark prices as triggers: markets whose stops go by the mark price instead of the last one (Market.trigger_by).

Whoever determines a market's mark price submits a `Mark` for each new one. It is journaled, as MARK, only when it moves
a stop or triggers an order: a book that does the journal again then does the same.

Known limit: a process knows the mark price it was last told, for the check of a new stop's side; until then it takes
the last price.
"""

from dataclasses import dataclass

from exchange import following
from exchange.books import LiveBook
from exchange.models import BookCommand


@dataclass(slots=True)
class Mark:
    """A new mark price of a market, in ticks."""

    market_id: int
    price: int

    def apply(self, batch) -> dict:
        live = batch.books.get(self.market_id)
        if live is not None and live.spec.trigger_by == "MARK":
            _observe(batch, live, self.price)
        return {}

    def reach(self, live: LiveBook) -> set[int]:
        """The accounts that this could touch."""
        return following.accounts(live, self.price, self.price, {})


def _observe(batch, live: LiveBook, price: int) -> None:
    live.waiting.mark = price
    if not live.waiting.triggers.is_stirred_by(price):
        return
    batch.records.command(live, BookCommand.Kind.MARK, 0, {"price": price})
    live.waiting.observe(price, batch.records.moment)
    batch.stir(live)
