"""Whole numbers for money, prices and quantities, and their decimal texts. Pure; no float anywhere.

Inside the venue an amount is an int in the asset's smallest unit (10^-decimals), a price is an int in ticks, a
quantity an int in lots. On the wire each is a plain decimal string without exponent and without trailing zeros:
187.5, 0, 0.00001.
"""

from decimal import Context, Decimal, Inexact
from functools import lru_cache

# Wide enough for NUMERIC(38,18) and its products; a result that would need rounding raises instead.
EXACT = Context(prec=100, traps=[Inexact])


class NotWhole(ValueError):
    """The value is not a whole multiple of the step."""


def steps(value: Decimal, step: Decimal) -> int:
    """How many steps make the value; NotWhole when it lies between two."""
    count, rest = divmod_exact(value, step)
    if rest:
        raise NotWhole(f"{plain(value)} is not a multiple of {plain(step)}")
    return count


def divmod_exact(value: Decimal, step: Decimal) -> tuple[int, Decimal]:
    count, rest = EXACT.divmod(value, step)
    return int(count), rest


def to_units(value: Decimal, decimals: int) -> int:
    """A decimal amount in smallest units; NotWhole when it is finer than that."""
    scaled = value.scaleb(decimals, EXACT)
    units = int(scaled)
    if units != scaled:
        raise NotWhole(f"{plain(value)} has more than {decimals} decimals")
    return units


def is_whole(value: Decimal, decimals: int) -> bool:
    """Whether an amount is whole in units of 10^-decimals."""
    try:
        to_units(Decimal(value), decimals)
    except NotWhole:
        return False
    return True


def from_units(units: int, decimals: int) -> Decimal:
    """Smallest units as a decimal amount."""
    return Decimal(units).scaleb(-decimals, EXACT)


@lru_cache(maxsize=1 << 16)
def text(units: int, decimals: int) -> str:
    """Smallest units as a plain decimal string: text(187500, 3) == "187.5"."""
    if not decimals or not units:
        return str(units)
    digits = str(units) if units > 0 else str(-units)
    if len(digits) <= decimals:
        digits = digits.zfill(decimals + 1)
    fraction = digits[-decimals:].rstrip("0")
    whole = digits[:-decimals] if units > 0 else "-" + digits[:-decimals]
    return f"{whole}.{fraction}" if fraction else whole


def plain(value: Decimal) -> str:
    """A decimal as a plain string: no exponent, no trailing zeros, no minus zero."""
    if not value:
        return "0"
    written = format(value, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written


#: What a fraction may be: how it is said, and the check.
BOUNDS = {
    "above -1": lambda value: value > -1,
    "above 0": lambda value: value > 0,
    "at least 0": lambda value: value >= 0,
}


def fraction_errors(row: object, **bounds: str) -> dict[str, str]:
    """What is wrong with those fields of a row that are fractions, by field; None is nothing, and right."""
    values = {name: getattr(row, name) for name in bounds}
    return {
        name: f"A fraction, 0.01 for 1 %: must be {bounds[name]} and below 1."
        for name, value in values.items()
        if value is not None and not (BOUNDS[bounds[name]](Decimal(value)) and Decimal(value) < 1)
    }


def decimals_of(step: Decimal) -> int:
    """How many decimals a step has: 2 for 0.05, 0 for 10."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent)
