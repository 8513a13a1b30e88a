"""Secrets that the venue makes for itself: generated once, readable by their owner only."""

import os
import secrets
from pathlib import Path


def generated(path: Path) -> str:
    """The text in `path`; made from 50 random URL-safe characters when the file does not exist yet.

    Two processes may ask at once: the file is written aside and linked into place, so that both read the winner's text.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
