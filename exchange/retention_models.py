"""What is known of history that is no longer kept row by row: see exchange.retention."""

from django.db import models

from accounts.models import Account
from marketdata.models import Market, MoneyField


class BookCheckpoint(models.Model):
    """A market's book as the journal up to `sequence` makes it: what the order table said then of its open orders.

    Written when that journal was replayed and every trade was found to be the stored one; never changed. Only journal
    rows up to a checkpoint can be deleted, and a checkpoint only when a later one exists: the database sees to both.
    """

    pk = models.CompositePrimaryKey("market_id", "sequence")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    sequence = models.BigIntegerField()
    state_hash = models.CharField(max_length=32)
    last_price = MoneyField(null=True)
    last_trade_id = models.BigIntegerField(help_text="Of the market's trades up to then; 0 for none.")
    orders = models.JSONField(help_text="Rows of exchange_order: those that rest in queue order, then those that wait.")
    session = models.JSONField(null=True, help_text="Where the market stood in its session (exchange.phases.State).")
    due = models.JSONField(help_text="What was next for orders that wait: [order, kind, reason], in this order.")
    taken_at = models.DateTimeField()


class EventFloor(models.Model):
    """An account's events up to `until` are no longer kept."""

    account = models.OneToOneField(
        Account, models.PROTECT, primary_key=True, db_constraint=False, db_index=False, related_name="+"
    )
    until = models.BigIntegerField()


class CandleFloor(models.Model):
    """Stored candles of that length which open before `until` are no longer kept."""

    interval_seconds = models.IntegerField(primary_key=True)
    until = models.DateTimeField()
