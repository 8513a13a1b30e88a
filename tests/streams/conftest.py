"""A venue with a real socket server."""

from contextlib import contextmanager

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from rest_framework_simplejwt.tokens import AccessToken

from tests.streams.support import LiveServer


@pytest.fixture
def server(venue):
    """Sockets of the test's venue."""
    live = LiveServer().start()
    yield live
    live.stop()


@pytest.fixture
def token_of(venue):
    """An access token for a trader by name."""
    from rest_framework_simplejwt.tokens import RefreshToken

    def make(name: str) -> str:
        token = RefreshToken.for_user(venue.accounts[name].user).access_token
        assert isinstance(token, AccessToken)
        return str(token)

    return make


@pytest.fixture
def database_away(monkeypatch):
    """While it lasts, whatever asks Django for a cursor hears that there is no database."""

    def refuse(self, name=None):
        raise OperationalError("connection refused")

    @contextmanager
    def away():
        with monkeypatch.context() as patch:
            patch.setattr(BaseDatabaseWrapper, "_cursor", refuse)
            yield

    return away
