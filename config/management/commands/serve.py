"""`manage.py serve`: the whole venue from one command.

Takes the port, starts the embedded PostgreSQL unless DATABASE_URL is set, migrates, seeds an empty database,
serves until SIGINT, SIGTERM or SIGHUP (which a start by nohup ignores), and stops all that it started. Exit codes:
0 asked to stop, 1 could not start, 2 used wrongly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError, connection, connections
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.models import Count
from psycopg2.errors import InsufficientPrivilege

from accounts.models import User
from config import checks, embedded, serving, worker_pool
from config.management.commands.migrate import STARTING_LOCK
from exchange import demo
from exchange.simulator import scenario
from marketdata.leadership import alone
from marketdata.models import Asset, Market

#: Beside one address's sockets: everybody else's connections, those to the database, files.
OTHER_OPEN_FILES = 500


class Command(BaseCommand):
    help = "Starts everything: database, migrations, demo data, simulated market and server."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="address to listen on (HOST)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port, 0 takes a free one (PORT)")
        parser.add_argument("--server", choices=serving.SERVERS, default="uvicorn")
        parser.add_argument("--workers", type=int, default=settings.WORKERS, help="server processes (WORKERS)")
        parser.add_argument("--no-simulator", action="store_true", help="leave the books quiet (SIMULATOR=off)")
        parser.add_argument("--no-seed", action="store_true", help="leave an empty database empty (SEED_DEMO=off)")

    def handle(self, *, host: str, port: int, server: str, workers: int, **options: bool) -> None:
        if not 0 <= port <= 65_535:
            raise CommandError("PORT must be a whole number from 0 to 65,535.", returncode=2)
        if workers < 1:
            raise CommandError("WORKERS must be at least 1.", returncode=2)
        if workers > 1 and not settings.REDIS_URL:
            raise CommandError(
                "several server processes (WORKERS) reach each other through Redis: set REDIS_URL, or WORKERS=1.",
                returncode=2,
            )
        if reasons := checks.unsafe(debug=settings.DEBUG, host=host, secret_key=settings.SECRET_KEY):
            raise CommandError(" ".join(reasons), returncode=2)
        if options["no_simulator"]:
            os.environ["SIMULATOR"] = "off"  # for the server processes
            settings.SIMULATOR = False
        _check_scenario()
        serving.stop_on_signals()
        seeds = settings.SEED_DEMO and not options["no_seed"]
        try:
            # Nothing needs to be collected into it, but whitenoise warns if it is missing.
            Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"DATA_DIR must be a folder that can be written to: {error}.") from error
        try:
            self._serve(host, port, server, workers, seeds)
        except (serving.PortError, serving.ClaimError, embedded.EmbeddedError, worker_pool.WorkerFailed) as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            raise CommandError(f"the database does not answer; is DATABASE_URL right? {error}".strip()) from error

    def _serve(self, host: str, port: int, server: str, workers: int, seeds: bool) -> None:
        with serving.listen(host, port) as listener, self._database():
            self._allow_open_files()
            logins = self._prepare_database(seeds)
            ready = self._announcer(listener, server, workers, logins)
            if workers == 1:
                serving.run(listener, server=server, ready=ready)
            else:
                worker_pool.WorkerPool(listener, count=workers, server=server).run(ready)

    @contextmanager
    def _database(self) -> Iterator[None]:
        with ExitStack() as stack:
            if not settings.DATABASE_URL:
                stack.enter_context(serving.claim(settings.DATA_DIR, shared=bool(settings.REDIS_URL)))
                self._say(f"starting the embedded PostgreSQL in {settings.DATA_DIR}")
                cluster = embedded.acquire(settings.DATA_DIR)
                stack.callback(self._say, "stopped")
                stack.callback(cluster.release)
                cluster.keep_running()
            stack.callback(connections.close_all)
            stack.callback(serving.ignore_signals)
            yield

    def _prepare_database(self, seeds: bool) -> str:
        """Migrate and seed; returns which demo logins there are."""
        with alone(STARTING_LOCK):
            _check_encoding()
            self._say("migrating")
            _migrate()
            if seeds and not Market.objects.exists():
                call_command("seed_demo", stdout=self.stdout)
            _check_portfolio_quote()
            logins = _demo_logins()
        connections.close_all()  # nothing here asks the database while the servers run
        return logins

    def _announcer(self, listener: socket, server: str, workers: int, logins: str) -> Callable[[], None]:
        address = serving.address_of(listener)
        database = _database_name()
        simulator = "on" if settings.SIMULATOR else "off"

        def announce() -> None:
            self.stdout.write(
                f"\nThe venue is open at {address}/\n"
                f"  API docs   {address}/api/docs/\n"
                f"  admin      {address}/admin/\n"
                f"  health     {address}/health/ready\n"
                f"  logins     {logins}\n"
                f"  database   {database}\n"
                f"  server     {server}, {workers} {'process' if workers == 1 else 'processes'}\n"
                f"  simulator  {simulator}\n"
                "Stop it with Ctrl-C.\n"
            )
            self.stdout.flush()

        return announce

    def _allow_open_files(self) -> None:
        allowed = serving.allow_open_files()
        if allowed < settings.SOCKETS_PER_ADDRESS + OTHER_OPEN_FILES:
            self._say(
                f"a process may have at most {allowed} files and connections here; more get no answer. "
                f"Raise that (ulimit -n), or have SOCKETS_PER_ADDRESS, now {settings.SOCKETS_PER_ADDRESS}, lower."
            )

    def _say(self, text: str) -> None:
        self.stdout.write(f"venue: {text}")
        self.stdout.flush()


def _check_encoding() -> None:
    """Of a database in which nothing stands yet: later, every name with a letter that it lacks would be an error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_encoding'), to_regclass('django_migrations') IS NULL")
        encoding, is_new = cursor.fetchone()
    if is_new and encoding != "UTF8":
        raise CommandError(
            f"the database keeps texts in {encoding}, which has not all letters: make it anew, with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )


def _migrate() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except (ProgrammingError, MigrationSchemaMissing) as error:
        cause = error if isinstance(error, ProgrammingError) else error.__context__
        if cause is None or not isinstance(cause.__cause__, InsufficientPrivilege):
            raise
        database, role = connection.settings_dict["NAME"], connection.settings_dict["USER"]
        reason = str(cause).partition("\n")[0]
        raise CommandError(
            f"the role {role} may not make or change the venue's tables ({reason}). The database's owner may: "
            f'ALTER DATABASE "{database}" OWNER TO "{role}", and tables that are there already must be its own too.'
        ) from error


def _check_scenario() -> None:
    """The simulator would refuse it too, but only once the venue is open."""
    if not (settings.SIMULATOR and settings.SIMULATOR_SCENARIO):
        return
    try:
        scenario.load(settings.SIMULATOR_SCENARIO)
    except scenario.ScenarioError as error:
        raise CommandError(f"SIMULATOR_SCENARIO is not playable: {error}", returncode=2) from None


def _check_portfolio_quote() -> None:
    """Portfolios could not be valued. A venue without any asset has time to get this one."""
    symbols = Asset.objects.values_list("symbol", flat=True)
    if not symbols or settings.PORTFOLIO_QUOTE in symbols:
        return
    # What markets trade for is a likelier choice than what is traded there.
    likeliest = symbols.annotate(markets=Count("markets_as_quote")).order_by("-markets", "symbol").first()
    raise CommandError(
        f"what portfolios are valued in, PORTFOLIO_QUOTE, is {settings.PORTFOLIO_QUOTE}, which is no asset of this "
        f"venue: set it to one that is (PORTFOLIO_QUOTE={likeliest} make run).",
        returncode=2,
    )


def _demo_logins() -> str:
    if not User.objects.filter(username__in=demo.USERS).exists():
        return "those that you made; no demo users here"
    path = demo.operator_password_path()
    where = f"password in {path}" if path.exists() else "new password: manage.py seed_demo --reset-operator-password"
    operator = f"{demo.OPERATOR} ({where})"
    return f"{', '.join(demo.USERS)} (password {demo.PASSWORD}), {operator}"


def _database_name() -> str:
    """Where the data is, without the password."""
    if not settings.DATABASE_URL:
        return f"embedded PostgreSQL, data in {settings.DATA_DIR}"
    parts = urlsplit(settings.DATABASE_URL)
    return f"PostgreSQL at {parts.hostname or 'a local socket'}{parts.path}"
