"""What the venue counts about itself, for Prometheus: `GET /metrics`.

Metrics are touched once a batch, never once an order, so that counting costs nothing that can be measured. With
several server processes PROMETHEUS_MULTIPROC_DIR (set by `serve`) makes any of them answer for all.
"""

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

COMMANDS = Counter("venue_commands", "Commands settled, by kind", ["kind"])
REFUSALS = Counter("venue_refusals", "Commands refused, by code", ["code"])
TRADES = Counter("venue_trades", "Trades settled")
BATCH_COMMANDS = Histogram("venue_batch_commands", "Commands in a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
BATCH_SECONDS = Histogram(
    "venue_batch_seconds",
    "Time of a batch by stage: lock, decide, commit, publish",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1, 4),
)
BATCH_FAILURES = Counter("venue_batch_failures", "Batches that failed and were tried again")
QUEUE = Gauge("venue_queue_commands", "Commands waiting", multiprocess_mode="livesum")
SOCKETS = Gauge("venue_sockets", "Open WebSockets", multiprocess_mode="livesum")
AUDIT_SECONDS = Gauge("venue_audit_timestamp_seconds", "When the last audit ended (Unix time)", multiprocess_mode="max")
AUDIT_VIOLATIONS = Gauge("venue_audit_violations", "Violations that the last audit found", multiprocess_mode="max")
STALE_FEEDS = Gauge("venue_stale_quotes", "Markets whose provider's quote is stale", multiprocess_mode="max")
LIQUIDATIONS = Counter("venue_liquidations", "Liquidations that ended, by outcome", ["outcome"])
RISK_STOPS = Counter("venue_risk_stops", "Times that an empty insurance fund stopped new risk")


def count_codes(codes: Iterable[str]) -> None:
    """Add refusals by their codes."""
    for code in codes:
        REFUSALS.labels(code).inc()


def text() -> bytes:
    """All metrics in Prometheus' text format; of all processes where they share a directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
