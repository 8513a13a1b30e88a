"""What is traded: assets, and markets with their filters.

Invariants: a market's lot is whole in the base asset's smallest unit, and tick × lot is whole in the quote asset's,
so that a notional never rounds. Asset decimals, and a market's assets, tick and lot, never change once anything
rests or was traded on them.
"""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import F, Q

from marketdata import units


class ExactField(models.DecimalField):
    """A decimal that reads a float as it is written: 0.1, not the binary fraction next to it."""

    def to_python(self, value):
        # numpy's floats are floats too, but do not write themselves as these do.
        return super().to_python(float.__repr__(value) if isinstance(value, float) else value)

    @classmethod
    def read_all(cls, row: models.Model) -> None:
        """What somebody has assigned as text or as a float becomes a decimal, before anything is computed of it."""
        for field in row._meta.concrete_fields:
            if isinstance(field, cls):
                setattr(row, field.attname, field.to_python(getattr(row, field.attname)))


class MoneyField(ExactField):
    """NUMERIC(38,18): twenty digits before the point, eighteen after."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 38)
        kwargs.setdefault("decimal_places", 18)
        super().__init__(*args, **kwargs)


class RateField(ExactField):
    """A fraction with eight decimals: 0.001 is 0.1 %."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 10)
        kwargs.setdefault("decimal_places", 8)
        super().__init__(*args, **kwargs)


class WrittenJSONField(models.JSONField):
    """JSON that is written often and searched never: kept as the text that came, at half the cost of a parsed form."""

    def db_type(self, connection):
        return "json"

    def from_db_value(self, value, expression, connection):
        # psycopg2 has parsed it already.
        return value


class Asset(models.Model):
    """Something that can be owned: a currency, a coin, a share."""

    class Kind(models.TextChoices):
        FIAT = "FIAT"
        CRYPTO = "CRYPTO"
        STOCK = "STOCK"
        METAL = "METAL"

    symbol = models.CharField(max_length=16, unique=True, validators=[RegexValidator(r"^[A-Z0-9]{1,16}$")])
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.CRYPTO)
    decimals = models.PositiveSmallIntegerField(
        default=8, validators=[MaxValueValidator(18)], help_text="The smallest unit is 10^-decimals. Fixed once made."
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["symbol"]
        constraints = [models.CheckConstraint(condition=Q(decimals__lte=18), name="asset_decimals_at_most_18")]

    def __str__(self):
        return self.symbol

    def clean(self):
        before = Asset.objects.filter(pk=self.pk).values_list("decimals", flat=True).first()
        if before is not None and before != self.decimals:
            raise ValidationError({"decimals": "The smallest unit of an asset cannot change; make a new asset."})


class Market(models.Model):
    """A pair that trades, its filters, and the head of its book: `sequence` counts the commands that changed it.

    The row is the market's lock: who holds it `FOR NO KEY UPDATE` is the only one that matches there. `version`
    grows with each change by an operator, so that processes notice new filters.
    """

    class Kind(models.TextChoices):
        SPOT = "SPOT"
        MARGIN = "MARGIN"

    class Status(models.TextChoices):
        OPEN = "OPEN"
        CANCEL_ONLY = "CANCEL_ONLY"
        HALTED = "HALTED"
        CLOSED = "CLOSED"

    class Trigger(models.TextChoices):
        LAST = "LAST", "Last price"
        MARK = "MARK", "Mark price"

    symbol = models.CharField(max_length=24, unique=True, validators=[RegexValidator(r"^[A-Z0-9][A-Z0-9_.-]{0,23}$")])
    base = models.ForeignKey(Asset, models.PROTECT, related_name="markets_as_base")
    quote = models.ForeignKey(Asset, models.PROTECT, related_name="markets_as_quote")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.SPOT)
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN)
    is_active = models.BooleanField(default=True, help_text="Inactive markets are not listed and take no orders.")

    tick_size = MoneyField(default=Decimal("0.01"))
    lot_size = MoneyField(default=Decimal("1"))
    min_quantity = MoneyField(null=True, blank=True, help_text="Empty: one lot.")
    max_quantity = MoneyField(default=Decimal("1000000000"))
    min_notional = MoneyField(default=Decimal("0"), validators=[MinValueValidator(0)])
    price_band = RateField(
        default=Decimal("0.1"), null=True, blank=True, help_text="Allowed distance from the last price; empty: no band."
    )
    maker_fee = RateField(default=Decimal("0.001"))
    taker_fee = RateField(default=Decimal("0.001"))
    max_open_orders = models.PositiveIntegerField(default=10_000, help_text="Per account.")
    reference_price = MoneyField(null=True, blank=True, help_text="Stands for the last price until the first trade.")

    # Sessions, safety nets, settlement: see marketdata.rules.
    calendar = models.ForeignKey(
        "TradingCalendar",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="markets",
        help_text="Empty: it never closes.",
    )
    trigger_by = models.CharField(
        max_length=4, choices=Trigger, default=Trigger.LAST, help_text="The price that triggers stop orders."
    )
    max_notional = MoneyField(null=True, blank=True, help_text="Of one order, against typing errors; empty: no limit.")
    max_order_ratio = models.PositiveIntegerField(
        null=True, blank=True, help_text="Orders and amendments per trade of an account and day; empty: no limit."
    )
    volatility_band = RateField(
        null=True, blank=True, help_text="A trade further from the last price starts an auction instead; empty: never."
    )
    auction_seconds = models.PositiveIntegerField(default=120, help_text="Length of such an auction.")
    max_interruptions = models.PositiveIntegerField(
        null=True, blank=True, help_text="That many such auctions in a day halt the market; empty: never."
    )
    settlement_days = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(10)], help_text="Trades settle that many business days later."
    )

    scheduled_status = models.CharField(
        max_length=12, default="", blank=True, editable=False, help_text="The status, if a schedule gave it."
    )
    status_reason = models.CharField(
        max_length=200, default="", blank=True, editable=False, help_text="Why, if a rule of the venue gave the status."
    )
    session = models.JSONField(
        null=True, editable=False, help_text="The phase as the market journal last had it; empty: continuous."
    )
    version = models.BigIntegerField(default=1, editable=False)
    sequence = models.BigIntegerField(default=0, editable=False)
    last_price = MoneyField(null=True, editable=False)
    last_price_updated_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    #: Written by the matcher only; an operator's save must never overwrite them.
    LIVE_FIELDS = frozenset({"sequence", "session", "last_price", "last_price_updated_at"})
    #: Written without a look at the filters: a market can be halted whatever its figures are.
    SWITCHES = frozenset({"status", "scheduled_status", "status_reason", "version"})
    FIXED_FIELDS = ("base_id", "quote_id", "kind", "tick_size", "lot_size")
    #: What the rooms above know to be wrong with a market, by field; they add theirs (their market_rules).
    RULES_ABOVE = []

    class Meta:
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(condition=Q(tick_size__gt=0), name="market_tick_size_positive"),
            models.CheckConstraint(condition=Q(lot_size__gt=0), name="market_lot_size_positive"),
            models.CheckConstraint(condition=~Q(base=F("quote")), name="market_assets_differ"),
            models.CheckConstraint(
                condition=Q(maker_fee__gt=-1, maker_fee__lt=1), name="market_maker_fee_is_a_fraction"
            ),
            models.CheckConstraint(
                condition=Q(taker_fee__gte=-F("maker_fee")), name="market_rebate_is_paid_by_the_taker"
            ),
            models.CheckConstraint(
                condition=Q(taker_fee__gte=0, taker_fee__lt=1), name="market_taker_fee_is_a_fraction"
            ),
            models.CheckConstraint(
                condition=Q(price_band__isnull=True) | Q(price_band__gt=0, price_band__lt=1),
                name="market_price_band_is_a_fraction",
            ),
        ]

    def __str__(self):
        return self.symbol

    @transaction.atomic
    def clean(self):
        ExactField.read_all(self)
        if self.calendar_id:  # before the market, as by who edits the calendar, whose markets must not change meanwhile
            TradingCalendar.objects.select_for_update(no_key=True).filter(pk=self.calendar_id).first()
        fixed = self._fixed_errors()  # first: it holds a market that may still change, and its contract with it
        errors = {field: text for rule in self.RULES_ABOVE for field, text in rule(self).items()}
        if errors := errors | (self._filter_errors() or errors_of(self)) | fixed:
            raise ValidationError(errors)

    def _filter_errors(self) -> dict[str, str]:
        """What is wrong with the filters, by field: the database cannot see the assets' decimals."""
        for name in ("tick_size", "lot_size"):
            if not (getattr(self, name) or 0) > 0:
                return {name: f"The {name.replace('_', ' ')} must be positive."}
        errors = {}
        if not units.is_whole(self.lot_size, self.base.decimals):
            errors["lot_size"] = f"A lot must be whole in {self.base}'s smallest unit (10^-{self.base.decimals})."
        if not units.is_whole(self.tick_size * self.lot_size, self.quote.decimals):
            errors["tick_size"] = (
                f"tick × lot = {units.plain(self.tick_size * self.lot_size)} is finer than {self.quote}'s smallest unit"
                f" (10^-{self.quote.decimals}): a notional would have to be rounded."
            )
        for name in ("min_quantity", "max_quantity"):
            value = getattr(self, name)
            if value is not None and (value <= 0 or units.divmod_exact(Decimal(value), self.lot_size)[1]):
                errors[name] = "Must be a positive multiple of the lot size."
        if self.min_quantity and self.max_quantity and self.min_quantity > self.max_quantity:
            errors["max_quantity"] = "Must not be below the minimum quantity."
        for name in ("min_notional", "max_notional"):
            value = getattr(self, name)
            if value is not None and not units.is_whole(value, self.quote.decimals):
                errors[name] = f"Must be whole in {self.quote}'s smallest unit."
        if self.max_notional is not None and Decimal(self.max_notional) < Decimal(self.min_notional or 0):
            errors["max_notional"] = "Must not be below the minimum notional."
        for name in (
            "max_notional", "max_open_orders", "reference_price", "max_order_ratio", "max_interruptions",
            "auction_seconds",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and Decimal(value) <= 0:
                errors[name] = "Must be above 0."
        if self.calendar_id and not self.calendar.hours.exists():
            errors["calendar"] = f"{self.calendar} has no trading hours: the market would never open."
        if self.base_id == self.quote_id:
            errors["quote"] = "Must be another asset than the base."
        errors |= units.fraction_errors(self, price_band="above 0", volatility_band="above 0")
        errors |= units.fraction_errors(self, maker_fee="above -1", taker_fee="at least 0")
        if self.settlement_days and self.kind != self.Kind.SPOT:
            errors["settlement_days"] = "A position changes at once: only a spot market settles later."
        if self.trigger_by == self.Trigger.MARK and self.kind != self.Kind.MARGIN:
            errors["trigger_by"] = "Only a margin market has a mark price: no stop would ever be triggered."
        if Decimal(self.maker_fee) < -Decimal(self.taker_fee):
            errors["maker_fee"] = "A rebate to the maker cannot be more than the taker's fee, which pays it."
        return errors

    def _fixed_errors(self) -> dict[str, str]:
        """Stored prices and quantities are multiples of tick and lot: what stands in a book must keep its meaning."""
        before = Market.objects.filter(pk=self.pk).first() if self.pk and self.has_history() else None
        if before is None:
            return {}
        return {
            name.removesuffix("_id"): "Cannot change once orders have rested here; make a new market."
            for name in self.FIXED_FIELDS
            if getattr(before, name) != getattr(self, name)
        }

    @transaction.atomic
    def has_history(self) -> bool:
        """Whether orders have rested here. If none have, none come before the running transaction ends."""
        rows = Market.objects.select_for_update(no_key=True)
        return not rows.filter(pk=self.pk, sequence=0).exists()

    @transaction.atomic
    def save(self, *args, **kwargs):
        """Validates, counts the version up, and leaves the live fields to the matcher."""
        if not self.SWITCHES.issuperset(kwargs.get("update_fields") or ("all",)):
            self.clean()
        if self._state.adding:
            return super().save(*args, **kwargs)
        names = kwargs.pop("update_fields", None) or [field.attname for field in self._meta.concrete_fields]
        if "status" in names and "scheduled_status" not in names:
            self.scheduled_status = self.status_reason = ""
            names = [*names, "scheduled_status", "status_reason"]
        kwargs["update_fields"] = (set(names) | {"version"}) - self.LIVE_FIELDS - {"id"}
        self.version = F("version") + 1
        super().save(*args, **kwargs)
        self.refresh_from_db(fields=["version"])


# Models of their own files, found by Django here.
from marketdata.contract_models import Contract, errors_of  # noqa: E402
from marketdata.mark_models import Mark  # noqa: E402
from marketdata.price_models import Candle, ExternalCandle, PriceSource, Quote  # noqa: E402
from marketdata.session_models import Holiday, TradingCalendar, TradingHours  # noqa: E402

__all__ = [
    "Asset", "Candle", "Contract", "ExactField", "ExternalCandle", "Holiday", "Mark", "Market", "MoneyField",
    "PriceSource", "Quote", "RateField", "TradingCalendar", "TradingHours", "WrittenJSONField",
]  # fmt: skip
