"""Tokens that were verified lately, and the one query that keeps those in use believed.

A token is believed for PRINCIPAL_SECONDS after its user was last read, and never beyond its own expiry. When half of
that is over and it is still used, a look-up thread reads the users of all such tokens at once, so that many busy
clients cost one query every few seconds instead of one each. Whoever was revoked meanwhile is not brought back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from marketdata import threads

PRINCIPAL_SECONDS = 5.0
MAX_TOKENS = 20_000


@dataclass(slots=True)
class Verified:
    """What a token was found to say; `read_at` is when its user was last read, in monotonic seconds."""

    principal: Any
    read_at: float
    is_used: bool = False


#: Of the users with these ids those who may log in: (is staff, claim that their tokens must carry).
Reread = Callable[[set[int]], dict[int, tuple[bool, str]]]


class VerifiedTokens:
    """Bounded: the oldest are forgotten first. `reread` reads users anew, in a thread of its own."""

    def __init__(self, reread: Reread):
        self._reread = reread
        self._known: dict[str, Verified] = {}
        self._lock = Lock()
        self._is_renewing = False
        self.revocations = 0

    def get(self, token: str) -> Any | None:
        """The token's principal if it may still be believed. Touches no database."""
        found = self._known.get(token)
        if found is None or found.principal.expires_at <= time.time():
            return None
        age = time.monotonic() - found.read_at
        if age >= PRINCIPAL_SECONDS:
            return None
        found.is_used = True
        if 2 * age > PRINCIPAL_SECONDS and not self._is_renewing:
            self._is_renewing = True
            threads.lookups.start(self.renew)
        return found.principal

    def put(self, token: str, principal: Any, *, read_at: float, revocations: int) -> None:
        """Remember, unless somebody was revoked while the token was being verified."""
        with self._lock:
            if revocations != self.revocations:
                return
            self._known.pop(token, None)
            self._known[token] = Verified(principal, read_at)
            while len(self._known) > MAX_TOKENS:
                del self._known[next(iter(self._known))]

    def revoke(self, user_id: int | None) -> None:
        """Forget the user's tokens, or all."""
        with self._lock:
            self.revocations += 1
            known = self._known.items()
            self._known = {token: one for token, one in known if user_id not in (None, one.principal.user_id)}

    def renew(self) -> None:
        """Read the users of the tokens in use; believe those whose word still holds, forget the others."""
        try:
            revocations, read_at = self.revocations, time.monotonic()
            used = {token: found for token, found in list(self._known.items()) if found.is_used}
            users = self._reread({found.principal.user_id for found in used.values()})
            with self._lock:
                if revocations == self.revocations:
                    for token, found in used.items():
                        self._settle(token, found, users.get(found.principal.user_id), read_at)
        finally:
            self._is_renewing = False

    def _settle(self, token: str, found: Verified, user: tuple[bool, str] | None, read_at: float) -> None:
        """One token's turn, under the lock."""
        if self._known.get(token) is not found:
            return
        if user == (found.principal.is_staff, found.principal.claim):
            found.read_at, found.is_used = read_at, False
        else:
            del self._known[token]
