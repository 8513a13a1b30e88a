"""The concurrency proof in the suite's short form (see tests.chaos.load): three server processes for six seconds."""

from benchmarks.server import PrivateVenue
from tests.chaos.load import trade


def test_many_clients_on_three_processes_leave_clean_books():
    with PrivateVenue(users=10, markets=4, workers=3) as venue:
        result = trade(venue, clients=32, seconds=6, seed=1)
    assert result.problems == []
    assert result.crowd.acknowledged > 32  # more than one a client, however busy the machine
