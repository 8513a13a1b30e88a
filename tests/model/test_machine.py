"""The state machine in the suite's short form."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from exchange import audit
from tests.model.machine import VenueMachine
from tests.model.special_machine import SpecialMachine
from tests.venue import forget_everything


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("machine", [VenueMachine, SpecialMachine], ids=["plain", "special"])
def test_no_sequence_of_commands_breaks_a_promise(machine):
    forget_everything()
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
        assert [finding for finding in audit.run() if finding.violations] == []
    finally:
        forget_everything()
