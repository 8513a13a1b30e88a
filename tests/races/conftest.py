"""What all races share: the stage, and the proof afterwards that nothing was lost on it."""

import pytest
from django.core.management import call_command

from exchange import audit
from tests.races.stage import Stage


@pytest.fixture(params=["loop"])
def stage(request, venue, monkeypatch):
    """Two writers on a fresh venue. Whatever happened, books, money and journal must agree at the end."""
    made = Stage(venue, monkeypatch, on_loop=request.param == "loop")
    try:
        yield made
        assert made.books_agree()
    finally:
        made.close()
    assert [finding for finding in audit.run() if finding.violations] == []
    call_command("replay")
