"""Once per Idempotency-Key: the first answer is kept in the transaction that made it true, and given again.

A refusal keeps no answer, so the same key may be tried again; its transaction is rolled back, but for what `admit`
returned (a wrong one-time code counts). Two requests under one key at the same time: one does it, the other is told
that it is in progress.
"""

import json
import re
from collections.abc import Callable
from hashlib import blake2b

from django.db import connection, transaction

from accounts.models import Account, IdempotentRequest
from marketdata.refusals import Malformed, Refusal

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
#: What must be passed first: None, or the refusal.
Admission = Callable[[], Refusal | None]


class KeyReused(Refusal):
    """The key stands for another request."""

    code, title = "idempotency_key_reused", "Idempotency-Key was used for another request"


class KeyInProgress(Refusal):
    """The first request under this key is still at work."""

    code, status, title = "idempotency_key_in_progress", 409, "A request with this Idempotency-Key is in progress"


def once(
    *,
    account: Account,
    key: str | None,
    request: str,
    perform: Callable[[], tuple[int, dict]],
    admit: Admission | None,
) -> tuple[int, dict, bool]:
    """Do it unless it was done under this key: (status, body, whether that is the first answer given again).

    `request` is what must be equal for the same key to mean the same: route and canonical body. Without a key it is
    simply done. `admit` is asked before it is done, not before it is told again; what it returns is raised after its
    own writes are committed.
    """
    if key is not None and not KEY.fullmatch(key):
        raise Malformed("An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.")
    fingerprint = blake2b(request.encode(), digest_size=32).hexdigest()
    with transaction.atomic():
        if key is not None:
            _claim(account.pk, key)
        # Without a key too: what `admit` locks comes after the account, in whatever way the request was sent.
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        first = key and IdempotentRequest.objects.filter(account=account, key=key).first()
        if first:
            return *_again(first, fingerprint), True
        refusal = admit and admit()
        if refusal is None:
            status, body = perform()
            if key is not None:
                # As text: jsonb would put the fields into an order of its own.
                IdempotentRequest.objects.create(
                    account=account, key=key, fingerprint=fingerprint, status=status, body=json.dumps(body)
                )
            return status, body, False
    raise refusal


def _again(first: IdempotentRequest, fingerprint: str) -> tuple[int, dict]:
    if first.fingerprint != fingerprint:
        raise KeyReused("This Idempotency-Key belongs to a request with another body; use a new key.")
    # An object: kept by an earlier version.
    return first.status, json.loads(first.body) if isinstance(first.body, str) else first.body


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
