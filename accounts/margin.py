"""Margin arithmetic: what a notional needs, how an account stands, where it would be liquidated. Pure.

Money is whole smallest units, rates are in 10^-8 (see marketdata.contracts). Amounts of the quote asset are brought
into the settlement asset by a `Rate`; what the account gets is rounded down, what it must have or pay is rounded up,
except fees, which are rounded down like everywhere.

Words: equity = what is free + what margin has reserved + unrealised profit. `used` is the initial margin of the
positions, as it was when they were opened. free = equity - used - what open orders have reserved. level = equity /
used. Profit that is not realised backs no new risk: an order must be paid from `spendable`, which takes losses off at
once and counts gains when they are real.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from marketdata.contracts import RATE_ONE, Tier


class Rate(NamedTuple):
    """Settlement units a quote unit, as a fraction."""

    numerator: int
    denominator: int

    def down(self, amount: int) -> int:
        return amount * self.numerator // self.denominator

    def up(self, amount: int) -> int:
        return -(-amount * self.numerator // self.denominator)

    def worth(self, settled: int) -> int:
        """The least quote units that are worth so many settlement units."""
        return -(-settled * self.denominator // self.numerator)


def initial(tiers: Sequence[Tier], notional: int, leverage: int) -> int:
    """What opening the notional needs: each slice at its tier's rate, never less than 1 / leverage."""
    least = -(-RATE_ONE // leverage)
    return _by_slices(((tier.up_to, max(tier.initial, least)) for tier in tiers), notional)


def maintenance(tiers: Sequence[Tier], notional: int) -> int:
    """What keeping the notional needs."""
    return _by_slices(((tier.up_to, tier.maintenance) for tier in tiers), notional)


def added(tiers: Sequence[Tier], held: int, more: int, leverage: int) -> int:
    """What `more` notional needs on top of the `held` one."""
    return initial(tiers, held + more, leverage) - initial(tiers, held, leverage)


def _by_slices(slices: Iterable[tuple[int | None, int]], notional: int) -> int:
    total, below = 0, 0
    for end, rate in slices:
        part = notional - below if end is None else min(notional, end) - below
        if part <= 0:
            break
        total += part * rate
        below += part
    return -(-total // RATE_ONE)


class Exposure(NamedTuple):
    """One open position in settlement units: profit at the mark, margin as opened, least margin at the mark."""

    unrealized: int
    used: int
    maintenance: int


class State(NamedTuple):
    """How an account stands in one settlement asset, in its smallest units."""

    balance: int  # free + reserved by margin
    unrealized: int
    used: int
    orders: int
    maintenance: int

    @property
    def equity(self) -> int:
        return self.balance + self.unrealized

    @property
    def free(self) -> int:
        return self.equity - self.used - self.orders

    @property
    def spendable(self) -> int:
        """What a new order may take."""
        return self.balance - self.used - self.orders + min(0, self.unrealized)

    @property
    def level(self) -> Decimal | None:
        """equity / used; None without positions."""
        return Decimal(self.equity) / Decimal(self.used) if self.used else None


def state(*, available: int, reserved_for_positions: int, orders: int, exposures: Iterable[Exposure]) -> State:
    """The account's state. `orders` is what its open margin orders have reserved."""
    unrealized = used = least = 0
    for exposure in exposures:
        unrealized += exposure.unrealized
        used += exposure.used
        least += exposure.maintenance
    return State(available + reserved_for_positions + orders, unrealized, used, orders, least)


def price_at_equity(
    *, target: int | Fraction, others: int, base: Fraction, cost: Fraction, rate: Fraction, is_inverse: bool
) -> Fraction | None:
    """The price at which the account's equity is `target`, all else standing still; None where no price does it.

    `others` is the equity without this position's profit, in settlement units. `base` is the position's signed size in
    units of the base asset and `cost` its signed cost, both whole units of asset; `rate` brings quote into settlement
    units. `is_inverse`: the settlement asset is the base, so that the rate is one over the price itself.
    """
    if not base:
        return None
    if is_inverse:
        # others + scale × (base - cost / price) = target
        scale = rate
        divisor = Fraction(others - target) + scale * base
        price = scale * cost / divisor if divisor else None
    else:
        price = (Fraction(target - others) / rate + cost) / base
    return price if price is not None and price > 0 else None


def price_at_maintenance(
    tiers: Sequence[Tier], *, kept: int, others: int, base: Fraction, cost: Fraction, rate: Fraction
) -> Fraction | None:
    """The price at which the account's equity is the maintenance that the account needs at that price, all else
    standing still; None where no price does it.

    `kept` is the maintenance of its other positions, the rest as for `price_at_equity`. The position's own moves with
    the price, along a straight line within each tier. Not for inverse markets: there its notional in the settlement
    asset is the same at every price.
    """
    size, below, held = abs(base), 0, Fraction(0)
    for end, _, of_one in tiers:
        share = Fraction(of_one, RATE_ONE)
        # others + rate x (base x price - cost) = kept + held + share x (rate x size x price - below)
        price = price_at_equity(
            target=kept + held - share * below, others=others, base=base - share * size, cost=cost, rate=rate,
            is_inverse=False,
        )  # fmt: skip
        if price is not None and below <= rate * size * price and (end is None or rate * size * price <= end):
            return price
        if end is not None:
            held, below = held + share * (end - below), end
    return None
