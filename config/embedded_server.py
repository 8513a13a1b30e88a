"""Starting, finding and stopping the server process of one embedded cluster.

Whoever calls holds the start lock of `config.embedded`, so nothing here races with another process.
Invariants: a living server is told by its process, never by a file alone; a server that is started here
either takes connections or is gone when the call ends; a cluster appears at its place complete or not at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2

from config import children, embedded_places
from config.embedded_places import WITHOUT_EMBEDDED, EmbeddedError, Places

DATABASE = "venue"
SUPERUSER = "venue"
PORT = 5432  # names the socket file only; nothing listens on TCP
SOCKET_FILE = f".s.PGSQL.{PORT}"
START_SECONDS = 300  # crash recovery after a large backlog takes its time
LEAVE_SECONDS = 30
STOP_SECONDS = 60
POLL_SECONDS = 0.02
LOG_LIMIT_BYTES = 10_000_000

SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "fsync": "on",
    "log_min_messages": "warning",
    # What was refused is in the log, but not the statement and the row: they have names, addresses and hashes in them.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "logging_collector": "off",
}

HINTS = {
    "No space left on device": "the disk is full: free some space, or choose another DATA_DIR",
    "Cannot allocate memory": "there is too little memory: close something",
    "is not compatible with this version": "the data was written by another version of PostgreSQL: "
    "install the requirements it was made with, or move DATA_DIR away to start afresh",
    "could not look up effective user ID": "this user id has no entry in /etc/passwd",
    "could not open shared memory segment": "/dev/shm must be open to everybody (chmod 1777 /dev/shm)",
    "Permission denied": "a file there belongs to somebody else: run as the same user as before",
}


# The server's state


def server_pid(places: Places) -> int | None:
    """The process id of the living server of this cluster, by its own pid file."""
    pid = _pid_in(places.cluster / "postmaster.pid")
    # The number may long belong to another process. A server's working directory is its cluster, even if
    # moved.
    if pid is None or not _is_postgres(pid):
        return None
    return pid if _works_in(pid, places.cluster) or str(places.cluster) in _arguments_of(pid) else None


def _socket_owner(places: Places) -> int | None:
    """The process id of the living server that owns our socket, whatever its cluster."""
    pid = _pid_in(places.socket_dir / f"{SOCKET_FILE}.lock")
    is_owner = pid is not None and _is_postgres(pid) and str(places.socket_dir) in _arguments_of(pid)
    return pid if is_owner else None


def _pid_in(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postgres(pid: int) -> bool:
    return Path(_arguments_of(pid)[0]).name == "postgres"


def _works_in(pid: int, directory: Path) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return False


def _arguments_of(pid: int) -> list[str]:
    """The command line of a process; empty words if it has ended (a zombie has none)."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return [""]
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.split() or [""]


def _connect(places: Places, database: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=str(places.socket_dir), port=PORT, user=SUPERUSER, dbname=database, connect_timeout=5
    )


def accepts(places: Places) -> bool:
    try:
        _connect(places, "postgres").close()
    except psycopg2.OperationalError as error:
        return "too many clients" in str(error) or "connection slots" in str(error)
    return True


# Starting


def ensure_running(
    places: Places, overrides: dict[str, str], start_lock: int, is_wanted: Callable[[], bool] = lambda: True
) -> subprocess.Popen | None:
    """The process of the server if it was started here. `start_lock`: what the caller holds, an open file.

    A start is given up, by an EmbeddedError, as soon as it is not wanted any more.
    """
    _require_owner(places)
    if server_pid(places) is not None and _becomes_ready(places):
        return None
    embedded_places.make_socket_dir(places)
    stop_stranger(places)
    programs = embedded_places.binaries(places.user)
    settings = SERVER_SETTINGS | overrides
    if not places.is_initialised:
        _initialise(places, programs, start_lock, safely=settings["fsync"] == "on")
    _require_access(places)
    process = _start(places, programs, settings, is_wanted)
    _create_database(places)
    return process


def _becomes_ready(places: Places) -> bool:
    """Wait until a server found alive takes connections; False once it has ended, or was ended as
    unreachable.
    """
    deadline = time.monotonic() + START_SECONDS
    while server_pid(places) is not None:
        if accepts(places):
            return True
        if not (places.socket_dir / SOCKET_FILE).exists() and _is_ready_by_its_own_word(places):
            stop(places)  # its socket was swept away: nobody can ever reach it again
            return False
        if time.monotonic() > deadline:
            raise _failure(places, "the server that runs already does not answer")
        time.sleep(POLL_SECONDS)
    return False


def _is_ready_by_its_own_word(places: Places) -> bool:
    try:
        return (places.cluster / "postmaster.pid").read_text().rstrip().endswith("ready")
    except OSError:
        return False


def stop_stranger(places: Places) -> None:
    """End a server that still owns our socket although its data directory was deleted and made anew."""
    pid = _socket_owner(places)
    if pid is not None:
        _end(pid, lambda: _socket_owner(places) is not None)


def _initialise(places: Places, programs: Path, start_lock: int, *, safely: bool) -> None:
    if places.cluster.exists() and any(places.cluster.iterdir()):
        raise EmbeddedError(
            f"{places.cluster} is not a PostgreSQL cluster and not empty: "
            "move it away, or choose another DATA_DIR."
        )
    fresh = embedded_places.make_empty_cluster_dir(places)
    command = [str(programs / "initdb"), "-D", str(fresh)]
    try:
        making = [*command, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        answer = _run(places, making, start_lock)
        if answer.returncode == 0 and safely:
            answer = _run(places, [*command, "--sync-only"], start_lock)
        if answer.returncode != 0:
            raise EmbeddedError(_explained("initdb failed", answer.stdout + answer.stderr))
        if places.entry.is_dir() and not places.entry.is_symlink():
            places.entry.rmdir()
        embedded_places.install_cluster(places, fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _run(places: Places, command: list[str], start_lock: int) -> subprocess.CompletedProcess:
    """Run it to its end. It holds the lock too: if this process is killed meanwhile, nobody else starts beside it."""
    return children.run(
        command,
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[start_lock],
        **places.user.popen_options,
    )


def _environment() -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))
    }
    return inherited | {"LC_ALL": "C", "TZ": "UTC"}


def _require_owner(places: Places) -> None:
    if not places.cluster.exists():
        if places.entry.is_symlink():
            raise EmbeddedError(
                f"{places.entry} leads to {places.cluster}, which does not exist: bring it back, "
                "or remove that link to start with an empty database."
            )
        return
    owner = places.cluster.stat().st_uid
    if owner != places.user.uid:
        raise EmbeddedError(
            f"{places.cluster} belongs to user id {owner}: run as that user (or as root), "
            "or choose another DATA_DIR."
        )


def _require_access(places: Places) -> None:
    if not embedded_places.can_write(places.cluster, places.user):
        raise EmbeddedError(
            f"user id {places.user.uid} can no longer enter {places.cluster}: open the directories above it, "
            "or choose another DATA_DIR."
        )


def _start(
    places: Places, programs: Path, settings: dict[str, str], is_wanted: Callable[[], bool]
) -> subprocess.Popen:
    """Start the server and wait until it takes connections."""
    command = [str(programs / "postgres"), "-D", str(places.cluster), "-k", str(places.socket_dir)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + START_SECONDS
    leave_deadline = time.monotonic() + LEAVE_SECONDS
    while True:
        _clear_stale_pid_file(places)
        log_start = _rotated_log_size(places)
        process = _spawn(places, command)
        if _wait_ready(places, process, deadline, is_wanted):
            return process
        text = _log_since(places, log_start)
        # The last backends of a killed server need a moment to notice and leave.
        if "pre-existing shared memory block" not in text or time.monotonic() > leave_deadline:
            raise _failure(places, "PostgreSQL did not start", text)
        time.sleep(POLL_SECONDS * 10)


def _spawn(places: Places, command: list[str]) -> subprocess.Popen:
    with open(places.log, "ab") as log:
        return children.spawn(
            command,
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we stop the server in order
            umask=0o077,
            **places.user.popen_options,
        )


def _wait_ready(
    places: Places, process: subprocess.Popen, deadline: float, is_wanted: Callable[[], bool]
) -> bool:
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if not is_wanted():
                raise EmbeddedError("the start was given up.")
            if accepts(places):
                return True
            time.sleep(POLL_SECONDS)
    except BaseException:
        if process.poll() is None:
            _end(process.pid, lambda: process.poll() is None)
        raise
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        process.wait()
    return False


def _clear_stale_pid_file(places: Places) -> None:
    """PostgreSQL refuses to start if the pid in an old file belongs to any living process of the same
    user.
    """
    if server_pid(places) is None:
        (places.cluster / "postmaster.pid").unlink(missing_ok=True)
        (places.socket_dir / f"{SOCKET_FILE}.lock").unlink(missing_ok=True)


def _create_database(places: Places) -> None:
    connection = _connect(places, "postgres")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()


# Stopping


def stop(places: Places) -> None:
    pid = server_pid(places)
    if pid is not None:
        _end(pid, lambda: server_pid(places) is not None)
    try:
        places.socket_dir.rmdir()
    except OSError:
        pass


def _end(pid: int, is_alive: Callable[[], bool]) -> None:
    for order in (signal.SIGINT, signal.SIGQUIT):  # fast shutdown, then immediate
        try:
            os.kill(pid, order)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if not is_alive():
            return
    raise EmbeddedError(f"PostgreSQL (process {pid}) does not stop; end it by hand.")


# Messages


def _rotated_log_size(places: Places) -> int:
    try:
        size = places.log.stat().st_size
    except FileNotFoundError:
        return 0
    if size > LOG_LIMIT_BYTES:
        os.replace(places.log, places.log.with_suffix(".log.old"))
        return 0
    return size


def _log_since(places: Places, start: int) -> str:
    with open(places.log, "rb") as log:
        log.seek(start)
        return log.read().decode(errors="replace")


def _failure(places: Places, what: str, text: str = "") -> EmbeddedError:
    return EmbeddedError(_explained(f"{what} (log: {places.log})", text))


def _explained(what: str, text: str) -> str:
    hint = next((hint for sign, hint in HINTS.items() if sign in text), None)
    tail = "\n".join(f"    {line}" for line in text.strip().splitlines()[-8:])
    advice = f"{hint}, {WITHOUT_EMBEDDED}." if hint else f"See the lines below, {WITHOUT_EMBEDDED}."
    return f"{what}: {advice}\n{tail}".rstrip()
