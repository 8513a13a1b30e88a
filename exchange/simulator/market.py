"""One simulated market: looks at it, asks its agents, and carries their intents through the one door.

It has random numbers of its own (seed and symbol), and sends one command at a time: it waits for each answer, so it
never builds a queue, and what it decides depends on nothing but the seed, the scenario and the venue's answers.

A refusal is an answer like any other: it is counted, and the next look shows what stands in the book. A market that
is not open is left alone until it opens again; the hidden price moves on meanwhile.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from math import exp, sqrt
from random import Random

from exchange import bands, barrier, orders
from exchange.books import SIDE_NAMES, SIDES
from exchange.commands import MarketClosed, MarketHalted
from exchange.engine.book import BUY, SELL
from exchange.models import Order
from exchange.simulator import population
from exchange.simulator.agents import AmendIntent, CancelIntent, Intent, MarketState, OpenOrder, PlaceIntent
from exchange.simulator.conductor import Conductor
from exchange.simulator.desk import Desk
from exchange.simulator.memory import Stocks, Trend
from exchange.simulator.reference import ReferencePrice
from exchange.simulator.scenario import Conditions
from exchange.simulator.timekeeping import SimulatedClock
from exchange.simulator.world import World
from exchange.validation import place_command
from marketdata import clock, quotes
from marketdata.markets import MarketSpec, spec_of
from marketdata.models import Market
from marketdata.refusals import Refusal, Unavailable, UnknownMarket

#: Simulated seconds from one step to the next.
STEP_SECONDS = 0.5


@dataclass(slots=True)
class Tally:
    """What a simulator has done so far."""

    steps: int = 0
    commands: int = 0
    refusals: Counter = field(default_factory=Counter)
    prices: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """What all markets of one simulation share. `clock`: the simulated one, None while real time passes."""

    seed: int
    desk: Desk
    world: World
    conductor: Conductor
    tally: Tally
    clock: SimulatedClock | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at a market: filters, last price, the members' open orders by account, what they can spend, and what
    their stock has gained.
    """

    spec: MarketSpec
    last_price: Decimal | None
    orders: dict[int, tuple[OpenOrder, ...]]
    available: dict[tuple[int, int], int]
    gained: dict[int, int]


class MarketRunner:
    """One market's agents. Not to be stepped twice at a time."""

    def __init__(self, *, symbol: str, run: "Run"):
        self.symbol = symbol
        self.reference: ReferencePrice | None = None
        self.seconds = 0.0
        self._random = Random(f"{run.seed}:{symbol}")
        self._run = run
        self._members: list[population.Member] = []
        self._trend = Trend()
        self._stocks = Stocks()
        self._believed: int | None = None

    async def step(self) -> bool:
        """Let STEP_SECONDS pass in this market. False when it is not trading: then no agent is asked.

        Unavailable and database errors are the caller's.
        """
        before, self.seconds = self.seconds, self.seconds + STEP_SECONDS
        conditions = self._run.conductor.conditions(self.symbol, before, self.seconds)
        if not self._run.conductor.is_imposed(self.symbol, conditions.status):
            await self._run.desk.do(self._run.conductor.impose, self.symbol, conditions.status)
        scene = await self._run.desk.do(self._look)
        self._run.tally.steps += 1
        self._live(conditions)
        if scene is None:
            return False
        view = await barrier.view_from_loop(scene.spec)
        self._remember(scene.spec, view, conditions)
        try:
            for member in self._members:
                state = self._state(scene, view, member, conditions)
                for intent in member.agent.decide(state, self._random):
                    await self._carry_out(member.account_id, scene.spec, intent)
        except (MarketHalted, MarketClosed, UnknownMarket):
            return False
        return True

    def _live(self, conditions: Conditions) -> None:
        """The world goes on, whether or not the market is open."""
        if self.reference is not None:
            if conditions.jump:
                self.reference.jump(conditions.jump)
            self.reference.advance(STEP_SECONDS, volatility=conditions.volatility_factor)

    def _remember(self, spec: MarketSpec, view, conditions: Conditions) -> None:
        """What the makers believe the price to be, and where the middle of the book has been."""
        if self._believed is None or not conditions.is_blind:
            self._believed = self.reference.ticks(spec.tick_size)
        bid, ask = view.best(BUY), view.best(SELL)
        if bid and ask:
            self._trend.note((bid + ask) / 2, STEP_SECONDS)

    def _look(self) -> Scene | None:
        """What the database knows of the market; None when it is closed or has no price. Tops the members up."""
        rows = Market.objects.select_related("base", "quote", "quoted", "price_source")
        market = rows.filter(symbol=self.symbol, is_active=True).first()
        anchor = market and (market.reference_price or market.last_price)
        if anchor is None:
            return None
        spec = spec_of(market)
        self._prepare(spec, anchor, market)
        if market.status != Market.Status.OPEN:
            return None
        orders = self._open_orders(spec)
        spendable, gifts = population.funds(self._members, spec, self.reference.ticks(spec.tick_size))
        tally = self._run.tally
        tally.prices[self.symbol] = spec.price_text(spec.ticks(market.last_price)) if market.last_price else "-"
        return Scene(spec, market.last_price, orders, spendable, self._gained(spec, orders, spendable, gifts))

    def _prepare(self, spec: MarketSpec, anchor: Decimal, market: Market) -> None:
        if not self._members:
            self._members = population.cast(spec.id)
        if self.reference is None:
            self.reference = self._run.world.price_of(spec, anchor, market.last_price, self._random)
        self.reference.aim(anchor)
        self.reference.follow(_provided(market))

    def _gained(self, spec: MarketSpec, orders: dict, spendable: dict, gifts: dict) -> dict[int, int]:
        """Each member's stock against what is ordinary for it: only trades in this market count.

        Known limit: a base asset that the account trades in other markets too moves its stock here as well.
        """
        gained = {}
        for member in self._members:
            account = member.account_id
            self._stocks.given(account, gifts.get((account, spec.base_id), 0) // spec.lot_units)
            resting = sum(order.remaining for order in orders[account] if order.side == SELL)
            lots = spendable.get((account, spec.base_id), 0) // spec.lot_units + resting
            gained[account] = self._stocks.gained(account, lots, STEP_SECONDS)
        return gained

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

    def _state(self, scene: Scene, view, member: population.Member, conditions: Conditions) -> MarketState:
        spec, account, weather = scene.spec, member.account_id, self.reference.weather
        reference = max(1, round(self._believed * exp(conditions.displacement)))
        low, high = 1, 2 * reference
        if band := bands.around(spec, scene.last_price or spec.reference_price):
            _, low, high = band
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
            inventory=scene.gained[account],
            trend=self._trend.value(),
            volatility=weather.volatility * conditions.volatility_factor,
            activity=weather.activity * sqrt(conditions.volatility_factor),
            spread_factor=conditions.spread_factor,
            depth_factor=conditions.depth_factor,
            pressure=conditions.pressure,
        )

    async def _carry_out(self, account_id: int, spec: MarketSpec, intent: Intent) -> None:
        """One command; refusals are counted, unless they are about the market as a whole."""
        self._run.tally.commands += 1
        if self._run.clock is not None:
            self._run.clock.command()
        try:
            await self._command(account_id, spec, intent)
        except (MarketHalted, MarketClosed, Unavailable, UnknownMarket):
            raise
        except Refusal as refusal:
            self._run.tally.refusals[refusal.code] += 1

    async def _command(self, account_id: int, spec: MarketSpec, intent: Intent) -> None:
        match intent:
            case PlaceIntent(side, lots, price):
                command = await self._run.desk.do(
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


def _provided(market: Market) -> Decimal | None:
    """The outside price of a market that has a source for it; None when there is none, or it is stale."""
    source, quote = getattr(market, "price_source", None), getattr(market, "quoted", None)
    if source is None or not source.is_active or quote is None:
        return None
    return None if quotes.is_stale(quote, clock.now()) else quote.mid
