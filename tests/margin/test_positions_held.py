"""The open positions that a batch holds in memory."""

from time import perf_counter

from accounts.positions import LivePosition, Positions
from marketdata import clock
from marketdata.markets import by_symbol


def test_those_of_one_account_are_found_whatever_the_others_hold(venue):
    """Else an order that meets thousands of makers would look at millions of positions."""
    assert _seconds(20_000) < 20 * _seconds(20)


def _seconds(accounts: int) -> float:
    """The best of a few looks at one account among so many."""
    found, spec, best = Positions(), by_symbol("EURUSD"), float("inf")
    for account in range(accounts):
        found.put(LivePosition(account, spec, clock.now(), quantity=1))
    for _ in range(5):
        began = perf_counter()
        assert len(found.of_account(1, spec.contract.settlement_id)) == 1
        best = min(best, perf_counter() - began)
    return best
