"""The throw-away Redis: real, private, and back on its port after a crash."""

from __future__ import annotations

import redis

from config.embedded_redis import RedisServer


def test_it_starts_forgets_on_kill_comes_back_on_its_port_and_stops():
    server = RedisServer()
    with server:
        url, first = server.url, server.pid
        client = redis.Redis.from_url(url)
        client.set("key", "value")
        assert client.config_get("save")["save"] == "" and client.config_get("appendonly")["appendonly"] == "no"
        server.kill()
        server.start()
        assert server.url == url and server.pid != first
        assert client.get("key") is None
        directory = server._directory
        client.close()
    assert server.pid is None and not directory.exists()


def test_two_run_side_by_side():
    with RedisServer() as one, RedisServer() as other:
        assert one.url != other.url
        assert all(redis.Redis.from_url(each.url).ping() for each in (one, other))
