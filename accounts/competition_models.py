"""Competitions and who takes part. Part of accounts.models."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from accounts.models import Account, User
from marketdata import units
from marketdata.models import Asset, Market, MoneyField


class Competition(models.Model):
    """A contest in rounds: everybody begins with the same capital, and whoever's equity is highest at the end wins.

    Only `accounts.competitions` moves `round` and `closed_round`; a round is over once the two are equal.
    """

    name = models.CharField(max_length=64, unique=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    starting_asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    starting_amount = MoneyField(help_text="What each entry begins with.")
    markets = models.ManyToManyField(Market, related_name="+", help_text="Where entries may trade.")
    is_public = models.BooleanField(
        default=True, help_text="Everybody sees it and may join; otherwise only whom an operator enters."
    )
    round = models.PositiveIntegerField(default=1, editable=False)
    closed_round = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="competition_ends_after_it_starts"),
            models.CheckConstraint(condition=Q(starting_amount__gt=0), name="competition_starts_with_something"),
            models.CheckConstraint(condition=Q(closed_round__lte=F("round")), name="competition_closes_what_was"),
        ]

    def __str__(self):
        return self.name

    def clean(self):
        """Nobody could join a round without a time, or with an amount that cannot be paid out."""
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": "Must be later than it starts."})
        asset = self.starting_asset if self.starting_asset_id else None
        if asset is None or self.starting_amount is None:
            return  # said already
        if self.starting_amount <= 0:
            raise ValidationError({"starting_amount": "Must be above 0."})
        try:
            units.to_units(self.starting_amount, asset.decimals)
        except units.NotWhole:
            text = f"Must be whole in {asset}'s smallest unit (10^-{asset.decimals})."
            raise ValidationError({"starting_amount": text}) from None


class CompetitionEntry(models.Model):
    """One user's part in one round, with an account of its own. `final_equity` is fixed when the round is closed."""

    competition = models.ForeignKey(Competition, models.PROTECT, related_name="entries")
    round = models.PositiveIntegerField()
    user = models.ForeignKey(User, models.PROTECT, related_name="competition_entries")
    account = models.OneToOneField(Account, models.PROTECT, related_name="competition_entry")
    joined_at = models.DateTimeField()
    final_equity = MoneyField(max_digits=60, null=True)
    disqualified_at = models.DateTimeField(
        null=True, editable=False, help_text="From then on it has no rank, and its account only reduces positions."
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "competition entries"
        constraints = [
            models.UniqueConstraint(
                fields=["competition", "round", "user"], name="competition_entry_once_per_round_and_user"
            )
        ]

    def __str__(self):
        return f"{self.user} in {self.competition}, round {self.round}"
