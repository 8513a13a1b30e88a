"""The state machine with every order type; phases and time stand still in it."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model.machine import VenueMachine, distances, lots, places
from tests.model.special import Pair, Special
from tests.model.special_dice import STOP_TYPES, SpecialLockstep

away = st.integers(-3, 12)


class SpecialMachine(VenueMachine):
    """Traders who use every type that the doors take."""

    lockstep_type = SpecialLockstep

    @rule(terms=places, kind=st.sampled_from(STOP_TYPES), stop=away, limit=distances)
    def place_stop(self, terms, kind, stop, limit) -> None:
        self.lockstep.group([("place", self._stop(terms, kind, stop, limit))])

    @rule(terms=places, shown=lots)
    def place_iceberg(self, terms, shown) -> None:
        plain = self._limit(terms, "GTC")
        market = self.lockstep.auditor.markets[plain.symbol]
        if plain.quantity > market.lot:
            displayed = min(shown * market.lot, plain.quantity - market.lot)
            self.lockstep.group([("place", Special(**{**vars(plain), "displayed": displayed}))])

    @rule(terms=places, profit=away, stop=away)
    def place_pair(self, terms, profit, stop) -> None:
        plain = self._limit((*terms[:6], None), "GTC")
        second = self._stop((*terms[:6], None), "STOP_LOSS", stop, 0)
        price = self._price(self.lockstep.auditor.markets[plain.symbol], -plain.side * profit)
        first = Special(**{**vars(plain), "price": price, "post_only": True})
        self.lockstep.group([("pair", Pair(first, second))])

    def place_for_a_while(self, terms, seconds) -> None:
        """Not here."""

    def wait(self, seconds) -> None:
        """Not here."""

    def collect(self, number) -> None:
        """Not here."""

    def uncross(self, group) -> None:
        """Not here."""

    def _stop(self, terms, kind: str, stop: int, limit: int) -> Special:
        plain = self._limit(terms, "GTC")
        market = self.lockstep.auditor.markets[plain.symbol]
        if kind == "TRAILING_STOP":
            asked = {"price": None, "trail_amount": (abs(stop) + 1) * 10 * market.tick}
        else:
            direction = plain.side if kind.startswith("STOP") else -plain.side
            price = self._price(market, direction * stop + limit // 10) if kind.endswith("LIMIT") else None
            asked = {"price": price, "stop_price": self._price(market, direction * stop)}
        return Special(**{**vars(plain), "type": kind, **asked})
