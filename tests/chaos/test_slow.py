"""The proof of slow readers in the suite's short form (see tests.chaos.slow)."""

import asyncio

from benchmarks.server import PrivateVenue
from tests.chaos.slow import run


def test_laggards_are_closed_and_the_others_stand_where_the_book_stands():
    with PrivateVenue(users=1, environment={"SOCKET_STALL_SECONDS": "0.5"}) as venue:
        result = asyncio.run(run(venue, sockets=60, laggards=3, seconds=1, levels=20, seed=1))
    sockets, _, _, _, behind, closed, *_ = result.row
    assert (sockets, behind, closed) == (60, 0, 3)
