"""The log: one line a record for people and for machines, naming the request it belongs to and nobody's person."""

import asyncio
import io
import json
import logging
import logging.config

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer

from config import logs
from config.embedded_redis import RedisServer
from exchange.sequencer import sequencer
from tests.patience import until

ORDER = {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"}


@pytest.fixture
def lines():
    """What is logged meanwhile, in either form: `lines("json")`."""
    root, handlers = logging.getLogger(), []

    def written(form: str):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter({"text": logs.TextFormatter, "json": logs.JsonFormatter}[form]())
        handler.addFilter(logs.Origin())
        root.addHandler(handler)
        handlers.append(handler)
        return lambda: stream.getvalue().splitlines()

    level, _ = root.level, root.setLevel(logging.INFO)
    yield written
    root.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


@pytest.mark.parametrize("lean", [True, False])
def test_one_line_a_request_where_asked_for(api, lines, settings, lean):
    settings.LEAN, api.application = lean, logs.RequestLog(api.application)
    written = lines("json")
    api("POST", "/api/orders?note=s3cret", ORDER, headers={"X-Request-ID": "mine-7"})
    api("GET", "/api/v1/nowhere/", token=None, headers={"X-Request-ID": "bad id\n"})
    api("GET", "/api/nowhere/%0aforged%20line/")
    placed, nowhere, forged = [record for record in map(json.loads, written()) if record["logger"] == "venue.requests"]
    assert {name: placed[name] for name in ("method", "path", "status", "request_id", "level")} == {
        "method": "POST", "path": "/api/orders", "status": 201, "request_id": "mine-7", "level": "INFO",
    }  # fmt: skip
    assert placed["milliseconds"] > 0 and placed["message"].startswith("POST /api/orders 201 ")
    assert nowhere["status"] == 404 and nowhere["request_id"] not in ("", "bad id\n")
    assert forged["path"] == "/api/nowhere/%0Aforged%20line/"
    assert "s3cret" not in "".join(written()) and api.token not in "".join(written())
    assert "ann" not in "".join(written()) and "127.0.0.1" not in "".join(written())


@pytest.mark.parametrize("lean", [True, False])
def test_what_is_logged_on_behalf_of_a_request_names_it(api, lines, settings, monkeypatch, lean):
    settings.LEAN = lean
    monkeypatch.setattr(
        "exchange.api.doors.place_command", lambda *_: logging.getLogger("venue.test").warning("deep inside") or 1 / 0
    )
    text, machine = lines("text"), lines("json")
    assert api("POST", "/api/v1/orders/", ORDER, headers={"X-Request-ID": "bug-9"}).status == 500
    first, *_ = [line for line in text() if "deep inside" in line]
    assert "bug-9" in first.rpartition("[")[2]
    records = [json.loads(line) for line in machine()]
    assert {record.get("request_id") for record in records} == {"bug-9"}
    (failed,) = [record for record in records if "exception" in record]
    assert failed["exception"].endswith("ZeroDivisionError: division by zero\n") and failed["level"] == "ERROR"


def test_a_redis_that_is_away_is_one_short_line_a_minute(lines, monkeypatch):
    """However often the channel layer tries to listen again."""
    tries, log = [], logging.getLogger("channels_redis.pubsub")

    async def listen() -> None:
        redis = RedisServer().start()
        layer = RedisPubSubChannelLayer(hosts=[redis.url])
        await layer.group_add("venue", await layer.new_channel())
        redis.stop()
        await until(lambda: len(tries) >= 3, "the third try")
        await layer.flush()

    for known in log.filters:
        monkeypatch.setattr(known, "silent_until", 0.0)
    monkeypatch.setattr(log, "filters", [lambda record: tries.append(record) or True, *log.filters])
    text, machine = lines("text"), lines("json")
    asyncio.run(listen())
    assert len(text()) == 1 and len(text()[0]) < 300
    (record,) = map(json.loads, machine())
    assert (record["level"], record["logger"]) == ("WARNING", "channels_redis.pubsub") and "exception" not in record


@pytest.mark.parametrize("path", ["/api/v1/markets/", "/api/v1/orderbook/AAPL/", "/", "/admin/"])
def test_a_foreign_host_is_one_short_line(api, lines, path):
    text, machine = lines("text"), lines("json")
    for host in ("evil.example", "100%.example", "evil.example" + "x" * 5000):
        assert api("GET", path, token=None, headers={"Host": host}).status == 400
    logged = text()
    assert len(logged) == 3 and "'evil.example'" in logged[0] and max(map(len, logged)) < 400
    records = [json.loads(line) for line in machine()]
    assert {(record["level"], "exception" in record, record["logger"]) for record in records} == {
        ("WARNING", False, "django.security.DisallowedHost")
    }


def test_threads_and_tasks_are_named(venue, lines, monkeypatch):
    venue.trader("ann", USD=1_000)
    written = lines("json")
    attempt, note = sequencer._attempt, logging.getLogger("venue.test").info
    monkeypatch.setattr(sequencer, "_attempt", lambda waiting: note("a batch") or attempt(waiting))
    venue.order("ann BUY 1 AAPL @ 100")
    (record,) = map(json.loads, written())
    assert (record["origin"], "request_id" in record) == ("sequencer", False)


def test_the_configuration_is_one_that_logging_takes(capsys):
    configuration = logs.configuration(form="json", level="INFO")
    assert set(configuration["handlers"]["console"]) >= {"formatter", "filters"}
    configurator = logging.config.DictConfigurator(configuration)
    configurator.config["formatters"]["line"] = configurator.configure_formatter(configuration["formatters"]["line"])
    configurator.config["filters"]["origin"] = configurator.configure_filter(configuration["filters"]["origin"])
    handler = configurator.configure_handler(dict(configuration["handlers"]["console"]))
    record = logging.makeLogRecord({"msg": "two\nlines %s", "args": ("more",), "levelname": "INFO"})
    assert handler.filter(record)
    assert json.loads(handler.format(record))["message"] == "two\nlines more"
