"""What a margin order would do to its account, what it needs for that, and what there is for it. Nothing changes here.

The matcher weighs by it under its locks (exchange.margin), `margin/check` without (exchange.preview): so they agree.

What of an order trades at once is weighed exactly, in the very steps in which it will be settled: the fills are netted
in thought, closing frees margin, opening needs initial margin at its own price. What rests needs initial margin, the
worst fee and the open loss for all of it, as if it opened, at a figure per lot. An order that needs anything must be
covered by what may be spent: what is available, less what the account's positions have lost at their marks (gains count
once real) and lack of their margin (see accounts.spending).

Open loss: what a fill at the order's price would have lost at once at the mark. What is taken has it in the unrealised
loss; without it two accounts could trade far off the mark, and what one of them cannot pay the other would have won
from the insurance fund. An order that waits has none yet: it is weighed again before it goes to the book.

What only closes needs nothing, but not at any price: where it loses against the mark, it may not lose more than the
account has. Who has less than nothing at the mark can still close there, or leaves it to the liquidation; but not while
the account has set funds aside, for orders or a withdrawal: it takes them back first, or somebody else would pay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accounts import margin, netting, spending
from accounts.ledger import Sheet
from accounts.margin import Rate
from accounts.netting import Net, Netted
from accounts.positions import LivePosition, Positions, exposure, value_at
from exchange import commands as c
from exchange.live import fee_on
from marketdata import marks, units
from marketdata.contracts import RATE_ONE
from marketdata.markets import MarketSpec


@dataclass(slots=True)
class Need:
    """What an order would do, in settlement units: the margin of what opens at once and of each resting lot, and what
    there is for it.
    """

    rests: int
    after: Net
    takes: bool
    margin: int = 0
    per_lot: int = 0
    spendable: int = 0
    #: Profit of what it closes less all fees, and the reserve that it frees.
    cash: int = 0
    freed: int = 0
    #: What the account could not pay of fills that lose against the mark, and what it has elsewhere: set aside for its
    #: orders, or gained and not realized.
    missing: int = 0
    elsewhere: int = 0
    #: What free funds and the positions' margin cannot pay of what it costs at once, and what is set aside for orders,
    #: withdrawals and unsettled trades.
    short: int = 0
    set_aside: int = 0

    @property
    def total(self) -> int:
        return self.margin + self.rests * self.per_lot

    def check(self, spec: MarketSpec, *, freed: int = 0, elsewhere: bool = False) -> None:
        """InsufficientMargin when it needs more than there is, `freed` being what its order has set aside by now. What
        takes nothing and asks for no more than that only frees funds, whatever the account has lost. With `elsewhere`
        it may cost what the account has elsewhere, too.
        """
        if self.total > (0 if self.takes else freed) and self.spendable + freed < self.total:
            raise insufficient(spec, self.total, self.spendable + freed)
        missing = self.missing - freed - (self.elsewhere if elsewhere else 0)
        if missing > 0:
            raise c.InsufficientMargin(
                f"At such a price it could cost {units.text(missing, spec.contract.settlement_decimals)} "
                f"{spec.contract.settlement} more than the account has at hand. Ask for a better price, cancel orders, "
                "close what has gained first, or deposit."
            )

    def counts_on_orders(self, freed: int) -> bool:
        """Whether it costs what the account has set aside, beside what the order itself has."""
        return self.short > freed and self.set_aside > freed

    def check_orders(self, spec: MarketSpec, *, freed: int = 0) -> None:
        """FundsInOrders when somebody else would have to pay while the account has funds set aside."""
        if self.counts_on_orders(freed):
            scale, asset = spec.contract.settlement_decimals, spec.contract.settlement
            short, held = (units.text(amount - freed, scale) for amount in (self.short, self.set_aside))
            raise c.FundsInOrders(
                f"It costs {short} {asset} more than the account has at hand, while {held} are set aside for open "
                "orders, withdrawals or unsettled trades: cancel those first, or deposit."
            )


def weigh(
    positions: Positions,
    sheet: Sheet,
    spec: MarketSpec,
    rate: Rate,
    account: int,
    side: int,
    *,
    matches: Sequence[tuple[int, int]],
    rests: int,
    price: int | None,
    taker_rate: int,
    worst_rate: int,
    closes: int = 0,
    beside: int = 0,
    waits: bool = False,
) -> Need:
    """Weigh an order that fills `matches` (price, lots) at once and rests with the others at `price` (or only waits),
    while other orders of that side may open the notional `beside`. `closes` are lots that rest and only reduce.
    """
    settlement = spec.contract.settlement_id
    leverage = positions.leverage(account, spec)
    position = positions.of(account, spec)
    left = replace(position) if position else LivePosition(account, spec, sheet.moment)
    need = Need(rests, left.net, takes=bool(matches))
    for at, lots in matches:
        notional = spec.notional(at, lots)
        before, netted = need.after, netting.fill(need.after, side=side, lots=lots, notional=notional)
        need.after = netted.net
        need.cash += rate.down(netted.realized) - rate.down(fee_on(notional, taker_rate))
        if netted.closed:
            freed = share(left.reserved, netted.closed, before.quantity)
            left.margin -= share(left.margin, netted.closed, before.quantity)
            left.reserved -= freed
            need.freed += freed
        need.margin += opening_margin(spec, rate, leverage, before, netted, beside)
    if rests:
        held = rate.up(beside + (abs(need.after.cost) if need.after.quantity * side > 0 else 0))
        notional = spec.notional(price, rests)
        whole = margin.added(spec.contract.tiers, held, rate.up(notional), leverage)
        whole += rate.up(-(-notional * worst_rate // RATE_ONE))
        if not waits:
            whole += max(0, -exposure(spec, Net(side * rests, side * notional), 0).unrealized)
        need.per_lot = -(-whole // rests)
    left.quantity, left.cost = need.after.quantity, need.after.cost
    need.spendable = spending.spendable(sheet, account, settlement, instead=left) + need.freed + need.cash
    fills, after, cash = list(matches), need.after, need.cash
    if price is not None and (lots := min(closes, max(0, -side * after.quantity))):
        last = netting.fill(after, side=side, lots=lots, notional=spec.notional(price, lots))
        fills, after, cash = [*fills, (price, lots)], last.net, cash + rate.down(last.realized)
    if need.cash < 0:
        at_hand, need.set_aside = funds_of(positions, sheet, account, settlement)
        need.short = max(0, -at_hand - need.cash)
    if position and position.quantity * side < 0 and lost(spec, side, fills) > 0:
        left.quantity, left.cost = after
        at_hand, need.elsewhere = _funds(positions, sheet, left)
        need.missing = max(0, -at_hand - cash)
    return need


def lost(spec: MarketSpec, side: int, fills: Sequence[tuple[int, int]]) -> int:
    """What the fills lose at once at the mark, in quote units; negative if they gain, 0 where there is no mark."""
    mark = marks.mark(spec.id)
    if mark is None:
        return 0
    paid = sum(spec.notional(price, lots) for price, lots in fills)
    return side * paid - value_at(spec, side * sum(lots for _, lots in fills), mark.price)


def funds_of(positions: Positions, sheet: Sheet, account: int, settlement: int) -> tuple[int, int]:
    """What losses of the account are paid from, and what it has set aside for anything but positions."""
    reserved = sum(position.reserved for position in positions.of_account(account, settlement))
    purse = sheet.purses[account, settlement]
    return purse.available + reserved, purse.reserved - reserved


def _funds(positions: Positions, sheet: Sheet, instead: LivePosition) -> tuple[int, int]:
    """What losses of the account can be paid from, less what its positions have lost, with `instead` in its market; and
    what it has elsewhere.
    """
    account, settlement = instead.account, instead.spec.contract.settlement_id
    at_hand, set_aside = funds_of(positions, sheet, account, settlement)
    profit = positions.profit(account, settlement, instead=instead)
    return at_hand + min(0, profit), set_aside + max(0, profit)


def opening_margin(spec: MarketSpec, rate: Rate, leverage: int, before: Net, netted: Netted, beside: int = 0) -> int:
    """The initial margin of what a fill opened, on top of what the position had before and what may open beside it."""
    if not netted.opened:
        return 0
    opened_before = 0 if netted.closed else abs(before.cost)
    held, more = beside + opened_before, abs(netted.net.cost) - opened_before
    return margin.added(spec.contract.tiers, rate.up(held), rate.up(more), leverage)


def share(whole: int, lots: int, quantity: int) -> int:
    """What of a position's margin or reserve goes with these lots of its quantity; all of it with all of them."""
    return whole * lots // abs(quantity)


def insufficient(spec: MarketSpec, needed: int, spendable: int) -> c.InsufficientMargin:
    """The refusal, with its figures."""
    decimals, asset = spec.contract.settlement_decimals, spec.contract.settlement
    return c.InsufficientMargin(
        f"Needs {units.text(needed, decimals)} {asset} of margin and fees; "
        f"{units.text(spendable, decimals)} can be used. Close something, deposit, or order less."
    )
