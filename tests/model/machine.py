"""A Hypothesis state machine over the services: any order of commands, shrunk to the shortest that breaks a promise.

Each rule goes to the venue and to the auditor (see tests.model.lockstep), which compares the answers. After each step
money must be conserved per asset; the whole database is compared at random moments and at the end.
"""

from datetime import timedelta
from fractions import Fraction

from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exchange.engine.orders import BUY, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, SELL
from exchange.sequencer import sequencer
from marketdata import clock
from tests.model.auditor import Request
from tests.model.lockstep import Lockstep
from tests.model.world import ACCOUNTS, MARKETS, MIDDLES, World

accounts = st.integers(0, ACCOUNTS - 1)
symbols = st.integers(0, len(MARKETS) - 1)
sides = st.sampled_from([BUY, SELL])
names = st.one_of(st.none(), st.none(), st.sampled_from(["a", "b"]))
preventions = st.sampled_from([EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH])
#: Distance from the middle in thousandths, and quantities in lots: few values, so that orders meet.
distances = st.integers(-12, 12).map(lambda number: number * 10)
lots = st.integers(1, 45)
amounts = st.integers(1, 2_000)
places = st.tuples(accounts, symbols, sides, distances, lots, preventions, names)

CONSERVED = """
SELECT s.symbol, COALESCE(b.sum, 0) + COALESCE(e.sum, 0) FROM marketdata_asset s
LEFT JOIN (SELECT asset_id, SUM(available + reserved) AS sum FROM accounts_balance GROUP BY 1) b ON b.asset_id = s.id
LEFT JOIN (
    SELECT asset_id, SUM(amount) AS sum FROM accounts_entry e JOIN accounts_account a ON a.id = e.account_id
    WHERE a.kind = 'OUTSIDE' GROUP BY 1
) e ON e.asset_id = s.id
WHERE s.symbol = ANY(%s) AND COALESCE(b.sum, 0) + COALESCE(e.sum, 0) <> 0
"""


class VenueMachine(RuleBasedStateMachine):
    """Traders who do anything that the doors allow."""

    lockstep_type = Lockstep

    @initialize()
    def open(self) -> None:
        clock.stand(clock.now())
        self.lockstep = self.lockstep_type(World())
        self.world = self.lockstep.world
        for account in self.world.accounts:
            for name, amount in (("P", 100), ("Q", 9_000), ("R", 20)):
                self.lockstep.deposit(account.id, self.world.asset(name).symbol, Fraction(amount))

    @rule(terms=places, force=st.sampled_from(["GTC", "GTC", "IOC", "FOK"]), post_only=st.booleans())
    def place_limit(self, terms, force, post_only) -> None:
        self.lockstep.group([("place", self._limit(terms, force, post_only and force == "GTC"))])

    @rule(terms=places, force=st.sampled_from(["IOC", "FOK"]))
    def place_market(self, terms, force) -> None:
        limit = self._limit(terms, force)
        self.lockstep.group([("place", _changed(limit, type="MARKET", price=None))])

    @rule(terms=places, amount=amounts)
    def place_market_by_amount(self, terms, amount) -> None:
        limit = self._limit(terms, "IOC")
        unit = Fraction(1, 10 ** self.lockstep.auditor.markets[limit.symbol].quote_decimals)
        changes = {"type": "MARKET", "price": None, "quantity": None, "quote_quantity": amount * 37 * unit}
        self.lockstep.group([("place", _changed(limit, **changes))])

    @rule(group=st.lists(places, min_size=2, max_size=12))
    def place_group(self, group) -> None:
        """Several in one batch."""
        self.lockstep.group([("place", self._limit(terms, "GTC")) for terms in group])

    @precondition(lambda self: self.lockstep.auditor.orders)
    @rule(number=st.integers(0, 10**6), own=st.integers(0, 9), account=accounts)
    def cancel(self, number, own, account) -> None:
        order = self._pick(number)
        asker = order.request.account if own else self.world.accounts[account].id
        self.lockstep.group([("cancel", asker, order.id)])

    @precondition(lambda self: self.lockstep.auditor.orders)
    @rule(number=st.integers(0, 10**6), distance=st.none() | distances, quantity=st.none() | lots)
    def amend(self, number, distance, quantity) -> None:
        order = self._pick(number)
        terms = self.lockstep.auditor.markets[order.request.symbol]
        price = None if distance is None else self._price(terms, distance)
        if order.price is None or (price is None and quantity is None):
            return
        new = None if quantity is None else quantity * terms.lot
        self.lockstep.group([("amend", order.request.account, order.id, price, new)])

    @rule(account=accounts, symbol=st.none() | symbols)
    def cancel_all(self, account, symbol) -> None:
        name = None if symbol is None else self.world.terms[symbol].symbol
        self.lockstep.group([("cancel_all", self.world.accounts[account].id, name)])

    @rule(account=accounts, asset=st.sampled_from("PQR"), amount=amounts)
    def deposit(self, account, asset, amount) -> None:
        symbol = self.world.asset(asset).symbol
        self.lockstep.deposit(self.world.accounts[account].id, symbol, Fraction(amount, 4))

    @rule(account=accounts, asset=st.sampled_from("PQR"), amount=amounts)
    def withdraw(self, account, asset, amount) -> None:
        symbol = self.world.asset(asset).symbol
        self.lockstep.withdraw(self.world.accounts[account].id, symbol, Fraction(amount, 4))

    @rule(terms=places, seconds=st.integers(1, 20))
    def place_for_a_while(self, terms, seconds) -> None:
        end = clock.now() + timedelta(seconds=seconds)
        self.lockstep.group([("place", _changed(self._limit(terms, "GTD"), expires_at=end))])

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds) -> None:
        self.lockstep.wait(seconds)

    @rule(number=st.integers(0, 1))
    def collect(self, number) -> None:
        """Orders rest from now on, and may cross."""
        self.lockstep.group([("collect", self.world.collectable[number])])

    @precondition(lambda self: self.lockstep.auditor.collecting)
    @rule(group=st.lists(places, max_size=8))
    def uncross(self, group) -> None:
        """Some more orders, and the auction, in one batch."""
        symbol = sorted(self.lockstep.auditor.collecting)[0]
        self.lockstep.group([*(("place", self._limit(terms, "GTC")) for terms in group), ("uncross", symbol)])

    @rule()
    def restart(self) -> None:
        """The sequencer forgets its books, as after a crash."""
        sequencer.stop()

    @rule()
    def compare(self) -> None:
        self.lockstep.compare()

    @invariant()
    def money_is_conserved(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(CONSERVED, [list(self.world.assets)])
            assert cursor.fetchall() == []

    def teardown(self) -> None:
        self.lockstep.compare()
        self.lockstep.compare_fills(list(self.lockstep.auditor.orders))

    def _pick(self, number: int):
        """One of the last orders, mostly one that rests."""
        auditor = self.lockstep.auditor
        found = auditor.open_orders() if number % 5 else list(auditor.orders.values())[-20:]
        found = found or list(auditor.orders.values())
        return found[number % len(found)]

    def _limit(self, drawn, force: str, post_only: bool = False) -> Request:
        account, symbol, side, distance, quantity, prevention, name = drawn
        terms = self.world.terms[symbol]
        return Request(
            account=self.world.accounts[account].id,
            symbol=terms.symbol,
            side=side,
            price=self._price(terms, distance),
            quantity=quantity * terms.lot,
            time_in_force=force,
            post_only=post_only,
            prevention=prevention,
            client_order_id=name,
        )

    def _price(self, terms, distance: int) -> Fraction:
        middle = MIDDLES[self.world.terms.index(terms)]
        return max(1, int(middle / terms.tick * (1000 + distance) / 1000)) * terms.tick


def _changed(request: Request, **changes) -> Request:
    return Request(**{**vars(request), **changes})
