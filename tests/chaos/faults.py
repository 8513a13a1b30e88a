"""What can happen to a running venue. Each fault returns when everything that it broke has been started again."""

import os
import signal
import socket
import time
from collections.abc import Callable

import psycopg2

from benchmarks.server import PrivateVenue, kill, wait_until

PAUSE_SECONDS = 10.0
#: For as long as Redis is gone, or hangs; the long form of the proofs takes a minute.
REDIS_DOWN_SECONDS = 3.0
#: Where the server's clock stands after each `move_clock`: an hour fast, an hour slow, right again.
CLOCK_OFFSETS = ("3600", "-3600", "0")


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


def hang_redis(venue: PrivateVenue) -> None:
    """Redis stands still with all its connections open, and has forgotten everything when it goes on."""
    os.kill(venue.redis.pid, signal.SIGSTOP)
    try:
        time.sleep(REDIS_DOWN_SECONDS)
    finally:
        os.kill(venue.redis.pid, signal.SIGCONT)
    flush_redis(venue)


def flush_redis(venue: PrivateVenue) -> None:
    """Everything in Redis is deleted under load, the memberships of the channel layer's groups with it."""
    with socket.create_connection(("127.0.0.1", venue.redis.port), timeout=10) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        answer = connection.recv(100)
    assert answer == b"+OK\r\n", answer


def move_clock(venue: PrivateVenue) -> None:
    """The server is killed and comes back with another idea of the time: what is stored lies in its future, then far
    in its past.
    """
    before = venue.extra_environment.get("CLOCK_OFFSET_SECONDS", "0")
    after = CLOCK_OFFSETS[(CLOCK_OFFSETS.index(before) + 1) % len(CLOCK_OFFSETS)]
    venue.extra_environment["CLOCK_OFFSET_SECONDS"] = after
    venue.server.environment["CLOCK_OFFSET_SECONDS"] = after
    kill_server(venue)


Fault = Callable[[PrivateVenue], None]
ONE_PROCESS: tuple[Fault, ...] = (
    kill_server, kill_postmaster, terminate_backends, restart_postgres, kill_everything, pause_server, move_clock,
)  # fmt: skip
SEVERAL_PROCESSES: tuple[Fault, ...] = (
    *ONE_PROCESS, kill_worker, kill_workers, lose_redis, flush_redis, hang_redis,
)  # fmt: skip
