"""What `manage.py top` shows: a sample of the venue, and a frame drawn from two of them.

A sample is one scrape of /metrics, one read of all tickers and one look into PostgreSQL's own views; none of them grows
with the history or the books. Rates and times are what happened between two samples. Without a server that answers the
frame shows what the database knows.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPException

from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from config.health_probe import DIRECTLY
from marketdata.models import Market

ANSWER_SECONDS = 5
STAGES = ("lock", "decide", "commit", "publish")
#: name and labels of a sample of Prometheus
Key = tuple[str, tuple[tuple[str, str], ...]]

DATABASE = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'),
       (SELECT count(*) FROM pg_locks WHERE NOT granted),
       (SELECT COALESCE(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid()),
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())
"""


@dataclass(slots=True)
class Sample:
    """The venue at one moment. `error` says why no server answered, if none did."""

    taken: float = field(default_factory=time.monotonic)
    metrics: dict[Key, float] = field(default_factory=dict)
    tickers: list[dict] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    database: tuple = (0, 0, 0, 0, 0, 0)
    error: str = ""


def sample(url: str, token: str = "") -> Sample:
    """Look at everything now; a server that does not answer is told in `error`."""
    found = Sample()
    found.statuses = dict(Market.objects.filter(is_active=True).order_by("symbol").values_list("symbol", "status"))
    with connection.cursor() as cursor:
        cursor.execute(DATABASE)
        found.database = cursor.fetchone()
    try:
        found.metrics = parse(_get(f"{url}/metrics", token))
        found.tickers = json.loads(_get(f"{url}/api/v1/tickers/?page_size=500", ""))["results"]
    except urllib.error.HTTPError as error:
        found.error = f"{error.url} answers {error.code}" + (": set METRICS_TOKEN" if error.code == 403 else "")
    except (OSError, ValueError, HTTPException) as error:  # the last: one that ended in the midst of its answer
        found.error = f"no server answers at {url}: {getattr(error, 'reason', error)}"
    return found


def _get(url: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with DIRECTLY.open(urllib.request.Request(url, headers=headers), timeout=ANSWER_SECONDS) as answer:
        return answer.read().decode()


def parse(text: str) -> dict[Key, float]:
    """The venue's own samples of a scrape."""
    families = text_string_to_metric_families(text)
    samples = (one for family in families if family.name.startswith("venue_") for one in family.samples)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for one in samples}


# Two samples


@dataclass(slots=True)
class Between:
    """What happened from one sample to the next."""

    before: Sample
    now: Sample

    @property
    def seconds(self) -> float:
        return max(0.001, self.now.taken - self.before.taken)

    def value(self, name: str, **labels: str) -> float:
        return self.now.metrics.get((name, tuple(sorted(labels.items()))), 0.0)

    def grown(self, name: str, **labels: str) -> float:
        """By how much a counter grew; a server that began anew counts from 0."""
        key = (name, tuple(sorted(labels.items())))
        now, before = self.now.metrics.get(key, 0.0), self.before.metrics.get(key, 0.0)
        return now - before if now >= before else now

    def rate(self, name: str, **labels: str) -> float:
        return self.grown(name, **labels) / self.seconds

    def rates(self, name: str, label: str) -> dict[str, float]:
        """The rates of a counter by its one label, the highest first; only those that moved."""
        found = {dict(labels)[label] for one, labels in self.now.metrics if one == name}
        every = {value: self.rate(name, **{label: value}) for value in found}
        return dict(sorted(((value, rate) for value, rate in every.items() if rate), key=lambda pair: -pair[1]))

    def mean(self, name: str, **labels: str) -> float:
        """Of a histogram between the samples; 0 when nothing was observed."""
        count = self.grown(f"{name}_count", **labels)
        return self.grown(f"{name}_sum", **labels) / count if count else 0.0


# The frame

BOLD, RED, PLAIN = "\033[1m", "\033[31m", "\033[0m"


def frame(between: Between, *, width: int = 100, height: int = 0, is_colored: bool = False) -> list[str]:
    """The lines of a frame; `height` 0 for all of them."""
    lines = [*_head(between), "", *_work(between), "", *_database(between), "", *_markets(between)]
    if height and len(lines) > height:
        lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more"]
    return [_painted(line[:width], is_colored) for line in lines]


def _painted(line: str, is_colored: bool) -> str:
    if not is_colored or not line:
        return line
    if line.startswith("!"):
        return f"{RED}{line}{PLAIN}"
    return f"{BOLD}{line}{PLAIN}" if line.isupper() or line.startswith("VENUE") else line


def _head(between: Between) -> Iterable[str]:
    kinds = {dict(labels)["kind"]: n for (name, labels), n in between.now.metrics.items() if name == "venue_sockets"}
    each = ", ".join(f"{kind} {n:.0f}" for kind, n in sorted(kinds.items()) if n)
    workers, sockets = between.value("venue_workers"), sum(kinds.values())
    yield f"VENUE  {time.strftime('%H:%M:%S')}  processes {workers:.0f}  sockets {sockets:.0f}" + (
        f" ({each})" if each else ""
    )
    if between.now.error:
        yield f"! {between.now.error}"
    if violations := between.value("venue_audit_violations"):
        yield f"! the last audit found {violations:.0f} violations"
    if stale := between.value("venue_stale_quotes"):
        yield f"! {stale:.0f} markets have a stale quote"


def _work(between: Between) -> Iterable[str]:
    commands = between.rates("venue_commands_total", "kind")
    refusals = between.rates("venue_refusals_total", "code")
    yield "WORK"
    yield f"commands/s {_number(sum(commands.values()))}   {_listed(commands)}"
    yield f"refusals/s {_number(sum(refusals.values()))}   {_listed(refusals)}"
    yield (
        f"trades/s   {_number(between.rate('venue_trades_total'))}   batches/s"
        f" {_number(between.rate('venue_batch_commands_count')).strip()}"
        f"   in one {between.mean('venue_batch_commands'):.1f}   waiting {between.value('venue_queue_commands'):.0f}"
        f"   tried again {between.rate('venue_batch_failures_total'):.1f}/s"
    )
    stages = "   ".join(f"{stage} {1000 * between.mean('venue_batch_seconds', stage=stage):.2f}" for stage in STAGES)
    lags = "   ".join(
        f"{stage} {1000 * between.mean('venue_publish_lag_seconds', stage=stage):.1f}" for stage in ("hub", "socket")
    )
    yield f"batch, ms  {stages}      lag, ms  {lags}"


def _database(between: Between) -> Iterable[str]:
    size, connections, active, waiting, oldest, commits = between.now.database
    yield "DATABASE"
    yield (
        f"size {size / 1e6:,.1f} MB   connections {connections} ({active} active)"
        f"   transactions/s {_number((commits - between.before.database[-1]) / between.seconds).strip()}"
        f"   oldest {oldest:.1f} s"
    )
    yield f"{'! ' if waiting else ''}waiting for locks {waiting}"


def _markets(between: Between) -> Iterable[str]:
    head = ("MARKET", "STATUS", "LAST", "BID", "ASK", "24 H %", "24 H VOLUME", "24 H TRADES", "COMMANDS/S")
    before = {row["symbol"]: row["sequence"] for row in between.before.tickers}
    rows = {row["symbol"]: row for row in between.now.tickers}
    table = [head]
    for symbol, status in between.now.statuses.items():
        row = rows.get(symbol, {})
        moved = (row["sequence"] - before[symbol]) / between.seconds if symbol in before and row else 0
        cells = [row.get(name) for name in ("last", "bid", "ask", "change_percent", "quote_volume", "trades")]
        table.append((symbol, status, *("-" if cell is None else str(cell) for cell in cells), f"{moved:,.1f}"))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for symbol, status, *numbers in table:
        cells = [symbol.ljust(widths[0]), status.ljust(widths[1])]
        yield "  ".join([*cells, *(cell.rjust(width) for cell, width in zip(numbers, widths[2:], strict=True))])


def _number(value: float) -> str:
    return f"{value:>9,.1f}"


def _listed(rates: dict[str, float]) -> str:
    return "  ".join(f"{name} {rate:,.1f}" for name, rate in rates.items())
