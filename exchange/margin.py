"""Margin settlement: the three verbs of exchange.spot for markets whose trades net into positions.

Reserve. An order must be carried by its account as exchange.weighing says. What rests of it sets aside a figure per lot
that is fixed then, at once where the order meets nobody, else when its trades are paid: what they bring may be needed
for it, and may not be there before. A reduce-only order reserves nothing.

Settle. Each fill nets into the position of its side. Profit and fee are converted from the quote to the settlement
asset at the rate of the moment, the profit rounded down, and pass through the market's clearing account, which has no
floor. A loss is paid from what is available, then from what positions have reserved and gained (accounts.covering),
then from the insurance fund; what is left of it the clearing account carries, on record (accounts.models.Shortfall). So
settling never fails, and nobody's balance gets below zero. What an account has set aside for orders is looked after
before, when trades are planned (exchange.payable). When all of a plan's trades are paid, what is left of the order that
made them is set aside, and last the positions' margin, as far as funds are there.

Accounts of the house reserve no margin: they are the counterparty, and have limits of their own.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from accounts import conversion, covering, netting, spending
from accounts.ledger import Sheet
from accounts.margin import Rate
from accounts.models import Journal
from accounts.positions import LivePosition, Positions, Shortage
from exchange import commands as c
from exchange import payable, reducing, validation, weighing
from exchange.books import LiveBook
from exchange.engine.book import Plan
from exchange.live import LiveOrder, held
from exchange.models import ListKind, ListRole
from marketdata import hours, marks, units
from marketdata.markets import MarketSpec

#: Withdrawals that wait to be paid, and what spot trades will be settled with. Nobody changes them while the account is
#: locked.
PROMISED = """
SELECT (SELECT COALESCE(sum(amount), 0) FROM accounts_withdrawal
        WHERE account_id = %(account)s AND asset_id = %(asset)s AND status = 'PENDING')
     + (SELECT COALESCE(sum(s.notional + s.buyer_fee), 0)
        FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id
        WHERE s.settled_at IS NULL AND s.buyer_id = %(account)s AND m.quote_id = %(asset)s)
     + (SELECT COALESCE(sum(s.quantity), 0)
        FROM exchange_settlement s JOIN marketdata_market m ON m.id = s.market_id
        WHERE s.settled_at IS NULL AND s.seller_id = %(account)s AND m.base_id = %(asset)s)
"""


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
    if not is_house:
        conversion.check(spec)


class Desk:
    """Settles one batch's margin trades on its sheet and positions."""

    def __init__(self, positions: Positions, moment: datetime, books: Mapping[int, LiveBook], cursor):
        self._cursor = cursor
        self.positions = positions
        self.moment = moment
        self.books = books
        #: Positions that fills have just changed, whose margin is not set aside yet.
        self.filled: list[LivePosition] = []
        #: Orders of liquidations, which close whatever it costs.
        self.forced: set[int] = set()
        self._rates: dict[int, Rate] = {}

    def rate(self, spec: MarketSpec) -> Rate:
        """From quote to settlement units, the same one for all that a batch weighs and settles: by another some order
        could not set aside what it was weighed to have.
        """
        if spec.id not in self._rates:
            self._rates[spec.id] = conversion.rate_of(spec)
        return self._rates[spec.id]

    # Reserving

    def check(self, sheet: Sheet, live: LiveBook, order: LiveOrder, cmd: c.Place) -> None:
        """What the market asks of a new order, and what each of its lots reserves while it waits; else a Refusal."""
        if cmd.is_liquidation:
            if cmd.held is not None and self.reducible(live, order) != -order.side * cmd.held:
                raise c.PositionMoved("This was decided for another position.")
            self.forced.add(order.id)
        else:
            self.check_risk(sheet, live, order)
        is_exit = order.list_kind == ListKind.BRACKET and order.list_role != ListRole.ENTRY
        if is_exit:
            order.reduce_only = True  # of a position that the entry is yet to open; looked at when its turn comes
        elif order.reduce_only:
            self.check_reduce_only(live, order, order.price, order.quantity, is_liquidation=cmd.is_liquidation)
        order.margin_per_lot = self._waiting_per_lot(sheet, live.spec, order)

    def check_risk(self, sheet: Sheet, live: LiveBook, order: LiveOrder) -> None:
        """What the market asks of an order whenever it may come to open more: new, amended, or triggered."""
        check_placing(order, live.spec, self.moment, is_house=not sheet.holders[order.account].is_heard)

    def check_amendment(self, sheet: Sheet, live: LiveBook, order: LiveOrder, price: int, quantity: int) -> None:
        """What the market asks of new terms; lots may always be taken off a resting order where it is."""
        if price != order.price or quantity > order.quantity:
            self.check_risk(sheet, live, order)
        if order.reduce_only:
            self.check_reduce_only(live, order, price, quantity)

    def _waiting_per_lot(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder) -> int:
        if order.stop is None or order.reduce_only or not sheet.holders[order.account].is_heard:
            return 0
        return self._weigh(sheet, spec, order, matches=[], rests=order.remaining, price=order.price, waits=True).per_lot

    def _weigh(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, **plan) -> weighing.Need:
        return weighing.weigh(
            self.positions, sheet, spec, self.rate(spec), order.account, order.side, beside=self._beside(spec, order),
            taker_rate=order.taker_rate, worst_rate=max(order.maker_rate, order.taker_rate), **plan,
        )  # fmt: skip

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
                raise weighing.insufficient(spec, needed, spendable)
        sheet.reserve(order.account, settlement, needed)

    def reserve(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
        """Set aside what the resting part needs, if the account can carry the whole order. InsufficientMargin, or
        ReduceOnly where it would open, otherwise; nothing changed then.
        """
        self._reserve(sheet, spec, order, plan, order.price, freed=0)

    def change_reserve(
        self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan, *, price: int, remaining: int
    ) -> None:
        """Move an open order's reserve to other terms. Lots that are taken off it where it is take theirs along."""
        freed = held(spec, order)
        if plan.keeps_place:
            sheet.release(order.account, spec.contract.settlement_id, freed - held(spec, order, remaining))
        else:
            self._reserve(sheet, spec, order, plan, price, freed=freed)

    def reserve_triggered(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
        """The same for an order that waited: it goes to the book as a new one, with what it holds. A stop that closes
        may also count on what the account has elsewhere, and is not promised: refused, it would protect nobody (see
        exchange.payable, too).
        """
        self._reserve(sheet, spec, order, plan, order.price, freed=held(spec, order), is_triggered=True)

    def _reserve(
        self,
        sheet: Sheet,
        spec: MarketSpec,
        order: LiveOrder,
        plan: Plan,
        price: int | None,
        *,
        freed: int,
        is_triggered: bool = False,
    ) -> None:
        account, settlement = order.account, spec.contract.settlement_id
        need = self.need(sheet, spec, order, plan, price)
        if need is None:
            self.rate(spec)
        elif order.id not in self.forced:
            if is_triggered:
                self.check_triggered(spec, order, need, freed)
            else:
                need.check(spec, freed=freed)
                need.check_orders(spec, freed=freed)
        per_lot = need.per_lot if need else 0
        sheet.release(account, settlement, freed)
        order.margin_per_lot = per_lot
        if not plan.matches:
            sheet.reserve(account, settlement, per_lot * plan.rests)

    def check_triggered(self, spec: MarketSpec, order: LiveOrder, need: weighing.Need, freed: int) -> None:
        """InsufficientMargin where an order that waited could not be placed now (see `reserve_triggered`)."""
        if order.reduce_only and need.missing > freed:
            need.elsewhere -= self._promised(order.account, spec)
        need.check(spec, freed=freed, elsewhere=order.reduce_only)

    def need(
        self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan, price: int | None
    ) -> weighing.Need | None:
        """What the order needs for the plan, if its rest has that price; None for the house."""
        if not sheet.holders[order.account].is_heard:
            return None
        matches = [(maker.price, lots) for maker, lots in plan.matches]
        rests, closes = (0, plan.rests) if order.reduce_only else (plan.rests, 0)
        return self._weigh(sheet, spec, order, matches=matches, rests=rests, closes=closes, price=price)

    def _promised(self, account: int, spec: MarketSpec) -> int:
        """What of the account's reserved settlement asset is set aside for others. Asked on the batch's own connection:
        a cascade asks for each of its stops, and on another one it would take too long to be let finish.
        """
        self._cursor.execute(PROMISED, {"account": account, "asset": spec.contract.settlement_id})
        return units.to_units(self._cursor.fetchone()[0], spec.contract.settlement_decimals)

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
        asset, rate = spec.contract.settlement_id, self.rate(spec)
        fees, cover, entries, filled = 0, 0, [], []
        for account, side, fee in ((buyer, 1, buyer_fee), (seller, -1, seller_fee)):
            paid = rate.down(fee) if fee >= 0 else -rate.down(-fee)
            due, position = self._net(sheet, spec, rate, account, side, lots, notional, paid)
            short, gained = covering.cover(sheet, self.positions, account, asset, -due, rate_of=self.rate)
            due += gained
            if short:
                from_fund = 0
                if sheet.holders[account].is_heard:
                    from_fund = min(short, sheet.available(house.insurance, asset) - cover)
                cover += from_fund
                self.positions.shortages.append(Shortage(account, spec, reference, short, from_fund))
            entries.append((account, asset, due + short))
            filled.append(position)
            fees += paid
        entries += [(live.fees, asset, fees), (house.insurance, asset, -cover)]
        entries.append((house.clearing, asset, -sum(amount for _, _, amount in entries)))
        sheet.post(Journal.Kind.TRADE, entries, reference=reference, outside=house.clearing)
        self.filled += filled

    def finish(self, sheet: Sheet, spec: MarketSpec, order: LiveOrder, plan: Plan) -> None:
        """A plan's trades are paid: what rests of its order is set aside before the margin of positions, which may lack
        some. It is there: with all that the trades brought the order was weighed.
        """
        if plan.matches and order.is_open():
            asset, needed = spec.contract.settlement_id, held(spec, order)
            assert sheet.available(order.account, asset) >= needed, f"order {order.id} was weighed wrongly"
            sheet.reserve(order.account, asset, needed)
        self.lock_margins(sheet)

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
            freed = weighing.share(position.reserved, netted.closed, before.quantity)
            used = weighing.share(position.margin, netted.closed, before.quantity)
            sheet.release(account, asset, freed)
            position.reserved -= freed
            position.margin -= used
        if netted.closed and netted.opened:  # through zero: this one ends, another begins
            self._close(sheet, position)
            position = positions.begin(account, spec, self.moment)
        position.quantity, position.cost = netted.net
        if netted.opened and sheet.holders[account].is_heard:
            leverage = positions.leverage(account, spec)
            position.margin += weighing.opening_margin(spec, rate, leverage, before, netted)
        if not position.quantity:
            self._close(sheet, position)
        else:
            positions.touch(position)
        return profit - fee, position

    def _close(self, sheet: Sheet, position: LivePosition) -> None:
        sheet.release(position.account, position.spec.contract.settlement_id, position.reserved)
        position.quantity = position.cost = position.margin = position.reserved = 0
        self.positions.touch(position)

    def lock_margins(self, sheet: Sheet) -> None:
        """Reserve what the positions that were filled should have, as far as there is."""
        for position in self.filled:
            asset = position.spec.contract.settlement_id
            missing = min(position.margin - position.reserved, sheet.available(position.account, asset))
            if missing > 0:
                sheet.reserve(position.account, asset, missing)
                position.reserved += missing
        self.filled.clear()

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
            others = [other for other in resting if other.side == order.side and other is not order]
            left -= sum(other.remaining + other.hidden for other in others)
        if lots > left:
            most = live.spec.quantity_text(max(left, 0))
            raise c.ReduceOnly(f"The order would do more than reduce: {most} can be closed that way.")
        if lots < left and not is_liquidation:
            validation.check_size(live.spec, price, quantity, None)

    def reducible(self, live: LiveBook, order: LiveOrder) -> int:
        """Lots of the position that an order of its side could take; none or less where there is no such position."""
        position = self.positions.of(order.account, live.spec)
        return -order.side * position.quantity if position else 0

    # Resting orders that may not be met

    def unfillable(self, sheet: Sheet, live: LiveBook, plan: Plan) -> list[LiveOrder]:
        """Resting orders that the plan would fill beyond their owner's position, though they only reduce, or beyond
        what their owner pays itself.
        """
        if live.reducing and (over := reducing.beyond(plan.matches, live, self.positions)):
            return list(over)
        return payable.unpayable(self, sheet, live, ((maker, maker.price, lots) for maker, lots in plan.matches))

    def take_out_unfillable(self, batch, live: LiveBook, plan: Plan) -> bool:
        """Cancel those; whether there were any."""
        found = self.unfillable(batch.sheet, live, plan)
        for order in found:
            batch.cancel_order(live, order, "unfillable")
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
