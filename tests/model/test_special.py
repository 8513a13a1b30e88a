"""The venue against the auditor with every order type."""

import pytest

from exchange import audit
from exchange.audit.replay import replay
from exchange.models import Order
from exchange.sequencer import sequencer
from tests.model.special_dice import SpecialDice, SpecialLockstep
from tests.model.world import World
from tests.venue import forget_everything

STEPS = 60


@pytest.fixture
def lockstep(transactional_db):
    """A world of its own; nothing of it stays."""
    forget_everything()
    yield SpecialLockstep(World())
    forget_everything()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_type_is_answered_and_booked_as_the_auditor_says(lockstep, seed):
    dice = SpecialDice(lockstep, seed)
    dice.fund()
    for number in range(STEPS):
        dice.step()
        if number % 15 == 14:
            lockstep.compare()
        if number % 25 == 24:
            sequencer.stop()  # the next command starts on books loaded from the database
    lockstep.compare_fills(list(lockstep.auditor.orders))
    assert Order.objects.filter(triggered_at__isnull=False).count() > 10
    assert Order.objects.filter(reason="other_leg").exists()
    assert [finding for finding in audit.run() if finding.violations] == []
    for market in lockstep.world.markets.values():
        assert replay(market.id).difference is None
