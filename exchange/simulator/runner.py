"""Runs agents against the venue: looks at a market, asks its agents, and carries their intents through the one door.

Every market has random numbers of its own (seed and symbol), and one command at a time: it waits for each answer, so
it never builds a queue, and what it decides depends on nothing but the seed and the venue's answers. `step` moves
simulated time by hand, as fast as the venue answers; `run` ties it to the clock.

A refusal is an answer like any other: it is counted, and the next look shows what stands in the book. A market that
is not open is left alone until it opens again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil, floor
from random import Random

from django.db import DatabaseError, InterfaceError

from exchange import barrier, orders
from exchange.books import SIDE_NAMES, SIDES
from exchange.commands import MarketClosed, MarketHalted
from exchange.engine.book import BUY, SELL
from exchange.models import Order
from exchange.simulator import population
from exchange.simulator.agents import AmendIntent, CancelIntent, Intent, MarketState, OpenOrder, PlaceIntent
from exchange.simulator.desk import Desk
from exchange.simulator.reference import ReferencePrice
from exchange.validation import place_command
from marketdata.markets import MarketSpec, spec_of
from marketdata.models import Market
from marketdata.refusals import Refusal, Unavailable, UnknownMarket

logger = logging.getLogger(__name__)

#: Simulated seconds from one step to the next.
STEP_SECONDS = 0.5
#: How often `run` looks for markets that have appeared.
DIRECTORY_SECONDS = 5.0
#: A step that takes longer than this has lost its answer.
STEP_TIMEOUT_SECONDS = 60.0
LONGEST_BACK_OFF_SECONDS = 10.0


@dataclass(slots=True)
class Tally:
    """What a simulator has done so far."""

    steps: int = 0
    commands: int = 0
    refusals: Counter = field(default_factory=Counter)
    prices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at a market: filters, last price, the members' open orders by account, and what they can spend."""

    spec: MarketSpec
    last_price: Decimal | None
    orders: dict[int, tuple[OpenOrder, ...]]
    available: dict[tuple[int, int], int]


class MarketRunner:
    """One market's agents. Not to be stepped twice at a time."""

    def __init__(self, *, symbol: str, seed: int, desk: Desk, tally: Tally):
        self.symbol = symbol
        self._random = Random(f"{seed}:{symbol}")
        self._desk = desk
        self._tally = tally
        self._members: list[population.Member] = []
        self._reference: ReferencePrice | None = None

    async def step(self) -> bool:
        """Let STEP_SECONDS pass in this market. False when it is not trading: then no agent is asked.

        Unavailable and database errors are the caller's.
        """
        scene = await self._desk.do(self._look)
        self._tally.steps += 1
        if scene is None:
            return False
        self._reference.advance(STEP_SECONDS)
        view = await barrier.view_from_loop(scene.spec)
        try:
            for member in self._members:
                state = self._state(scene, view, member)
                for intent in member.agent.decide(state, self._random):
                    await self._carry_out(member.account_id, scene.spec, intent)
        except (MarketHalted, MarketClosed, UnknownMarket):
            return False
        return True

    def _look(self) -> Scene | None:
        """What the database knows of the market; None when it is closed or has no price. Tops the members up."""
        market = Market.objects.select_related("base", "quote").filter(symbol=self.symbol, is_active=True).first()
        if market is None or market.status != Market.Status.OPEN:
            return None
        anchor = market.reference_price or market.last_price
        if anchor is None:
            return None
        spec = spec_of(market)
        self._prepare(spec, anchor, market.last_price)
        spendable = population.funds(self._members, spec, self._reference.ticks(spec.tick_size))
        self._tally.prices[self.symbol] = spec.price_text(spec.ticks(market.last_price)) if market.last_price else "-"
        return Scene(spec, market.last_price, self._open_orders(spec), spendable)

    def _prepare(self, spec: MarketSpec, anchor: Decimal, last_price: Decimal | None) -> None:
        if not self._members:
            self._members = population.cast(spec.id)
        if self._reference is None:
            self._reference = ReferencePrice(anchor=anchor, start=last_price, random=self._random)
        self._reference.aim(anchor)

    def _open_orders(self, spec: MarketSpec) -> dict[int, tuple[OpenOrder, ...]]:
        accounts = {member.account_id: [] for member in self._members}
        mine = Order.objects.filter(market_id=spec.id, status__in=Order.ACTIVE, account__in=list(accounts)).order_by(
            "id"
        )
        rows = mine.values_list("id", "account", "side", "price", "quantity", "filled_quantity")
        for order_id, account, side, price, quantity, filled in rows:
            remaining, done = spec.lots(quantity - filled), spec.lots(filled)
            accounts[account].append(OpenOrder(order_id, SIDES[side], spec.ticks(price), remaining, done))
        return {account: tuple(found) for account, found in accounts.items()}

    def _state(self, scene: Scene, view, member: population.Member) -> MarketState:
        spec, account = scene.spec, member.account_id
        reference = self._reference.ticks(spec.tick_size)
        low, high = 1, 2 * reference
        if band := _band(spec, scene.last_price):
            low, high = band
            # Somebody may have traded the price to the edge of the band: quotes half-way back lead home.
            quarter = (high - low) // 4
            reference = max(low + quarter, min(high - quarter, reference))
        return MarketState(
            spec=spec,
            reference=reference,
            low=low,
            high=high,
            bid=view.best(BUY),
            ask=view.best(SELL),
            orders=scene.orders[account],
            base_lots=scene.available.get((account, spec.base_id), 0) // spec.lot_units,
            quote_units=scene.available.get((account, spec.quote_id), 0),
        )

    async def _carry_out(self, account_id: int, spec: MarketSpec, intent: Intent) -> None:
        """One command; refusals are counted, unless they are about the market as a whole."""
        self._tally.commands += 1
        try:
            await self._command(account_id, spec, intent)
        except (MarketHalted, MarketClosed, Unavailable, UnknownMarket):
            raise
        except Refusal as refusal:
            self._tally.refusals[refusal.code] += 1

    async def _command(self, account_id: int, spec: MarketSpec, intent: Intent) -> None:
        match intent:
            case PlaceIntent(side, lots, price):
                command = await self._desk.do(
                    place_command,
                    account_id=account_id,
                    symbol=self.symbol,
                    side=SIDE_NAMES[side],
                    type="MARKET" if price is None else "LIMIT",
                    price=None if price is None else spec.price(price),
                    quantity=spec.quantity(lots),
                    # An own order in the way has been overtaken by the price: it goes, the new one stays.
                    self_trade_prevention="EXPIRE_MAKER",
                )
                await orders.place_async(command)
            case AmendIntent(order_id, price, lots):
                terms = {"price": spec.price(price), "quantity": spec.quantity(lots)}
                await orders.amend_async(account_id=account_id, order_id=order_id, **terms)
            case CancelIntent(order_id):
                await orders.cancel_async(account_id=account_id, order_id=order_id)


def _band(spec: MarketSpec, last_price: Decimal | None) -> tuple[int, int] | None:
    """The lowest and highest price in ticks that the market takes now; None when it takes any."""
    price = last_price or spec.reference_price
    if price is None or spec.price_band is None:
        return None
    ticks = price / spec.tick_size
    return max(1, ceil(ticks * (1 - spec.price_band))), floor(ticks * (1 + spec.price_band))


class Simulator:
    """The simulated market. `markets`: symbols, or None for every active spot market, new ones included."""

    def __init__(self, seed: int, markets: Sequence[str] | None = None, speed: float = 1.0):
        self.seed = seed
        self.speed = speed
        self.tally = Tally()
        self._chosen = None if markets is None else {symbol.upper() for symbol in markets}
        self._desk = Desk("simulator")
        self._runners: dict[str, MarketRunner] = {}

    async def step(self, count: int = 1) -> None:
        """Advance every market by `count` steps, one market after the other, without sleeping."""
        await self._find_markets()
        for _ in range(count):
            for runner in self._runners.values():
                await runner.step()

    async def run(self) -> None:
        """Trade at `speed` times the pace of the clock until cancelled, whatever the venue or the database answers."""
        tasks: dict[str, asyncio.Task] = {}
        try:
            while True:
                for symbol in await self._find_markets_patiently():
                    if symbol not in tasks:
                        tasks[symbol] = asyncio.create_task(self._live(self._runners[symbol]))
                await asyncio.sleep(DIRECTORY_SECONDS)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """Give the database connection back. `step` may be called again and takes a new one."""
        await self._desk.close()

    async def _find_markets(self) -> list[str]:
        symbols = await self._desk.do(self._symbols)
        for symbol in symbols:
            if symbol not in self._runners:
                self._runners[symbol] = MarketRunner(symbol=symbol, seed=self.seed, desk=self._desk, tally=self.tally)
        return symbols

    async def _find_markets_patiently(self) -> list[str]:
        try:
            return await self._find_markets()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("cannot look for markets: %s", _brief(error))
            return []

    def _symbols(self) -> list[str]:
        found = Market.objects.filter(is_active=True, kind=Market.Kind.SPOT)
        if self._chosen is not None:
            found = found.filter(symbol__in=self._chosen)
        return list(found.order_by("symbol").values_list("symbol", flat=True))

    async def _live(self, runner: MarketRunner) -> None:
        """Step one market for ever, evenly, never hurrying after what was missed."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            due = loop.time() + STEP_SECONDS / self.speed
            try:
                async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                    await runner.step()
                failures = 0
            except Exception as error:
                failures += 1
                due += min(LONGEST_BACK_OFF_SECONDS, 2.0**failures / 4)
                _log(runner.symbol, error)
            await asyncio.sleep(max(0.0, due - loop.time()))


def _log(symbol: str, error: Exception) -> None:
    """Trouble that passes is one line; anything else is a bug and shows where."""
    if isinstance(error, Refusal | DatabaseError | InterfaceError | TimeoutError):
        logger.warning("simulated trading of %s pauses: %s", symbol, _brief(error))
    else:
        logger.error("simulated trading of %s failed", symbol, exc_info=error)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
