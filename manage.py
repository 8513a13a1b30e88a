#!/usr/bin/env python
"""The venue's commands. Those that use the database find the embedded one running while they need it."""

import os
import select
import signal
import sys

# These touch no database, or (serve, serve_worker) look after it themselves.
WITHOUT_DATABASE = {
    "check", "collectstatic", "compilemessages", "diffsettings", "findstatic", "help", "makemessages",
    "makemigrations", "serve", "serve_worker", "spectacular", "startapp", "startproject", "version",
}  # fmt: skip
HELP_WORDS = {"-h", "--help", "--version"}


def main() -> None:
    """Run one command, between acquiring and releasing the embedded database if it needs that."""
    replace_closed_streams()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import django.core.management  # noqa: F401
    except ImportError as error:
        sys.exit(f"Django is missing ({error}): use `make run`, or `pip install -r requirements.txt` first.")
    if needs_embedded_database(sys.argv):
        run_with_embedded_database(execute)
    else:
        execute(sys.argv)


def replace_closed_streams() -> None:
    """Have nothing in place of standard streams that are closed (`>&-`), for child processes too: Python has none to
    write to, and the next file or socket would get its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = open(os.devnull, mode)
            os.set_inheritable(nothing.fileno(), True)
            setattr(sys, name, nothing)


def execute(arguments: list[str]) -> None:
    """Run one command. A database that is not there, or holds no venue, ends it with one line that says so."""
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError
    from psycopg2.errors import UndefinedColumn, UndefinedTable

    try:
        execute_from_command_line(arguments)
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in arguments:
            raise
        if isinstance(error, OperationalError) or str(error).startswith("invalid dsn"):
            sys.exit(f"the database cannot be used; is DATABASE_URL right? {error}".strip())
        if isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            sys.exit(
                "there is no venue in this database, or one of another version; is DATA_DIR (or DATABASE_URL) right? "
                f"`manage.py migrate` makes it, and brings it up to date. {error}".strip()
            )
        raise
    except BrokenPipeError:
        if not is_unread(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python still writes at its end
        sys.exit(128 + signal.SIGPIPE)


def is_unread(stream) -> bool:
    """Whether whoever read this output has left, as `head` and `less` do."""
    poll = select.poll()
    poll.register(stream, 0)
    return bool(poll.poll(0))


def needs_embedded_database(arguments: list[str]) -> bool:
    """Whether this command line is for a command that needs a database that nobody else provides."""
    command = next((word for word in arguments[1:] if not word.startswith("-")), "help")
    asks_for_help = bool(HELP_WORDS & set(arguments[1:]))
    return not os.environ.get("DATABASE_URL") and command not in WITHOUT_DATABASE and not asks_for_help


def run_with_embedded_database(execute) -> None:
    """Hold the embedded database while the command runs; also when it fails or is told to stop."""
    from django.conf import settings

    from config import embedded

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cluster = embedded.acquire(settings.DATA_DIR)
    except embedded.EmbeddedError as error:
        sys.exit(str(error))
    try:
        execute(sys.argv)
    finally:
        cluster.release()


if __name__ == "__main__":
    if sys.stdout is not None:
        # A terminal that lacks a letter shows its number: `audit` would end with 1, as if it had found something.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
