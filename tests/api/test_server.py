"""The server's own side: the lifespan, the threads of the stock way, the checks of a deployment."""

import asyncio

from django.core.checks import run_checks
from django.db import connection

from config import background, stock
from marketdata.threads import Pool


def lifespan(monkeypatch, startup, shutdown) -> list[dict]:
    """What the application tells a server that starts and stops it."""
    monkeypatch.setattr(background, "startup", startup)
    monkeypatch.setattr(background, "shutdown", shutdown)
    asked, told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []

    async def receive():
        return asked.pop(0)

    async def send(message):
        told.append(message)

    asyncio.run(background.lifespan({"type": "lifespan"}, receive, send))
    return told


async def nothing():
    pass


async def fail():
    raise RuntimeError("no hub")


def test_lifespan(monkeypatch):
    told = lifespan(monkeypatch, nothing, nothing)
    assert [message["type"] for message in told] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_background_that_does_not_start_stops_the_server(monkeypatch):
    (told,) = lifespan(monkeypatch, fail, nothing)
    assert told == {"type": "lifespan.startup.failed", "message": "no hub"}


def _backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_a_thread_keeps_its_connection_and_gives_it_back(transactional_db):
    pool = Pool(1, "test")

    async def twice():
        return await pool.run(_backend), await pool.run(_backend)

    first, second = asyncio.run(twice())
    assert first == second != _backend()
    pool.stop()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state <> 'idle'", [first])
        assert cursor.fetchone()[0] == 0
    third, _ = asyncio.run(twice())
    assert third != first
    pool.stop()


def test_a_thread_gets_a_new_connection_for_a_broken_one(transactional_db):
    pool, other = Pool(1, "test"), Pool(1, "other")

    async def around(kill):
        first = await pool.run(_backend)
        await other.run(kill, first)
        return first, await pool.run(_backend)

    def kill(backend):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])

    first, second = asyncio.run(around(kill))
    assert first != second
    pool.stop()
    other.stop()


def test_many_stock_requests_share_few_connections(api):
    stock.requests.stop()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity")
        before = cursor.fetchone()[0]
    for _ in range(3 * stock.REQUEST_THREADS):
        assert api("GET", "/api/v1/me/").status == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity")
        assert cursor.fetchone()[0] <= before + stock.REQUEST_THREADS


def test_deployment_checks(settings):
    settings.FAUCET, settings.SIMULATOR, settings.RATE_LIMITS = True, False, False
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "somebody.Else"]
    found = {finding.id for finding in run_checks(include_deployment_checks=True)}
    assert {"venue.W001", "venue.W002", "venue.W004"} <= found and "venue.W003" not in found
