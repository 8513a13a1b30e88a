"""Once per Idempotency-Key: the first answer is kept in the transaction that made it true, and given again.

A refusal keeps nothing: its transaction is rolled back, so the same key may be tried again. Two requests under one
key at the same time: one does it, the other is told that it is in progress.
"""

import re
from collections.abc import Callable
from hashlib import blake2b

from django.db import connection, transaction

from accounts.models import Account, IdempotentRequest
from marketdata.refusals import Malformed, Refusal

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class KeyReused(Refusal):
    """The key stands for another request."""

    code, title = "idempotency_key_reused", "Idempotency-Key was used for another request"


class KeyInProgress(Refusal):
    """The first request under this key is still at work."""

    code, status, title = "idempotency_key_in_progress", 409, "A request with this Idempotency-Key is in progress"


def once(
    *, account: Account, key: str | None, request: str, perform: Callable[[], tuple[int, dict]]
) -> tuple[int, dict, bool]:
    """Do it unless it was done under this key: (status, body, whether that is the first answer given again).

    `request` is what must be equal for the same key to mean the same: route and canonical body. Without a key it is
    simply done.
    """
    if key is None:
        return *perform(), False
    if not KEY.fullmatch(key):
        raise Malformed("An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.")
    with transaction.atomic():
        _claim(account.pk, key)
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        fingerprint = blake2b(request.encode(), digest_size=32).hexdigest()
        first = IdempotentRequest.objects.filter(account=account, key=key).first()
        if first is None:
            status, body = perform()
            IdempotentRequest.objects.create(
                account=account, key=key, fingerprint=fingerprint, status=status, body=body
            )
            return status, body, False
        if first.fingerprint != fingerprint:
            raise KeyReused("This Idempotency-Key belongs to a request with another body; use a new key.")
        return first.status, first.body, True


def was_done(*, account_id: int, key: str | None) -> bool:
    """Whether there is a first answer under this key; if so, there always will be."""
    if key is None or not KEY.fullmatch(key):
        return False
    return IdempotentRequest.objects.filter(account_id=account_id, key=key).exists()


def _claim(account_id: int, key: str) -> None:
    """An advisory lock on the pair until the transaction ends. Only tried, never waited for, so it cannot be part of
    a deadlock.
    """
    digest = blake2b(f"{account_id} {key}".encode(), digest_size=8).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(digest, "big", signed=True)])
        if not cursor.fetchone()[0]:
            raise KeyInProgress(
                "The first request with this Idempotency-Key is still at work; try again for its answer."
            )
