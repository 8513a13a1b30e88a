"""An independent bookkeeper: what the venue must answer and hold, from the commands alone.

It shares no arithmetic with the venue: money, prices and quantities are Fractions of whole assets, an account's
reserve is summed up from its open orders each time it is asked for, and matching is the reference book's. Each
method takes a command in the order in which the venue took it and returns what the answer must be: a refusal's code,
or an order's `Expected`.

The order of its checks is the venue's, because the first that fails gives the code.
"""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil, floor

from exchange.engine import reference_auction
from exchange.engine.orders import BUY, SELL, Order
from exchange.engine.reference import ReferenceBook

OPEN, PARTIALLY_FILLED, FILLED = "OPEN", "PARTIALLY_FILLED", "FILLED"
EXPIRED, CANCELLED = "EXPIRED", "CANCELLED"
ACTIVE = {OPEN, PARTIALLY_FILLED}


@dataclass(frozen=True)
class Terms:
    """A market's rules. Rates and band are fractions, decimals those of the two assets."""

    symbol: str
    base: str
    quote: str
    base_decimals: int
    quote_decimals: int
    tick: Fraction
    lot: Fraction
    maker: Fraction
    taker: Fraction
    band: Fraction | None
    reference_price: Fraction | None
    min_notional: Fraction
    max_quantity: Fraction
    max_open_orders: int


@dataclass(frozen=True)
class Request:
    """What a trader asks for, in whole assets."""

    account: int
    symbol: str
    side: int
    type: str = "LIMIT"
    price: Fraction | None = None
    quantity: Fraction | None = None
    quote_quantity: Fraction | None = None
    time_in_force: str = "GTC"
    post_only: bool = False
    prevention: str = "EXPIRE_TAKER"
    client_order_id: str | None = None
    expires_at: datetime | None = None


@dataclass
class Expected:
    """An order as it must stand. Quantities of a market order by amount are what it bought."""

    id: int
    request: Request
    price: Fraction | None
    quantity: Fraction
    filled: Fraction = Fraction(0)
    notional: Fraction = Fraction(0)
    fee: Fraction = Fraction(0)
    status: str = OPEN
    fills: list[tuple[Fraction, Fraction, Fraction, str]] = field(default_factory=list)
    #: Among all orders, when it took its place in the queue.
    place: int = 0

    @property
    def remaining(self) -> Fraction:
        return self.quantity - self.filled


class Auditor:
    """All accounts and markets of a venue, by its own reckoning."""

    def __init__(self, markets: list[Terms]):
        self.markets = {terms.symbol: terms for terms in markets}
        self.books = {terms.symbol: ReferenceBook() for terms in markets}
        self.last_prices = {terms.symbol: terms.reference_price for terms in markets}
        self.totals: dict[tuple[int, str], Fraction] = {}
        self.fees: dict[str, Fraction] = dict.fromkeys(self.markets, Fraction(0))
        self.outside: dict[str, Fraction] = {}
        self.orders: dict[int, Expected] = {}
        self.names: dict[tuple[int, str], int] = {}
        self.trades = self.auction_trades = self.expired = 0
        #: Markets whose orders are collected for an auction.
        self.collecting: set[str] = set()
        self._places = 0

    # What accounts hold

    def reserve_of(self, order: Expected) -> Fraction:
        """What an open limit order must keep: the base of a sale; of a purchase the notional and its dearest fee."""
        if order.status not in ACTIVE or order.price is None:
            return Fraction(0)
        terms = self.markets[order.request.symbol]
        return self._required(terms, order.request.side, order.price, order.remaining)

    def _required(self, terms: Terms, side: int, price: Fraction, quantity: Fraction) -> Fraction:
        if side == SELL:
            return quantity
        notional = price * quantity
        return notional + _up(notional * max(terms.maker, terms.taker), terms.quote_decimals)

    def reserved(self, account: int, asset: str) -> Fraction:
        mine = (order for order in self.open_orders() if order.request.account == account)
        return sum((self.reserve_of(order) for order in mine if self._paying(order.request) == asset), Fraction(0))

    def open_orders(self) -> list[Expected]:
        """All that rest, market by market, best price first."""
        return [self.orders[order_id] for book in self.books.values() for order_id in book.orders]

    def available(self, account: int, asset: str) -> Fraction:
        return self.totals.get((account, asset), Fraction(0)) - self.reserved(account, asset)

    def _paying(self, request: Request) -> str:
        terms = self.markets[request.symbol]
        return terms.quote if request.side == BUY else terms.base

    # Money in and out

    def deposit(self, account: int, asset: str, amount: Fraction) -> None:
        self._move(account, asset, amount)
        self.outside[asset] = self.outside.get(asset, Fraction(0)) - amount

    def withdraw(self, account: int, asset: str, amount: Fraction) -> str | None:
        if self.available(account, asset) < amount:
            return "insufficient_funds"
        self._move(account, asset, -amount)
        self.outside[asset] = self.outside.get(asset, Fraction(0)) + amount
        return None

    def _move(self, account: int, asset: str, amount: Fraction) -> None:
        self.totals[account, asset] = self.totals.get((account, asset), Fraction(0)) + amount

    # Orders

    def place(self, request: Request, order_id: int | None) -> Expected | str:
        """`order_id` is the one that the venue gave it, None if the venue refused."""
        terms = self.markets[request.symbol]
        code = self._misshapen(terms, request.price, request.quantity, request.quote_quantity)
        if code:
            return code
        known = self.names.get((request.account, request.client_order_id))
        if request.client_order_id is not None and known is not None:
            return self.orders[known] if self.orders[known].request == request else "client_order_id_reused"
        if terms.symbol in self.collecting and (request.price is None or request.time_in_force in ("IOC", "FOK")):
            return "auction_phase"
        book, order = self.books[terms.symbol], self._engine_order(terms, request, order_id or 0)
        if self._out_of_band(terms, request.price):
            return "price_out_of_band"
        if request.time_in_force in ("GTC", "GTD") and self._open_orders(request) >= terms.max_open_orders:
            return "too_many_open_orders"
        budget = None if request.quote_quantity is None else floor(request.quote_quantity / (terms.tick * terms.lot))
        force = "GTC" if request.time_in_force == "GTD" else request.time_in_force
        if terms.symbol in self.collecting:
            plan = reference_auction.plan_entry(book, order)
        else:
            plan = book.plan(order, force, request.post_only, request.prevention, budget)
        if plan.refusal:
            return plan.refusal
        if budget is not None and not plan.filled and not plan.expired_makers:
            return "quantity_out_of_range"
        if self.available(request.account, self._paying(request)) < self._needed(terms, request, plan):
            return "insufficient_funds"
        assert order_id is not None, f"the venue refused what it must take: {request}"
        return self._accept(terms, request, order_id, plan)

    def _engine_order(self, terms: Terms, request: Request, order_id: int) -> Order:
        price = None if request.price is None else int(request.price / terms.tick)
        lots = 0 if request.quantity is None else int(request.quantity / terms.lot)
        return Order(order_id, request.account, request.side, price, lots)

    def _misshapen(self, terms: Terms, price, quantity, amount) -> str | None:
        if price is not None and (price / terms.tick).denominator != 1:
            return "bad_tick_size"
        if quantity is not None and (quantity / terms.lot).denominator != 1:
            return "bad_lot_size"
        if quantity is not None and not terms.lot <= quantity <= terms.max_quantity:
            return "quantity_out_of_range"
        notional = amount if price is None else price * quantity
        return "below_min_notional" if notional is not None and notional < terms.min_notional else None

    def _open_orders(self, request: Request) -> int:
        resting = self.books[request.symbol].orders.values()
        return sum(order.account == request.account for order in resting)

    def _out_of_band(self, terms: Terms, price: Fraction | None) -> bool:
        middle = self.last_prices[terms.symbol]
        if price is None or middle is None or terms.band is None:
            return False
        return not max(terms.tick, middle * (1 - terms.band)) <= price <= middle * (1 + terms.band)

    def _needed(self, terms: Terms, request: Request, plan) -> Fraction:
        """What must be available for the order to be taken."""
        if request.price is not None:
            return self._required(terms, request.side, request.price, request.quantity)
        if request.side == SELL:
            return max(plan.filled * terms.lot, request.quantity or Fraction(0))
        costs = [maker.price * terms.tick * lots * terms.lot for maker, lots in plan.matches]
        return sum((cost + _down(cost * terms.taker, terms.quote_decimals) for cost in costs), Fraction(0))

    def _accept(self, terms: Terms, request: Request, order_id: int, plan) -> Expected:
        expected = Expected(order_id, request, request.price, request.quantity or plan.filled * terms.lot)
        self.orders[order_id] = expected
        if request.client_order_id is not None:
            self.names[request.account, request.client_order_id] = order_id
        self._execute(terms, expected, plan)
        if request.quote_quantity is not None:
            expected.status = FILLED if expected.filled and self._is_spent(terms, expected) else EXPIRED
        return expected

    def _execute(self, terms: Terms, taker: Expected, plan) -> None:
        """Trade by trade: who pays what to whom; then the ends of orders."""
        self.books[terms.symbol].execute(plan)
        for engine_maker, lots in plan.matches:
            maker = self.orders[engine_maker.id]
            self._trade(terms, maker, taker, lots * terms.lot, maker.price)
        for maker in plan.expired_makers:
            self.orders[maker.id].status = EXPIRED
        if plan.rests:
            taker.status = PARTIALLY_FILLED if taker.filled else OPEN
        else:
            taker.status = EXPIRED if taker.remaining else FILLED
        if not plan.keeps_place:
            self._places += 1
            taker.place = self._places

    def _trade(self, terms: Terms, maker: Expected, taker: Expected, quantity: Fraction, price: Fraction) -> None:
        notional = quantity * price
        fees = {}
        for order, rate, role in ((maker, terms.maker, "MAKER"), (taker, terms.taker, "TAKER")):
            fees[role] = fee = _down(notional * rate, terms.quote_decimals)
            sign = order.request.side
            self._move(order.request.account, terms.base, sign * quantity)
            self._move(order.request.account, terms.quote, -sign * notional - fee)
            self.fees[terms.symbol] += fee
            order.filled += quantity
            order.notional += notional
            order.fee += fee
            order.fills.append((price, quantity, fee, role))
        maker.status = PARTIALLY_FILLED if maker.remaining else FILLED
        self.last_prices[terms.symbol] = price
        self.trades += 1

    def _is_spent(self, terms: Terms, order: Expected) -> bool:
        """Whether the rest of the amount buys (or sells for) no further lot at the price where it stopped."""
        best = self.books[terms.symbol].best(-order.request.side)
        price = order.fills[-1][0] if best is None and order.fills else Fraction(best or 0) * terms.tick
        steps = floor((order.request.quote_quantity - order.notional) / (terms.tick * terms.lot))
        return steps * terms.tick < price

    def amend(self, account: int, order_id: int, price: Fraction | None, quantity: Fraction | None) -> Expected | str:
        order = self.orders.get(order_id)
        if order is None or order.request.account != account:
            return "not_found"
        if order.status not in ACTIVE:
            return "order_not_open"
        terms, book = self.markets[order.request.symbol], self.books[order.request.symbol]
        new_price, new_quantity = price or order.price, quantity or order.quantity
        if (new_price / terms.tick).denominator != 1:
            return "bad_tick_size"
        if (new_quantity / terms.lot).denominator != 1:
            return "bad_lot_size"
        if new_quantity <= order.filled:
            return "quantity_out_of_range"
        code = self._misshapen(terms, new_price, new_quantity, None)
        if code:
            return code
        if new_price != order.price and self._out_of_band(terms, new_price):
            return "price_out_of_band"
        request = order.request
        ticks, lots = int(new_price / terms.tick), int(new_quantity / terms.lot)
        if terms.symbol in self.collecting:
            plan = reference_auction.plan_amendment(book, order_id, ticks, lots)
        else:
            plan = book.plan_amend(order_id, ticks, lots, request.post_only, request.prevention)
        if plan.refusal:
            return plan.refusal
        needed = self._required(terms, request.side, new_price, new_quantity - order.filled)
        if needed - self.reserve_of(order) > self.available(account, self._paying(request)):
            return "insufficient_funds"
        order.price, order.quantity = new_price, new_quantity
        self._execute(terms, order, plan)
        return order

    def cancel(self, account: int, order_id: int) -> Expected | str:
        order = self.orders.get(order_id)
        if order is None or order.request.account != account:
            return "not_found"
        if order.status not in ACTIVE:
            return "order_not_open"
        self.books[order.request.symbol].cancel(order_id)
        order.status = CANCELLED
        return order

    def cancel_all(self, account: int, symbol: str | None) -> list[Expected]:
        """In no particular order."""
        mine = [order.id for order in self.open_orders() if order.request.account == account]
        return [self.cancel(account, each) for each in mine if symbol in (None, self.orders[each].request.symbol)]

    # Auctions and time

    def collect(self, symbol: str) -> None:
        """From now on the market's orders rest without matching."""
        self.collecting.add(symbol)

    def uncross(self, symbol: str) -> None:
        """The auction: of each two that trade, the one that came later takes."""
        if symbol not in self.collecting:
            return
        self.collecting.discard(symbol)
        terms, last = self.markets[symbol], self.last_prices[symbol]
        reference = None if last is None else max(1, floor(last / terms.tick))
        found = reference_auction.call(self.books[symbol], reference)
        for buy, sell, lots in reference_auction.uncross(self.books[symbol], reference):
            maker, taker = sorted((self.orders[buy], self.orders[sell]), key=lambda order: order.place)
            self._trade(terms, maker, taker, lots * terms.lot, found[0] * terms.tick)
            taker.status = PARTIALLY_FILLED if taker.remaining else FILLED
            self.auction_trades += 1

    def expire(self, now: datetime) -> None:
        """End every order whose moment has come."""
        for order in self.open_orders():
            end = order.request.expires_at
            if end is not None and end <= now:
                self.books[order.request.symbol].cancel(order.id)
                order.status = EXPIRED
                self.expired += 1


def _up(amount: Fraction, decimals: int) -> Fraction:
    """Rounded up to the smallest unit."""
    return Fraction(ceil(amount * 10**decimals), 10**decimals)


def _down(amount: Fraction, decimals: int) -> Fraction:
    """Rounded down to the smallest unit."""
    return Fraction(floor(amount * 10**decimals), 10**decimals)
