"""The tables that the usual way needs: markets, balances, orders, trades."""

from django.conf import settings
from django.db import models


class Market(models.Model):
    symbol = models.CharField(max_length=24, unique=True)
    base = models.CharField(max_length=8)
    quote = models.CharField(max_length=8)


class Balance(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    asset = models.CharField(max_length=8)
    available = models.DecimalField(max_digits=38, decimal_places=18, default=0)
    reserved = models.DecimalField(max_digits=38, decimal_places=18, default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "asset"], name="baseline_one_balance")]


class Order(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    market = models.ForeignKey(Market, models.PROTECT)
    side = models.CharField(max_length=4, choices=[("BUY", "buy"), ("SELL", "sell")])
    price = models.DecimalField(max_digits=38, decimal_places=18)
    quantity = models.DecimalField(max_digits=38, decimal_places=18)
    filled_quantity = models.DecimalField(max_digits=38, decimal_places=18, default=0)
    status = models.CharField(max_length=16, default="OPEN")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["market", "side", "status", "price", "created_at"], name="baseline_book")]

    @property
    def remaining(self):
        return self.quantity - self.filled_quantity


class Trade(models.Model):
    market = models.ForeignKey(Market, models.PROTECT)
    maker = models.ForeignKey(Order, models.PROTECT, related_name="+")
    taker = models.ForeignKey(Order, models.PROTECT, related_name="+")
    price = models.DecimalField(max_digits=38, decimal_places=18)
    quantity = models.DecimalField(max_digits=38, decimal_places=18)
    created_at = models.DateTimeField(auto_now_add=True)
