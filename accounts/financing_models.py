"""Financing of positions held over a rollover, and closed positions that were put away.

Invariants: a market's rollover is priced once, and each holder is charged for it once (UNIQUE), however often and by
how many processes it is posted. A position is in exactly one of the two tables of positions, under the same id.
"""

from django.db import models
from django.db.models import Q

from accounts.models import Account
from marketdata import units
from marketdata.models import Asset, Market, MoneyField, RateField


class Rollover(models.Model):
    """One market's rollover of one day: the price and the rates at which all holders are charged."""

    market = models.ForeignKey(Market, models.PROTECT, related_name="+")
    day = models.DateField(help_text="The local date of the rollover.")
    at = models.DateTimeField(help_text="Who held a position then is charged.")
    days = models.PositiveSmallIntegerField(help_text="Of interest: 1, or 3 where the weekend is counted.")
    price = MoneyField(help_text="The mark price when it was first posted.")
    conversion = MoneyField(max_digits=60, decimal_places=30, help_text="Settlement asset for one unit of quote, then.")
    long_rate = RateField()
    short_rate = RateField()
    posted_at = models.DateTimeField(null=True, help_text="When the last holder was charged; empty: still to do.")

    class Meta:
        ordering = ["-at", "market__symbol"]
        constraints = [
            models.UniqueConstraint(fields=["market", "day"], name="rollover_once_per_market_and_day"),
            models.CheckConstraint(
                condition=Q(days__gte=1) & Q(price__gt=0, conversion__gt=0), name="rollover_figures"
            ),
        ]

    def __str__(self):
        return f"{self.market} {self.day}"


class FinancingCharge(models.Model):
    """What a holder paid (below zero: got) at a rollover. Never changed."""

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="financing")
    rollover = models.ForeignKey(Rollover, models.PROTECT, related_name="charges")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quantity = MoneyField(help_text="Held at the rollover: contracts, below zero for a short.")
    amount = MoneyField(help_text="In the settlement asset.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "rollover"], name="financing_once_per_account_and_rollover")
        ]
        indexes = [models.Index(fields=["account", "id"], name="financing_of_account")]

    def __str__(self):
        return f"{self.account_id} paid {units.plain(self.amount)}"


class ArchivedPosition(models.Model):
    """A closed position that was put away, with all it earned; see `accounts.position_archive`."""

    id = models.BigIntegerField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    realized_quote = MoneyField(max_digits=60)
    realized = MoneyField(max_digits=60)
    fees = MoneyField(max_digits=60)
    financing = MoneyField(max_digits=60)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField()
    archived_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "id"], name="archived_position_of_account")]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.realized)}"
