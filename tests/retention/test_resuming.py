"""A socket that resumes after an event that is no longer kept gets a snapshot, and goes on live."""

import pytest
from django.core.management import call_command

from tests.retention.history import days_ago
from tests.streams.conftest import server, token_of

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["server", "token_of"]


def test_resume_before_what_is_kept(venue, server, token_of):
    with days_ago(60):
        venue.trader("ann", USD=100)
        venue.trader("ann", USD=100)
    venue.trader("ann", USD=100)
    call_command("prune", "events", "--yes")
    with server.client("/ws/user/") as client:
        client.send({"type": "authenticate", "token": token_of("ann")})
        assert client.next()["sequence"] == 3
        client.send({"type": "resume", "after": 0})
        assert client.next() == {"type": "resumed", "after": 0}
        snapshot = client.next()
        assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 3)
        assert snapshot["balances"][0]["available"] == "300"
        client.send({"type": "resume", "after": 2})
        assert [client.next()["type"] for _ in range(2)] == ["resumed", "balance"]
        venue.order("ann BUY 1 AAPL @ 1")
        assert client.next()["sequence"] == 4
