"""The house as market maker of margin markets: one bid and one ask around the mark, moved with each new mark.

It trades like everybody else, through `exchange.orders`, for an account of its own a market, and hedges nothing. What
stops it: a mark that is stale or a print that is doubted (both quotes go), a closed session or a market that is not
open, and its exposure limit (the side that would carry its position beyond it goes, the other stays). Its quotes are
never narrower than the provider's. Known limit: between a print and the amended quotes lies one commit, in which the
old quotes can be traded with; where the process that settles a market does not answer, as long as that takes. The other
markets' quotes, and all marks, do not wait for it.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import ceil, floor
from typing import NamedTuple

from django.db import transaction

from accounts.models import Account, Position
from exchange import orders
from exchange.books import SIDES
from exchange.commands import OrderNotOpen, Place
from exchange.engine.book import BUY, SELL
from exchange.mark_keeper import MarkKeeper, Terms
from exchange.models import Order
from marketdata import clock, hours
from marketdata.markets import MarketSpec
from marketdata.marks import Mark
from marketdata.models import Market
from marketdata.refusals import Refusal

logger = logging.getLogger(__name__)

#: How long a round waits for its markets. One that has not answered by then is left alone until it has.
QUOTE_SECONDS = 1.0


class Standing(NamedTuple):
    """A quote in the book: its order, price in ticks, lots still open and filled."""

    order_id: int
    price: int
    remaining: int
    filled: int


class Wanted(NamedTuple):
    """A quote as it should be, in ticks and lots."""

    price: int
    lots: int


def wanted(terms: Terms, mark: Mark, position_lots: int) -> dict[int, Wanted]:
    """The quotes for a mark and the house's present position, by side; a side without room is left out. Pure."""
    tick = terms.spec.tick_size
    middle, half = mark.price / tick, Decimal(terms.spread_ticks) / 2
    bid = min(floor(middle - half), floor(mark.bid / tick))
    ask = max(ceil(middle + half), ceil(mark.ask / tick))
    quotes = {}
    for side, price in ((BUY, bid), (SELL, ask)):
        lots = min(terms.size_lots, terms.limit_lots - side * position_lots)
        if lots >= terms.spec.min_quantity and price > 0:
            quotes[side] = Wanted(price, lots)
    return quotes


def house_account(market_id: int) -> Account:
    """The account that quotes a market; made when it is missing, once for all who look for it at the same time."""
    terms = {"kind": Account.Kind.MARKET_MAKER, "market_id": market_id, "user": None}
    rows = Account.objects.filter(**terms).order_by("id")
    if found := rows.first():
        return found
    with transaction.atomic():
        Market.objects.select_for_update(no_key=True).only("id").get(pk=market_id)
        return rows.first() or Account.objects.create(**terms, name="House quotes")


def _house_accounts(market_ids: Iterable[int]) -> dict[int, int]:
    """Those of the markets that have one, quoted now or not: what a process that is gone has left there must go."""
    rows = Account.objects.filter(kind=Account.Kind.MARKET_MAKER, market__in=market_ids, user=None).order_by("-id")
    return dict(rows.values_list("market_id", "id")) if market_ids else {}


class House:
    """The quotes of all quoted markets. `read` belongs to a thread, `quote` to the event loop."""

    def __init__(self):
        self._accounts: dict[int, int] = {}
        self._standing: dict[int, dict[int, list[Standing]]] = {}
        self._wanted: dict[int, dict[int, Wanted]] = {}
        self._specs: dict[int, MarketSpec] = {}
        #: What was asked of markets that had not answered at the end of the last round.
        self._late: dict[int, asyncio.Task] = {}

    def read(self, keeper: MarkKeeper) -> None:
        """What stands in the books, and what should."""
        self._accounts |= _house_accounts(keeper.terms.keys() - self._accounts.keys())
        quoted = {id: terms for id, terms in keeper.terms.items() if terms.is_quoted or id in self._accounts}
        for market_id in quoted.keys() - self._accounts.keys():
            self._accounts[market_id] = house_account(market_id).id
        self._specs = {id: terms.spec for id, terms in quoted.items()}
        self._standing = standing_quotes(self._specs, self._accounts)
        positions = position_lots(self._specs, self._accounts)
        now = clock.now()
        self._wanted = {}
        for market_id, terms in quoted.items():
            mark = keeper.marks.get(market_id)
            is_open = terms.is_quoted and terms.is_tradable and hours.is_open(terms.spec.contract.schedule, now)
            if is_open and mark is not None and not mark.is_stale and not keeper.is_doubted(market_id):
                self._wanted[market_id] = wanted(terms, mark, positions.get(market_id, 0))

    async def quote(self) -> None:
        """Bring the books to what is wanted, all markets side by side. What is refused waits for the next round, and
        what answers late for the one after: until then nobody has read what became of it.
        """
        fresh = [market_id for market_id in self._specs if market_id not in self._late]
        self._late |= {market_id: asyncio.create_task(self._change(market_id)) for market_id in fresh}
        if fresh:
            await asyncio.wait([self._late[market_id] for market_id in fresh], timeout=QUOTE_SECONDS)
        done = [market_id for market_id, task in self._late.items() if task.done()]
        for task in [self._late.pop(market_id) for market_id in done]:
            task.result()

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._late.values():
            task.cancel()

    async def _change(self, market_id: int) -> None:
        for outcome in await asyncio.gather(*self._changes(market_id), return_exceptions=True):
            if isinstance(outcome, Refusal):
                if not isinstance(outcome, OrderNotOpen):
                    logger.info("a quote of the house was refused: %s", outcome.detail)
            elif isinstance(outcome, BaseException):
                raise outcome

    def _changes(self, market_id: int) -> Iterable:
        """Coroutines, in the order in which the commands must be queued: first the side that makes room."""
        standing, wanted = self._standing.get(market_id, {}), self._wanted.get(market_id, {})
        spec, account_id = self._specs[market_id], self._accounts[market_id]
        first = {side: quotes[0] for side, quotes in standing.items()}
        for extra in (quote for quotes in standing.values() for quote in quotes[1:]):
            yield orders.cancel_async(account_id=account_id, order_id=extra.order_id)
        for side in _order_of_sides(first, wanted):
            old, new = first.get(side), wanted.get(side)
            if old is not None and new is None:
                yield orders.cancel_async(account_id=account_id, order_id=old.order_id)
            elif old is None and new is not None:
                yield orders.place_async(_placement(spec, account_id, side, new))
            elif old is not None and (old.price, old.remaining) != new:
                quantity = spec.quantity(old.filled + new.lots)
                yield orders.amend_async(
                    account_id=account_id, order_id=old.order_id, price=spec.price(new.price), quantity=quantity
                )


def _order_of_sides(standing: Mapping[int, Standing], wanted: Mapping[int, Wanted]) -> tuple[int, int]:
    """Upwards the ask moves first, downwards the bid, so that the house never meets itself."""
    old, new = standing.get(BUY), wanted.get(BUY)
    return (SELL, BUY) if old is not None and new is not None and new.price > old.price else (BUY, SELL)


def _placement(spec: MarketSpec, account_id: int, side: int, quote: Wanted) -> Place:
    return Place(
        account=account_id,
        spec=spec,
        side=side,
        type="LIMIT",
        price=quote.price,
        quantity=quote.lots,
        budget=None,
        time_in_force="GTC",
        post_only=False,
        prevention="EXPIRE_MAKER",
    )


def standing_quotes(
    specs: Mapping[int, MarketSpec], accounts: Mapping[int, int]
) -> dict[int, dict[int, list[Standing]]]:
    """The open quotes of each side, oldest first, by market. More than one stand after a lost answer, or where a
    process died between a demonstration's fill and the end of what it offered for that (exchange.positions).
    """
    found: dict[int, dict[int, list[Standing]]] = {}
    rows = Order.objects.filter(market__in=specs, account__in=accounts.values(), status__in=Order.ACTIVE)
    for row in rows.order_by("id"):
        spec = specs[row.market_id]
        filled = spec.lots(row.filled_quantity)
        quote = Standing(row.id, spec.ticks(row.price), spec.lots(row.quantity) - filled, filled)
        found.setdefault(row.market_id, {}).setdefault(SIDES[row.side], []).append(quote)
    return found


def position_lots(specs: Mapping[int, MarketSpec], accounts: Mapping[int, int]) -> dict[int, int]:
    """The house's open positions in signed lots, by market."""
    rows = Position.objects.filter(market__in=specs, account__in=accounts.values(), closed_at__isnull=True)
    return {
        row.market_id: int(row.quantity / specs[row.market_id].lot_size)
        for row in rows
        if row.account_id == accounts[row.market_id]
    }
