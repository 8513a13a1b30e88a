"""A venue with two funded traders, and a client that is logged in as the first."""

import pytest
from rest_framework_simplejwt.tokens import RefreshToken

from tests.api.client import Client


def token_of(account) -> str:
    """An access token for the account's user."""
    return str(RefreshToken.for_user(account.user).access_token)


@pytest.fixture
def api(venue):
    """Logged in as ann; `api.tokens` has bob's too."""
    venue.trader("ann", USD=100_000, AAPL=1_000, USDT=100_000)
    venue.trader("bob", USD=100_000, AAPL=1_000, BTC=10)
    client = Client()
    client.venue = venue
    client.tokens = {name: token_of(account) for name, account in venue.accounts.items()}
    client.token = client.tokens["ann"]
    yield client
    client.close()
