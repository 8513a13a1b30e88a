"""Backups: the whole database in one file, and back into an empty one, with PostgreSQL's own programs.

A dump is one consistent snapshot and may be taken while the venue trades. It holds no secrets of DATA_DIR: whoever
restores elsewhere takes `secret_key` along, or the API keys in the database cannot be unsealed.
"""

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from django.db import connection

from config.embedded_places import EmbeddedError, packaged_install

#: What libpq reads the connection from; a password is never an argument that others can see.
VARIABLES = {"dbname": "PGDATABASE", "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}


class DumpError(Exception):
    """It did not work; the text says why and what to do."""


def dump(file: Path) -> None:
    """Write the database to the file, which appears only when it is whole. DumpError."""
    try:
        is_there = file.exists()
    except OSError as error:
        raise DumpError(f"cannot write {file}: {error.strerror}") from error
    if is_there:
        raise DumpError(f"{file} exists already; choose another name")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('exchange_order')")
        if cursor.fetchone()[0] is None:
            raise DumpError("there is no venue in this database; is DATA_DIR (or DATABASE_URL) right?")
    # A name of its own: another backup may be on its way to the same file, also one whose command was killed.
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={partial}")
        if file.exists():
            raise DumpError(f"{file} exists by now: another backup was faster")
        partial.replace(file)
    except OSError as error:
        raise DumpError(f"cannot write {file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def restore(file: Path) -> None:
    """Read the file into the database, all or nothing. DumpError when there is something in it already.

    A dump holds no statistics, and without them the audit that comes next is planned badly: they are taken at once.
    """
    try:
        is_there = file.is_file()
    except OSError as error:
        raise DumpError(f"cannot read {file}: {error.strerror}") from error
    if not is_there:
        raise DumpError(f"there is no file {file}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        if cursor.fetchone()[0]:
            raise DumpError("the database is not empty: restore into a new DATA_DIR, or name an empty DATABASE_URL")
    connection.close()
    _run("pg_restore", "--no-owner", "--no-privileges", "--single-transaction", f"--dbname={_target()}", str(file))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _target() -> str:
    return str(connection.get_connection_params()["dbname"])


def _run(name: str, *arguments: str) -> None:
    command = [str(_program(name)), *arguments]
    answer = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DumpError(f"{name} failed: {answer.stderr.strip() or answer.returncode}")


def _environment() -> dict[str, str]:
    terms = connection.get_connection_params()
    return os.environ | {variable: str(terms[name]) for name, variable in VARIABLES.items() if terms.get(name)}


def _program(name: str) -> Path:
    """The embedded build's program, or that of the system where the server is newer than the embedded build."""
    with connection.cursor() as cursor:
        server = cursor.connection.server_version // 10_000
    found = []
    try:
        found.append(packaged_install() / "bin" / name)
    except EmbeddedError:
        pass
    if on_path := shutil.which(name):
        found.append(Path(on_path))
    for program in found:
        if _major(program) >= server:
            return program
    raise DumpError(f"no {name} for PostgreSQL {server} here: install PostgreSQL's client programs of that version")


def _major(program: Path) -> int:
    answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)", answer.stdout)
    return int(version.group(1)) if version else 0
