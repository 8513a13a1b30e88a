"""The crash proof in the suite's short form (see tests.chaos.crash)."""

import asyncio

from benchmarks.server import PrivateVenue
from tests.chaos import faults
from tests.chaos.crash import CARELESS, run


def test_what_was_acknowledged_survives_minus_nine_to_everything():
    with PrivateVenue(users=10, markets=4) as venue:
        cycles = asyncio.run(run(venue, [faults.kill_everything], clients=32, seed=1))
    assert [cycle.problems for cycle in cycles] == [[]]
    assert cycles[0].counts[201] > 50


def test_the_harness_reports_losses_when_commits_are_answered_too_early():
    with PrivateVenue(users=10, markets=4, database_settings=CARELESS) as venue:
        cycles = asyncio.run(run(venue, [faults.kill_postmaster] * 5, clients=32, seed=1))
    lost = ("LOST", "REVIVED", "UNFILLED")  # orders or fills that were acknowledged, cancellations, shares of orders
    assert any(problem.startswith(lost) for cycle in cycles for problem in cycle.problems)
