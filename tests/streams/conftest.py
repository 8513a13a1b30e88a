"""A venue with a real socket server."""

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from accounts import authentication
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
    authentication.forget()
    from rest_framework_simplejwt.tokens import RefreshToken

    def make(name: str) -> str:
        token = RefreshToken.for_user(venue.accounts[name].user).access_token
        assert isinstance(token, AccessToken)
        return str(token)

    yield make
    authentication.forget()
