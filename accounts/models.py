"""Who owns what: users, their accounts, balances, and the ledger that is the only reason why a balance changes.

Invariants (held by constraints and triggers, see migration 0002): available and reserved are never negative; the
entries of a journal sum to zero per asset; entries and journals are never changed or deleted. The outside world's
account keeps no balance row: what the venue owes the world is the sum of that account's entries. Foreign keys of
the append-only tables carry no database constraint, because each check would cost more than the insert; their
targets are never deleted (PROTECT), and the audit looks for orphans.
"""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from marketdata import units
from marketdata.models import Asset, Market, MoneyField


class User(AbstractUser):
    """A person or a bot that logs in. Money hangs on accounts, never on the user."""

    email = models.EmailField(blank=True)

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(models.functions.Lower("username"), name="user_username_unique_in_any_case"),
        ]


class Account(models.Model):
    """One purse. The row guards everything that hangs on it: balances, orders' funds and the event sequence."""

    class Kind(models.TextChoices):
        MAIN = "MAIN"
        SUB = "SUB"
        FEES = "FEES"
        MARKET_MAKER = "MARKET_MAKER"
        INSURANCE = "INSURANCE"
        OUTSIDE = "OUTSIDE"

    HOUSE_KINDS = (Kind.FEES, Kind.MARKET_MAKER, Kind.INSURANCE, Kind.OUTSIDE)

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
    event_sequence = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

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
    events = models.JSONField()
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
