"""A user whose row was saved (new password, deactivated, made staff) is believed anew, and so are the keys of whoever
had one edited or revoked: see accounts.authentication.
"""

from django.db import transaction
from django.db.models.signals import post_save

from accounts.authentication import revoke
from accounts.models import ApiKey, User


def connect() -> None:
    """Listen to saves of users and keys; called once, when the app is ready."""
    post_save.connect(_user_was_saved, sender=User, dispatch_uid="revoke-principals")
    post_save.connect(_key_was_saved, sender=ApiKey, dispatch_uid="revoke-keys")


def _user_was_saved(sender, instance: User, created: bool, **kwargs) -> None:
    """At once, and again after the commit: in between, another thread may have read the old row."""
    if not created:
        revoke(instance.pk)
        transaction.on_commit(lambda: revoke(instance.pk))


def _key_was_saved(sender, instance: ApiKey, created: bool, **kwargs) -> None:
    if not created:
        revoke(instance.account.user_id)
        transaction.on_commit(lambda: revoke(instance.account.user_id))
