"""Who trades with whom: orders, trades, fills, and the market journal from which every book can be rebuilt.

Invariants: filled + remaining = quantity (remaining is computed, filled is CHECKed); a client_order_id is unique
per account for all time; trades and fills are never changed; the journal of a market has no gap. The foreign keys
of these tables carry no database constraint (see accounts.models).
"""

from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from marketdata import units
from marketdata.models import Market, MoneyField, RateField, WrittenJSONField


class Side(models.TextChoices):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(models.TextChoices):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP_LOSS = "STOP_LOSS"
    STOP_LIMIT = "STOP_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"


class TimeInForce(models.TextChoices):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    DAY = "DAY"
    GTD = "GTD"
    AUC = "AUC", "Auction only"


class ListKind(models.TextChoices):
    OCO = "OCO"
    BRACKET = "BRACKET"


class ListRole(models.TextChoices):
    """What an order is in its list."""

    ENTRY = "ENTRY"
    TAKE_PROFIT = "TAKE_PROFIT"
    STOP_LOSS = "STOP_LOSS"


class SelfTradePrevention(models.TextChoices):
    EXPIRE_TAKER = "EXPIRE_TAKER"
    EXPIRE_MAKER = "EXPIRE_MAKER"
    EXPIRE_BOTH = "EXPIRE_BOTH"


class Order(models.Model):
    """An instruction with side, type, limit price and quantity.

    `reserved` is what it still holds: quote for a buy, base for a sell, on margin markets what the contract settles in.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING"
        OPEN = "OPEN"
        PARTIALLY_FILLED = "PARTIALLY_FILLED"
        FILLED = "FILLED"
        CANCELLED = "CANCELLED"
        REJECTED = "REJECTED"
        EXPIRED = "EXPIRED"

    ACTIVE = (Status.OPEN, Status.PARTIALLY_FILLED)
    #: All that have not ended: what holds funds, and what a cancellation finds.
    LIVE = (Status.PENDING, *ACTIVE)

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="orders")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="orders")
    client_order_id = models.CharField(max_length=64, null=True, blank=True)
    fingerprint = models.CharField(
        max_length=32, null=True, editable=False, help_text="Of the placing body, to tell a replay from a reuse."
    )
    side = models.CharField(max_length=4, choices=Side)
    type = models.CharField(max_length=20, choices=OrderType)
    time_in_force = models.CharField(max_length=3, choices=TimeInForce)
    post_only = models.BooleanField(default=False)
    self_trade_prevention = models.CharField(max_length=12, choices=SelfTradePrevention)
    price = MoneyField(null=True)
    stop_price = MoneyField(null=True, help_text="Where it is triggered; a trailing stop's moves.")
    trail_amount = MoneyField(null=True)
    trail_percent = RateField(null=True)
    triggered_at = models.DateTimeField(null=True)
    displayed_quantity = MoneyField(null=True, help_text="What an iceberg order shows at a time.")
    visible_quantity = MoneyField(null=True, help_text="What it shows now, in the queue.")
    expires_at = models.DateTimeField(null=True)
    list_id = models.BigIntegerField(null=True, help_text="The first order of the list that it belongs to.")
    list_kind = models.CharField(max_length=8, choices=ListKind, null=True)
    list_role = models.CharField(max_length=12, choices=ListRole, null=True)
    waits_for_id = models.BigIntegerField(null=True, help_text="The order whose fill brings it to life.")
    quantity = MoneyField()
    quote_quantity = MoneyField(
        null=True, help_text="The budget of a market order by amount; its quantity is what that bought."
    )
    filled_quantity = MoneyField(default=0)
    filled_notional = MoneyField(default=0)
    fee = MoneyField(default=0, help_text="Paid so far, in the quote asset.")
    reserved = MoneyField(default=0)
    maker_rate = RateField()
    taker_rate = RateField()
    reduce_only = models.BooleanField(default=False)
    margin_per_lot = MoneyField(
        null=True, help_text="Of a margin market's order: what each open lot has reserved, in the settlement asset."
    )
    status = models.CharField(max_length=16, choices=Status)
    reason = models.CharField(max_length=32, db_default="", default="", help_text="Why the venue ended it, or nothing.")
    priority = models.BigIntegerField(help_text="The market sequence at which it took its place in the queue.")
    place = models.IntegerField(default=0, db_default=0, help_text="Among those placed at the same sequence.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "client_order_id"],
                condition=Q(client_order_id__isnull=False),
                name="order_client_order_id_once_per_account",
            ),
            models.CheckConstraint(
                condition=Q(filled_quantity__gte=0, filled_quantity__lte=F("quantity")),
                name="order_filled_within_quantity",
            ),
            models.CheckConstraint(condition=Q(reserved__gte=0), name="order_reserved_not_negative"),
        ]
        indexes = [
            models.Index(fields=["account", "id"], name="order_of_account"),
            # Finds what an account has open, however many orders it has had, and however many others have open. Its
            # condition is put in other words than that of the market's index below, so that a query in these words
            # (store.MARKETS_OF) cannot use the other. The planner would: an account that has placed most of all
            # orders has most of the open ones, too, it thinks.
            models.Index(
                fields=["account", "id"],
                include=["market", "status"],
                condition=~Q(status__in=["FILLED", "CANCELLED", "REJECTED", "EXPIRED"]),
                name="order_live_of_account",
            ),
            models.Index(
                fields=["market", "id"],
                condition=Q(status__in=["PENDING", "OPEN", "PARTIALLY_FILLED"]),
                name="order_live_in_market",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=["PENDING", "OPEN", "PARTIALLY_FILLED"], expires_at__isnull=False),
                name="order_expiring",
            ),
            models.Index(
                fields=["market"], condition=Q(status="PENDING", triggered_at__isnull=False), name="order_due_in_market"
            ),
            models.Index(fields=["list_id"], condition=Q(list_id__isnull=False), name="order_of_list"),
            models.Index(
                fields=["list_id"],
                condition=Q(status__in=["PENDING", "OPEN", "PARTIALLY_FILLED"], list_id__isnull=False),
                name="order_live_of_list",
            ),
        ]

    @property
    def remaining_quantity(self):
        return self.quantity - self.filled_quantity

    def __str__(self):
        price = units.plain(self.price) if self.price else "market"
        return f"{self.id} {self.side} {units.plain(self.quantity)} @ {price}"


class Trade(models.Model):
    """One match of two orders, at the maker's price. Public, but for who they were."""

    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="trades")
    sequence = models.BigIntegerField(help_text="The market sequence of the command that made it.")
    price = MoneyField()
    quantity = MoneyField()
    taker_side = models.CharField(max_length=4, choices=Side)
    maker_order = models.ForeignKey(Order, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    taker_order = models.ForeignKey(Order, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    executed_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["market", "id"], name="trade_tape"),
        ]

    def __str__(self):
        return f"trade {self.id}"


class Fill(models.Model):
    """One order's share of a trade. Private."""

    class Role(models.TextChoices):
        MAKER = "MAKER"
        TAKER = "TAKER"

    trade = models.ForeignKey(Trade, models.PROTECT, db_constraint=False, db_index=False, related_name="fills")
    order = models.ForeignKey(Order, models.PROTECT, db_constraint=False, db_index=False, related_name="fills")
    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="fills")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    side = models.CharField(max_length=4, choices=Side)
    role = models.CharField(max_length=5, choices=Role)
    price = MoneyField()
    quantity = MoneyField()
    fee = MoneyField(help_text="In the quote asset.")
    executed_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "id"], name="fill_of_account"),
            models.Index(fields=["order", "id"], name="fill_of_order"),
        ]

    def __str__(self):
        return f"{self.role} of trade {self.trade_id}"


class BookCommand(models.Model):
    """The market journal: one row per command that changed the book, numbered without a gap.

    `command` is what the engine needs to do it again, in ticks and lots (see exchange.journal). Fed in order to an
    empty book, the rows give the book that stands in the database.
    """

    class Kind(models.TextChoices):
        PLACE = "PLACE"
        AMEND = "AMEND"
        CANCEL = "CANCEL"
        TRIGGER = "TRIGGER"
        ARM = "ARM"
        EXPIRE = "EXPIRE"
        PHASE = "PHASE"
        UNCROSS = "UNCROSS"
        MARK = "MARK"

    pk = models.CompositePrimaryKey("market_id", "sequence")
    market = models.ForeignKey(Market, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind)
    order_id = models.BigIntegerField(help_text="0 for what concerns the whole market.")
    command = WrittenJSONField()
    created_at = models.DateTimeField()


# Models of their own files, found by Django here.
from exchange.retention_models import BookCheckpoint, CandleFloor, EventFloor  # noqa: E402
from exchange.risk_models import Liquidation, MarginCall, RiskStop  # noqa: E402
from exchange.settlement_models import Settlement  # noqa: E402

__all__ = [
    "BookCheckpoint", "BookCommand", "CandleFloor", "EventFloor", "Fill", "Liquidation", "ListKind", "ListRole",
    "MarginCall", "Order", "OrderType", "RiskStop", "SelfTradePrevention", "Settlement", "Side", "TimeInForce", "Trade",
]  # fmt: skip
