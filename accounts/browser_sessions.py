"""Browsers' sessions: Django's, in the database, but for keys that cannot be one's.

A cookie may say any byte, as an octal number, and PostgreSQL cannot even be asked for some of them.
"""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    """What the setting SESSION_ENGINE asks for, by this name."""

    def _validate_session_key(self, key: str | None) -> bool:
        return bool(super()._validate_session_key(key)) and key.isascii() and key.isalnum()
