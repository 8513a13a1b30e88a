"""A crash through the margin of many traders: every one in time, no position from nowhere, not a cent lost."""

from accounts.models import Balance
from exchange.models import Liquidation, RiskStop
from tests.margin_risk import crash

TRADERS = 150


def test_a_crash_loses_nothing(venue):
    venue.insure(1_000)
    verdict = crash.play(venue, TRADERS, seed=6)
    assert verdict.liquidated > TRADERS * 0.9
    assert verdict.is_conserved(), verdict
    assert not Balance.objects.filter(available__lt=0).exists()
    assert verdict.covered == 1_000 and verdict.uncovered > 0
    assert RiskStop.objects.exists()
    assert not Liquidation.objects.filter(ended_at__isnull=True).exists()
    print(verdict)
    assert venue.is_sound()
