"""Keys by which bots come in. Part of accounts.models."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import Account


class ApiKey(models.Model):
    """A bot's way in to one account. Only `accounts.api_keys` writes here.

    The secret is stored encrypted, because signatures are checked with it, and erased when the key is revoked.
    """

    class Permission(models.TextChoices):
        READ = "READ"
        TRADE = "TRADE"
        WITHDRAW = "WITHDRAW"

    account = models.ForeignKey(Account, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=64)
    key = models.CharField(max_length=64, unique=True, help_text="The public half: says which key signs.")
    sealed_secret = models.BinaryField(editable=False)
    permissions = ArrayField(models.CharField(max_length=8, choices=Permission))
    allowed_ips = ArrayField(
        models.CharField(max_length=43), default=list, blank=True, help_text="Addresses or networks; none means any."
    )
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self):
        return f"{self.name} ({self.key})"
