"""The long form of the model's proofs, on a private PostgreSQL.

    python -m tests.model [--operations 200000] [--seed 1]             random commands against the auditor
    python -m tests.model --examples 2000 --steps 50 [--seed 1]        Hypothesis state machine

Prints what was drawn and how it was answered; exit 1 at the first difference, which it describes.
"""

import argparse
import sys
import time
from collections import Counter

from benchmarks.in_process import CARELESS, private_tables
from benchmarks.report import table

#: Fresh worlds keep the comparison of everything cheap.
OPERATIONS_PER_WORLD = 4_000
COMPARE_EVERY = 400


def random_operations(operations: int, seed: int) -> None:
    """World after world, each with its own seed: plain orders, auctions and time in one, every type in the next."""
    from tests.model.dice import Dice
    from tests.model.lockstep import Lockstep
    from tests.model.special_dice import SpecialDice, SpecialLockstep
    from tests.model.world import World

    kinds = ((Lockstep, Dice), (SpecialLockstep, SpecialDice))

    done, number, answers, started = 0, 0, Counter(), time.monotonic()
    while done < operations:
        of_venue, of_dice = kinds[number % len(kinds)]
        lockstep = _counting(of_venue, answers)(World())
        dice = of_dice(lockstep, seed + number)
        dice.fund()
        done += _one_world(dice, min(OPERATIONS_PER_WORLD, operations - done))
        number += 1
        print(f"\r{done:,} operations, seeds {seed} … {seed + number - 1}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rate = done / (time.monotonic() - started)
    print(table(("answer", "times"), sorted(answers.items(), key=lambda item: -item[1])))
    print(f"{done:,} operations, seeds {seed} to {seed + number - 1}: no difference ({rate:,.0f} operations/s)")


def _one_world(dice, operations: int) -> int:
    from exchange.sequencer import sequencer

    done = compared = 0
    while done < operations:
        done += dice.step()
        if done - compared > COMPARE_EVERY:
            dice.lockstep.compare()
            compared = done
            if dice.random.random() < 0.3:
                sequencer.stop()  # the next command starts on books loaded from the database
    dice.lockstep.compare()
    dice.lockstep.compare_fills(list(dice.lockstep.auditor.orders)[-200:])
    return done


def _counting(base, answers: Counter):
    """A lockstep that counts what came back."""

    class Counting(base):
        def _check(self, command, outcome):
            super()._check(command, outcome)
            if isinstance(outcome, dict):
                answers[f"{command[0]} {outcome.get('status', 'done')}"] += 1
            else:
                answers[f"{command[0]} {getattr(outcome, 'code', type(outcome).__name__)}"] += 1

    return Counting


def state_machine(examples: int, steps: int, seed: int) -> None:
    """The Hypothesis machines, from that seed, half of the examples each."""
    import hypothesis
    from hypothesis import HealthCheck
    from hypothesis.stateful import run_state_machine_as_test

    from tests.model.machine import VenueMachine
    from tests.model.special_machine import SpecialMachine

    settings = hypothesis.settings(
        max_examples=(examples + 1) // 2, stateful_step_count=steps, deadline=None,
        suppress_health_check=list(HealthCheck), database=None, print_blob=True,
    )  # fmt: skip
    for machine in (VenueMachine, SpecialMachine):
        run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
    print(f"{examples:,} examples of up to {steps} steps, seed {seed}: no difference")


def audited() -> bool:
    """The auditor's word on the whole database."""
    from exchange import audit

    broken = [finding for finding in audit.run() if finding.violations]
    for finding in broken:
        print(f"audit: {finding.name}: {finding.violations} violations, {finding.offenders[:3]}")
    print("audit: clean" if not broken else "audit: BROKEN")
    return not broken


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="The venue against an independent auditor.")
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--examples", type=int, help="run the state machine instead")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with private_tables(CARELESS):
        if options.examples:
            state_machine(options.examples, options.steps, options.seed)
        else:
            random_operations(options.operations, options.seed)
        return 0 if audited() else 1


if __name__ == "__main__":
    sys.exit(main())
