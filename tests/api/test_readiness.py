"""GET /health/ready says no while the venue could take no order, in a word why, and yes as soon as it could."""

from threading import current_thread

import psycopg2
import pytest
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

from config import readiness

ORDER = {"symbol": "AAPL", "side": "buy", "price": 100, "quantity": 1}
DEPOSIT = {"asset": "USD", "amount": 1}


@pytest.fixture
def operator(api):
    """Statements of a session that may write whatever becomes of the database; the others begin anew after each."""
    own = psycopg2.connect(connection.connection.dsn)
    own.autocommit = True
    database = connection.settings_dict["NAME"]

    def execute(statement: str) -> None:
        with own.cursor() as cursor:
            cursor.execute(statement.format(database=database))
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    execute("SET default_transaction_read_only = off")
    yield execute
    execute("ALTER DATABASE {database} RESET ALL")
    connection.close()
    own.close()


def ready(api) -> tuple[int, dict[str, str]]:
    """The status, and what is wrong."""
    answer = api("GET", "/health/ready", token=None)
    return answer.status, {name: word for name, word in answer.json["checks"].items() if word not in ("ok", "none")}


def statuses(api) -> list[int]:
    """Of an order and a deposit."""
    return [api("POST", f"/api/v1/{path}/", body).status for path, body in (("orders", ORDER), ("wallet", DEPOSIT))]


def test_a_read_only_database(api, operator):
    assert (ready(api), statuses(api)) == ((200, {}), [201, 201])
    operator("ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert statuses(api) == [503, 503]
    assert [ready(api) for _ in range(3)] == [(503, {"sequencer": "ReadOnlySqlTransaction"})] * 3
    operator("ALTER DATABASE {database} RESET ALL")
    assert (ready(api), statuses(api)) == ((200, {}), [201, 201])


def test_no_connection_left_for_the_writer(api, operator, monkeypatch):
    """Whoever has one keeps it: readers may still be served."""
    assert statuses(api) == [201, 201]
    connect = DatabaseWrapper.get_new_connection

    def refuse(wrapper, parameters):
        raise psycopg2.OperationalError("FATAL:  sorry, too many clients already")

    def only_readers(wrapper, parameters):
        return (refuse if current_thread().name == "sequencer" else connect)(wrapper, parameters)

    operator("SELECT 1")
    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", only_readers)
    assert api("POST", "/api/v1/orders/", ORDER).status == 503
    assert ready(api) == (503, {"sequencer": "TooManyConnections"})
    monkeypatch.undo()
    assert (ready(api), statuses(api)) == ((200, {}), [201, 201])
    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", refuse)
    operator("SELECT 1")
    assert ready(api)[1]["database"] == "TooManyConnections"
    for page in ("/", "/admin/"):
        answer = api("GET", page, headers={"Cookie": "sessionid=" + "a" * 32}, token=None)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.body == b"The database does not answer; try again.\n"
    monkeypatch.undo()


def test_a_database_that_leaves_while_it_is_asked(api, operator, monkeypatch):
    """After the checks that decide: the feeds are only told."""
    monkeypatch.setattr(readiness, "_ask_a_book", lambda: operator("SELECT 1"))
    status, wrong = ready(api)
    assert (status, wrong.keys()) == (200, {"feeds"})
    monkeypatch.undo()
    assert ready(api) == (200, {})


@pytest.mark.parametrize("setting", ["temp_file_limit = 0", "statement_timeout = '30s'"])
def test_a_database_of_little_liberty_is_ready(api, operator, setting):
    operator(f"ALTER DATABASE {{database}} SET {setting}")
    assert (ready(api), statuses(api)) == ((200, {}), [201, 201])
