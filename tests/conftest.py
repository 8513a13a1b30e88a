"""What every kind of test shares. The servers that the suite runs against come from the plugin tests.servers."""

import pytest
from django.test import override_settings

from tests.venue import venue

__all__ = ["venue"]


@pytest.fixture(autouse=True, scope="session")
def cheap_passwords():
    """Argon2 takes a tenth of a second by design, and most tests register somebody."""
    hasher = "django.contrib.auth.hashers.MD5PasswordHasher"
    with override_settings(PASSWORD_HASHERS=[hasher, "django.contrib.auth.hashers.Argon2PasswordHasher"]):
        yield
