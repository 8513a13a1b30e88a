"""The venue and the auditor side by side: every command goes to both, and every answer is compared.

Groups of commands are queued at once, so that they meet in one batch of the sequencer; the auditor takes them one by
one. `compare` then holds the whole database against the auditor's books.
"""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

from django.db import connection, models, transaction

from accounts import transfers
from accounts.models import Balance, Entry
from exchange import clockwork, validation
from exchange.barrier import view
from exchange.books import LiveBook
from exchange.commands import Amend, Cancel, CancelAll, Replay
from exchange.engine.orders import BUY, SELL
from exchange.models import Order, Trade
from exchange.orders import stored
from exchange.sequencer import sequencer
from marketdata import clock, markets, units
from marketdata.refusals import Refusal
from tests.model.auditor import CANCELLED, Auditor, Expected, Request
from tests.model.phases import Collect, Uncross
from tests.model.world import World
from tests.patience import PATIENCE_SECONDS
from tests.venue import withdraw

SIDES = {BUY: "BUY", SELL: "SELL"}
AVERAGE_STEPS = 10**18


class Lockstep:
    """Commands are tuples: ("place", Request), ("amend", account, order id, price, quantity), ("cancel", account,
    order id), ("cancel_all", account, symbol or None), ("collect", symbol), ("uncross", symbol). Raises AssertionError
    at the first difference."""

    def __init__(self, world: World):
        self.world = world
        self.auditor = Auditor(world.terms)

    # Money

    def deposit(self, account: int, asset: str, amount: Fraction) -> None:
        self._transfer(transfers.deposit, account, asset, amount)
        self.auditor.deposit(account, asset, amount)

    def withdraw(self, account: int, asset: str, amount: Fraction) -> None:
        code = self._transfer(withdraw, account, asset, amount)
        expected = self.auditor.withdraw(account, asset, amount)
        assert code == expected, f"withdrawing {amount} {asset} of {account}: {code}, expected {expected}"

    def _transfer(self, move, account: int, asset: str, amount: Fraction) -> str | None:
        owner = next(each for each in self.world.accounts if each.id == account)
        try:
            move(account=owner, asset=self.world.assets[asset], amount=exact(amount))
        except Refusal as refusal:
            return refusal.code
        return None

    # Orders

    def group(self, commands: list[tuple]) -> None:
        """Give them all to the sequencer at once, then check each answer in its turn."""
        prepared = [self._prepared(command) for command in commands]
        futures = iter(sequencer.submit([one for one in prepared if not isinstance(one, Refusal)]))
        outcomes = [one if isinstance(one, Refusal) else next(futures).result(PATIENCE_SECONDS) for one in prepared]
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
                raise AssertionError(f"{command} failed") from outcome
            self._check(command, outcome)

    def _prepared(self, command: tuple):
        kind, *terms = command
        if kind == "place":
            try:
                return place_command(terms[0])
            except Refusal as refusal:
                return refusal
        if kind == "amend":
            account, order_id, price, quantity = terms
            return Amend(account, order_id, price and exact(price), quantity and exact(quantity))
        if kind == "cancel":
            return Cancel(*terms)
        if kind in ("collect", "uncross"):
            return {"collect": Collect, "uncross": Uncross}[kind](self.world.markets[terms[0]].id)
        account, symbol = terms
        return CancelAll(account, None if symbol is None else self.world.markets[symbol].id)

    def _check(self, command: tuple, outcome) -> None:
        kind, *terms = command
        if kind == "cancel_all":
            expected = sorted(self.auditor.cancel_all(*terms), key=lambda order: order.id)
            answers = sorted(outcome, key=lambda order: order["id"])
            assert [order["id"] for order in answers] == [order.id for order in expected], command
            for answer, order in zip(answers, expected, strict=True):
                same_order(order, answer)
            return
        if kind in ("collect", "uncross"):
            getattr(self.auditor, kind)(*terms)
            assert outcome == {}, command
            return
        if kind == "place":
            expected = self.auditor.place(terms[0], order_id_of(outcome))
        else:
            expected = getattr(self.auditor, kind)(*terms)
        if isinstance(outcome, Refusal):
            assert outcome.code == expected, f"{command}: refused with {outcome.code} ({outcome}), expected {expected}"
        elif isinstance(outcome, Replay):
            assert isinstance(expected, Expected) and expected.id == outcome.order_id, (
                f"{command}: replayed, not {expected}"
            )
        else:
            assert isinstance(expected, Expected), f"{command}: taken as {outcome['id']}, expected {expected}"
            same_order(expected, outcome)

    def wait(self, seconds: float) -> None:
        """Let time pass; the clockwork looks."""
        now = clock.now() + timedelta(seconds=seconds)
        clock.stand(now)
        clockwork.look()
        self.auditor.expire(now)

    # Everything

    def compare(self) -> None:
        """The database, the live books and the views against the auditor: balances, orders, trades, queues."""
        self._compare_balances()
        self._compare_outside()
        for terms in self.world.terms:
            self._compare_book(terms.symbol)
            self._compare_orders(terms.symbol)
        trades = Trade.objects.filter(market__in=self.world.markets.values()).count()
        assert trades == self.auditor.trades, f"{trades} trades, expected {self.auditor.trades}"

    def _compare_balances(self) -> None:
        rows = {
            (row.account_id, row.asset.symbol): (Fraction(row.available), Fraction(row.reserved))
            for row in Balance.objects.filter(asset__in=self.world.assets.values()).select_related("asset")
        }
        for account in self.world.accounts:
            for asset in self.world.assets:
                expected = self.auditor.available(account.id, asset), self.auditor.reserved(account.id, asset)
                found = rows.get((account.id, asset), (0, 0))
                assert found == expected, f"account {account.id} has {found} {asset}, expected {expected}"
        for terms in self.world.terms:
            found = rows.get((self.world.fee_accounts[terms.symbol], terms.quote), (0, 0))
            expected = self.auditor.fees[terms.symbol]
            assert found == (expected, 0), f"fees of {terms.symbol} are {found}, expected {expected}"

    def _compare_outside(self) -> None:
        entries = Entry.objects.filter(asset__in=self.world.assets.values(), account__kind="OUTSIDE")
        sums = dict(entries.values_list("asset__symbol").annotate(models.Sum("amount")))
        for asset in self.world.assets:
            found, expected = Fraction(sums.get(asset, 0)), self.auditor.outside.get(asset, 0)
            assert found == expected, f"the world holds {found} {asset}, expected {expected}"

    def _compare_book(self, symbol: str) -> None:
        market, reference = self.world.markets[symbol], self.auditor.books[symbol]
        spec = markets.load_spec(market.id)
        snapshot = view(spec).snapshot(10_000)
        for side, name in ((BUY, "bids"), (SELL, "asks")):
            expected = [[spec.price_text(price), spec.quantity_text(lots)] for price, lots in reference.depth(side)]
            assert snapshot[name] == expected, f"{symbol} shows {name} {snapshot[name]}, expected {expected}"
        fresh = LiveBook(spec, 0)
        with transaction.atomic(), connection.cursor() as cursor:
            fresh.load(cursor, 0, None)
        hashes = {fresh.book.state_hash(), reference.state_hash()}
        live = sequencer.registry.books.get(market.id)
        if live is not None:
            hashes.add(live.book.state_hash())
        assert len(hashes) == 1, f"{symbol}: database, live book and reference differ"

    def _compare_orders(self, symbol: str) -> None:
        rows = {row.id: row for row in Order.objects.filter(market=self.world.markets[symbol])}
        known = {order.id: order for order in self.auditor.orders.values() if order.request.symbol == symbol}
        assert rows.keys() == known.keys(), f"{symbol}: orders {rows.keys() ^ known.keys()} are only on one side"
        for order_id, expected in known.items():
            row = rows[order_id]
            found = (
                row.status,
                row.quantity,
                row.filled_quantity,
                row.filled_notional,
                row.fee,
                row.reserved,
                row.price,
            )
            wanted = (
                expected.status, expected.quantity, expected.filled, expected.notional, expected.fee,
                self.auditor.reserve_of(expected), expected.price,
            )  # fmt: skip
            assert found == wanted, f"order {order_id} is stored as {found}, expected {wanted}"

    def compare_fills(self, order_ids: list[int]) -> None:
        """Orders with all their fills as the door reads them from the database."""
        for order_id in order_ids:
            same_order(self.auditor.orders[order_id], stored(order_id))


def place_command(request: Request):
    """What a door would make of the request."""
    return validation.place_command(
        account_id=request.account,
        symbol=request.symbol,
        side=SIDES[request.side],
        type=request.type,
        price=request.price and exact(request.price),
        quantity=request.quantity and exact(request.quantity),
        quote_quantity=request.quote_quantity and exact(request.quote_quantity),
        time_in_force=request.time_in_force,
        post_only=request.post_only,
        self_trade_prevention=request.prevention,
        client_order_id=request.client_order_id,
        **({} if request.expires_at is None else {"expires_at": request.expires_at}),
    )


def order_id_of(outcome) -> int | None:
    return outcome["id"] if isinstance(outcome, dict) else None


def same_order(expected: Expected, answer: dict) -> None:
    """An order object of the venue against the auditor's order."""
    price = None if expected.price is None else plain(expected.price)
    average = None
    if expected.filled:
        average = Fraction(floor(expected.notional / expected.filled * AVERAGE_STEPS + Fraction(1, 2)), AVERAGE_STEPS)
    wanted = {
        "id": expected.id,
        "client_order_id": expected.request.client_order_id,
        "side": SIDES[expected.request.side],
        "price": price,
        "quantity": plain(expected.quantity),
        "filled_quantity": plain(expected.filled),
        "remaining_quantity": plain(expected.remaining if expected.request.quote_quantity is None else Fraction(0)),
        "average_price": None if average is None else plain(average),
        "status": expected.status,
        "fee": plain(expected.fee),
    }
    found = {name: answer[name] for name in wanted}
    assert found == wanted, f"answered {found}, expected {wanted}"
    if answer["fills"] is not None and expected.status != CANCELLED:
        fills = [(fill["price"], fill["quantity"], fill["fee"], fill["role"]) for fill in answer["fills"]]
        listed = [(plain(price), plain(quantity), plain(fee), role) for price, quantity, fee, role in expected.fills]
        assert fills == listed, f"order {expected.id}: fills {fills}, expected {listed}"


def exact(value: Fraction) -> Decimal:
    """A fraction with a power of ten below the line as a Decimal."""
    scaled = value * 10**18
    assert scaled.denominator == 1
    return Decimal(scaled.numerator).scaleb(-18)


def plain(value: Fraction) -> str:
    return units.plain(exact(value))
