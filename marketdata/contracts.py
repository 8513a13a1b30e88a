"""A contract as the matcher sees it: its terms as whole numbers. Pure.

Rates are in 10^-8. A tier says which rates a slice of the notional has, in the settlement asset's smallest units; the
last one has no end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NamedTuple
from zoneinfo import ZoneInfo

from marketdata import units
from marketdata.hours import Schedule

RATE_DECIMALS = 8
RATE_ONE = 10**RATE_DECIMALS


class Tier(NamedTuple):
    """One slice of the notional: up to where (whole settlement units, None: no end), at which rates."""

    up_to: int | None
    initial: int
    maintenance: int


@dataclass(frozen=True, slots=True)
class ContractSpec:
    """One version of a contract's terms."""

    size: Decimal
    settlement: str
    settlement_id: int
    settlement_decimals: int
    max_leverage: int
    tiers: tuple[Tier, ...]
    schedule: Schedule
    is_reduce_only: bool
    needs_mark: bool
    liquidation_band: Decimal
    exposure_limit_lots: int


def spec_of(contract) -> ContractSpec:
    """The spec of a Contract's row with its settlement asset loaded."""
    asset = contract.settlement
    return ContractSpec(
        size=contract.contract_size,
        settlement=asset.symbol,
        settlement_id=asset.pk,
        settlement_decimals=asset.decimals,
        max_leverage=contract.max_leverage,
        tiers=read_tiers(contract.tiers, contract.max_leverage, asset.decimals),
        schedule=Schedule.of(ZoneInfo(contract.hours_zone), contract.hours, contract.holidays),
        is_reduce_only=contract.is_reduce_only,
        needs_mark=contract.mark_source == contract.MarkSource.PROVIDER,
        liquidation_band=contract.liquidation_band,
        exposure_limit_lots=contract.exposure_limit_lots,
    )


def read_tiers(rows: Sequence[dict], max_leverage: int, decimals: int = 0) -> tuple[Tier, ...]:
    """The tiers of a contract's JSON; without any, one that asks for 1 / max_leverage, and half of it to stay.

    ValueError says what is wrong: unordered, a rate out of range, maintenance above initial, no last tier.
    """
    if not rows:
        initial = -(-RATE_ONE // max_leverage)
        return (Tier(None, initial, initial // 2),)
    tiers, below = [], 0
    for place, row in enumerate(rows, 1):
        try:
            end = None if row["up_to"] is None else units.to_units(Decimal(row["up_to"]), decimals)
            initial, maintenance = (
                units.to_units(Decimal(row[name]), RATE_DECIMALS) for name in ("initial", "maintenance")
            )
        except (KeyError, TypeError, InvalidOperation, units.NotWhole) as error:
            raise ValueError(f"tier {place} cannot be read: {error!r}") from None
        if not 0 < maintenance <= initial <= RATE_ONE:
            raise ValueError(f"tier {place}: 0 < maintenance <= initial <= 1 must hold")
        if (end is None) != (place == len(rows)) or (end is not None and end <= below):
            raise ValueError("the slices must ascend, and only the last one ends nowhere (up_to null)")
        tiers.append(Tier(end, initial, maintenance))
        below = end or 0
    return tuple(tiers)
