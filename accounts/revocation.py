"""A user whose row was saved (new password, deactivated, made staff) is believed anew: see accounts.authentication."""

from django.db import transaction
from django.db.models.signals import post_save

from accounts.authentication import revoke
from accounts.models import User


def connect() -> None:
    """Listen to saves of users; called once, when the app is ready."""
    post_save.connect(_user_was_saved, sender=User, dispatch_uid="revoke-principals")


def _user_was_saved(sender, instance: User, created: bool, **kwargs) -> None:
    """At once, and again after the commit: in between, another thread may have read the old row."""
    if not created:
        revoke(instance.pk)
        transaction.on_commit(lambda: revoke(instance.pk))
