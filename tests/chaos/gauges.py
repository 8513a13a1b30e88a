"""What a running venue costs its machine: memory, open files and connections, read from outside while it works."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import psycopg2

from benchmarks.server import PrivateVenue

SAMPLE_SECONDS = 1.0
MEGABYTE = 2**20


@dataclass
class Gauges:
    """One sample a second: the server's resident memory in MB, its TCP connections, its database's sessions."""

    memory: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)

    def take(self, venue: PrivateVenue, cursor) -> None:
        processes = servers(venue)
        self.memory.append(memory_of(processes))
        self.connections.append(sum(len(process.net_connections(kind="tcp")) for process in processes))
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        self.sessions.append(cursor.fetchone()[0])


def servers(venue: PrivateVenue) -> list[psutil.Process]:
    """The server's processes."""
    parent = psutil.Process(venue.server.pid)
    return [parent, *parent.children(recursive=True)] if venue.workers > 1 else [parent]


def memory_of(processes: list[psutil.Process]) -> float:
    """What they hold in memory, in MB."""
    return sum(process.memory_info().rss for process in processes) / MEGABYTE


@contextmanager
def watched(venue: PrivateVenue) -> Iterator[Gauges]:
    """Samples of the time of the block."""
    gauges, is_over = Gauges(), threading.Event()
    connection = psycopg2.connect(venue.database.url)
    connection.autocommit = True

    def sample() -> None:
        with connection.cursor() as cursor:
            while not is_over.wait(SAMPLE_SECONDS):
                gauges.take(venue, cursor)

    thread = threading.Thread(target=sample, name="gauges", daemon=True)
    thread.start()
    try:
        yield gauges
    finally:
        is_over.set()
        thread.join()
        connection.close()


def growth(samples: list[float]) -> float:
    """How much higher the last third is than the one before it, by their medians; what came before is warming up."""
    third = len(samples) // 3
    return _median(samples[-third:]) - _median(samples[-2 * third : -third]) if third else 0.0


def _median(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2]
