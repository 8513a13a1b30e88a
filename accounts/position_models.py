"""Margin positions, users' leverage, and losses that an account could not pay.

Invariants (held by the audit): an account's open position in a market = the sum of its fills there; the open
positions of a market sum to zero; what an account's balance has reserved is what its positions, open orders and
withdrawals say.
"""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.models import Account
from marketdata import units
from marketdata.models import Asset, Market, MoneyField


class Position(models.Model):
    """A net position: at most one open per account and market; closed ones stay as history.

    Only the matcher writes here (see accounts.positions), in the transaction that settles the fills.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="positions")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="positions")
    quantity = MoneyField(help_text="Contracts; below zero for a short.")
    cost = MoneyField(max_digits=60, help_text="Signed: what the open part was opened for, in the quote asset.")
    margin = MoneyField(help_text="Initial margin as it was opened, in the settlement asset.")
    reserved = MoneyField(help_text="How much of that the account's balance has reserved: less after a loss took it.")
    realized_quote = MoneyField(max_digits=60, default=0, help_text="Profit so far before fees, in the quote asset.")
    realized = MoneyField(max_digits=60, default=0, help_text="The same as paid, in the settlement asset.")
    fees = MoneyField(max_digits=60, default=0, help_text="Paid so far, in the settlement asset.")
    financing = MoneyField(max_digits=60, default=0, help_text="Paid so far (below zero: got), settlement asset.")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "market"], condition=Q(closed_at__isnull=True), name="position_one_open"
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) & ~Q(quantity=0)
                | Q(closed_at__isnull=False, quantity=0, cost=0, margin=0, reserved=0),
                name="position_open_or_flat",
            ),
            models.CheckConstraint(
                condition=Q(reserved__gte=0, margin__gte=models.F("reserved")), name="position_margin_in_order"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "id"], name="position_of_account"),
            models.Index(fields=["market"], condition=Q(closed_at__isnull=True), name="position_open_in_market"),
        ]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.quantity)} of market {self.market_id}"


class MarginSetting(models.Model):
    """The leverage that an account has chosen for a market; the contract's maximum where there is none."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    market = models.ForeignKey(Market, models.PROTECT, related_name="+")
    leverage = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "market"], name="margin_setting_once")]

    def __str__(self):
        return f"{self.account_id} {self.leverage}:1"


class Shortfall(models.Model):
    """A loss that was more than the account had: who paid the rest. Never changed.

    `covered` came from the insurance fund. `uncovered` nobody has paid: the market's clearing account carries it.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, related_name="+")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    trade_id = models.BigIntegerField(null=True, help_text="Empty: it was financing.")
    amount = MoneyField()
    covered = MoneyField()
    uncovered = MoneyField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount=models.F("covered") + models.F("uncovered"), covered__gte=0, uncovered__gte=0),
                name="shortfall_adds_up",
            )
        ]

    def __str__(self):
        return f"{self.account_id} was short of {units.plain(self.amount)}"
