"""What a market's rules say to an order under the lock, beyond its filters: phase, typing errors, flooding, jumps.

`check` comes before the order is planned, `check_plan` after (exchange.planning). A plan that would trade too far from
the last price is not executed; it begins an auction instead (exchange.interruption).

Known limit: the order-to-trade ratio is counted by each process for itself and by day in UTC, from when it started: it
holds off floods, it is no statistic.
"""

from collections import Counter
from datetime import date

from exchange import commands as c
from exchange import expiry, sessions
from exchange.books import LiveBook
from exchange.live import LiveOrder
from exchange.phases import ALWAYS_OPEN
from marketdata.markets import MarketSpec
from marketdata.rules import NO_RULES

#: Times in force that no clock and no phase of a session ends.
TIMELESS = frozenset({"GTC", "IOC", "FOK"})


class OrderTooLarge(c.OrderRefusal):
    code, title = "order_too_large", "Order is too large"


class OrderRatioExceeded(c.OrderRefusal):
    code, title = "order_ratio_exceeded", "Too many orders for so few trades"


class Ratios:
    """Orders and trades of each account, market and day. Belongs to the writer."""

    def __init__(self):
        self._day = date.min
        self._orders: Counter[tuple[int, int]] = Counter()
        self._trades: Counter[tuple[int, int]] = Counter()

    def order(self, live: LiveBook, account: int, day: date) -> None:
        """Count an order; OrderRatioExceeded when it is one too many."""
        if day != self._day:
            self.forget()
            self._day = day
        key = live.spec.id, account
        most = live.spec.rules.max_order_ratio * (1 + self._trades[key])
        if self._orders[key] >= most:
            raise OrderRatioExceeded(
                f"{live.spec.symbol} takes {live.spec.rules.max_order_ratio} orders and amendments for each trade of "
                f"a day; you have sent {most}. Cancelling is always possible."
            )
        self._orders[key] += 1

    def traded(self, live: LiveBook, accounts: set[int]) -> None:
        for account in accounts:
            self._trades[live.spec.id, account] += 1

    def forget(self) -> None:
        self._orders.clear()
        self._trades.clear()


ratios = Ratios()


def check(batch, live: LiveBook, cmd: c.Place) -> None:
    """The rules for a new order; a DAY order gets its end here."""
    always_open = live.session is ALWAYS_OPEN and live.spec.rules is NO_RULES
    if always_open and cmd.time_in_force in TIMELESS and not cmd.more:
        return
    moment = batch.records.moment
    phase = live.session.phase
    sessions.check_order(live.spec, phase, type=cmd.type, time_in_force=cmd.time_in_force, moment=moment)
    expiry.complete(cmd, live.spec, moment)
    if live.spec.rules is not NO_RULES and not cmd.is_liquidation:
        check_ratio(batch, live, cmd.account)


def check_amendment(batch, live: LiveBook, account: int) -> None:
    """The rules for an amendment."""
    sessions.check_open(live.spec, live.session.phase, batch.records.moment)
    if live.spec.rules is not NO_RULES:
        check_ratio(batch, live, account)


def check_ratio(batch, live: LiveBook, account: int) -> None:
    if live.spec.rules.max_order_ratio is not None:
        ratios.order(live, account, batch.records.moment.date())


def check_terms(spec: MarketSpec, price: int | None, lots: int, budget: int | None) -> None:
    """What an order is worth by its own terms; a market order by quantity has none before its plan."""
    if spec.rules.max_notional is not None and (price is not None or budget is not None):
        check_notional(spec, spec.notional(price, lots) if budget is None else budget)


def check_notional(spec: MarketSpec, notional: int) -> None:
    """Nobody buys the market by a typing error."""
    limit = spec.rules.max_notional
    if limit is not None and notional > limit:
        raise OrderTooLarge(
            f"The order is worth {spec.quote_text(notional)} {spec.quote}; {spec.symbol} takes at most "
            f"{spec.quote_text(limit)} in one order."
        )


def check_plan(live: LiveBook, order: LiveOrder, plan) -> None:
    """What only the plan of an order or an amendment tells: its worth, and how many trades it makes."""
    if len(plan.matches) > c.MOST_FILLS:
        raise c.TooManyFills(f"It would make more than {c.MOST_FILLS} trades at once: order less at a time.")
    if plan.quantity is not None:
        check_terms(live.spec, plan.price, plan.quantity, None)
    elif order.price is None:
        check_notional(live.spec, live.spec.notional_units * plan.notional)


def traded(live: LiveBook, order: LiveOrder, plan) -> None:
    """A plan that is executed now: its trades count."""
    if live.spec.rules.max_order_ratio is not None and plan.matches:
        ratios.traded(live, {order.account, *(maker.account for maker, _ in plan.matches)})
