"""The crash of tests.margin_risk.crash with more traders than the suite has time for, on a private PostgreSQL.

    python -m tests.margin_risk [--traders 1100] [--seed 1]

Prints what came of it and what the auditor says; exit 1 when a cent, a position or a liquidation went missing.
"""

import argparse
import sys
import time

from benchmarks.in_process import CARELESS, private_tables


def play(traders: int, seed: int) -> bool:
    """The crash; whether all held."""
    from exchange import audit
    from exchange.models import Liquidation
    from tests.margin_risk import crash
    from tests.margin_risk.venue import RiskVenue
    from tests.venue import Venue

    venue, started = RiskVenue(Venue()), time.monotonic()
    try:
        venue.insure(traders)
        verdict = crash.play(venue, traders, seed)
    finally:
        venue.close()
    broken = [finding for finding in audit.run() if finding.violations]
    for finding in broken:
        print(f"audit: {finding.name}: {finding.violations} violations, {finding.offenders[:3]}")
    open_ended = Liquidation.objects.filter(ended_at__isnull=True).count()
    is_sound = verdict.is_conserved() and not broken and not open_ended and verdict.liquidated > traders * 0.9
    seconds = time.monotonic() - started
    print(f"{verdict.liquidated:,} of {traders:,} liquidated in {seconds:.0f} s, seed {seed}")
    print(f"positions sum to {sum(verdict.open_sums.values()):f}, audit {'BROKEN' if broken else 'clean'}")
    print(f"{verdict.held:,.8f} of {verdict.paid_in:,.8f} dollars there, {verdict.uncovered:,.8f} covered by nobody")
    return is_sound


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="A crash through the margin of many traders.")
    parser.add_argument("--traders", type=int, default=1_100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with private_tables(CARELESS):
        return 0 if play(options.traders, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
