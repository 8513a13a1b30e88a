"""The table of mark prices: one row a market, written by `marketdata.marks` only."""

from django.db import models
from django.db.models import F, Q

from marketdata import units
from marketdata.models import Market, MoneyField


class Mark(models.Model):
    """The price that positions of a market are valued at, with the bid and ask it was made of. Never back in time."""

    market = models.OneToOneField(Market, models.CASCADE, primary_key=True, related_name="marked")
    price = MoneyField()
    bid = MoneyField()
    ask = MoneyField()
    marked_at = models.DateTimeField(help_text="When the print was made that gave the price.")
    stale_at = models.DateTimeField(help_text="From then on nothing is decided by this price.")

    class Meta:
        ordering = ["market__symbol"]
        constraints = [
            models.CheckConstraint(condition=Q(price__gt=0), name="mark_price_positive"),
            models.CheckConstraint(condition=Q(bid__gt=0, ask__gte=F("bid")), name="mark_bid_and_ask_in_order"),
        ]

    def __str__(self):
        return f"{self.market}: {units.plain(self.price)}"
