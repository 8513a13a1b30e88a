"""The two funded traders of the API's tests, and signed requests."""

import pytest

from tests.api.conftest import api
from tests.security.bots import Bot

__all__ = ["api"]


@pytest.fixture
def bot(api):
    """Makes a bot with a key of ann's (or another's): bot("READ", "TRADE"), bot("READ", allowed_ips=["10.0.0.1"])."""

    def make(*permissions: str, trader: str = "ann", account: int | None = None, **terms) -> Bot:
        body = {"name": "bot", "permissions": list(permissions), **terms}
        headers = {"X-Account": str(account)} if account else None
        reply = api("POST", "/api/v1/api-keys/", body, token=api.tokens[trader], headers=headers)
        assert reply.status == 201, reply.body
        return Bot(api, reply.json)

    return make
