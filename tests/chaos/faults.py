"""What can happen to a running venue. Each fault returns when everything that it broke has been started again."""

import os
import signal
import time
from collections.abc import Callable

import psycopg2

from benchmarks.server import PrivateVenue, kill, wait_until

PAUSE_SECONDS = 10.0
REDIS_DOWN_SECONDS = 3.0


def kill_server(venue: PrivateVenue) -> None:
    """-9 to the server with all its processes; started again."""
    venue.server.kill()
    venue.server.start()


def kill_worker(venue: PrivateVenue) -> None:
    """-9 to one server process of several; its parent starts another."""
    victim = venue.server.children()[0]
    kill(victim)
    wait_until(lambda: victim not in venue.server.children(), f"the end of process {victim}")
    wait_until(lambda: len(venue.server.children()) == venue.workers, "another server process")


def kill_workers(venue: PrivateVenue) -> None:
    """-9 to all server processes, but not to their parent."""
    victims = venue.server.children()
    for victim in victims:
        kill(victim)
    wait_until(lambda: not set(victims) & set(venue.server.children()), "the end of the server processes")
    wait_until(lambda: len(venue.server.children()) == venue.workers, "other server processes")


def kill_postmaster(venue: PrivateVenue) -> None:
    """-9 to PostgreSQL: everything that was not flushed is gone; started again."""
    venue.database.kill()
    venue.database.restart()


def kill_everything(venue: PrivateVenue) -> None:
    """-9 to PostgreSQL and all servers, as a power cut that spares the disk's cache."""
    venue.database.kill()
    venue.server.kill()
    venue.database.restart()
    venue.server.start()


def restart_postgres(venue: PrivateVenue) -> None:
    """An orderly restart (fast shutdown) under load."""
    venue.database.restart()


def terminate_backends(venue: PrivateVenue) -> None:
    """Every connection to the database is cut."""
    connection = psycopg2.connect(venue.database.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    finally:
        connection.close()


def pause_server(venue: PrivateVenue) -> None:
    """A server process stands still for ten seconds, with whatever locks it has; the others must go on."""
    victim = venue.server.children()[0] if venue.workers > 1 else venue.server.pid
    os.kill(victim, signal.SIGSTOP)
    try:
        time.sleep(PAUSE_SECONDS)
    finally:
        os.kill(victim, signal.SIGCONT)


def lose_redis(venue: PrivateVenue) -> None:
    """Redis is killed, and comes back empty."""
    venue.redis.kill()
    time.sleep(REDIS_DOWN_SECONDS)
    venue.redis.start()


Fault = Callable[[PrivateVenue], None]
ONE_PROCESS: tuple[Fault, ...] = (
    kill_server, kill_postmaster, terminate_backends, restart_postgres, kill_everything, pause_server,
)  # fmt: skip
SEVERAL_PROCESSES: tuple[Fault, ...] = (*ONE_PROCESS, kill_worker, kill_workers, lose_redis)
