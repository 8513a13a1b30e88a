"""What the venue counts about itself, for Prometheus: `GET /metrics`.

Metrics are touched once a batch, never once an order, so that counting costs nothing that can be measured.

Several server processes behind one port share a directory, PROMETHEUS_MULTIPROC_DIR (set by `serve`): whichever of them
a scrape reaches answers for all of that host. Counters and histograms are sums, those of processes that have ended
included; queue, sockets and workers are sums over the living; what is the same for the whole venue (audit, stale
quotes) is what was noted last. No sample names its process. Several hosts are several targets: there the last kind is
read with max(), the others with sum().

Known limit: lag is told by the clocks of two processes; of two hosts it is only as good as their agreement.
"""

import os
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

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
LAG_SECONDS = Histogram(
    "venue_publish_lag_seconds",
    "Age of a commit by stage: hub (heard by a process), socket (handed to the sockets of its market)",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 5),
)
WORKERS = Gauge("venue_workers", "Server processes that are alive", multiprocess_mode="livesum")
QUEUE = Gauge("venue_queue_commands", "Commands waiting", multiprocess_mode="livesum")
SOCKETS = Gauge("venue_sockets", "Open WebSockets, by kind", ["kind"], multiprocess_mode="livesum")
SOCKETS_DROPPED = Counter("venue_sockets_dropped", "WebSockets that were ended because they did not read")
AUDIT_SECONDS = Gauge(
    "venue_audit_timestamp_seconds", "When the last audit began (Unix time)", multiprocess_mode="mostrecent"
)
AUDIT_VIOLATIONS = Gauge(
    "venue_audit_violations", "Violations that the last audit found", multiprocess_mode="mostrecent"
)
STALE_FEEDS = Gauge("venue_stale_quotes", "Markets whose provider gives no fresh quote", multiprocess_mode="mostrecent")
LIQUIDATIONS = Counter("venue_liquidations", "Liquidations that ended, by outcome", ["outcome"])
RISK_STOPS = Counter("venue_risk_stops", "Times that an empty insurance fund stopped new risk")


def count_codes(codes: Iterable[str]) -> None:
    """Add refusals by their codes."""
    for code in codes:
        REFUSALS.labels(code).inc()


def text() -> bytes:
    """All metrics in Prometheus' text format; of all processes where they share a directory."""
    return generate_latest(registry())


def registry() -> CollectorRegistry:
    """What a scrape reads."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)
    return shared


def bury(directory: str, process_id: int) -> None:
    """Forget what only a living process has: its sockets, its queue. What it counted stays."""
    multiprocess.mark_process_dead(process_id, directory)
