"""Which simulated markets hang together: ETH_BTC is what ETH_USDT and BTC_USDT say, as arbitrage would have it.

A market whose base and quote both trade against one third asset has a cross price, if its reference price agrees.
Its parts come first in a step, so that it sees them where they are now. Known limit: in a market that runs by the
clock the parts may be a step ahead or behind.
"""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Protocol

from exchange.simulator.reference import CrossPrice, ReferencePrice
from marketdata.markets import MarketSpec


class Priced(Protocol):
    """A market with a hidden price, once it has been looked at."""

    symbol: str
    reference: ReferencePrice | None


class World:
    """The markets of one simulation, and how their prices are related."""

    def __init__(self):
        self._markets: dict[str, Priced] = {}
        self._parts: dict[str, tuple[str, str]] = {}

    def enter(self, market: Priced) -> None:
        self._markets[market.symbol] = market

    def relate(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Find the cross markets among (symbol, base, quote) rows."""
        by_pair = {(base, quote): symbol for symbol, base, quote in reversed(rows)}
        self._parts = {}
        for symbol, base, quote in rows:
            thirds = sorted(third for one, third in by_pair if one == base and (quote, third) in by_pair)
            if thirds:
                self._parts[symbol] = by_pair[base, thirds[0]], by_pair[quote, thirds[0]]

    def in_order(self, symbols: Sequence[str]) -> list[str]:
        """The symbols such that cross markets come after their parts."""
        return sorted(symbols, key=lambda symbol: (symbol in self._parts, symbol))

    def price_of(self, spec: MarketSpec, anchor: Decimal, start: Decimal | None, random: Random) -> ReferencePrice:
        """The hidden price of a market that enters now. A walk of its own where there is no cross."""
        terms = {"anchor": anchor, "start": start, "random": random}
        markets = [self._markets.get(symbol) for symbol in self._parts.get(spec.symbol, ())]
        parts = [market.reference for market in markets if market is not None and market.reference is not None]
        return CrossPrice(parts=(parts[0], parts[1]), **terms) if len(parts) == 2 else ReferencePrice(**terms)
