"""Margin settlement: the three verbs of exchange.spot for markets whose trades net into positions.

Reserve. What of an order trades at once is weighed exactly: the fills are netted in thought, closing frees margin,
opening needs initial margin at its own price. What rests reserves initial margin and the worst fee for all of it, as
if it opened, at a figure per lot that is fixed then; a reduce-only order reserves nothing. An order that opens
anything must be covered by `spendable` funds: what is available, less the unrealised loss of the account's positions
(gains count once real).

Settle. Each fill nets into the position of its side. Profit and fee are converted from the quote to the settlement
asset at the rate of the moment, the profit rounded down, and pass through the market's clearing account, which has no
floor. A loss is paid from what is available, then from what positions have reserved, then from the insurance fund;
what is left of it the clearing account carries, on record (accounts.models.Shortfall). So settling never fails, and
nobody's balance gets below zero. Then the position's margin is reserved, as far as funds are there.

Accounts of the house reserve no margin: they are the counterparty, and have limits of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from accounts import conversion, margin, netting, spending
from accounts.ledger import Sheet
from accounts.margin import Rate
from accounts.models import Journal
from accounts.netting import Net
from accounts.positions import LivePosition, Positions, Shortage, exposure
from exchange import commands as c
from exchange import reducing, spot, validation
from exchange.books import LiveBook
from exchange.engine.book import Plan
from exchange.live import RATE_ONE, LiveOrder, fee_on, held
from exchange.models import ListKind, ListRole
from marketdata import hours, marks, units
from marketdata.markets import MarketSpec


def check_placing(
    order: c.Place | LiveOrder, spec: MarketSpec, moment: datetime, *, is_house: bool = False
) -> None:
    """What a margin market asks of an order before it is planned; liquidations are decided elsewhere. The house may
    quote where new risk is stopped, or nobody could close.
    """
    contract = spec.contract
    if not hours.is_open(contract.schedule, moment):
        raise c.MarketClosed(f"{spec.symbol} is outside its trading hours.")
    if order.reduce_only:
        return
    if contract.is_reduce_only and not is_house:
        raise c.ReduceOnly(f"{spec.symbol} takes only reduce-only orders now.")
    if contract.needs_mark:
        marks.fresh(spec.id, spec.symbol)


@dataclass(slots=True)
class Need:
    """What an order would do, in settlement units: the margin of what opens at once and of each resting lot, and what
    there is for it.
    """

    opened: int
    margin: int
    per_lot: int
    rests: int
    spendable: int
    after: Net
    #: Profit of what it closes less all fees, and the reserve that it frees.
    cash: int = 0
    freed: int = 0

    @property
    def total(self) -> int:
        return self.margin + self.rests * self.per_lot


class Desk:
    """Settles one batch's margin trades on its sheet and positions."""

    def __init__(self, positions: Positions, moment: datetime, books: Mapping[int, LiveBook] | None = None):
        self.positions = positions
        self.moment = moment
        self.books = books or {}

    # Reserving

    def check(self, sheet: Sheet, live: LiveBook, order: LiveOrder, cmd: c.Place) -> None:
        """What the market asks of a new order, and what each of its lots would reserve; a Refusal otherwise."""
        if not cmd.is_liquidation:
            self.check_risk(sheet, live, order)
        is_exit = order.list_kind == ListKind.BRACKET and order.list_role != ListRole.ENTRY
        if is_exit:
            order.reduce_only = True  # of a position that the entry is yet to open; looked at when its turn comes
        elif order.reduce_only:
            self.check_reduce_only(live, order, order.price, order.quantity, is_liquidation=cmd.is_liquidation)
        order.margin_per_lot = self._per_lot(sheet, live.spec, order)

    def check_risk(self, sheet: Sheet, live: LiveBook, order: LiveOrder) -> None:
        """What the market asks of an order whenever it may come to open more: new, amended, or triggered."""
        check_placing(order, live.spec, self.moment, is_house=not sheet.holders[order.account].is_heard)

    def check_amendment(self, sheet: Sheet, live: LiveBook, order: LiveOrder, price: int, quantity: int) -> None:
        """What the market asks of new terms; lots may always be taken off a resting order where it is."""
        if price != order.price or quantity > order.quantity:
            self.check_risk(sheet, live, order)
        if order.reduce_only:
            self.check_reduce_only(live, order, price, quantity)

    def _per_lot(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder) -> int:
        if order.reduce_only or order.price is None or not sheet.holders[order.account].is_heard:
            return 0
        return self.need(
            sheet, spec, order.account, order.side,
            matches=[], rests=order.remaining + order.hidden, price=order.price, beside=self._beside(spec, order),
            taker_rate=order.taker_rate, worst_rate=max(order.maker_rate, order.taker_rate),
        ).per_lot  # fmt: skip

    def _beside(self, spec: MarketSpec, order: LiveOrder) -> int:
        """The notional (quote units) that the account's other orders of that side would open: with what is open already
        it decides which tiers this one reaches. Of no matter where all is one tier.
        """
        if len(spec.contract.tiers) == 1:
            return 0
        live = self.books[spec.id]
        others = [live.find(one) for one in live.open_orders.get(order.account, ()) if one != order.id]
        return sum(
            spec.notional(one.price, one.remaining + one.hidden)
            for one in others
            if one.side == order.side and one.price is not None and not one.reduce_only
            if one.list_id is None or one.list_id != order.list_id  # of a list one is filled, not both
        )

    def hold(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder) -> None:
        """Set aside what a waiting order holds; InsufficientMargin otherwise, with nothing changed."""
        needed, settlement = held(spec, order), spec.contract.settlement_id
        if needed:
            spendable = spending.spendable(sheet, order.account, settlement)
            if spendable < needed:
                raise insufficient(spec, needed, spendable)
        sheet.reserve(order.account, settlement, needed)

    def reserve(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
        """Set aside what the resting part needs, if the account can carry the whole order. InsufficientMargin, or
        ReduceOnly where it would open, otherwise; nothing changed then.
        """
        self._reserve(sheet, spec, order, plan, order.price, freed=0)

    def change_reserve(
        self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan, *, price: int, remaining: int
    ) -> None:
        """Move an open order's reserve to other terms."""
        self._reserve(sheet, spec, order, plan, price, freed=held(spec, order))

    def _reserve(
        self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan, price: int | None, *, freed: int
    ) -> None:
        account, settlement = order.account, spec.contract.settlement_id
        per_lot = 0
        if not sheet.holders[account].is_heard:
            conversion.rate_of(spec)
        else:
            need = self.need(
                sheet, spec, account, order.side,
                matches=[(maker.price, lots) for maker, lots in plan.matches],
                rests=0 if order.reduce_only else plan.rests,
                price=price, taker_rate=order.taker_rate, worst_rate=max(order.maker_rate, order.taker_rate),
                beside=self._beside(spec, order),
            )  # fmt: skip
            if need.total and need.spendable + freed < need.total:
                raise insufficient(spec, need.total, need.spendable + freed)
            per_lot = need.per_lot
        sheet.release(account, settlement, freed)
        sheet.reserve(account, settlement, per_lot * plan.rests)
        order.margin_per_lot = per_lot

    def need(
        self,
        sheet: Sheet,
        spec: MarketSpec,
        account: int,
        side: int,
        *,
        matches: Iterable[tuple[int, int]],
        rests: int,
        price: int | None,
        taker_rate: int,
        worst_rate: int,
        beside: int = 0,
    ) -> Need:
        """Weigh an order that fills `matches` (price, lots) at once and rests with the others at `price`, while other
        orders of that side may open the notional `beside`.
        """
        contract, rate = spec.contract, conversion.rate_of(spec)
        leverage = self.positions.leverage(account, spec)
        position = self.positions.of(account, spec)
        net = position.net if position else Net()
        opened = needed = cash = closed = 0
        for at, lots in matches:
            notional = spec.notional(at, lots)
            before, netted = net, netting.fill(net, side=side, lots=lots, notional=notional)
            net = netted.net
            cash += rate.down(netted.realized) - rate.up(fee_on(notional, taker_rate))
            closed += netted.closed
            opened += netted.opened
            needed += _opening_margin(spec, rate, leverage, before, netted, beside)
        per_lot = 0
        if rests:
            held = rate.up(beside + (abs(net.cost) if net.quantity * side > 0 else 0))
            notional = spec.notional(price, rests)
            whole = margin.added(contract.tiers, held, rate.up(notional), leverage)
            whole += rate.up(-(-notional * worst_rate // RATE_ONE))
            per_lot = -(-whole // rests)
        freed = _share(position, closed) if closed else 0
        others = self.positions.exposures(account, contract.settlement_id, without=spec.id)
        unrealized = sum(one.unrealized for one in others) + exposure(spec, net, 0).unrealized
        spendable = sheet.available(account, contract.settlement_id) + freed + cash + min(0, unrealized)
        return Need(opened, needed, per_lot, rests, spendable, net, cash, freed)

    # Releasing

    def free_taken(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
        """An incoming order has reserved only for what rests; one that waited before, for all of it."""
        if order.triggered_at is not None and plan.quantity is None:
            spot.free_filled(sheet, spec, order, plan.filled)

    # Settling

    def settle(
        self,
        sheet: Sheet,
        live: LiveBook,
        *,
        reference: int,
        buyer: int,
        seller: int,
        lots: int,
        notional: int,
        buyer_fee: int,
        seller_fee: int,
    ) -> None:
        """One trade: both positions, and the journal of profits and fees."""
        spec, house = live.spec, live.house
        asset, rate = spec.contract.settlement_id, conversion.rate_of(spec)
        fees, cover, entries, opened = 0, 0, [], []
        for account, side, fee in ((buyer, 1, buyer_fee), (seller, -1, seller_fee)):
            paid = rate.down(fee) if fee >= 0 else -rate.down(-fee)
            due, position = self._net(sheet, spec, rate, account, side, lots, notional, paid)
            short = self._shortage(sheet, asset, account, due)
            if short:
                from_fund = 0
                if sheet.holders[account].is_heard:
                    from_fund = min(short, sheet.available(house.insurance, asset) - cover)
                cover += from_fund
                self.positions.shortages.append(Shortage(account, spec, reference, short, from_fund))
            entries.append((account, asset, due + short))
            opened.append(position)
            fees += paid
        entries += [(live.fees, asset, fees), (house.insurance, asset, -cover)]
        entries.append((house.clearing, asset, -sum(amount for _, _, amount in entries)))
        sheet.post(Journal.Kind.TRADE, entries, reference=reference, outside=house.clearing)
        for position in opened:
            self._lock_margin(sheet, position)

    def _net(
        self, sheet: Sheet, spec: MarketSpec, rate: Rate, account: int, side: int, lots: int, notional: int, fee: int
    ) -> tuple[int, LivePosition]:
        """Put a fill into the account's position; what the account is due, and the position that is open then."""
        positions, asset = self.positions, spec.contract.settlement_id
        position = positions.of(account, spec) or positions.begin(account, spec, self.moment)
        before, netted = position.net, netting.fill(position.net, side=side, lots=lots, notional=notional)
        profit = rate.down(netted.realized)
        position.realized_quote += netted.realized
        position.realized += profit
        position.fees += fee
        if netted.closed:
            freed, used = _share(position, netted.closed), position.margin * netted.closed // abs(before.quantity)
            sheet.release(account, asset, freed)
            position.reserved -= freed
            position.margin -= used
        if netted.closed and netted.opened:  # through zero: this one ends, another begins
            self._close(sheet, position)
            position = positions.begin(account, spec, self.moment)
        position.quantity, position.cost = netted.net
        if netted.opened and sheet.holders[account].is_heard:
            leverage = positions.leverage(account, spec)
            position.margin += _opening_margin(spec, rate, leverage, before, netted)
        if not position.quantity:
            self._close(sheet, position)
        else:
            positions.touch(position)
        return profit - fee, position

    def _close(self, sheet: Sheet, position: LivePosition) -> None:
        sheet.release(position.account, position.spec.contract.settlement_id, position.reserved)
        position.quantity = position.cost = position.margin = position.reserved = 0
        self.positions.touch(position)

    def _shortage(self, sheet: Sheet, asset: int, account: int, due: int) -> int:
        """How much of a loss the account cannot pay, after what its positions have reserved is made available."""
        short = -due - sheet.available(account, asset)
        if short <= 0:
            return 0
        for position in self.positions.of_account(account, asset):
            taken = min(short, position.reserved)
            if taken:
                sheet.release(account, asset, taken)
                position.reserved -= taken
                self.positions.touch(position)
                short -= taken
        return short

    def _lock_margin(self, sheet: Sheet, position: LivePosition) -> None:
        """Reserve what the position should have, as far as there is."""
        asset = position.spec.contract.settlement_id
        missing = min(position.margin - position.reserved, sheet.available(position.account, asset))
        if missing > 0:
            sheet.reserve(position.account, asset, missing)
            position.reserved += missing

    # Reduce-only

    def check_reduce_only(
        self, live: LiveBook, order: LiveOrder, price: int | None, quantity: int, *, is_liquidation: bool = False
    ) -> None:
        """ReduceOnly unless the order only takes from the position, if it is to rest with those that rest already. One
        that leaves some keeps to the market's minimum.
        """
        lots, left = quantity - order.filled, self.reducible(live, order)
        if reducing.competes(order):
            resting = live.reducing.get(order.account, {}).values()
            left -= sum(other.remaining for other in resting if other.side == order.side and other is not order)
        if lots > left:
            most = live.spec.quantity_text(max(left, 0))
            raise c.ReduceOnly(f"The order would do more than reduce: {most} can be closed that way.")
        if lots < left and not is_liquidation:
            validation.check_size(live.spec, price, quantity, None)

    def reducible(self, live: LiveBook, order: LiveOrder) -> int:
        """Lots of the position that an order of its side could take; none or less where there is no such position."""
        position = self.positions.of(order.account, live.spec)
        return -order.side * position.quantity if position else 0

    def over_reducing(self, live: LiveBook, plan: Plan) -> list[LiveOrder]:
        """Resting reduce-only orders that the plan would fill beyond their owner's position."""
        left: dict[int, int] = {}
        found = []
        for maker, lots in plan.matches:
            if maker.account not in live.reducing:
                continue
            if maker.account not in left:
                position = self.positions.of(maker.account, live.spec)
                left[maker.account] = position.quantity if position else 0
            left[maker.account] += maker.side * lots
            if maker.reduce_only and left[maker.account] * maker.side > 0 and maker not in found:
                found.append(maker)
        return found

    def take_out_over_reducing(self, batch, live: LiveBook, plan: Plan) -> bool:
        """Cancel the resting orders that the plan would fill beyond their owner's position; whether there were any."""
        found = self.over_reducing(live, plan)
        for order in found:
            batch.cancel_order(live, order)
        return bool(found)

    def take_out_excess(self, batch, live: LiveBook, accounts: Iterable[int]) -> None:
        """Reduce-only orders get smaller, the newest first, and end with what they could reduce."""
        for account in dict.fromkeys(accounts):
            self.take_out_beside(batch, live, account)

    def take_out_beside(self, batch, live: LiveBook, account: int, lots: int = 0) -> None:
        """The same for one account, if its position had these lots more (sells are negative)."""
        position = self.positions.of(account, live.spec)
        held = lots + (position.quantity if position else 0)
        for order, needed in reducing.excess(live.reducing.get(account, {}).values(), held):
            reducing.shrink(batch, live, order, needed)


def insufficient(spec: MarketSpec, needed: int, spendable: int) -> c.InsufficientMargin:
    """The refusal, with its figures."""
    decimals, asset = spec.contract.settlement_decimals, spec.contract.settlement
    return c.InsufficientMargin(
        f"Needs {units.text(needed, decimals)} {asset} of margin and fees; "
        f"{units.text(spendable, decimals)} can be used. Close something, deposit, or order less."
    )


def _opening_margin(
    spec: MarketSpec, rate: Rate, leverage: int, before: Net, netted: netting.Netted, beside: int = 0
) -> int:
    """The initial margin of what a fill opened, on top of what the position had before and what may open beside it."""
    if not netted.opened:
        return 0
    opened_before = 0 if netted.closed else abs(before.cost)
    held, more = beside + opened_before, abs(netted.net.cost) - opened_before
    return margin.added(spec.contract.tiers, rate.up(held), rate.up(more), leverage)


def _share(position: LivePosition, lots: int) -> int:
    """What of a position's reserve goes with these of its lots; all of it with all of them, or more."""
    return position.reserved * min(lots, abs(position.quantity)) // abs(position.quantity)
