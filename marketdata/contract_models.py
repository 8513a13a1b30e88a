"""What makes a market a margin market: the terms of its contract.

One row for each market of kind MARGIN, none for spot markets. A quantity of such a market counts contracts; one
contract stands for `contract_size` of the base asset, so a notional is price × quantity × contract_size.

Invariants: tick × lot × contract_size is whole in the quote asset's smallest unit, so that a notional never rounds;
the contract's size and settlement asset never change once anything was traded on them.
"""

from datetime import time
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q

from marketdata import calendar, contracts, hours, units
from marketdata.models import Asset, ExactField, Market, MoneyField, RateField

FRIDAY = 4


class Contract(models.Model):
    """A margin market's terms. Changed by operators; each change counts the market's version up."""

    class MarkSource(models.TextChoices):
        PROVIDER = "PROVIDER", "Provider's quotes"
        BOOK = "BOOK", "The market's own book"

    market = models.OneToOneField(Market, models.CASCADE, related_name="contract")
    settlement = models.ForeignKey(
        Asset, models.PROTECT, related_name="+", help_text="What margin, profit and loss are paid in."
    )
    contract_size = MoneyField(default=Decimal("1"), help_text="Units of the base asset in one contract.")
    max_leverage = models.PositiveSmallIntegerField(default=30, validators=[MinValueValidator(1)])
    tiers = models.JSONField(
        default=list,
        blank=True,
        help_text='Rates by slices of the notional in the settlement asset: [{"up_to": "1000000", "initial": "0.02", '
        '"maintenance": "0.01"}, …, {"up_to": null, …}]. Empty: 1/leverage, and half of 1/max_leverage.',
    )
    is_reduce_only = models.BooleanField(
        default=False, help_text="Takes only orders that reduce positions: new risk is stopped."
    )

    # Sessions
    hours_zone = models.CharField(max_length=40, default="UTC", help_text="Time zone of hours and holidays.")
    hours = models.JSONField(
        default=list, blank=True, help_text='Open spans of the week: [["SUN 17:00", "FRI 17:00"]]. Empty: always open.'
    )
    holidays = models.JSONField(default=list, blank=True, help_text='Closed dates: ["2026-12-25"].')

    # Mark price
    mark_source = models.CharField(max_length=8, choices=MarkSource, default=MarkSource.PROVIDER)
    mark_max_age_seconds = models.PositiveIntegerField(default=30, validators=[MinValueValidator(1)])
    mark_jump = RateField(
        default=Decimal("0.01"), help_text="A price that jumps further than this waits for the next one to confirm it."
    )
    liquidation_band = RateField(
        default=Decimal("0.05"), help_text="How far from the mark liquidation orders may trade, as a fraction."
    )

    # The house's quotes
    is_quoted = models.BooleanField(default=False, help_text="The house quotes this market from the mark's source.")
    quote_spread_ticks = models.PositiveIntegerField(default=2, validators=[MinValueValidator(1)])
    quote_size_lots = models.PositiveIntegerField(default=100, validators=[MinValueValidator(1)])
    exposure_limit_lots = models.PositiveIntegerField(
        default=100_000, help_text="The house stops quoting the side that would carry its position beyond this."
    )

    # Financing
    financing_long_rate = RateField(
        default=Decimal(0), help_text="A year, of the notional: what a holder pays for a long; negative: gets."
    )
    financing_short_rate = RateField(default=Decimal(0))
    financing_days = models.PositiveSmallIntegerField(default=365, help_text="Days of a year of interest: 360 or 365.")
    triple_day = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(6)],
        help_text="The weekday (0 is Monday) whose rollover counts three days.",
    )  # fmt: skip
    rollover_time = models.TimeField(default=time(17))
    rollover_zone = models.CharField(max_length=40, default="America/New_York")

    #: Written without a look at the terms: new risk can be stopped whatever they are.
    SWITCHES = frozenset({"is_reduce_only"})
    FIXED_FIELDS = ("settlement_id", "contract_size")

    class Meta:
        ordering = ["market__symbol"]
        constraints = [
            models.CheckConstraint(condition=Q(contract_size__gt=0), name="contract_size_positive"),
            models.CheckConstraint(condition=Q(max_leverage__gte=1), name="contract_leverage_at_least_1"),
            models.CheckConstraint(
                condition=Q(financing_days__gte=1) & Q(mark_jump__gt=0, mark_jump__lt=1)
                & Q(liquidation_band__gt=0, liquidation_band__lt=1),
                name="contract_figures_in_range",
            ),
        ]  # fmt: skip

    def __str__(self):
        return f"contract of {self.market}"

    @transaction.atomic
    def clean(self):
        ExactField.read_all(self)
        self._hold_market()
        errors = {**self._term_errors(), **self._fixed_errors()}
        if errors:
            raise ValidationError(errors)

    def _term_errors(self) -> dict[str, str]:
        """What is wrong with the terms, by field."""
        errors = {}
        market = self.market
        if market.kind != Market.Kind.MARGIN:
            errors["market"] = "Only a market of kind MARGIN has a contract."
        errors |= units.fraction_errors(self, mark_jump="above 0", liquidation_band="above 0")
        for name in ("contract_size", "financing_days"):
            if not Decimal(getattr(self, name)) > 0:
                errors[name] = "Must be above 0."
        if self.triple_day is not None and self.triple_day > FRIDAY:
            errors["triple_day"] = "Must be 0 (Monday) to 4 (Friday): with a triple day weekends have no rollover."
        step = market.tick_size * market.lot_size * Decimal(self.contract_size)
        try:
            units.to_units(step, market.quote.decimals)
        except units.NotWhole:
            errors["contract_size"] = f"tick × lot × size = {units.plain(step)} must be whole in {market.quote}."
        for name in ("hours_zone", "rollover_zone"):
            if getattr(self, name) not in calendar.time_zones():
                errors[name] = "Not a time zone, such as Europe/London."
        if self.is_quoted:
            errors |= self._quote_errors()
        checks = {
            "tiers": lambda: contracts.read_tiers(self.tiers, self.max_leverage),
            "hours": lambda: hours.Schedule.of(ZoneInfo("UTC"), self.hours, []),
            "holidays": lambda: hours.Schedule.of(ZoneInfo("UTC"), [], self.holidays),
        }
        for name, check in checks.items():
            if getattr(self, name) is None:
                errors[name] = "Cannot be read: null is no list."
                continue
            try:
                check()
            except (ValueError, TypeError, ArithmeticError) as error:
                errors[name] = f"Cannot be read: {error}."
        return errors

    def _quote_errors(self) -> dict[str, str]:
        """Sizes with which the house's quotes would all be refused, or never be made, by field."""
        lot, least = self.market.lot_size, self.market.min_quantity or self.market.lot_size
        shown = units.plain(least)
        if self.quote_size_lots * lot < least:
            return {"quote_size_lots": f"The house would quote less than the market's minimum quantity, {shown}."}
        if self.quote_size_lots * lot > self.market.max_quantity:
            shown = units.plain(self.market.max_quantity)
            return {"quote_size_lots": f"The house would quote more than the market's maximum quantity, {shown}."}
        if self.exposure_limit_lots * lot < least:
            return {"exposure_limit_lots": f"The house could not even hold the market's minimum quantity, {shown}."}
        return {}

    def _fixed_errors(self) -> dict[str, str]:
        before = Contract.objects.filter(pk=self.pk).first() if self.pk else None
        if before is None or not self.market.sequence:
            return {}
        return {
            name.removesuffix("_id"): "Cannot change once orders have rested here; make a new market."
            for name in self.FIXED_FIELDS
            if getattr(before, name) != getattr(self, name)
        }

    def _hold_market(self) -> None:
        """The market's row is locked before the contract's, as by who edits a contract, and read anew: what its own
        page has made of it meanwhile counts.
        """
        rows = Market.objects.select_related("base", "quote").select_for_update(no_key=True, of=("self",))
        self.market = rows.get(pk=self.market_id)

    @transaction.atomic
    def save(self, *args, **kwargs):
        """Validates, and tells the processes by the market's version."""
        if self.SWITCHES.issuperset(kwargs.get("update_fields") or ("all",)):
            self._hold_market()
        else:
            self.clean()
        super().save(*args, **kwargs)
        self.market.save(update_fields=["version"])


#: By which field of an edited market its contract's errors are told.
TOLD_BY = {"contract_size": "tick_size", "market": "kind"}


def errors_of(market: Market) -> dict[str, str]:
    """What is wrong with an edited market for the contract that it has, by the market's field."""
    contract = Contract.objects.filter(market=market.pk).first() if market.pk else None
    if contract is None:
        return {}
    contract.market = market
    return {TOLD_BY[name]: error for name, error in contract._term_errors().items() if name in TOLD_BY}
