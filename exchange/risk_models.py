"""What the risk monitor did: margin calls and liquidations, for users, operators and the audit.

An account has at most one open margin call for each settlement asset; a liquidation is one go at closing what is
needed, from its first order to its end.
"""

from django.db import models
from django.db.models import Q

from accounts.models import Account
from marketdata import units
from marketdata.models import Asset, MoneyField


class MarginCall(models.Model):
    """An account's equity fell to the call level of its used margin; cleared when it is above again."""

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, related_name="margin_calls")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    equity = MoneyField()
    used = MoneyField()
    called_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "asset"], condition=Q(cleared_at__isnull=True), name="margin_call_one_open"
            )
        ]

    def __str__(self):
        return f"{self.account_id} at {units.plain(self.equity)} of {units.plain(self.used)}"


class Liquidation(models.Model):
    """Positions of an account closed by the venue because its equity had fallen to the stop-out level."""

    class Outcome(models.TextChoices):
        UNDER_WAY = "UNDER_WAY", "Under way"
        RESTORED = "RESTORED", "Restored by closing a part"
        CLOSED = "CLOSED", "Everything closed"
        UNFILLED = "UNFILLED", "Not enough to trade with"

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, related_name="liquidations")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    outcome = models.CharField(max_length=9, choices=Outcome, default=Outcome.UNDER_WAY)
    equity_before = MoneyField()
    used_before = MoneyField()
    equity_after = MoneyField(null=True)
    used_after = MoneyField(null=True)
    orders_cancelled = models.PositiveIntegerField(default=0)
    orders_placed = models.PositiveIntegerField(default=0)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return f"liquidation {self.pk} of {self.account_id}"


class RiskStop(models.Model):
    """The insurance fund could not cover a loss: from then on the markets of that asset took only reducing orders.

    An operator takes them up again by editing their contracts; only a shortfall after this one stops them once more.
    """

    asset = models.ForeignKey(Asset, models.PROTECT, db_index=False, related_name="+")
    uncovered = MoneyField(help_text="What nobody has paid, of the shortfalls since the last stop.")
    last_shortfall_id = models.BigIntegerField()
    symbols = models.CharField(max_length=1000, blank=True, help_text="The markets that were stopped.")
    stopped_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return f"{self.asset}: {units.plain(self.uncovered)} uncovered"
