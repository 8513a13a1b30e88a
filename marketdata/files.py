"""Small files that the venue keeps for itself: whole or not there at all, also after a power loss."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def keep(path: Path, text: str) -> None:
    """Write the file, readable by its owner only from the first byte, in the place of one that is there."""
    with _draft(path, text) as draft:
        draft.replace(path)


def keep_first(path: Path, text: str) -> None:
    """The same, unless there is one: of several processes at once the first one's text stays."""
    with _draft(path, text) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            pass


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """A file beside it, on the disk before it gets its name; afterwards the name is on the disk too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
