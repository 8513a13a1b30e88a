"""The tables of prices: what a market traded by interval, and what is known from outside. Part of marketdata.models."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from marketdata import units
from marketdata.models import Market, MoneyField, RateField


class Candle(models.Model):
    """What a market traded in one stored interval: a fold of its trades, written in their own transaction.

    Only four lengths are stored; marketdata.candles makes the other intervals from them. Open and close are the
    prices of the trades with the lowest and the highest id, never of the earliest and latest time: clocks jump.
    """

    pk = models.CompositePrimaryKey("market_id", "interval_seconds", "open_time")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    interval_seconds = models.IntegerField(help_text="1, 60, 3600 or 86400.")
    open_time = models.DateTimeField(help_text="When the interval begins, UTC.")
    open = MoneyField()
    high = MoneyField()
    low = MoneyField()
    close = MoneyField()
    # Sums over a day of turnover: wider than any balance, so that a busy market can never refuse a trade.
    volume = MoneyField(max_digits=60, help_text="In the base asset.")
    quote_volume = MoneyField(max_digits=60, help_text="In the quote asset.")
    trades = models.BigIntegerField()
    first_trade_id = models.BigIntegerField()
    last_trade_id = models.BigIntegerField()

    def __str__(self):
        return f"{self.interval_seconds} s of market {self.market_id} from {self.open_time}"


class PriceSource(models.Model):
    """Where a market's outside price comes from. Changed by operators; the feed notices within seconds."""

    class Provider(models.TextChoices):
        SYNTHETIC = "SYNTHETIC", "Synthetic"
        TWELVE_DATA = "TWELVE_DATA", "Twelve Data"
        ALLTICK = "ALLTICK", "AllTick"
        YFINANCE = "YFINANCE", "yfinance"

    market = models.OneToOneField(Market, models.CASCADE, related_name="price_source")
    provider = models.CharField(max_length=16, choices=Provider, default=Provider.SYNTHETIC)
    provider_symbol = models.CharField(
        max_length=64,
        help_text="The provider's own name: AAPL, EUR/USD, BTCUSDT, AAPL.US; synthetic: NAME@anchor price.",
    )
    spread = RateField(
        default=Decimal("0.0005"),
        help_text="Least distance of bid and ask as a fraction of their middle; narrower prices are widened to it.",
    )
    band = RateField(
        default=Decimal("0.1"), help_text="Largest believable step from one price to the next, as a fraction."
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["market__symbol"]
        constraints = [
            models.CheckConstraint(condition=Q(spread__gte=0, spread__lt=1), name="price_source_spread_is_a_fraction"),
            models.CheckConstraint(condition=Q(band__gt=0, band__lt=1), name="price_source_band_is_a_fraction"),
            models.CheckConstraint(condition=~Q(provider_symbol=""), name="price_source_has_a_symbol"),
        ]

    def clean(self):
        if errors := units.fraction_errors(self, spread="at least 0", band="above 0"):
            raise ValidationError(errors)

    def __str__(self):
        return f"{self.market}: {self.provider_symbol} at {self.get_provider_display()}"


class Quote(models.Model):
    """The newest believable outside price of a market. Written by `marketdata.quotes` only, never back in time.

    `is_stale` is what the feed last noted; a reader compares `stale_at` with the clock, as a feed that died notes
    nothing.
    """

    market = models.OneToOneField(Market, models.CASCADE, primary_key=True, related_name="quoted")
    bid = MoneyField()
    ask = MoneyField()
    mid = MoneyField()
    quoted_at = models.DateTimeField(help_text="The provider's time.")
    received_at = models.DateTimeField()
    stale_at = models.DateTimeField()
    provider = models.CharField(max_length=16)
    is_stale = models.BooleanField(default=False)

    class Meta:
        ordering = ["market__symbol"]
        constraints = [
            models.CheckConstraint(condition=Q(bid__gt=0, ask__gte=F("bid")), name="quote_bid_and_ask_in_order"),
        ]

    def __str__(self):
        return f"{self.market}: {units.plain(self.bid)} / {units.plain(self.ask)}"


class ExternalCandle(models.Model):
    """One bar of imported history: not traded here. Volume is 0 where the source tells none."""

    market = models.ForeignKey(Market, models.CASCADE, related_name="external_candles")
    source = models.CharField(max_length=32)
    interval = models.CharField(max_length=3)
    open_time = models.DateTimeField()
    open = MoneyField()
    high = MoneyField()
    low = MoneyField()
    close = MoneyField()
    volume = MoneyField(default=Decimal("0"))

    class Meta:
        ordering = ["market", "source", "interval", "open_time"]
        constraints = [
            models.UniqueConstraint(
                fields=["market", "interval", "source", "open_time"], name="external_candle_is_unique"
            ),
            models.CheckConstraint(
                condition=Q(low__gt=0, low__lte=F("open"), high__gte=F("open"))
                & Q(low__lte=F("close"), high__gte=F("close"), volume__gte=0),
                name="external_candle_is_plausible",
            ),
        ]

    def __str__(self):
        return f"{self.market} {self.interval} {self.open_time:%Y-%m-%d %H:%M} ({self.source})"
