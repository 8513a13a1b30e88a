"""Who owns what: users, their accounts, balances, and the ledger that is the only reason why a balance changes.

Invariants (held by constraints and triggers, see migration 0002): available and reserved are never negative; the
entries of a journal sum to zero per asset; entries and journals are never changed or deleted. The outside world's
account keeps no balance row: what the venue owes the world is the sum of that account's entries. Foreign keys of
the append-only tables carry no database constraint, because each check would cost more than the insert; their
targets are never deleted (PROTECT), and the audit looks for orphans.
"""

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from accounts.names import NameKey, Users, fold
from marketdata import units
from marketdata.models import Asset, Market, MoneyField, WrittenJSONField


class User(AbstractUser):
    """A person or a bot that logs in. Money hangs on accounts, never on the user."""

    email = models.EmailField(blank=True)
    name_key = NameKey()

    objects = Users()

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(fields=["name_key"], name="user_name_key_once"),
        ]

    def save(self, *args, **kwargs):
        """A name takes its key along."""
        if "username" in (kwargs.get("update_fields") or ()):
            kwargs["update_fields"] = {*kwargs["update_fields"], "name_key"}
        super().save(*args, **kwargs)

    def validate_unique(self, exclude=None) -> None:
        """Forms leave out the key, because nobody edits it; whether it is taken is said of the name."""
        super().validate_unique(exclude)
        if "username" in (exclude or ()) or self.name_key == self.username:
            return
        if User.objects.filter(name_key=fold(self.username)).exclude(pk=self.pk).exists():
            raise ValidationError({"username": self.unique_error_message(User, ["username"])})


class Account(models.Model):
    """One purse. The row guards everything that hangs on it: balances, orders' funds and the event sequence."""

    class Kind(models.TextChoices):
        MAIN = "MAIN"
        SUB = "SUB"
        FEES = "FEES"
        MARKET_MAKER = "MARKET_MAKER"
        INSURANCE = "INSURANCE"
        CLEARING = "CLEARING"
        OUTSIDE = "OUTSIDE"

    user = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="accounts")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.MAIN)
    name = models.CharField(max_length=64, blank=True)
    market = models.ForeignKey(
        Market,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="house_accounts",
        help_text="For fees and market makers.",
    )
    is_active = models.BooleanField(
        default=True, help_text="An inactive account places no orders; it can still cancel."
    )
    stopped_by = models.CharField(
        max_length=8,
        choices=[("OWNER", "Owner"), ("OPERATOR", "Operator")],
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text="Who has pulled the kill switch, see exchange.kill_switch; empty: nobody.",
    )
    event_sequence = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # A competition entry's terms, kept here by accounts.competitions so that the matcher reads them with the lock.
    opens_at = models.DateTimeField(null=True, editable=False)
    closes_at = models.DateTimeField(null=True, editable=False)
    market_ids = ArrayField(models.BigIntegerField(), null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(kind="MAIN"), name="account_one_main_per_user"),
            models.UniqueConstraint(
                fields=["kind", "market"],
                condition=Q(kind__in=["FEES"]),
                nulls_distinct=False,
                name="account_one_fee_account_per_market",
            ),
            models.UniqueConstraint(fields=["kind"], condition=Q(kind="OUTSIDE"), name="account_one_outside_world"),
            models.UniqueConstraint(fields=["kind"], condition=Q(kind="INSURANCE"), name="account_one_insurance_fund"),
            models.UniqueConstraint(
                fields=["market"], condition=Q(kind="CLEARING"), name="account_one_clearing_per_market"
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False) | ~Q(kind__in=["MAIN", "SUB"]), name="account_of_a_person_has_a_user"
            ),
        ]

    def __str__(self):
        return self.name or (
            f"{self.user}" if self.kind == self.Kind.MAIN else f"{self.kind} {self.market or self.user or ''}".strip()
        )


class Balance(models.Model):
    """What an account holds of an asset: free to use, and set aside for open orders."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="balances")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    available = MoneyField(default=0)
    reserved = MoneyField(default=0)

    class Meta:
        ordering = ["asset__symbol"]
        constraints = [
            models.UniqueConstraint(fields=["account", "asset"], name="balance_one_per_account_and_asset"),
            models.CheckConstraint(condition=Q(available__gte=0), name="balance_available_not_negative"),
            models.CheckConstraint(condition=Q(reserved__gte=0), name="balance_reserved_not_negative"),
        ]

    @property
    def total(self):
        return self.available + self.reserved

    def __str__(self):
        return f"{self.account} {self.asset}"


class Journal(models.Model):
    """A balanced group of entries: one deposit, one trade, one adjustment."""

    class Kind(models.TextChoices):
        DEPOSIT = "DEPOSIT"
        WITHDRAWAL = "WITHDRAWAL"
        TRADE = "TRADE"
        TRANSFER = "TRANSFER"
        ADJUSTMENT = "ADJUSTMENT"
        FINANCING = "FINANCING"

    #: What profit is made of, not money that came or left.
    PROFIT_AND_LOSS = (Kind.TRADE, Kind.FINANCING)

    kind = models.CharField(max_length=12, choices=Kind)
    reference = models.BigIntegerField(null=True, help_text="The trade's id for a TRADE.")
    reason = models.CharField(max_length=200, blank=True)
    actor = models.ForeignKey(User, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return f"{self.kind} {self.id}"


class Entry(models.Model):
    """One signed amount of one asset on one account.

    `balance_after` is available + reserved after it (empty for the outside world).
    """

    journal = models.ForeignKey(Journal, models.PROTECT, db_constraint=False, related_name="entries")
    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="entries")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    amount = MoneyField()
    balance_after = MoneyField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        indexes = [models.Index(fields=["account", "asset", "id"], name="entry_statement")]
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="entry_amount_not_zero")]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.amount)} {self.asset}"


class AccountEvent(models.Model):
    """What happened to an account in one transaction: a JSON list of events numbered first_sequence … last_sequence
    without a gap.
    """

    pk = models.CompositePrimaryKey("account_id", "last_sequence")
    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="events")
    first_sequence = models.BigIntegerField()
    last_sequence = models.BigIntegerField()
    events = WrittenJSONField()
    created_at = models.DateTimeField()


class IdempotentRequest(models.Model):
    """The first answer to a request that carried an Idempotency-Key, kept in the same transaction as its effect."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(
        max_length=64, help_text="Of route and body: the same key with another body is refused."
    )
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "key"], name="idempotent_request_key_once_per_account")
        ]


class Withdrawal(models.Model):
    """A user's wish to take money out: its amount stays reserved until an operator decides or the user cancels.

    Only `accounts.withdrawals` writes here. A decided withdrawal never changes again.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING"
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"
        CANCELLED = "CANCELLED"

    account = models.ForeignKey(Account, models.PROTECT, related_name="withdrawals")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    amount = MoneyField()
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    requested_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, db_index=False, related_name="+")
    reason = models.CharField(max_length=200, blank=True, help_text="The operator's.")
    journal_id = models.BigIntegerField(null=True, help_text="Of the journal that paid it out.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="withdrawal_amount_positive"),
            models.CheckConstraint(
                condition=Q(status="PENDING", decided_at__isnull=True)
                | (~Q(status="PENDING") & Q(decided_at__isnull=False)),
                name="withdrawal_decided_or_pending",
            ),
            models.CheckConstraint(
                condition=Q(status="APPROVED", journal_id__isnull=False)
                | (~Q(status="APPROVED") & Q(journal_id__isnull=True)),
                name="withdrawal_paid_by_a_journal",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "id"], name="withdrawal_of_account"),
            models.Index(fields=["id"], condition=Q(status="PENDING"), name="withdrawal_pending"),
        ]

    def __str__(self):
        return f"withdrawal {self.id} of {units.plain(self.amount)} {self.asset}"


class Movement(models.Model):
    """Money that came to or left an account by anything but a trade: what profit must not count.

    Written by the ledger in the transaction of the journal, for accounts of users only; ids of one account ascend
    in the order of the commits. A copy of what the ledger says, so that nobody has to search all trades for it.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="movements")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    amount = MoneyField()
    journal = models.ForeignKey(Journal, models.PROTECT, db_constraint=False, db_index=False, related_name="+")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "id"], name="movement_of_account")]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.amount)} {self.asset}"


class Holding(models.Model):
    """What an account has bought of an asset with one quote asset and still has, and what that cost.

    Only `accounts.holdings` writes here, in the transaction that settles the trades; see there for the rules.
    """

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="holdings")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quote = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quantity = MoneyField(help_text="Bought and not yet sold.")
    # Sums of turnover: wider than any balance, so that bookkeeping can never refuse a trade.
    cost = MoneyField(max_digits=60, help_text="What the quantity cost, fees included, in the quote asset.")
    fees = MoneyField(max_digits=60, help_text="All fees paid so far, in the quote asset.")
    fills = models.BigIntegerField(help_text="How often the account traded here.")

    class Meta:
        ordering = ["account", "asset", "quote"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "asset", "quote"], name="holding_one_per_account_asset_and_quote"
            ),
            models.CheckConstraint(condition=Q(quantity__gte=0, cost__gte=0), name="holding_not_negative"),
        ]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.quantity)} {self.asset} for {units.plain(self.cost)} {self.quote}"


class Realization(models.Model):
    """A sale of something bought before: what it brought, what it had cost on average, and the difference."""

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    asset = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quote = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    trade_id = models.BigIntegerField()
    quantity = MoneyField(help_text="How much of the sale had been bought before.")
    proceeds = MoneyField(max_digits=60, help_text="After the fee, in the quote asset.")
    cost = MoneyField(max_digits=60)
    pnl = MoneyField(max_digits=60, help_text="proceeds - cost.")
    realized_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "trade_id"], name="realization_once_per_account_and_trade"),
            models.CheckConstraint(condition=Q(pnl=F("proceeds") - F("cost")), name="realization_adds_up"),
        ]
        indexes = [models.Index(fields=["account", "realized_at"], name="realization_of_account")]

    def __str__(self):
        return f"{self.account_id} trade {self.trade_id}: {units.plain(self.pnl)} {self.quote}"


class EquitySnapshot(models.Model):
    """What an account was worth at a moment, and what had been paid into it by then, both in one quote asset."""

    account = models.ForeignKey(Account, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quote = models.ForeignKey(Asset, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    taken_at = models.DateTimeField(db_index=True)
    equity = MoneyField(max_digits=60)
    paid_in = MoneyField(max_digits=60, help_text="Deposits less withdrawals so far, each at its snapshot's prices.")
    last_movement_id = models.BigIntegerField(help_text="The newest movement that paid_in counts.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "quote", "taken_at"], name="equity_snapshot_once_per_account_and_moment"
            )
        ]

    def __str__(self):
        return f"{self.account_id} {units.plain(self.equity)} {self.quote}"


# Models of their own files, found by Django here.
from accounts.access_models import ApiKey  # noqa: E402
from accounts.competition_models import Competition, CompetitionEntry  # noqa: E402
from accounts.fee_models import FeeRate, FeeTier  # noqa: E402
from accounts.financing_models import ArchivedPosition, FinancingCharge, Rollover  # noqa: E402
from accounts.position_models import MarginSetting, Position, Shortfall  # noqa: E402

__all__ = [
    "Account", "AccountEvent", "ApiKey", "ArchivedPosition", "Balance", "Competition", "CompetitionEntry", "Entry",
    "EquitySnapshot", "FeeRate", "FeeTier", "FinancingCharge", "Holding", "IdempotentRequest", "Journal",
    "MarginSetting", "Movement", "Position", "Realization", "Rollover", "Shortfall", "User", "Withdrawal",
]  # fmt: skip
