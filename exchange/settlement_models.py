"""Trades that settle later than they happen. Part of exchange.models.

Invariant: as long as `settled_at` is empty the buyer holds `notional` and `buyer_fee` of the quote asset in reserve for
it, the seller `quantity` of the base asset. Only `exchange.deferred` writes here; trades themselves never change.
"""

from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from marketdata.models import Market, MoneyField


class Settlement(models.Model):
    """Delivery against payment of one trade of a market that does not settle at once."""

    trade = models.OneToOneField(
        "exchange.Trade", models.PROTECT, primary_key=True, db_constraint=False, related_name="settlement"
    )
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    buyer = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    seller = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quantity = MoneyField(help_text="In the base asset: what the seller delivers.")
    notional = MoneyField(help_text="In the quote asset.")
    buyer_fee = MoneyField()
    seller_fee = MoneyField()
    due_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True, default="", help_text="Why it could not be settled when due.")

    class Meta:
        ordering = ["-trade_id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0, notional__gt=0), name="settlement_of_something"),
            models.CheckConstraint(condition=~Q(buyer=F("seller")), name="settlement_between_two"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(settled_at__isnull=True), name="settlement_due"),
            models.Index(fields=["buyer"], condition=Q(settled_at__isnull=True), name="settlement_of_buyer"),
            models.Index(fields=["seller"], condition=Q(settled_at__isnull=True), name="settlement_of_seller"),
        ]

    def __str__(self):
        return f"settlement of trade {self.trade_id}"
