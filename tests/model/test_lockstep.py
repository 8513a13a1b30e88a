"""The venue against the independent auditor, in the suite's short form (see tests.model.__main__ for the long one)."""

from dataclasses import replace

import pytest

from exchange import audit
from exchange.engine.orders import BUY
from exchange.sequencer import sequencer
from marketdata import clock
from tests.model.auditor import Request
from tests.model.dice import Dice
from tests.model.lockstep import Lockstep
from tests.model.world import World
from tests.venue import forget_everything

STEPS = 75


@pytest.fixture
def lockstep(transactional_db):
    """A world of its own; nothing of it stays."""
    forget_everything()
    clock.stand(clock.now())
    yield Lockstep(World())
    forget_everything()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_commands_are_answered_and_booked_as_the_auditor_says(lockstep, seed):
    dice = Dice(lockstep, seed)
    dice.fund()
    for number in range(STEPS):
        dice.step()
        if number % 20 == 19:
            lockstep.compare()
        if number % 25 == 24:
            sequencer.stop()  # the next command starts on books loaded from the database
    lockstep.compare_fills(list(lockstep.auditor.orders))
    auditor = lockstep.auditor
    assert auditor.trades > 100
    assert auditor.auction_trades > 0
    assert auditor.expired > 0
    assert [finding for finding in audit.run() if finding.violations] == []


def test_of_two_faults_both_name_the_same(lockstep):
    """An account without room for another order, which would be out of the price band as well."""
    dice = Dice(lockstep, 1)
    dice.fund()
    terms = min((one for one in lockstep.world.terms if one.band), key=lambda one: one.max_open_orders)
    low = Request(dice.accounts[0], terms.symbol, BUY, price=terms.reference_price, quantity=terms.lot * 10)
    lockstep.group([("place", low)] * terms.max_open_orders)
    for price in (terms.reference_price, terms.reference_price * 4):
        lockstep.group([("place", replace(low, price=price))])
    lockstep.compare()
    assert len(lockstep.auditor.open_orders()) == terms.max_open_orders


def test_the_comparison_can_fail(lockstep):
    """A cent that only the auditor has is found."""
    dice = Dice(lockstep, 4)
    dice.fund()
    dice.step()
    lockstep.compare()
    asset = lockstep.world.asset("Q").symbol
    lockstep.auditor.totals[dice.accounts[0], asset] += 1
    with pytest.raises(AssertionError, match=f"{asset}, expected"):
        lockstep.compare()
