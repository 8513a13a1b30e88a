"""Who cannot pay what a plan would cost, with funds set aside elsewhere: nobody else pays for that account then.

An order by hand is refused (exchange.weighing). A resting one, which was weighed when it was placed, is taken out of
the book before it is met, by the rule of orders by hand: what it closes costs more than its account has, and the
account has set funds aside for other orders, or the price is worse than the mark. An order that a stop or a
liquidation sends closes in any case, so the account's other orders end and what they held pays: in every market, which
is why the batch may have to come again with those markets locked.

Nothing of this concerns who only opens, or has funds: for them it is one look at the position.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from accounts import netting
from accounts.ledger import Sheet
from accounts.netting import Net
from exchange import spot, weighing
from exchange.books import LiveBook
from exchange.commands import InsufficientMargin
from exchange.engine.book import Plan
from exchange.live import LiveOrder, fee_on, held
from marketdata.refusals import UnreadableMarket


class Unlocked(Exception):
    """A command concerns accounts that this batch has not locked; of those `scattered` the orders of all markets."""

    def __init__(self, accounts: set[int], scattered: Iterable[int] = ()):
        self.accounts = accounts
        self.scattered = frozenset(scattered)


# Resting orders


@dataclass(slots=True)
class Tab:
    """What an account has on its way through a plan: its position, what pays its losses, what is set aside elsewhere.
    """

    net: Net
    funds: int
    elsewhere: int


def unpayable(desk, sheet: Sheet, live: LiveBook, fills: Iterable[tuple[LiveOrder, int, int]]) -> list[LiveOrder]:
    """The resting orders of these fills (order, price, lots) that are to be taken out, so that nobody else pays them.
    """
    spec, tabs, found = live.spec, {}, {}
    for order, price, lots in fills:
        position = desk.positions.of(order.account, spec)
        if position is None or position.quantity * order.side >= 0 or order.id in found:
            continue
        if not sheet.holders[order.account].is_heard:
            continue
        if (tab := tabs.get(order.account)) is None:
            funds, elsewhere = weighing.funds_of(desk.positions, sheet, order.account, spec.contract.settlement_id)
            tab = tabs[order.account] = Tab(position.net, funds, elsewhere)
        notional, rate = spec.notional(price, lots), desk.rate(spec)
        netted = netting.fill(tab.net, side=order.side, lots=lots, notional=notional)
        own = 0 if order.shared else (order.margin_per_lot or 0) * lots
        fee = rate.up(fee_on(notional, max(order.maker_rate, order.taker_rate)))
        funds = tab.funds + own + rate.down(netted.realized) - fee
        if funds < 0 and (tab.elsewhere > own or weighing.lost(spec, order.side, [(price, lots)]) > 0):
            found[order.id] = order
        else:
            tab.net, tab.funds, tab.elsewhere = netted.net, max(0, funds), tab.elsewhere - own
    return list(found.values())


# Stops and liquidations


def take_back(batch, live: LiveBook, order: LiveOrder, plan: Plan) -> bool:
    """Cancel the orders for which the account of an order that closes has set funds aside, if it cannot pay the plan
    without those; whether there were any. Unlocked, with nothing changed, where they may be in markets that are not;
    UnreadableMarket where some cannot be taken back and the others were not enough.
    """
    spec, desk, freed = live.spec, batch.margin_desk, held(live.spec, order)
    need = desk.need(batch.sheet, spec, order, plan, order.price)
    if need is None or not need.counts_on_orders(freed):
        return False
    if order.id not in desk.forced:
        try:
            desk.check_triggered(spec, order, need, freed)
        except InsufficientMargin:
            return False  # it is about to end itself
    if order.account not in batch.scattered:
        raise Unlocked({order.account, *(maker.account for maker, _ in plan.matches)}, [order.account])
    others = [
        (other, one)
        for other in batch.books.values()
        for one in map(other.find, other.open_orders.of(order.account))
        if one is not order and not (order.list_id is not None and one.list_id == order.list_id)
        if spot.reserve_asset(other.spec, one.side) == spec.contract.settlement_id and held(other.spec, one)
    ]
    for other, one in others:
        batch.cancel_order(other, one, "funds_needed")
    if not others and order.account in batch.unread:
        raise UnreadableMarket(
            "It costs what the account has set aside, and some of that is in a market whose figures make no sense: an "
            "operator must mend them first."
        )
    return bool(others)
