"""Fees by volume: the tiers, and what each account has earned by trading. Part of accounts.models.

A tier belongs to a quote asset and holds for all markets with it. A rebate (a negative maker fee) is paid out of the
taker's fee: no maker fee of a tier may be below what the smallest taker fee that it meets in a market pays for.
"""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from accounts.models import Account
from marketdata import units
from marketdata.models import Asset, Market, MoneyField, RateField


def unpaid_rebate(maker: Decimal, taker: Decimal, where: str) -> str:
    """What is wrong with the smallest fees that meet in a market; empty if the taker's pays for the maker's rebate."""
    if -maker <= taker:
        return ""
    return (
        f"The rebate of {units.plain(-maker)} is more than the smallest taker fee pays for in {where},"
        f" {units.plain(taker)}."
    )


class FeeTier(models.Model):
    """What is paid from a volume of thirty days on. An account pays the lower of its tier's and the market's fee."""

    quote = models.ForeignKey(Asset, models.PROTECT, related_name="fee_tiers")
    min_volume = MoneyField(max_digits=60, help_text="Of thirty days, in the quote asset.")
    maker_fee = RateField(help_text="As a fraction; a negative one is a rebate.")
    taker_fee = RateField()

    class Meta:
        ordering = ["quote", "min_volume"]
        constraints = [
            models.UniqueConstraint(fields=["quote", "min_volume"], name="fee_tier_once_per_volume"),
            models.CheckConstraint(condition=Q(min_volume__gt=0), name="fee_tier_volume_positive"),
            models.CheckConstraint(
                condition=Q(taker_fee__gte=0, taker_fee__lt=1, maker_fee__gt=-1, maker_fee__lt=1),
                name="fee_tier_fees_are_fractions",
            ),
        ]

    def __str__(self):
        return f"{self.quote} from {units.plain(self.min_volume)}"

    def clean(self):
        errors = units.fraction_errors(self, maker_fee="above -1", taker_fee="at least 0")
        if self.min_volume is not None and Decimal(self.min_volume) <= 0:
            errors["min_volume"] = "Must be above 0: the market's own fees hold below the first tier."
        if errors:
            raise ValidationError(errors)
        if self.quote_id is None or self.maker_fee is None or self.taker_fee is None:
            return
        tiers = FeeTier.objects.filter(quote=self.quote).exclude(pk=self.pk).values_list("maker_fee", "taker_fee")
        maker, taker = map(min, zip((self.maker_fee, self.taker_fee), *tiers, strict=True))
        markets = Market.objects.filter(quote=self.quote).values_list("symbol", "maker_fee", "taker_fee")
        for where, market_maker, market_taker in [("any market", maker, taker), *markets]:
            if wrong := unpaid_rebate(min(maker, market_maker), min(taker, market_taker), where):
                raise ValidationError({"maker_fee": wrong})

    def save(self, *args, **kwargs):
        self.clean()
        super().save(*args, **kwargs)


class FeeRate(models.Model):
    """The tier that an account has in a quote asset until it is computed again. Written by exchange.fee_tiers only."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="fee_rates")
    quote = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    tier = models.ForeignKey(FeeTier, models.CASCADE, related_name="rates")
    volume = MoneyField(max_digits=60, help_text="Of the thirty days before.")
    computed_at = models.DateTimeField()

    class Meta:
        ordering = ["account", "quote"]
        constraints = [models.UniqueConstraint(fields=["account", "quote"], name="fee_rate_once_per_account_and_quote")]

    def __str__(self):
        return f"{self.account_id} {self.tier}"
