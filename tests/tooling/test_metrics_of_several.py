"""Several server processes, one answer: whichever of them is scraped."""

import os
import subprocess
import sys

import pytest

from tests.tooling.support import ROOT

#: What a process counts in its life.
COUNT = """
import os
from marketdata import metrics
metrics.TRADES.inc({trades})
metrics.WORKERS.set(1)
metrics.SOCKETS.labels("user").inc({sockets})
metrics.AUDIT_VIOLATIONS.set({violations})
print(os.getpid())
"""
SCRAPE = "from marketdata import metrics; print(metrics.text().decode())"


@pytest.fixture
def shared(tmp_path):
    def run(code: str) -> str:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    run.directory = str(tmp_path)
    return run


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith("venue_")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_scrape_of_one_answers_for_all_and_for_those_that_have_ended(shared):
    from marketdata import metrics

    first = int(shared(COUNT.format(trades=3, sockets=2, violations=7)))
    shared(COUNT.format(trades=4, sockets=5, violations=0))
    seen = samples(shared(SCRAPE))
    assert seen["venue_trades_total"] == 7
    assert (seen["venue_workers"], seen['venue_sockets{kind="user"}']) == (2, 7)
    assert seen["venue_audit_violations"] == 0, "the last audit's word, not the worst one"
    metrics.bury(shared.directory, first)
    seen = samples(shared(SCRAPE))
    assert seen["venue_trades_total"] == 7, "what was counted stays counted"
    assert (seen["venue_workers"], seen['venue_sockets{kind="user"}']) == (1, 5)
