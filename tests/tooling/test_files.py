"""What the venue keeps for itself is whole after a power loss: on the disk first, then under its name."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from config import secret
from marketdata import files


@pytest.mark.parametrize("write", [files.keep, files.keep_first])
def test_it_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch, write):
    path, seen = tmp_path / "below" / "kept", []

    def fsync(descriptor: int) -> None:
        what = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((what, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write(path, "text")
    assert seen == [("file", False), ("folder", True)]
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("text", 0o600)


@pytest.mark.parametrize("write", [files.keep, files.keep_first])
def test_an_interruption_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, write):
    path = tmp_path / "kept"
    path.write_text("old")

    def fsync(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        write(path, "new")
    assert [child.name for child in tmp_path.iterdir()] == ["kept"] and path.read_text() == "old"


def test_of_many_at_once_one_secret_stays(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(secret.generated, [tmp_path / "secret_key"] * 8))
    assert len(found) == 1 and [child.name for child in tmp_path.iterdir()] == ["secret_key"]
