"""Keeping the marks of all margin markets: from providers' quotes or the markets' own books, by the contract's rule.

`MarkKeeper.step` is a plain function for one thread. It reads what is new, lets each market's smoother decide, and
writes the marks that changed in one statement. A process that takes over goes on from the stored marks; what was
doubted then is forgotten, so that a jump needs two prints again.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from exchange import barrier
from exchange.engine.book import BUY, SELL
from marketdata import clock, marks, quotes
from marketdata.markets import SPEC_RELATIONS, MarketSpec, specs_of
from marketdata.marks import Mark, Print, Smoother, fair_price
from marketdata.models import Contract, Market

#: How long operators' changes may take to be noticed.
RELOAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What the keeper and the house's quotes need of a margin market."""

    spec: MarketSpec
    source: str
    max_age_seconds: int
    jump: Decimal
    is_tradable: bool
    is_quoted: bool
    spread_ticks: int
    size_lots: int
    limit_lots: int


def load_terms() -> dict[int, Terms]:
    """Every active margin market's, by market id."""
    found = Market.objects.filter(kind=Market.Kind.MARGIN, is_active=True, contract__isnull=False)
    rows = list(found.select_related(*SPEC_RELATIONS).order_by("id"))
    specs = specs_of(rows)
    return {row.id: _terms(specs[row.id], row, row.contract) for row in rows if row.id in specs}


def _terms(spec: MarketSpec, market: Market, contract: Contract) -> Terms:
    return Terms(
        spec=spec,
        source=contract.mark_source,
        max_age_seconds=contract.mark_max_age_seconds,
        jump=contract.mark_jump,
        is_tradable=market.status == Market.Status.OPEN,
        is_quoted=contract.is_quoted,
        spread_ticks=contract.quote_spread_ticks,
        size_lots=contract.quote_size_lots,
        limit_lots=contract.exposure_limit_lots,
    )


class MarkKeeper:
    """All margin markets' smoothers. Not to be stepped by two threads at once."""

    def __init__(self):
        self.terms: dict[int, Terms] = {}
        self.marks: dict[int, Mark] = {}
        self._smoothers: dict[int, Smoother] = {}
        self._loaded_at = float("-inf")

    def is_doubted(self, market_id: int) -> bool:
        """Whether the newest print is too far away to be believed yet."""
        smoother = self._smoothers.get(market_id)
        return smoother is not None and smoother.doubted is not None

    def step(self) -> dict[int, Mark]:
        """Take in what is new; the marks that it made, by market."""
        if time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self._load()
        changed = {}
        for market_id, observed in self._prints().items():
            smoother = self._smoothers[market_id]
            if smoother.take(observed):
                terms = self.terms[market_id]
                changed[market_id] = marks.mark_of(market_id, observed, terms.max_age_seconds)
        if changed:
            marks.write(changed.values())
            self.marks.update(changed)
        return changed

    def _load(self) -> None:
        loaded_at = time.monotonic()
        self.terms = load_terms()
        marks.forget()
        stored = marks.latest()
        for market_id, terms in self.terms.items():
            smoother = self._smoothers.get(market_id)
            if smoother is None:
                known = stored.get(market_id)
                self._smoothers[market_id] = Smoother(terms.jump, known.price if known else None)
            else:
                smoother.jump = terms.jump
        self.marks = {market_id: mark for market_id, mark in stored.items() if market_id in self.terms}
        self._loaded_at = loaded_at

    def _prints(self) -> dict[int, Print]:
        provided = [id for id, terms in self.terms.items() if terms.source == Contract.MarkSource.PROVIDER]
        found = {
            market_id: Print(quote.bid, quote.ask, quote.mid, quote.quoted_at)
            for market_id, quote in (quotes.latest(provided) if provided else {}).items()
            if not quote.is_stale
        }
        own = [terms.spec for id, terms in self.terms.items() if terms.source == Contract.MarkSource.BOOK]
        if own:
            found.update(_book_prints(own, clock.now()))
        return found


def _book_prints(specs: list[MarketSpec], moment: datetime) -> dict[int, Print]:
    """The fair price of each book that has two sides, as of now."""
    last_prices = dict(Market.objects.filter(pk__in=[spec.id for spec in specs]).values_list("id", "last_price"))
    found = {}
    for spec in specs:
        view = barrier.view(spec)
        bid, ask = (None if (ticks := view.best(side)) is None else spec.price(ticks) for side in (BUY, SELL))
        price = fair_price(bid, ask, last_prices[spec.id])
        if price is not None:
            found[spec.id] = Print(bid, ask, price, moment)
    return found
